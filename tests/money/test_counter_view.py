"""What the control plane sees of live counters is what the admission decided on."""

from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import ASKED, DOLLAR, Ledger, Worker, refs_of, spender, until
from tests.money.records import make_principal
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.ports import CounterState, RateState
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.counter_view import LiveCounters


def view_of(worker: Worker) -> LiveCounters:
    return LiveCounters(worker.link, SystemClock(), worker.counters)


async def test_spent_and_held_are_told_apart(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    worker.finish(await worker.call(principal, 2 * DOLLAR), DOLLAR)
    await worker.ship()
    await worker.call(principal, 3 * DOLLAR)

    states = await view_of(worker).counters(principal.tenant_id, refs_of(principal))

    assert states == [CounterState(refs_of(principal)[0], DOLLAR, 3 * DOLLAR)]


async def test_a_soft_budget_that_nobody_asked_about_is_read_from_the_ledger(
    open_worker: OpenWorker, ledger: Ledger
) -> None:
    worker = await open_worker()
    principal = spender(DOLLAR, is_hard=False)
    counter = (principal.tenant_id, refs_of(principal)[0])
    ledger.spent[counter], ledger.versions[counter] = 5 * DOLLAR, 2
    view = view_of(worker)
    (before,) = await view.counters(counter[0], [counter[1]])

    async def is_live() -> bool:
        return list(await view.counters(counter[0], [counter[1]])) == [CounterState(counter[1], 5 * DOLLAR, 0)]

    await until(is_live)
    assert before == CounterState(counter[1], None, None)


async def test_holds_are_listed_oldest_first_with_whose_they_are(open_worker: OpenWorker) -> None:
    worker, other = await open_worker(), await open_worker()
    principal = spender(10 * DOLLAR)
    first = await worker.call(principal, DOLLAR)
    second = await other.call(principal, 2 * DOLLAR)
    other.finish(second, 2 * DOLLAR)
    await other.flushed()
    await worker.call(principal, DOLLAR)

    holds = await view_of(worker).holds(principal.tenant_id, refs_of(principal)[0], limit=2)

    assert [(hold.request_id, hold.worker_id, hold.amount_nano, hold.is_settled) for hold in holds] == [
        (first, worker.id, DOLLAR, False),
        (second, other.id, 2 * DOLLAR, True),
    ]
    assert (holds[0].model, holds[0].key_id) == ("gpt-4o-mini", principal.key_id)
    assert 0 <= holds[0].age_seconds < 60


@pytest.mark.parametrize("unit", [Unit.REQUESTS, Unit.INPUT_TOKENS])
async def test_a_rate_tells_what_is_left_of_its_burst(open_worker: OpenWorker, unit: Unit) -> None:
    worker = await open_worker()
    tenant_id = uuid4()
    limit = Limit(uuid4(), RuleScope(ScopeKind.TENANT, tenant_id.hex), unit, 3_600, Period.HOUR, burst=50)
    principal = make_principal(tenant_id=tenant_id, limits=(limit,))
    before = await view_of(worker).rate(tenant_id, limit, "")

    await worker.admission.admit(worker.admission.terms(principal, ASKED), uuid7())
    after = await view_of(worker).rate(tenant_id, limit, "")

    assert before == RateState(50, 0.0)
    assert after.remaining == (49 if unit is Unit.REQUESTS else 50)
    assert after.reset_seconds <= 1.0


async def test_a_limit_of_parallel_calls_tells_how_many_are_free(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    tenant_id = uuid4()
    limit = Limit(uuid4(), RuleScope(ScopeKind.TENANT, tenant_id.hex), Unit.PARALLEL, 5)
    principal = make_principal(tenant_id=tenant_id, limits=(limit,))

    await worker.admission.admit(worker.admission.terms(principal, ASKED), uuid7())

    assert (await view_of(worker).rate(tenant_id, limit, "")).remaining == 4


async def test_counters_that_are_not_trusted_are_not_shown(open_worker: OpenWorker, valkey_client: Redis) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    await worker.call(principal, DOLLAR)
    await valkey_client.hset(f"tk:{{{principal.tenant_id.hex}}}:gen", "r", "another server")

    (state,) = await view_of(worker).counters(principal.tenant_id, refs_of(principal))

    assert (state.spent_nano, state.held_nano) == (None, None)


async def test_redis_away_is_said_and_not_zero(open_worker: OpenWorker) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    worker.link.trip("cut by the test")

    with pytest.raises(DependencyUnavailable):
        await view_of(worker).counters(principal.tenant_id, refs_of(principal))
    with pytest.raises(DependencyUnavailable):
        await view_of(worker).holds(principal.tenant_id, refs_of(principal)[0], limit=5)
