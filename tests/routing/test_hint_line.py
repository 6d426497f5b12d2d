"""Hints over a real Redis: kept roll-backs are found by workers that start later, and its absence costs nothing."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from tollkeeper.core.clock import SystemClock
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.hint_line import MOST_OPEN, HintLine


async def open_line(url: str) -> tuple[RedisLink, HintLine, list[bytes]]:
    link = RedisLink(url, SystemClock(), connect_seconds=5.0, operation_seconds=5.0)
    await link.start()
    line, heard = HintLine(link), list[bytes]()
    line.hear = heard.append
    return link, line, heard


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15.0):
        while not is_true():
            await asyncio.sleep(0.01)


async def test_a_roll_back_is_recalled_until_it_is_forgotten(valkey_url: str) -> None:
    name = f"canary-{uuid4()}"
    link, line, heard = await open_line(valkey_url)
    try:
        line.recall(name)
        line.keep(name, b"rolled back")
        line.recall(name)
        await until(lambda: heard == [b"rolled back"])
        line.forget(name)
        line.recall(name)
        await link.call("PING")
        assert heard == [b"rolled back"]
    finally:
        await link.close()


async def test_open_breakers_are_recalled_until_their_time_is_over_or_they_close(valkey_url: str) -> None:
    link, line, _ = await open_line(valkey_url)
    heard: dict[bytes, float] = {}
    line.hear_open = heard.update
    one, other, closed = (f"breaker-{uuid4()}".encode() for _ in range(3))
    try:
        line.tell_open(b"opened", one, 60.0)
        line.tell_open(b"opened", other, -1.0)
        line.tell_open(b"opened", closed, 60.0)
        line.forget_open(closed)
        line.recall_open()
        await until(lambda: one in heard)
        assert 0 < heard[one] <= 60.0
        assert not {other, closed} & heard.keys()
        line.forget_open(one)
        await link.call("PING")
    finally:
        await link.close()


async def test_what_is_remembered_of_open_breakers_is_bounded(valkey_url: str) -> None:
    link, line, _ = await open_line(valkey_url)
    names = [f"breaker-{uuid4()}".encode() for _ in range(MOST_OPEN + 50)]
    try:
        for name in names:
            line.tell_open(b"opened", name, 50.0)
        assert await link.call("ZCARD", "tk:breakers") <= MOST_OPEN
        assert 0 < await link.call("TTL", "tk:breakers") <= 120
        for name in names:
            line.forget_open(name)
        await link.call("PING")
    finally:
        await link.close()


async def test_one_worker_probes_at_a_time_and_without_redis_each_does(valkey_url: str) -> None:
    link, line, _ = await open_line(valkey_url)
    provider = f"provider-{uuid4()}"
    try:
        assert [await line.may_probe(provider, 60.0) for _ in range(3)] == [True, False, False]
        assert await line.may_probe(f"{provider} elsewhere", 60.0)
    finally:
        await link.close()
    assert await line.may_probe(provider, 60.0)


async def test_without_redis_nothing_waits_or_raises() -> None:
    link, line, heard = await open_line("redis://127.0.0.1:1/0")
    try:
        line.tell(b"a hint")
        line.keep("canary", b"rolled back")
        line.recall("canary")
        line.forget("canary")
        line.tell_open(b"opened", b"breaker", 1.0)
        line.forget_open(b"breaker")
        line.recall_open()
        assert heard == []
    finally:
        await link.close()
