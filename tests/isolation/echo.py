"""A vendor that says back what it was told, whole or word by word: what comes out of the gateway tells whose it is."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

_USAGE: Final = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """The port it listens on."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            while await _answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    call = json.loads(await reader.readexactly(int(length[1]) if length else 0))
    words = call["messages"][-1]["content"].split(" ")
    if call.get("stream"):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, word in enumerate(words):
            writer.write(_event({"content": word if number == 0 else f" {word}"}))
            if number % 4 == 3:
                await writer.drain()
                await asyncio.sleep(0.001)
        writer.write(_event({}, finish="stop") + _part(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    else:
        message = {"role": "assistant", "content": " ".join(words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        frame = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "echo"}
        body = json.dumps({**frame, "choices": [choice], "usage": _USAGE}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
    await writer.drain()
    return True


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "echo", "choices": [choice]}
    return _part(b"data: " + json.dumps(frame).encode() + b"\n\n")


def _part(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
