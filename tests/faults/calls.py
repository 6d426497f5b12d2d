"""Clients of the data plane that write down how every call ended, and the comparison with ledger and upstream."""

import asyncio
import itertools
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp

from tests.faults.gateway import Gateway, UpstreamProcess, eventually

_names = itertools.count()


def new_name(word: str = "call") -> str:
    """A `user` no other call of the run has; both ledger and upstream keep it."""
    return f"{word}-{next(_names)}"


@dataclass
class Call:
    """`status` is None when there was no answer; `is_whole` tells that the answer came to its proper end."""

    user: str
    status: int | None = None
    is_whole: bool = False
    text: str = ""
    error: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    fault: str | None = None

    @property
    def code(self) -> str | None:
        return self.error["code"] if self.error else None


class Caller:
    """Calls with one key. `connections=0`: as many as are wanted at once."""

    def __init__(self, origin: str, key: str, *, connections: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._origin = origin
        connector = aiohttp.TCPConnector(limit=connections, ssl=tls if tls is not None else True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._session.close()

    async def call(self, model: str = "up-ok", *, user: str | None = None, is_stream: bool = False) -> Call:
        call = Call(user or new_name())
        try:
            async with self.open(model, call, is_stream=is_stream) as answer:
                if answer.content_type == "text/event-stream":
                    async for event in read_events(answer):
                        take_event(call, event)
                else:
                    document = json.loads(await answer.read())
                    call.error = document.get("error")
                    call.is_whole = answer.status == 200
                    if call.is_whole:
                        call.text = document["choices"][0]["message"]["content"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            call.fault = f"{type(error).__name__}: {error}"
            call.is_whole = False
        return call

    @asynccontextmanager
    async def open(self, model: str, call: Call, *, is_stream: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer as it arrives. Leaving early closes the connection."""
        document = {
            "model": model,
            "messages": [{"role": "user", "content": "say five words"}],
            "user": call.user,
            **({"stream": True} if is_stream else {}),
        }
        async with self._session.post(f"{self._origin}/v1/chat/completions", json=document) as answer:
            call.status = answer.status
            call.headers = {name.lower(): value for name, value in answer.headers.items()}
            yield answer


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield line[6:].decode().strip()


def take_event(call: Call, event: str) -> None:
    if event == "[DONE]":
        call.is_whole = call.error is None
        return
    document = json.loads(event)
    if "error" in document:
        call.error = document["error"]
    for choice in document.get("choices", ()):
        call.text += choice["delta"].get("content") or ""


class Load:
    """Calls without a pause from `width` callers at once, until it is stopped; faults end no caller."""

    def __init__(self, gateway: Gateway, models: tuple[tuple[str, bool], ...], *, width: int = 8) -> None:
        self.word = new_name("load")
        self.calls: list[Call] = []
        self._gateway = gateway
        self._models = itertools.cycle(models)
        self._width = width
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(self._width)]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _run(self, number: int) -> None:
        async with Caller(self._gateway.origin, self._gateway.key) as caller:
            while not self._is_over:
                model, is_stream = next(self._models)
                user = f"{self.word}.{number}.{len(self.calls)}"
                call = await caller.call(model, user=user, is_stream=is_stream)
                self.calls.append(call)
                if call.fault is not None:
                    await asyncio.sleep(0.05)

    async def served(self, count: int, *, seconds: float = 15.0) -> None:
        """Wait until `count` more calls were answered 200."""
        wanted = self.whole_count() + count
        await eventually(lambda: self.whole_count() >= wanted, seconds=seconds, what=f"{count} more calls served")

    def whole_count(self) -> int:
        return sum(call.is_whole for call in self.calls)

    def statuses(self) -> Counter[int | None]:
        return Counter(call.status for call in self.calls)


async def shipped(gateway: Gateway, word: str, count: int, *, seconds: float = 20.0) -> list[dict[str, Any]]:
    """The ledger's rows of these calls once there are at least `count`."""

    async def look() -> list[dict[str, Any]]:
        rows = await gateway.ledger(word)
        return rows if len(rows) >= count else []

    rows: list[dict[str, Any]] = await eventually(look, seconds=seconds, what=f"{count} rows in the ledger")
    return rows


async def reconcile(gateway: Gateway, upstream: UpstreamProcess, load: Load, *, in_flight: int) -> None:
    """Ledger = what the upstream served: one row each; surplus rows are `interrupted`, at most those under way."""
    log = [entry for entry in upstream.log() if entry["user"].startswith(load.word)]
    served = Counter(entry["user"] for entry in log)
    assert max(served.values()) == 1, "the gateway sent a call twice"
    rows = await shipped(gateway, load.word, len(served))
    by_user = Counter(row["end_user"] for row in rows)
    assert max(by_user.values()) == 1, f"rows twice: {[user for user, count in by_user.items() if count > 1]}"
    lost = [entry for entry in log if entry["user"] not in by_user]
    assert not lost, f"served, but not in the ledger: {lost}"
    surplus = [row for row in rows if row["end_user"] not in served]
    assert {row["kind"] for row in surplus} <= {"interrupted"}, surplus
    interrupted = [row for row in rows if row["kind"] == "interrupted"]
    assert len(interrupted) <= in_flight, f"{len(interrupted)} interrupted, {in_flight} under way"
    assert all(row["is_estimated"] for row in interrupted)
    settled = {row["end_user"]: row for row in rows if row["kind"] == "settled"}
    for call in load.calls:
        if call.is_whole:
            row = settled.get(call.user)
            assert row is not None, f"answered, but not settled: {call}"
            assert (row["status"], row["input_tokens"]) == ("ok", 10), row
    records = [record for record in list_records(gateway) if record["request_id"] in _request_ids(rows)]
    assert len(records) == len(rows), "GET /usage/records differs from the ledger"


def _request_ids(rows: list[dict[str, Any]]) -> set[str]:
    return {f"req_{row['request_id'].hex}" for row in rows}


def list_records(gateway: Gateway) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = gateway.ask("GET", f"/api/v1/usage/records?{urlencode({'limit': 100, **cursor})}")
        records += page["data"]
        if page["next_cursor"] is None:
            return records
        cursor = {"cursor": page["next_cursor"]}
