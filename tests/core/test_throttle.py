"""Buckets hold over all workers while Redis is there, and per worker when it is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.domains.control_plane import MovableClock
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.core.throttle import Allowance, Bucket, Throttle


async def tries(throttle: Throttle, *buckets: Bucket) -> int:
    """How many are let through at once."""
    for count in range(1000):
        try:
            await throttle.charge(buckets)
        except RateLimited:
            return count
    raise AssertionError("never refused")


def bucket(burst: int = 5, seconds: float = 30) -> Bucket:
    return Bucket(f"test {uuid7()}", Allowance(burst, seconds))


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(valkey_url, SystemClock(), operation_seconds=2.0)
    await link.start()
    assert link.is_available
    yield link
    await link.close()


async def test_a_burst_then_one_at_a_time() -> None:
    clock, one = MovableClock(), bucket(5, 30)
    throttle = Throttle(clock)
    assert await tries(throttle, one) == 5
    with pytest.raises(RateLimited) as refused:
        await throttle.charge([one])
    assert refused.value.retry_after_seconds == pytest.approx(30, abs=1)
    clock.ahead = 31
    assert await tries(throttle, one) == 1


async def test_two_workers_share_one_count(link: RedisLink) -> None:
    one = bucket()
    workers = [Throttle(SystemClock(), link) for _ in range(2)]

    async def attempt(number: int) -> bool:
        try:
            await workers[number % 2].charge([one])
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(40)))) == 5
    assert [worker.size for worker in workers] == [0, 0]


async def test_a_refused_try_charges_no_other_bucket(link: RedisLink) -> None:
    for throttle in (Throttle(SystemClock(), link), Throttle(SystemClock())):
        narrow, wide = bucket(1), bucket(10)
        assert await tries(throttle, narrow, wide) == 1
        assert await tries(throttle, wide) == 9


async def test_what_is_given_back_can_be_spent_again(link: RedisLink) -> None:
    for throttle in (Throttle(SystemClock(), link), Throttle(SystemClock())):
        one = bucket()
        for _ in range(50):
            await throttle.charge([one])
            await throttle.give_back([one])
        assert await tries(throttle, one) == 5
        await throttle.forget(one)
        assert await tries(throttle, one) == 5


async def test_buckets_leave_redis_by_themselves_and_name_nobody(link: RedisLink) -> None:
    one = Bucket(f"account ann-{uuid7()}@example.com", Allowance(5, 30))
    await Throttle(SystemClock(), link).charge([one])
    left = await link.call("PTTL", one.key)
    assert 0 < left <= 30_000
    assert "ann" not in one.key


async def test_without_redis_each_worker_counts_for_itself(valkey_url: str) -> None:
    gone = RedisLink("redis://127.0.0.1:1", SystemClock())
    await gone.start()
    assert await tries(Throttle(SystemClock(), gone), bucket()) == 5
    await gone.close()


async def test_memory_is_bounded() -> None:
    throttle = Throttle(MovableClock(), most_buckets=100)
    for number in range(1000):
        await throttle.charge([Bucket(f"address {number}", Allowance(5, 30))])
    assert throttle.size == 100
