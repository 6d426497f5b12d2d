"""Hints over a real Redis: kept roll-backs are found by workers that start later, and its absence costs nothing."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from tollkeeper.core.clock import SystemClock
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.hint_line import HintLine


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


async def test_without_redis_nothing_waits_or_raises() -> None:
    link, line, heard = await open_line("redis://127.0.0.1:1/0")
    try:
        line.tell(b"a hint")
        line.keep("canary", b"rolled back")
        line.recall("canary")
        line.forget("canary")
        assert heard == []
    finally:
        await link.close()
