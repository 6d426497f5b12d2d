"""A hostile vendor that keeps a log of the truth: every call it got, what it sent, and the moment the gateway left it.

OpenAI's wire format over raw sockets on loopback, in a process of its own (`python -m tests.faults.upstream PORT`) or in a
test's. What it does with a call is a `Script`: what a test says of the call's `user` first, else its mood, else the words
in the model's name. `up-wait300` answers after 300 ms, `up-stream20x50` sends 20 chunks 50 ms apart, `cut5` breaks off
after 5 of them (or inside a whole body), `mixed60x50` sends 20 to 60 of them, as many as the `user` happens to say, `hang`
never answers, `garbage` is no HTTP, `nonsense` is no JSON, `status500` refuses; `script.py` has the others. `GET /log` is
the log, `PUT /mood` takes `{"words": …, "share": …}`: what is done with that share of all calls from now on.
"""

import asyncio
import json
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tests.faults.script import PROMPT_TOKENS, WHOLE_TOKENS, Part, Script, document, parts_of

__all__ = ["PROMPT_TOKENS", "WHOLE_TOKENS", "Mood", "Script", "Served", "Upstream", "reset"]

# Closed without a goodbye: what is unsent is thrown away, and the other side sees a reset.
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_DRIPS_PER_SECOND: Final = 20


@dataclass
class Served:
    """One call. Times are on the machine's monotonic clock, which the tests share."""

    user: str
    model: str
    is_stream: bool
    begun: float
    # Tokens of output that were sent to their last byte.
    chunks: int = 0
    status: int = 0
    # served | refused | cut | hung | left: the gateway closed the connection before the end.
    outcome: str = "running"
    ended: float | None = None
    vendor: str = ""
    # All of a good answer left, its usage with it.
    is_whole: bool = False


@dataclass
class Mood:
    """Spread evenly over the calls: of ten with a share of 0.3 the third, the sixth and the ninth or so."""

    words: str
    share: float = 1.0
    seen: float = 0.0

    def takes_next(self) -> bool:
        self.seen += self.share
        if self.seen < 1.0:
            return False
        self.seen -= 1.0
        return True


@dataclass
class Upstream:
    name: str = ""
    log: list[Served] = field(default_factory=list)
    # By `user`: one for each call that arrives; then the last one again.
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    mood: Mood | None = None
    # Calls that are being served.
    busy: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                path, body = request
                if path == "/log":
                    writer.write(document([asdict(served) for served in self.log]))
                elif path == "/mood":
                    told = json.loads(body)
                    self.mood = Mood(**told) if told else None
                    writer.write(document({}))
                elif not await self._answer(json.loads(body), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, call: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can serve another call."""
        served = Served(
            str(call.get("user")), call["model"], bool(call.get("stream")), time.monotonic(), vendor=self.name
        )
        self.log.append(served)
        self.busy += 1
        work = asyncio.ensure_future(self._play(served, call, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                served.outcome = "left"
                return False
            return work.result()
        except ConnectionError:
            # A write that fails says that nobody listens any more.
            served.outcome = "left"
            return False
        finally:
            self.busy -= 1
            served.ended = time.monotonic()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _script(self, served: Served) -> Script:
        told = self.scripts.get(served.user)
        if told is not None:
            return told.pop(0) if len(told) > 1 else told[0]
        if self.mood is not None and self.mood.takes_next():
            return Script.of(self.mood.words, served.user)
        return Script.of(served.model, served.user)

    async def _play(self, served: Served, call: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        script = self._script(served)
        await asyncio.sleep(script.wait_seconds)
        if script.oddity == "hang":
            served.outcome = "hung"
            await asyncio.Event().wait()
        if script.oddity == "reset":
            served.outcome = "refused"
            reset(writer)
            return False
        if script.is_mixed and not served.is_stream:
            await asyncio.sleep(script.chunks * script.gap_seconds)
        served.status = 0 if script.is_refusal and script.status == 200 else script.status
        if not await self._send(served, script, parts_of(script, call), writer):
            served.outcome = "cut"
            if script.ending == "hang":
                await asyncio.Event().wait()
            if script.ending == "reset":
                reset(writer)
            return False
        if script.is_cut(is_stream=served.is_stream):
            served.outcome = "cut"
            return False
        served.outcome = "refused" if script.is_refusal else "served"
        served.is_whole = script.status == 200 and script.oddity is None
        await writer.drain()
        return script.oddity not in {"garbage", "short", "long"}

    async def _send(self, served: Served, script: Script, parts: Iterable[Part], writer: asyncio.StreamWriter) -> bool:
        """Part by part, held up and torn off where the script says so. False: it did not come to the end."""
        end: int | None = None
        stall: int | None = None
        if script.oddity != "endless" and (script.torn_at is not None or script.stall_at is not None):
            parts = list(parts)
            size = sum(len(part.data) for part in parts)
            # Torn at the very end is not torn.
            end = None if script.torn_at is None or script.torn_at >= 1 else int(script.torn_at * size)
            stall = None if script.stall_at is None else int(script.stall_at * size)
        position = 0
        for part in parts:
            whole_at = position + len(part.data)
            data = part.data if end is None else part.data[: max(end - position, 0)]
            if stall is not None and position <= stall < position + len(data):
                await _write(writer, data[: stall - position], script)
                await asyncio.sleep(script.stall_seconds)
                data, position = data[stall - position :], stall
            await _write(writer, data, script)
            position += len(data)
            if position == whole_at:
                served.chunks += part.tokens
            if end is not None and position >= end:
                return False
            await asyncio.sleep(part.gap_seconds)
        return True


async def _write(writer: asyncio.StreamWriter, data: bytes, script: Script) -> None:
    if script.bytes_per_second is None:
        writer.write(data)
        await writer.drain()
        return
    step = max(script.bytes_per_second // _DRIPS_PER_SECOND, 1)
    for start in range(0, len(data), step):
        # Before each piece and not after the last: what has left is told at once.
        await asyncio.sleep(step / script.bytes_per_second)
        writer.write(data[start : start + step])
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """The other side sees its connection reset."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    body = await reader.readexactly(int(length[1])) if length else b""
    return head.split(b" ", 2)[1].decode(), body


async def main() -> None:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await told.wait()


if __name__ == "__main__":
    asyncio.run(main())
