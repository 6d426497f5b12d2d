"""A vendor that keeps a log of the truth: every call it got, what it sent, and the moment the gateway left it.

A process of its own on loopback, OpenAI's wire format. The model's name is the script, in words: `up-wait300` answers
after 300 ms, `up-stream20x50` sends 20 chunks 50 ms apart, `cut5` breaks off after 5 of them (or inside a whole body),
`mixed60x50` sends 20 to 60 of them, as many as the `user` happens to say, `hang` never answers, `garbage` is no HTTP,
`nonsense` is no JSON, `status500` refuses. `GET /log` is the log.
"""

import asyncio
import json
import re
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from zlib import crc32

PROMPT_TOKENS: Final = 10
WHOLE_TOKENS: Final = 5
_WORD: Final = re.compile(r"(wait|stream|mixed|cut|status)(\d+)(?:x(\d+))?|(hang|garbage|nonsense)")


@dataclass
class Served:
    """One call. Times are on the machine's monotonic clock, which the tests share."""

    user: str
    model: str
    is_stream: bool
    begun: float
    chunks: int = 0
    # served | refused | cut | hung | left: the gateway closed the connection before the end.
    outcome: str = "running"
    ended: float | None = None


@dataclass
class Script:
    wait_seconds: float = 0.0
    chunks: int = 3
    gap_seconds: float = 0.0
    cut_after: int | None = None
    is_mixed: bool = False
    status: int = 200
    oddity: str | None = None

    @classmethod
    def of(cls, model: str, user: str) -> "Script":
        script = cls()
        for found in _WORD.finditer(model):
            match found[1]:
                case "wait":
                    script.wait_seconds = int(found[2]) / 1000
                case "stream":
                    script.chunks, script.gap_seconds = int(found[2]), int(found[3] or 0) / 1000
                case "mixed":
                    longest, script.gap_seconds = int(found[2]), int(found[3] or 0) / 1000
                    script.chunks = longest // 3 + crc32(user.encode()) % (longest - longest // 3 + 1)
                    script.is_mixed = True
                case "cut":
                    script.cut_after = int(found[2])
                case "status":
                    script.status = int(found[2])
                case _:
                    script.oddity = found[4]
        return script


@dataclass
class Upstream:
    log: list[Served] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                path, body = request
                if path == "/log":
                    writer.write(_whole(200, [asdict(served) for served in self.log]))
                elif not await self._answer(json.loads(body), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, call: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can serve another call."""
        served = Served(str(call.get("user")), call["model"], bool(call.get("stream")), time.monotonic())
        self.log.append(served)
        work = asyncio.ensure_future(self._play(served, call, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                served.outcome = "left"
                return False
            return work.result()
        finally:
            served.ended = time.monotonic()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _play(self, served: Served, call: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        script = Script.of(served.model, served.user)
        await asyncio.sleep(script.wait_seconds)
        if script.oddity == "hang":
            served.outcome = "hung"
            await asyncio.Event().wait()
        elif script.oddity == "garbage":
            served.outcome = "refused"
            writer.write(b"\x00\xffSSH-2.0-garbage\r\n\r\n")
            return False
        elif script.oddity == "nonsense":
            served.outcome = "served"
            writer.write(_head(200, "application/json", b"<html>not json"))
        elif script.status != 200:
            served.outcome = "refused"
            writer.write(_whole(script.status, {"error": {"message": "no", "type": "server_error", "code": None}}))
        elif served.is_stream:
            return await self._stream(served, call, script, writer)
        elif script.cut_after is not None:
            served.outcome = "cut"
            writer.write(_whole(200, _completion(served.model))[:-20])
            return False
        else:
            if script.is_mixed:
                await asyncio.sleep(script.chunks * script.gap_seconds)
                served.chunks = script.chunks
            served.outcome = "served"
            writer.write(_whole(200, _completion(served.model, served.chunks or WHOLE_TOKENS)))
        await writer.drain()
        return True

    async def _stream(self, served: Served, call: dict[str, Any], script: Script, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(script.chunks):
            if number == script.cut_after:
                served.outcome = "cut"
                return False
            delta = {"content": f"word{number} "} | ({"role": "assistant"} if number == 0 else {})
            writer.write(_event(_chunk(served.model, delta)))
            await writer.drain()
            served.chunks += 1
            await asyncio.sleep(script.gap_seconds)
        writer.write(_event(_chunk(served.model, {}, finish="stop")))
        if (call.get("stream_options") or {}).get("include_usage"):
            writer.write(_event(_chunk(served.model, None) | {"usage": _usage(script.chunks)}))
        writer.write(_part(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        served.outcome = "served"
        await writer.drain()
        return True


def _usage(completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
    }


def _completion(model: str, tokens: int = WHOLE_TOKENS) -> dict[str, Any]:
    message = {"role": "assistant", "content": "five words of an answer", "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(tokens),
    }


def _chunk(model: str, delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}


def _event(chunk: dict[str, Any]) -> bytes:
    return _part(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _part(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: int, document: Any) -> bytes:
    return _head(status, "application/json", json.dumps(document).encode())


def _head(status: int, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


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
