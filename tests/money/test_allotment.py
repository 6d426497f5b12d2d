"""What is put aside for the time that Redis is gone: how much, that it is held, and that it is all that is spent."""

import pytest
from redis.asyncio import Redis

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import DOLLAR, Hall, Ledger, Worker, counted, refs_of, spender, until
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import DependencyUnavailable


async def use(worker: Worker, principal: Principal, calls: int, amount: int) -> None:
    """Traffic of one second: admitted, done, and in the ledger."""
    for _ in range(calls):
        worker.finish(await worker.call(principal, amount), amount)
    await worker.ship()
    await worker.counters.tick()


async def spend_all(worker: Worker, principal: Principal, amount: int) -> int:
    """How many calls are admitted with Redis away."""
    admitted = 0
    refused: DependencyUnavailable | None = None
    while refused is None:
        try:
            await worker.call(principal, amount)
            admitted += 1
        except DependencyUnavailable as error:
            refused = error
    assert refused.code == "budget_unavailable"
    assert refused.retry_after_seconds
    return admitted


async def test_two_percent_of_what_is_left_is_put_aside_by_the_number_of_workers(open_worker: OpenWorker) -> None:
    worker, _ = await open_worker(), await open_worker()
    principal = spender(1_000 * DOLLAR)

    await use(worker, principal, 20, DOLLAR)

    assert worker.counters.state().allotted_nano == 980 * DOLLAR // 50 // 2
    assert await counted(worker, principal) == [(20 * DOLLAR, 980 * DOLLAR // 50 // 2)]


async def test_no_more_is_put_aside_than_five_seconds_of_traffic(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(100_000 * DOLLAR)

    await use(worker, principal, 3, DOLLAR)
    await use(worker, principal, 4, DOLLAR)
    after_two = worker.counters.state().allotted_nano
    for _ in range(5):
        await worker.counters.tick()

    assert after_two == 7 * DOLLAR
    assert worker.counters.state().allotted_nano == 0
    assert await counted(worker, principal) == [(7 * DOLLAR, 0)]


async def test_nothing_is_put_aside_where_few_calls_are_left(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(64 * DOLLAR)

    await use(worker, principal, 1, DOLLAR)

    assert worker.counters.state().allotted_nano == 0


async def test_with_redis_away_only_what_is_put_aside_is_spent(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(1_000 * DOLLAR, 2_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)
    allotted = 950 * DOLLAR // 50

    worker.link.trip("cut by the test")
    mode = worker.counters.state().mode
    admitted = await spend_all(worker, principal, DOLLAR)

    assert mode == "allotment"
    assert admitted == allotted // DOLLAR
    # The smaller of the two is used up; of the other one the rest is left.
    assert worker.counters.allotments.left() == 1_950 * DOLLAR // 50 - allotted


async def test_calls_made_meanwhile_count_when_redis_is_back(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    principal = spender(1_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)

    worker.link.trip("cut by the test")
    still_open = await worker.call(principal, 2 * DOLLAR)
    settled = await worker.call(principal, 3 * DOLLAR)
    worker.finish(settled, 2 * DOLLAR)
    shipped = await worker.call(principal, 4 * DOLLAR)
    worker.finish(shipped, DOLLAR)
    await worker.ship()
    await until(lambda: worker.link.is_available)
    await worker.counters.tick()

    async def is_told() -> bool:
        await worker.counters.allotments.give_back()
        return await counted(worker, principal) == [(53 * DOLLAR, 2 * DOLLAR)]

    await until(is_told)
    assert still_open in worker.open_calls
    assert ledger.spent[principal.tenant_id, refs_of(principal)[0]] == 53 * DOLLAR


async def test_what_is_put_aside_survives_a_flush(open_worker: OpenWorker, valkey_client: Redis) -> None:
    worker, other = await open_worker(), await open_worker()
    principal = spender(1_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)
    left = worker.counters.allotments.left()
    await valkey_client.flushall()

    await other.call(principal, DOLLAR)

    assert left
    assert await counted(other, principal) == [(50 * DOLLAR, left + DOLLAR)]


async def test_a_worker_that_others_may_take_for_dead_spends_nothing(open_worker: OpenWorker, hall: Hall) -> None:
    worker = await open_worker()
    principal = spender(1_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)
    worker.link.trip("cut by the test")
    hall.is_away = True
    worker.counters._beaten_at = None

    with pytest.raises(DependencyUnavailable):
        await worker.call(principal, DOLLAR)


async def test_a_worker_that_ends_gives_back_what_it_put_aside(open_worker: OpenWorker, hall: Hall) -> None:
    worker, other = await open_worker(), await open_worker()
    principal = spender(1_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)
    await worker.ship()

    await worker.close()

    assert await counted(other, principal) == [(50 * DOLLAR, 0)]


async def test_what_a_dead_worker_put_aside_is_given_back(open_worker: OpenWorker, hall: Hall) -> None:
    worker, other = await open_worker(), await open_worker()
    principal = spender(1_000 * DOLLAR)
    await use(worker, principal, 50, DOLLAR)
    held = await counted(other, principal)
    await worker.kill()

    await other.shipper.adopt()

    async def is_returned() -> bool:
        return await counted(other, principal) == [(50 * DOLLAR, 0)]

    await until(is_returned)
    assert held != [(50 * DOLLAR, 0)]
