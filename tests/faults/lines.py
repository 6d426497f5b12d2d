"""Keep-alive connections whose worker is known: what one worker answers, told apart from the others."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.gateway import Gateway, eventually

_SECONDS = 30.0
_KNOWN_SECONDS = 10.0
_SPARE = 50


class Line:
    """One connection, one worker. `ask` takes the answer's whole body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def port(self) -> int:
        return int(self._writer.get_extra_info("sockname")[1])

    async def ask(self, method: str, path: str, key: str | None = None, document: Any = None) -> tuple[int, bytes]:
        body = b"" if document is None else json.dumps(document).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: gateway", f"content-length: {len(body)}"]
        lines += [f"authorization: Bearer {key}"] if key else []
        lines += ["content-type: application/json"] if body else []
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
            return int(head.split(" ", 2)[1]), await self._reader.readexactly(length)

    async def models(self, key: str) -> int:
        """The status of the cheapest call that proves a key."""
        return (await self.ask("GET", "/v1/models", key))[0]

    async def chat(self, key: str, model: str, user: str) -> tuple[int, dict[str, Any]]:
        message = {"role": "user", "content": "say five words"}
        status, body = await self.ask(
            "POST", "/v1/chat/completions", key, {"model": model, "messages": [message], "user": user}
        )
        return status, json.loads(body)

    def close(self) -> None:
        self._writer.close()


async def open_line(gateway: Gateway) -> tuple[int, Line]:
    """A new connection, and the pid of the worker that took it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    line = Line(reader, writer)
    await line.ask("GET", "/health/live")
    return await asyncio.to_thread(gateway.worker_of, line.port), line


@asynccontextmanager
async def lines_to_all(gateway: Gateway) -> AsyncIterator[dict[int, Line]]:
    """A connection to each worker, by its pid."""
    wanted = set(gateway.worker_pids())
    found: dict[int, Line] = {}
    spare: list[Line] = []
    deadline = time.monotonic() + _SECONDS
    try:
        while not found.keys() >= wanted:
            assert time.monotonic() < deadline, f"all connections went to {sorted(found)} of {sorted(wanted)}"
            pid, line = await open_line(gateway)
            if pid not in found:
                found[pid] = line
                continue
            # Kept open for a while, so that the worker with few connections has its turn.
            spare.append(line)
            if len(spare) > _SPARE:
                spare.pop(0).close()
                await asyncio.sleep(0.05)
        yield found
    finally:
        for line in [*spare, *found.values()]:
            line.close()


async def know_key(gateway: Gateway, key: str | None = None) -> None:
    """Let every worker look the key up: on a busy machine the first look-up may miss its deadline, which is a 503."""
    async with lines_to_all(gateway) as lines:
        for line in lines.values():

            async def is_known(line: Line = line) -> bool:
                return await line.models(key or gateway.key) == 200

            await eventually(is_known, seconds=_KNOWN_SECONDS, what="the key is known to every worker")
