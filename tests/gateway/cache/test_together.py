"""Calls of one moment that ask for the same: one request to the provider, and a row in the ledger for each of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.cache.caching import (
    EXACT,
    HEADER,
    Cached,
    Worker,
    attached,
    before,
    coalescing,
    policy,
    until,
    worker,
)
from tests.gateway.serving import KEY, chat, events_of
from tests.gateway.upstream import (
    STREAM_HEAD,
    FakeUpstream,
    Script,
    Seen,
    answer_json,
    completion,
    good_stream,
    http_chunk,
)
from tollkeeper.contracts.cache import CoalesceRule, Settle
from tollkeeper.contracts.usage import CallStatus, Settlement
from tollkeeper.core.redis import RedisLink

COST = 10 * 150 + 5 * 600


class Gated:
    """Answers once it is let go; streams its pieces, of which the first goes out at once where `is_begun`."""

    def __init__(self, *, pieces: Sequence[bytes] = (), is_begun: bool = False, then: Script | None = None) -> None:
        self.go = asyncio.Event()
        self._pieces = pieces
        self._is_begun = is_begun
        self._then = then or answer_json(completion("hello"))

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        pieces = list(self._pieces)
        if pieces:
            writer.write(STREAM_HEAD)
            if self._is_begun:
                for piece in pieces[:2]:
                    writer.write(http_chunk(piece))
                pieces = pieces[2:]
            await writer.drain()
        async with asyncio.timeout(20):
            await self.go.wait()
        if not self._pieces:
            return await self._then(seen, writer)
        for piece in pieces:
            writer.write(http_chunk(piece))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return None


@pytest.fixture
async def shared(cached: Cached) -> Cached:
    cached.put(before(cached.vendor, attached(coalescing())))
    return cached


def readers(one: Worker) -> int:
    return sum(sharing.readers for sharing in one.flights._open)


async def calls(one: Worker, count: int, **body: Any) -> list[asyncio.Task[httpx.Response]]:
    tasks = [asyncio.create_task(one.ask(json=chat(**body), timeout=30)) for _ in range(count)]
    await until(lambda: readers(one) == count)
    return tasks


def charges(settlements: Sequence[Settlement]) -> list[int]:
    return sorted(settlement.charge_nano or 0 for settlement in settlements)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_identical_calls_share_one_request(shared: Cached, *, is_stream: bool) -> None:
    gate = Gated(pieces=good_stream("Hel", "lo") if is_stream else ())
    shared.vendor.script = gate
    tasks = await calls(shared.one, 50, stream=is_stream)
    gate.go.set()
    answers = await asyncio.gather(*tasks)
    assert len(shared.vendor.seen) == 1
    assert sorted(answer.headers[HEADER] for answer in answers) == ["coalesced"] * 49 + ["miss"]
    texts = set()
    ids = set()
    for answer in answers:
        assert answer.status_code == 200
        documents = [answer.json()] if not is_stream else [json.loads(data) for data in events_of(answer.text)[:-1]]
        ids.add(documents[0]["id"])
        texts.add(json.dumps([choice for document in documents for choice in document["choices"]]))
    assert (len(texts), len(ids)) == (1, 50)
    rows = await shared.one.gateway.settled(50)
    assert charges(rows) == [0] * 49 + [COST]
    assert sorted(row.status for row in rows) == [CallStatus.CACHED] * 49 + [CallStatus.OK]
    assert len({row.intent.request_id for row in rows}) == 50
    assert {(row.intent.provider, row.intent.upstream_model) for row in rows} == {("one", "gpt-4o-mini")}
    assert all(row.usage.prompt_tokens == 10 for row in rows)
    await until(lambda: not shared.one.flights._open)


async def test_a_thousand_identical_calls_are_one_request(shared: Cached) -> None:
    gate = Gated()
    shared.vendor.script = gate
    tasks = [asyncio.create_task(asked_within(shared.one)) for _ in range(1_000)]
    async with asyncio.timeout(60):
        while readers(shared.one) < 1_000:
            await asyncio.sleep(0.02)
    gate.go.set()
    assert set(await asyncio.gather(*tasks)) == {200}
    assert len(shared.vendor.seen) == 1
    rows = await shared.one.gateway.settled(1_000)
    assert sum(charges(rows)) == COST


async def asked_within(one: Worker) -> int:
    """A call without a socket of its own, of which there are not so many everywhere."""
    body = json.dumps(chat()).encode()
    sent = [{"type": "http.request", "body": body, "more_body": False}]
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    headers = [
        (b"authorization", f"Bearer {KEY}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    path = "/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    assert one.gateway.gateway is not None
    await one.gateway.gateway({**scope, "headers": headers}, receive, send)
    return status[0]


async def test_what_is_shared_by_policy_is_paid_by_all_to_the_last_nano(cached: Cached) -> None:
    cached.put(before(cached.vendor, attached(coalescing(settle=Settle.SHARED))))
    gate = Gated()
    cached.vendor.script = gate
    tasks = await calls(cached.one, 7)
    gate.go.set()
    answers = await asyncio.gather(*tasks)
    rows = await cached.one.gateway.settled(7)
    assert charges(rows) == [COST // 7] * 6 + [COST - 6 * (COST // 7)]
    assert sum(row.cost_nano or 0 for row in rows) == COST
    assert all(float(answer.headers["x-tollkeeper-cost-usd"]) > 0 for answer in answers)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_first_caller_may_leave_and_the_others_get_the_answer(shared: Cached, *, is_stream: bool) -> None:
    gate = Gated(pieces=good_stream("Hel", "lo") if is_stream else (), is_begun=is_stream)
    shared.vendor.script = gate
    first = (await calls(shared.one, 1, stream=is_stream))[0]
    await until(lambda: len(shared.vendor.seen) == 1)
    others = [asyncio.create_task(shared.one.ask(json=chat(stream=is_stream))) for _ in range(3)]
    await until(lambda: readers(shared.one) == 4)
    first.cancel()
    await until(lambda: readers(shared.one) == 3)
    gate.go.set()
    answers = await asyncio.gather(*others)
    assert len(shared.vendor.seen) == 1
    for answer in answers:
        assert answer.headers[HEADER] == "coalesced"
        assert "lo" in answer.text
    rows = await shared.one.gateway.settled(4)
    # Who began it pays for what was made, though it saw nothing of it.
    assert sorted((row.status.value, row.charge_nano) for row in rows) == [
        ("cached", 0),
        ("cached", 0),
        ("cached", 0),
        ("cancelled", COST),
    ]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_when_the_last_one_leaves_the_request_is_cancelled(shared: Cached, *, is_stream: bool) -> None:
    gate = Gated(pieces=good_stream("Hel", "lo") if is_stream else (), is_begun=is_stream)
    shared.vendor.script = gate
    tasks = await calls(shared.one, 3, stream=is_stream)
    await until(lambda: len(shared.vendor.seen) == 1)
    for task in tasks:
        task.cancel()
    await asyncio.wait_for(shared.vendor.seen[0].gone.wait(), 10)
    rows = await shared.one.gateway.settled(1)
    await until(lambda: not shared.one.flights._open)
    assert rows[0].status is CallStatus.CANCELLED
    assert not [row for row in shared.one.gateway.settlements if row.charge_nano and row.status is CallStatus.CACHED]


async def test_a_failure_of_the_provider_hands_over_to_who_waits(shared: Cached) -> None:
    """One of those that wait asks again, and the rest wait for that one."""
    gate = Gated(then=answer_json({"error": {"message": "no"}}, 500))

    async def twice_badly(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        # A provider is asked twice for each call.
        script = gate if len(shared.vendor.seen) <= 2 else answer_json(completion("well"))
        return await script(seen, writer)

    shared.vendor.script = twice_badly
    tasks = await calls(shared.one, 5)
    gate.go.set()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 502]
    assert len(shared.vendor.seen) == 3
    assert shared.one.metric("handovers_total") == 4


async def test_what_the_vendor_says_of_the_call_is_said_to_all(shared: Cached) -> None:
    gate = Gated(then=answer_json({"error": {"message": "bad", "code": "x"}}, 400))
    shared.vendor.script = gate
    tasks = await calls(shared.one, 5)
    gate.go.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} == {400}
    assert len(shared.vendor.seen) == 1


async def test_a_stream_that_breaks_after_its_beginning_breaks_for_all_with_an_event(shared: Cached) -> None:
    pieces = good_stream("Hel", "lo")[:3]
    gate = Gated(pieces=pieces, is_begun=True)
    shared.vendor.script = gate
    tasks = await calls(shared.one, 3, stream=True)
    gate.go.set()
    for answer in await asyncio.gather(*tasks):
        assert json.loads(events_of(answer.text)[-1])["error"]["code"] == "upstream_cut"
    rows = await shared.one.gateway.settled(3)
    assert sum(1 for row in rows if row.charge_nano) == 1
    assert all(row.status is CallStatus.ERROR for row in rows)


async def test_a_late_comer_reads_a_stream_from_its_beginning(shared: Cached) -> None:
    gate = Gated(pieces=good_stream("Hel", "lo"), is_begun=True)
    shared.vendor.script = gate
    first = (await calls(shared.one, 1, stream=True))[0]
    await until(lambda: any(sharing.has_outcome for sharing in shared.one.flights._open))
    late = asyncio.create_task(shared.one.ask(json=chat(stream=True)))
    await until(lambda: readers(shared.one) == 2)
    gate.go.set()
    one, two = await first, await late
    assert len(events_of(one.text)) == len(events_of(two.text))
    assert len(shared.vendor.seen) == 1


@pytest.mark.parametrize("headers", [{HEADER: "no-cache"}, {HEADER: "no-store"}, {"idempotency-key": "x"}])
async def test_who_wants_an_answer_of_its_own_gets_one(shared: Cached, headers: dict[str, str]) -> None:
    gate = Gated()
    shared.vendor.script = gate
    tasks = [asyncio.create_task(shared.one.ask(headers=headers)) for _ in range(2)]
    await until(lambda: len(shared.vendor.seen) == 2)
    gate.go.set()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}


async def test_workers_share_one_request_over_redis(shared: Cached) -> None:
    gate = Gated()
    shared.vendor.script = gate
    here = await calls(shared.one, 3)
    await until(lambda: len(shared.vendor.seen) == 1)
    there = await calls(shared.two, 3)
    gate.go.set()
    answers = await asyncio.gather(*here, *there)
    assert {answer.status_code for answer in answers} == {200}
    assert len(shared.vendor.seen) == 1
    # Whether they waited, or came when it was there, is a matter of moments.
    assert {answer.headers[HEADER] for answer in answers[3:]} <= {"coalesced", "exact"}
    assert sum(charges(await shared.two.gateway.settled(3))) == 0


async def test_a_worker_asks_itself_when_the_other_one_fails(shared: Cached) -> None:
    gate = Gated(then=answer_json({"error": {"message": "bad"}}, 400))
    shared.vendor.script = gate
    here = await calls(shared.one, 1)
    await until(lambda: len(shared.vendor.seen) == 1)
    there = await calls(shared.two, 2)
    shared.vendor.script = answer_json(completion("there"))
    gate.go.set()
    assert [answer.status_code for answer in await asyncio.gather(*here)] == [400]
    assert [answer.status_code for answer in await asyncio.gather(*there)] == [200, 200]
    assert len(shared.vendor.seen) == 2


async def test_a_lease_of_a_worker_that_died_ends(shared: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollkeeper.gateway.cache.store.LEASE_MS", 300)
    gate = Gated()
    shared.vendor.script = gate
    here = await calls(shared.one, 1)
    await until(lambda: len(shared.vendor.seen) == 1)
    # Nobody renews it any more.
    [sharing] = shared.one.flights._open
    keys = [key async for batch in shared.link.scan("tk:*:cl:*") for key in batch]
    assert len(keys) == 1
    await shared.link.call("PEXPIRE", keys[0], 1)
    shared.vendor.script = answer_json(completion("there"))
    assert (await shared.two.ask()).status_code == 200
    gate.go.set()
    await asyncio.gather(*here)
    await until(lambda: sharing.is_over)


@pytest.fixture
async def alone(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Worker]:
    only = policy(exact=None, coalesce=CoalesceRule())
    async with worker(tmp_path, before(vendor, attached(only)), None) as one:
        yield one


async def test_without_redis_a_worker_shares_among_its_own_calls(alone: Worker, vendor: FakeUpstream) -> None:
    gate = Gated()
    vendor.script = gate
    tasks = await calls(alone, 10)
    gate.go.set()
    await asyncio.gather(*tasks)
    assert len(vendor.seen) == 1
    # Without a rule of its own nothing is kept of it.
    vendor.script = answer_json(completion("again"))
    assert (await alone.ask()).headers[HEADER] == "miss"
    assert len(alone.memory) == 0


async def test_an_answer_is_kept_once_for_all_that_read_it(shared: Cached, link: RedisLink) -> None:
    gate = Gated()
    shared.vendor.script = gate
    tasks = await calls(shared.one, 5)
    gate.go.set()
    await asyncio.gather(*tasks)
    await shared.one.gateway.settled(5)
    assert len(shared.one.memory) == 1
    assert (await shared.two.ask()).headers[HEADER] == "exact"
    assert EXACT.ttl_seconds > 0
    await until(lambda: not shared.one.flights._open)
    async with asyncio.timeout(10):
        while [key async for batch in link.scan("tk:*:cl:*") for key in batch]:
            await asyncio.sleep(0.01)
