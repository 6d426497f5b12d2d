"""Counters of budgets in a real Redis that is flushed, restarted and paused under several workers."""

import asyncio

import pytest

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import DOLLAR, Hall, Ledger, Worker, counted, refs_of, spender, until
from tollkeeper.core.errors import DependencyUnavailable, InsufficientQuota


async def test_a_fresh_server_is_believed_after_a_rebuild(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)

    await worker.call(principal, DOLLAR)

    assert (await worker.counters.script.look(principal.tenant_id)).is_ready
    assert await counted(worker, principal) == [(0, DOLLAR)]


async def test_a_settled_call_counts_once_until_the_ledger_has_it_and_after(
    open_worker: OpenWorker, ledger: Ledger
) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    request_id = await worker.call(principal, 4 * DOLLAR)

    worker.finish(request_id, 3 * DOLLAR)
    await worker.flushed()
    settled = await counted(worker, principal)
    await worker.ship()
    await worker.flushed()

    assert settled == [(0, 3 * DOLLAR)]
    assert await counted(worker, principal) == [(3 * DOLLAR, 0)]
    assert not worker.admission.registry.spaces()


async def test_a_flush_under_open_calls_loses_no_money(open_worker: OpenWorker, ledger: Ledger) -> None:
    one, other = await open_worker(), await open_worker()
    principal = spender(10 * DOLLAR)
    shipped = await one.call(principal, DOLLAR)
    one.finish(shipped, DOLLAR)
    await one.ship()
    settled = await other.call(principal, 2 * DOLLAR)
    other.finish(settled, 2 * DOLLAR)
    await one.call(principal, 3 * DOLLAR)

    await one.flushed()
    await one.link.call("FLUSHALL")
    with pytest.raises(InsufficientQuota):
        await other.call(principal, 5 * DOLLAR)
    await other.call(principal, 4 * DOLLAR)

    assert await counted(one, principal) == [(DOLLAR, 9 * DOLLAR)]


async def test_every_live_worker_is_waited_for(open_worker: OpenWorker, hall: Hall) -> None:
    one, silent = await open_worker(), await open_worker()
    principal = spender(10 * DOLLAR)
    await silent.call(principal, 9 * DOLLAR)
    await silent.flushed()
    await one.link.call("FLUSHALL")
    del hall.workers[silent.id]

    with pytest.raises(DependencyUnavailable):
        await one.call(principal, DOLLAR)
    hall.workers[silent.id] = silent
    silent.counters.heard(principal.tenant_id)
    await until(lambda: not one.counters.state().untrusted)

    with pytest.raises(InsufficientQuota):
        await one.call(principal, 2 * DOLLAR)
    assert await counted(one, principal) == [(0, 9 * DOLLAR)]


async def test_a_dead_workers_journal_is_in_the_ledger_before_counters_count_again(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, dying = await open_worker(), await open_worker()
    principal = spender(10 * DOLLAR)
    settled = await dying.call(principal, 4 * DOLLAR)
    dying.finish(settled, 4 * DOLLAR)
    await dying.call(principal, 5 * DOLLAR)
    await dying.flushed()
    await dying.kill()
    await one.link.call("FLUSHALL")

    with pytest.raises(InsufficientQuota):
        await one.call(principal, 2 * DOLLAR)

    assert await counted(one, principal) == [(9 * DOLLAR, 0)]
    assert dying.id not in hall.believed


async def test_without_postgresql_a_flushed_server_refuses_until_it_is_back(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    await worker.call(principal, DOLLAR)
    hall.is_away = ledger.is_away = True

    await worker.call(principal, DOLLAR)
    await worker.link.call("FLUSHALL")
    with pytest.raises(DependencyUnavailable):
        await worker.call(principal, DOLLAR)
    state = worker.counters.state()
    hall.is_away = ledger.is_away = False
    await until(lambda: _is_admitted(worker, principal))

    assert (state.mode, state.untrusted) == ("refused", 1)
    assert worker.counters.state().mode == "exact"
    assert await counted(worker, principal) == [(0, 3 * DOLLAR)]


async def _is_admitted(worker: Worker, principal: object) -> bool:
    await worker.counters.tick()
    try:
        await worker.call(principal, DOLLAR)  # type: ignore[arg-type]
    except DependencyUnavailable:
        return False
    return True


async def test_soft_budgets_never_refuse(open_worker: OpenWorker, hall: Hall) -> None:
    worker = await open_worker()
    principal = spender(DOLLAR, is_hard=False)
    hall.is_away = True

    await worker.call(principal, 5 * DOLLAR)


async def test_a_counter_that_is_not_known_is_read_from_the_ledger(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    counter = (principal.tenant_id, refs_of(principal)[0])
    ledger.spent[counter], ledger.versions[counter] = 9 * DOLLAR, 4

    with pytest.raises(InsufficientQuota):
        await worker.call(principal, 2 * DOLLAR)

    assert await counted(worker, principal) == [(9 * DOLLAR, 0)]


async def test_many_calls_on_a_fresh_server_are_rebuilt_for_once(open_worker: OpenWorker) -> None:
    workers = [await open_worker() for _ in range(3)]
    principal = spender(10 * DOLLAR)
    await workers[0].link.call("FLUSHALL")

    answers = await asyncio.gather(
        *[worker.call(principal, DOLLAR) for worker in workers for _ in range(10)], return_exceptions=True
    )

    assert sum(not isinstance(answer, Exception) for answer in answers) == 10
    assert await counted(workers[0], principal) == [(0, 10 * DOLLAR)]


async def test_drift_is_measured_and_set_right(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    await worker.call(principal, DOLLAR)
    counter = (principal.tenant_id, refs_of(principal)[0])
    ledger.spent[counter], ledger.versions[counter] = 2 * DOLLAR, 1
    await worker.counters.tick()

    await worker.counters.measure_drift()

    assert worker.counters.state().drift_nano == 2 * DOLLAR
    assert await counted(worker, principal) == [(2 * DOLLAR, DOLLAR)]


async def test_a_call_under_many_budgets_is_admitted_on_a_fresh_server(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(*[10 * DOLLAR] * 6)

    await worker.call(principal, DOLLAR)

    assert await counted(worker, principal) == [(0, DOLLAR)] * 6
