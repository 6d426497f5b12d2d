"""What dead workers held is settled once, by whoever notices, and nothing is settled for the living."""

from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from tests.money.conftest import OpenWorker
from tests.money.fleet_of_workers import DOLLAR, Hall, Ledger, Worker, counted, refs_of, spender, until
from tests.money.records import make_settlement
from tollkeeper.contracts.money import PLATFORM
from tollkeeper.gateway.money.counter_script import worker_key
from tollkeeper.gateway.money.reaper import read_records


async def die(worker: Worker, hall: Hall, witness: Worker) -> None:
    """Killed, its disk lost, and silent for so long that its beats have run out."""
    await worker.flushed()
    await worker.kill()
    hall.believed.discard(worker.id)
    await witness.link.call("DEL", worker_key(worker.id))


async def records_of(worker: Worker, space: Any) -> list[Any]:
    return [record async for record in read_records(worker.link, space)]


async def test_a_lost_workers_open_call_becomes_an_interrupted_row(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    principal = spender(10 * DOLLAR)
    request_id = await lost.call(principal, 3 * DOLLAR)
    await die(lost, hall, one)

    await one.reaper.turn()
    await one.reaper.turn()
    await one.ship()
    await one.reaper.turn()

    assert ledger.kinds == {(request_id, 1): ["interrupted"]}
    assert ledger.charges == {(request_id, 1): 3 * DOLLAR}
    assert one.reaper.state().reaped == 1


async def test_a_lost_workers_settled_call_is_charged_what_it_cost(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    principal = spender(10 * DOLLAR)
    request_id = await lost.call(principal, 3 * DOLLAR)
    lost.finish(request_id, 2 * DOLLAR)
    await die(lost, hall, one)

    await one.reaper.turn()
    await one.ship()

    assert ledger.charges == {(request_id, 1): 2 * DOLLAR}


async def test_the_true_end_of_a_call_corrects_what_was_written_for_it(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    principal = spender(10 * DOLLAR)
    request_id = await lost.call(principal, 3 * DOLLAR)
    _, intent = lost.open_calls[request_id]
    await die(lost, hall, one)
    await one.reaper.turn()
    await one.ship()

    await ledger.ship([make_settlement(intent, charge_nano=DOLLAR)])

    assert ledger.kinds == {(request_id, 1): ["interrupted", "correction"]}
    assert ledger.spent[principal.tenant_id, refs_of(principal)[0]] == DOLLAR


async def test_a_neighbour_that_is_gone_with_its_journal_is_not_waited_for(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    request_id = await lost.call(spender(10 * DOLLAR), 3 * DOLLAR)
    await lost.flushed()
    await lost.kill()
    # Its signs of life are fresh; its host knows better.
    await one.reaper.turn()
    assert one.reaper.state().reaped == 0
    hall.lost.add(lost.id)
    await one.reaper.turn()
    await one.ship()
    await one.reaper.turn()
    await one.reaper.turn()

    assert ledger.kinds == {(request_id, 1): ["interrupted"]}
    assert not hall.lost
    assert lost.id not in hall.believed


async def test_what_is_alive_by_either_sign_is_left_alone(open_worker: OpenWorker, hall: Hall, ledger: Ledger) -> None:
    one, other, third = await open_worker(), await open_worker("other"), await open_worker("third")
    principal = spender(10 * DOLLAR)
    await other.call(principal, DOLLAR)
    await third.call(principal, DOLLAR)
    await other.flushed()
    await one.link.call("DEL", worker_key(other.id))
    hall.believed.discard(third.id)

    await one.reaper.turn()
    await one.ship()

    assert not ledger.kinds
    assert await counted(one, principal) == [(0, 2 * DOLLAR)]


async def test_an_adopted_workers_records_go_at_once(open_worker: OpenWorker, hall: Hall, ledger: Ledger) -> None:
    one, dying = await open_worker(), await open_worker()
    principal = spender(10 * DOLLAR)
    await dying.call(principal, 3 * DOLLAR)
    # Admitted, and killed before it was sent.
    await dying.call(principal, DOLLAR)
    unsent = dying.open_calls.popitem()[0]
    dying.journal.void(unsent, 1)
    await dying.flushed()
    await dying.kill()

    await one.shipper.adopt()

    async def is_settled() -> bool:
        return await counted(one, principal) == [(3 * DOLLAR, 0)]

    await until(is_settled)
    assert dying.id not in hall.believed
    assert list(ledger.charges.values()) == [3 * DOLLAR]


async def test_one_row_is_written_for_a_call_that_the_platform_counts_too(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    one, lost = await open_worker(), await open_worker("lost")
    principal = spender(10 * DOLLAR)
    everyone = spender(90 * DOLLAR, tenant_id=principal.tenant_id, is_platform=True)
    both = type(principal)(
        **{
            **{name: getattr(principal, name) for name in ("tenant_id", "key_id", "user_id", "environment")},
            "permissions": principal.permissions,
            "budgets": (*principal.budgets, *everyone.budgets),
        }
    )
    request_id = await lost.call(both, 3 * DOLLAR)
    await die(lost, hall, one)

    await one.reaper.turn()
    await one.ship()

    assert ledger.charges == {(request_id, 1): 3 * DOLLAR}
    assert ledger.spent == {
        (principal.tenant_id, refs_of(principal)[0]): 3 * DOLLAR,
        (PLATFORM, refs_of(both, is_platform=True)[0]): 3 * DOLLAR,
    }


async def test_what_was_said_and_lost_on_its_way_is_cleared_away(
    open_worker: OpenWorker, hall: Hall, ledger: Ledger
) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR)
    request_id = await worker.call(principal, 3 * DOLLAR)
    hold, _ = worker.open_calls[request_id]
    worker.admission.registry._holds.clear()
    holds = b"tk:{%b}:holds" % principal.tenant_id.hex.encode()
    record = (await records_of(worker, principal.tenant_id))[0]
    long_ago = record.since_ms - 200_000
    old = f"{record.amount_nano} h 0 {worker.id.hex} {long_ago} {record.refs[0]} ".encode()
    await worker.link.call("HSET", holds, hold.request_id.hex, old)
    await worker.link.call("HSET", holds, uuid4().hex, f"0 x 0 {worker.id.hex} {long_ago} - ")

    await worker.reaper.turn()

    assert await records_of(worker, principal.tenant_id) == []
    assert await counted(worker, principal) == [(0, 0)]


async def test_counters_that_nobody_needs_are_swept_and_no_others(
    open_worker: OpenWorker, valkey_client: Redis
) -> None:
    worker = await open_worker()
    principal = spender(10 * DOLLAR, 20 * DOLLAR)
    over, held = (f"tk:{{{principal.tenant_id.hex}}}:b:{ref}" for ref in refs_of(principal))
    current = over + "later"
    worker.finish(await worker.call(principal, DOLLAR), DOLLAR)
    await worker.ship()
    await worker.flushed()
    await valkey_client.hset(over, "u", 1)
    await valkey_client.hset(held, mapping={"u": 1, "h": 5})
    epoch = await valkey_client.hget(over, "e") or b""
    await valkey_client.hset(current, mapping={"e": epoch, "u": 9_000_000_000_000, "h": 0})

    swept = await worker.reaper.sweep()

    assert swept == 1
    assert [await valkey_client.exists(key) for key in (over, held, current)] == [0, 1, 1]
