"""Two tenants with the same of everything, thousands of mixed calls at once, many of them cut off: nothing crosses.

Each tenant's data carries a word of its own. It is looked for in every answer and header of the other one, in the log,
the ledger, the lists and in Redis. `./tollkeeper test --full` makes 10,000 calls, the sample 2,000.
"""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import aiohttp
import orjson
import pytest
import redis.asyncio

from tests.faults.conftest import dead_port, new_folder, new_gateway, upstream
from tests.faults.gateway import PRICE, Gateway, eventually
from tests.isolation.echo import echoing
from tests.isolation.tenant import Twin, make_twin

__all__ = ["dead_port", "new_folder", "new_gateway", "upstream"]

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("isolation")]

CALLS: Final = 10_000 if os.environ.get("TOLLKEEPER_TEST_FULL") == "1" else 2_000
_AT_ONCE: Final = 48
# Every call of the control plane looks its credential up; who waits too long for that on a busy machine gets a 503.
_CONTROL_AT_ONCE: Final = 6
_SEED: Final = 3
# Answers in a row, on connections of their own, after which both workers have served a key.
_SERVED_BY_BOTH: Final = 12
_READS: Final = (
    "/api/v1/me",
    "/api/v1/keys?limit=50",
    "/api/v1/users",
    "/api/v1/teams",
    "/api/v1/projects",
    "/api/v1/tenants",
    "/api/v1/roles",
    "/api/v1/audit?limit=20",
    "/api/v1/usage?group_by=key&group_by=user",
    "/api/v1/usage/records?limit=50",
    "/api/v1/catalog/models",
)


@dataclass
class Tally:
    """What happened, and every crossing that was seen."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    late: int = 0
    crossings: list[str] = field(default_factory=list)

    def look(self, where: str, text: bytes, foreign: list[bytes]) -> None:
        for mark in foreign:
            if mark in text:
                self.crossings.append(f"{where}: {mark.decode()} in {text[:300]!r}")


@dataclass
class Traffic:
    """Seeded calls of both tenants; every one knows the exact answer it must get."""

    origin: str
    twins: tuple[Twin, Twin]
    session: aiohttp.ClientSession
    tally: Tally = field(default_factory=Tally)
    dice: random.Random = field(default_factory=lambda: random.Random(_SEED))
    numbers: Iterator[int] = field(default_factory=count)
    # What was found in Redis meanwhile.
    kept: set[bytes] = field(default_factory=set)
    control: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONTROL_AT_ONCE))

    async def run(self, calls: int) -> None:
        left = iter(range(calls))

        async def one_after_another() -> None:
            for _ in left:
                await self._maybe_cut_off()

        await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))

    async def _maybe_cut_off(self) -> None:
        """One call in five is cancelled at a random moment, which closes its connection."""
        call = asyncio.ensure_future(self._one())
        if self.dice.random() < 0.2:
            await asyncio.wait({call}, timeout=self.dice.uniform(0, 0.08))
            if not call.done():
                call.cancel()
                self.tally.cut += 1
        with contextlib.suppress(asyncio.CancelledError):
            await call

    async def _one(self) -> None:
        mine, theirs = self.dice.sample(self.twins, 2)
        kind = self.dice.choices(["whole", "stream", "read", "foreign", "write"], [40, 25, 22, 8, 5])[0]
        self.tally.kinds[kind] += 1
        match kind:
            case "whole":
                await self._ask(mine, theirs, is_stream=False)
            case "stream":
                await self._ask(mine, theirs, is_stream=True)
            case "read":
                path = self.dice.choice(_READS)
                status, body = await self._send(mine, theirs, "GET", path, mine.admin_key)
                if status == 200 and path == "/api/v1/me" and mine.canary.encode() not in body:
                    self.tally.crossings.append(f"{path} does not know its own: {body[:300]!r}")
            case "foreign":
                path = self.dice.choice([f"/api/v1/keys/{theirs.key_id}", f"/api/v1/users/{theirs.user_id}"])
                status, body = await self._send(mine, theirs, "GET", path, mine.admin_key)
                if status not in {404, 503}:
                    self.tally.crossings.append(f"{path}: {status} {body[:300]!r}")
            case _:
                document = {"name": f"key {next(self.numbers)}", "tags": {"word": mine.canary}}
                await self._send(mine, theirs, "POST", "/api/v1/keys", mine.admin_key, document)

    async def _ask(self, mine: Twin, theirs: Twin, *, is_stream: bool) -> None:
        """The vendor says back what it was told: anything but this very prompt is somebody else's."""
        prompt = f"what does {mine.canary} say to number {next(self.numbers)} of the calls of today ?"
        document = {
            "model": "echo",
            "messages": [{"role": "user", "content": prompt}],
            "user": mine.canary,
            "stream": is_stream,
        }
        path = self.dice.choice(["/v1/chat/completions", "/api/v1/chat/completions"])
        status, body = await self._send(mine, theirs, "POST", path, mine.key, document)
        if status != 200:
            return
        said = _said(body) if is_stream else orjson.loads(body)["choices"][0]["message"]["content"]
        if said != prompt:
            self.tally.crossings.append(f"asked {prompt!r}, was told {said!r}")

    async def _send(
        self, mine: Twin, theirs: Twin, method: str, path: str, key: str, document: Any = None
    ) -> tuple[int, bytes]:
        is_call = path.endswith("completions")
        headers = {"authorization": f"Bearer {key}", "x-client-request-id": f"{mine.canary}-{next(self.numbers)}"}
        async with (
            contextlib.nullcontext() if is_call else self.control,
            self.session.request(method, self.origin + path, json=document, headers=headers) as answer,
        ):
            if is_call and answer.status == 200:
                mine.request_ids.add(answer.headers["x-request-id"])
            body = await answer.read()
        self.tally.statuses[answer.status] += 1
        self.tally.late += answer.status == 503 and not is_call
        # A path names the foreign object itself, and a problem may repeat it.
        foreign = [
            mark for mark in theirs.marks() if mark.decode() not in path and path.rpartition("_")[2] != mark.decode()
        ]
        told = "\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode()
        self.tally.look(f"{method} {path}", body, foreign)
        self.tally.look(f"headers of {method} {path}", told, foreign)
        return answer.status, body


def _said(stream: bytes) -> str:
    events = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return "".join(
        choice["delta"].get("content") or "" for event in events for choice in orjson.loads(event)["choices"]
    )


@pytest.fixture(scope="module")
async def echo_port() -> AsyncIterator[int]:
    async with echoing() as port:
        yield port


@pytest.fixture(scope="module")
async def gateway(new_gateway: Callable[..., Gateway], echo_port: int, valkey_url: str) -> Gateway:
    gateway = new_gateway(workers=2, environment={"TOLLKEEPER_REDIS_URL": valkey_url}, is_started=False)
    gateway.write_config(
        {
            "providers": [
                {
                    "name": "echo",
                    "kind": "openai_compatible",
                    "base_url": f"http://127.0.0.1:{echo_port}/v1",
                    "api_key": "none",
                    "allow_private_address": True,
                }
            ],
            "models": [{"name": "echo", "targets": [{"provider": "echo", "model": "echo"}], "price": PRICE}],
        }
    )
    await asyncio.to_thread(gateway.start)
    return gateway


async def _make_known(session: aiohttp.ClientSession, origin: str, key: str) -> None:
    """To both workers: a key's first look-up may be late on a busy machine, and every call that waits for it with it."""
    served = 0
    deadline = time.monotonic() + 20
    while served < _SERVED_BY_BOTH:
        # Not kept: the next connection goes to either worker.
        headers = {"authorization": f"Bearer {key}", "connection": "close"}
        async with session.get(f"{origin}/v1/models", headers=headers) as answer:
            served = served + 1 if answer.status == 200 else 0
        assert time.monotonic() < deadline, "the key is not served"


@pytest.fixture(scope="module")
async def traffic(gateway: Gateway, valkey_url: str) -> AsyncIterator[Traffic]:
    """All the calls, made once for the tests of this file."""
    first, second = await asyncio.gather(
        *(asyncio.to_thread(make_twin, gateway, f"Twins Ltd {number}") for number in (1, 2))
    )
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        traffic = Traffic(gateway.origin, (first, second), session)
        for twin in (first, second):
            await _make_known(session, gateway.origin, twin.key)
        began = time.monotonic()
        looking = asyncio.create_task(_look_into_redis(valkey_url, traffic.kept))
        await traffic.run(CALLS)
        seconds = time.monotonic() - began
        looking.cancel()
        await asyncio.wait({looking})
        print(
            f"\n{CALLS} calls in {seconds:.1f} s, {traffic.tally.late} late, {traffic.tally.cut} cut off: {traffic.tally.kinds} {traffic.tally.statuses}"
        )
        yield traffic


async def test_no_answer_holds_a_word_of_the_other_tenant(traffic: Traffic) -> None:
    tally = traffic.tally
    assert tally.crossings == []
    # The negative control: the calls were made, and most of them were served.
    assert sum(tally.kinds.values()) == CALLS
    assert tally.statuses[200] > CALLS * 0.5
    assert tally.cut > CALLS * 0.02
    assert {status for status in tally.statuses if status >= 500} <= {503}
    assert tally.statuses[503] < CALLS * 0.02, tally.statuses


async def test_ledger_and_reports_hold_ones_own_calls_alone(gateway: Gateway, traffic: Traffic) -> None:
    expected = sum(len(twin.request_ids) for twin in traffic.twins)

    async def shipped() -> bool:
        rows = await gateway.sql("SELECT count(DISTINCT request_id) AS calls FROM usage_logs")
        return bool(rows[0]["calls"] >= expected * 0.95)

    await eventually(shipped, seconds=20, what="the ledger has the calls")
    rows = await gateway.sql("SELECT tenant_id, api_key_id, user_id, end_user, client_request_id FROM usage_logs")
    owners = {twin.tenant_id.partition("_")[2]: twin for twin in traffic.twins}
    for row in rows:
        twin = owners[row["tenant_id"].hex]
        assert row["api_key_id"].hex == twin.key_id.partition("_")[2]
        assert row["user_id"].hex == twin.user_id.partition("_")[2]
        assert row["end_user"] in {twin.canary, None}
        assert (row["client_request_id"] or twin.canary).startswith(twin.canary)
    for twin, other in (traffic.twins, traffic.twins[::-1]):
        records = await asyncio.to_thread(_records, gateway, twin)
        assert records
        assert not records & other.request_ids
        assert len(records & twin.request_ids) > len(twin.request_ids) * 0.9


def _records(gateway: Gateway, twin: Twin) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        page = gateway._request(
            "GET", f"/api/v1/usage/records?limit=100{cursor}", headers={"authorization": f"Bearer {twin.admin_key}"}
        ).json()
        found |= {record["request_id"] for record in page["data"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_no_line_of_the_log_speaks_of_both_tenants(gateway: Gateway, traffic: Traffic) -> None:
    await asyncio.sleep(0.5)
    lines = gateway.log_path.read_bytes().splitlines()
    first, second = (twin.marks() for twin in traffic.twins)
    for line in lines:
        assert not (any(mark in line for mark in first) and any(mark in line for mark in second)), line
    assert sum(any(mark in line for mark in first) for line in lines) > CALLS * 0.1


async def test_no_key_of_redis_holds_both_tenants(traffic: Traffic) -> None:
    first, second = (twin.marks() for twin in traffic.twins)
    for entry in traffic.kept:
        assert not (any(mark in entry for mark in first) and any(mark in entry for mark in second)), entry
    assert any(mark in entry for entry in traffic.kept for mark in first), "Redis was not used: nothing was proven"


async def _look_into_redis(url: str, kept: set[bytes]) -> None:
    """Again and again: what counts against a rate is gone when the rate has recovered."""
    async with redis.asyncio.from_url(url) as client:
        while True:
            async for key in client.scan_iter(count=1000):
                kept.add(key + b" = " + (await client.dump(key) or b""))
            await asyncio.sleep(0.25)
