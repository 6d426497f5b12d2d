"""Redis away, slow or full; a flood of questions nobody asks twice; purges that reach every worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.gateway.cache.caching import (
    HEADER,
    SEAL,
    Cached,
    attached,
    before,
    coalescing,
    linked,
    policy,
    until,
    worker,
)
from tests.gateway.cache.test_isolation import entry
from tests.gateway.cache.test_together import Gated
from tests.gateway.serving import TENANT, ManualClock, chat
from tests.gateway.upstream import FakeUpstream, answer_json, completion
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.shelf import Purge
from tollkeeper.gateway.cache.store import Store


@pytest.mark.parametrize("rules", [policy, coalescing])
async def test_without_redis_a_worker_has_its_memory(tmp_path: Path, vendor: FakeUpstream, rules: object) -> None:
    link = RedisLink("redis://127.0.0.1:9/0", ManualClock())
    await link.start()
    try:
        async with worker(tmp_path, before(vendor, attached(rules())), link) as one:  # type: ignore[operator]
            assert [(await one.ask()).headers[HEADER] for _ in range(3)] == ["miss", "exact", "exact"]
    finally:
        await link.close()


async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A Redis that greets and then says nothing more."""
    writer.write(b"+PONG\r\n$5\r\nhello\r\n")
    try:
        await asyncio.Event().wait()
    finally:
        writer.close()


@pytest.fixture
async def slow_link() -> AsyncIterator[RedisLink]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await mute(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = RedisLink(f"redis://127.0.0.1:{port}/0", ManualClock(), connect_seconds=5.0, operation_seconds=0.02)
    await link.start()
    yield link
    await link.close()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_redis_that_does_not_answer_is_a_miss(
    tmp_path: Path, vendor: FakeUpstream, slow_link: RedisLink
) -> None:
    async with worker(tmp_path, before(vendor, attached(policy())), slow_link) as one:
        for text, result in (("a", "miss"), ("b", "miss"), ("a", "exact")):
            answer = await one.ask(json=chat(messages=[{"role": "user", "content": text}]))
            assert (answer.status_code, answer.headers[HEADER]) == (200, result)
    assert slow_link.state().trips >= 1


async def test_a_flood_of_questions_stays_within_its_bytes(
    tmp_path: Path, vendor: FakeUpstream, link: RedisLink
) -> None:
    vendor.script = answer_json(completion("x" * 2_000))
    most = 200_000
    async with worker(
        tmp_path, before(vendor, attached(policy())), link, memory_bytes=most, tenant_bytes=60_000
    ) as one:
        for number in range(80):
            await one.ask(json=chat(messages=[{"role": "user", "content": str(number)}]))
        assert 0 < one.memory.bytes <= most
        assert one.shelf.store is not None
        count, size = await one.shelf.store.size(TENANT)
        assert size <= 60_000
        kept = 0
        async with asyncio.timeout(10):
            # What has to go is deleted a moment later.
            while (kept := len([key async for batch in link.scan("tk:*:c:*") for key in batch])) > count:
                await asyncio.sleep(0.01)
        assert 0 < kept <= count < 80
        # The latest are there, the first are gone.
        assert (await one.ask(json=chat(messages=[{"role": "user", "content": "79"}]))).headers[HEADER] == "exact"
        assert (await one.ask(json=chat(messages=[{"role": "user", "content": "0"}]))).headers[HEADER] == "miss"


async def test_an_answer_larger_than_its_policy_allows_is_not_kept(cached: Cached) -> None:
    cached.vendor.script = answer_json(completion("x" * 1_200_000))
    await cached.one.ask()
    assert (await cached.one.ask()).headers[HEADER] == "miss"
    assert len(cached.one.memory) == 0


def test_memory_lets_go_of_what_was_not_used_for_longest() -> None:
    memory = Memory(1_000)
    made = [replace(entry(TENANT), fingerprint=bytes([number]) * 32, size=100) for number in range(12)]
    for one in made[:10]:
        memory.keep(one)
    assert memory.find(TENANT, made[0].fingerprint) is made[0]
    for one in made[10:]:
        memory.keep(one)
    assert memory.bytes == 1_000
    assert memory.find(TENANT, made[0].fingerprint) is made[0]
    assert memory.find(TENANT, made[1].fingerprint) is None
    # One that would push out an eighth of all is not taken at all.
    memory.keep(replace(made[0], fingerprint=b"x" * 32, size=126))
    assert memory.find(TENANT, b"x" * 32) is None
    assert memory.find(uuid7(), made[0].fingerprint) is None


PURGES = [
    Purge(TENANT),
    Purge(TENANT, model="gpt-4o-mini"),
    Purge(TENANT, namespace=""),
    Purge(TENANT, before=4e9),
]


@pytest.mark.parametrize("purge", PURGES)
async def test_a_purge_reaches_every_worker(cached: Cached, purge: Purge) -> None:
    await cached.one.ask()
    await cached.two.ask()
    assert await cached.one.shelf.purge(purge) == 1
    # The other one hears of it over Redis (`wiring`).
    cached.two.shelf.hear(purge.write())
    assert len(cached.one.memory) == len(cached.two.memory) == 0
    assert [key async for batch in cached.link.scan("tk:*:c:*") for key in batch] == []
    assert (await cached.two.ask()).headers[HEADER] == "miss"


async def test_a_purge_leaves_what_it_does_not_name(cached: Cached) -> None:
    await cached.one.ask()
    for purge in (
        Purge(uuid7()),
        Purge(TENANT, model="alias"),
        Purge(TENANT, namespace="n"),
        Purge(TENANT, before=5.0),
        Purge(TENANT, id="00" * 32),
    ):
        assert await cached.one.shelf.purge(purge) == 0
    assert (await cached.one.ask()).headers[HEADER] == "exact"
    [kept] = await cached.one.shelf.page(TENANT, 0, 10)
    assert await cached.one.shelf.purge(Purge(TENANT, id=kept.id)) == 1
    assert (await cached.one.ask()).headers[HEADER] == "miss"


async def test_an_answer_under_way_when_all_was_purged_is_not_kept(cached: Cached) -> None:
    gate = Gated()
    cached.vendor.script = gate
    task = asyncio.create_task(cached.one.ask())
    await until(lambda: len(cached.vendor.seen) == 1)
    cached.one.gateway.clock.ahead += 1
    await cached.one.shelf.purge(Purge(TENANT))
    gate.go.set()
    await task
    assert len(cached.one.memory) == 0


async def test_a_message_that_is_not_understood_drops_everything(cached: Cached) -> None:
    await cached.one.ask()
    cached.one.shelf.hear(b"{}")
    assert len(cached.one.memory) == 0


async def test_the_oldest_redis_we_support_knows_the_commands(redis62_url: str) -> None:
    async with linked(redis62_url) as link:
        store = Store(link, tenant_bytes=10_000)
        made = entry(TENANT)
        value, _ = SEAL.write(made)
        token = uuid4().hex.encode()
        assert await store.look(TENANT, made.fingerprint, token) == (None, token)
        assert await store.look(TENANT, made.fingerprint, b"other") == (None, token)
        store.renew(TENANT, made.fingerprint, token)
        store.keep(TENANT, made.fingerprint, value, 60)
        store.release(TENANT, made.fingerprint, token)
        assert await store.look(TENANT, made.fingerprint, b"other") == (value, None)
        assert await store.size(TENANT) == (1, len(value))
        assert await store.ids(TENANT) == [made.id]
        assert await store.drop(TENANT, [made.id]) == 1
        assert await store.size(TENANT) == (0, 0)
