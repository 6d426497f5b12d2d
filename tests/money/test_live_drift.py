"""Live counters are held against the ledger and the records beside them, and what is wrong is told and built anew."""

from uuid import uuid4

import pytest

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import DOLLAR, Ledger, counted, refs_of, spender
from tollkeeper.gateway.money.live_drift import count_anew, verify_live
from tollkeeper.gateway.money.terms import counter_key


async def test_counters_of_open_shipped_and_unshipped_calls_agree(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    principals = [spender(10 * DOLLAR, 20 * DOLLAR), spender(10 * DOLLAR)]
    for principal in principals:
        worker.finish(await worker.call(principal, 3 * DOLLAR), 2 * DOLLAR)
        await worker.ship()
        worker.finish(await worker.call(principal, 3 * DOLLAR), DOLLAR)
        await worker.call(principal, DOLLAR)
    await worker.flushed()

    found = await verify_live(worker.link, ledger, pause_seconds=0.01)

    assert (found.counters, found.uncounted, found.wrong) == (3, 0, [])
    # The second of the first tenant was shipped with the first of the other.
    assert (found.open_calls, found.unshipped_calls) == (2, 1)


@pytest.mark.parametrize(("field", "drifts"), [("b", (5, 0)), ("h", (0, 5))])
async def test_what_differs_is_told_and_is_right_again_once_it_is_built_anew(
    open_worker: OpenWorker, ledger: Ledger, field: str, drifts: tuple[int, int]
) -> None:
    worker = await open_worker()
    principal, other = spender(10 * DOLLAR), spender(10 * DOLLAR)
    worker.finish(await worker.call(principal, 3 * DOLLAR), 2 * DOLLAR)
    await worker.ship()
    await worker.call(principal, 3 * DOLLAR)
    await worker.call(other, DOLLAR)
    await worker.flushed()
    (ref,) = refs_of(principal)
    await worker.link.call("HINCRBY", counter_key(principal.tenant_id, ref), field, 5)

    (drift,) = (await verify_live(worker.link, ledger, pause_seconds=0.01)).wrong

    assert (drift.tenant_id, drift.ref) == (principal.tenant_id, ref)
    assert (drift.base_drift_nano, drift.held_drift_nano) == drifts
    await count_anew(worker.link, {drift.tenant_id})
    assert (await verify_live(worker.link, ledger, pause_seconds=0.01)).uncounted == 1
    await worker.call(principal, DOLLAR)
    await worker.flushed()
    assert await counted(worker, principal) == [(2 * DOLLAR, 4 * DOLLAR)]
    assert (await verify_live(worker.link, ledger, pause_seconds=0.01)).wrong == []


async def test_where_nothing_is_counted_nothing_differs(open_worker: OpenWorker, ledger: Ledger) -> None:
    worker = await open_worker()
    await worker.link.call("HSET", counter_key(uuid4(), f"{uuid4().hex}:0:"), "e", "9", "h", "7")
    found = await verify_live(worker.link, ledger, pause_seconds=0.01)
    assert (found.counters, found.uncounted, found.wrong) == (0, 1, [])
