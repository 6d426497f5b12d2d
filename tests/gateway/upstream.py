"""A small vendor over real sockets, scripted per test: what it answers, byte by byte, and what it saw."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """One request as it arrived. `gone` is set when the caller closed its connection."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


Script = Callable[[Seen, asyncio.StreamWriter], Awaitable[bool | None]]


class FakeUpstream:
    """`script` serves every request; returning False closes the connection."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.script: Script = answer_json(completion("hello"))
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while (seen := await _read_request(reader, number)) is not None:
                self.seen.append(seen)
                watcher = asyncio.create_task(_watch(reader, seen))
                script = asyncio.ensure_future(self.script(seen, writer))
                gone = asyncio.create_task(seen.gone.wait())
                try:
                    await asyncio.wait({script, gone}, return_when=asyncio.FIRST_COMPLETED)
                    # A script that goes on writing finds out by itself.
                    keeps = await script if script.done() else await asyncio.wait_for(script, 5)
                finally:
                    gone.cancel()
                    watcher.cancel()
                    await asyncio.gather(watcher, gone, return_exceptions=True)
                if keeps is False:
                    return
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _watch(reader: asyncio.StreamReader, seen: Seen) -> None:
    """Tell when the caller has gone. Nothing else may arrive while a request is being answered."""
    while not reader.at_eof():
        if reader._buffer:  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0.005)
    seen.gone.set()


async def _read_request(reader: asyncio.StreamReader, number: int) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = int(dict(headers).get("content-length", "0"))
    return Seen(method, path, headers, await reader.readexactly(length), number)


@asynccontextmanager
async def running_upstream() -> AsyncIterator[FakeUpstream]:
    upstream = FakeUpstream()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # Cancelled at the end of a test; asyncio would log that as an error of the server.
        with suppress(asyncio.CancelledError):
            await upstream.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# Scripts


def answer(
    status: int, body: bytes, headers: Sequence[tuple[str, str]] = (), content_type: str = "application/json"
) -> Script:
    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()

    return script


def answer_json(document: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Script:
    return answer(status, json.dumps(document, separators=(",", ":")).encode(), headers)


def answer_raw(data: bytes, *, closes: bool = True) -> Script:
    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return not closes

    return script


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*pieces: bytes, pause: float = 0.0, ends: bool = True) -> Script:
    """Each piece as one write. Without `ends` the connection is cut after the last."""

    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD)
        for piece in pieces:
            writer.write(http_chunk(piece))
            await writer.drain()
            await asyncio.sleep(pause)
        if ends:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return ends

    return script


def silent(seconds: float = 5.0, first: bytes = b"") -> Script:
    """Writes `first`, then nothing."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(first)
        await writer.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(seen.gone.wait(), seconds)
        return False

    return script


# Documents


def completion(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        **fields,
    }


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": choices,
        **fields,
    }


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def good_stream(*texts: str) -> list[bytes]:
    """What OpenAI sends when usage was asked for."""
    return [
        event(chunk({"role": "assistant", "content": ""})),
        *(event(chunk({"content": text})) for text in texts),
        event(chunk({}, "stop")),
        event(chunk(None, usage=USAGE)),
        DONE,
    ]
