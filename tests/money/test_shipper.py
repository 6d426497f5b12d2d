import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from tests.money.records import CountingLedger, HandClock, make_intent, make_settlement
from tollkeeper.contracts.money import Spend
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import SystemClock
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_replay import adopt, list_journals
from tollkeeper.gateway.money.shipper import Shipper

SEGMENT = 64 * 1024


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(
        tmp_path, host="host", clock=SystemClock(), max_bytes=64 * SEGMENT, segment_bytes=SEGMENT, memory_settlements=50
    )
    yield opened
    opened.close()


@pytest.fixture
def ledger() -> CountingLedger:
    return CountingLedger()


@pytest.fixture
def shipper(journal: Journal, ledger: CountingLedger, tmp_path: Path) -> Shipper:
    return Shipper(journal, ledger, SystemClock(), directory=tmp_path, interval_seconds=0.001)


def settle_many(journal: Journal, count: int) -> list[Settlement]:
    settlements = [make_settlement() for _ in range(count)]
    for settlement in settlements:
        journal.intent(settlement.intent)
        journal.settle(settlement)
    return settlements


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)


async def test_settlements_reach_the_ledger_and_leave_the_disk(
    journal: Journal, shipper: Shipper, ledger: CountingLedger
) -> None:
    settlements = settle_many(journal, 300)

    assert await shipper.drain(5)

    assert {row.intent.request_id for row in ledger.rows.values()} == {row.intent.request_id for row in settlements}
    assert journal.state().segments == 1
    assert not journal.has_pending


async def test_what_memory_did_not_hold_is_read_back_as_it_was(
    journal: Journal, shipper: Shipper, ledger: CountingLedger
) -> None:
    settlements = settle_many(journal, 120)

    await shipper.drain(5)

    shipped = {row.intent.request_id: row for row in ledger.rows.values()}
    assert [shipped[entry.intent.request_id] for entry in settlements] == settlements


class StalledLedger(CountingLedger):
    """Takes the rows and never says so, the first time."""

    stalls = True

    async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
        await super().ship(settlements)
        if self.stalls:
            self.stalls = False
            await asyncio.Event().wait()
        return ()


async def test_a_stalled_ledger_is_given_up_and_asked_again(journal: Journal, tmp_path: Path) -> None:
    ledger = StalledLedger()
    shipper = Shipper(journal, ledger, SystemClock(), directory=tmp_path, interval_seconds=0.001, ship_seconds=0.05)
    settle_many(journal, 3)

    assert await shipper.drain(5)

    assert ledger.batches == [3, 3]
    assert len(ledger.rows) == 3


async def test_what_is_settled_while_others_are_shipped_gathers(journal: Journal, tmp_path: Path) -> None:
    class BusyLedger(CountingLedger):
        async def ship(self, settlements: Sequence[Settlement]) -> Sequence[Spend]:
            await super().ship(settlements)
            if len(self.batches) == 1:
                settle_many(journal, 1)
                asyncio.get_running_loop().call_soon(settle_many, journal, 1)
            return ()

    ledger = BusyLedger()
    task = asyncio.create_task(Shipper(journal, ledger, SystemClock(), directory=tmp_path, interval_seconds=0.01).run())
    settle_many(journal, 3)
    await until(lambda: len(ledger.rows) == 5)

    assert ledger.batches == [3, 2]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_an_absent_ledger_loses_nothing(journal: Journal, shipper: Shipper, ledger: CountingLedger) -> None:
    ledger.is_away = True
    task = asyncio.create_task(shipper.run())
    settlements = settle_many(journal, 80)
    await until(lambda: shipper.state().failing_since is not None)
    settlements += settle_many(journal, 80)

    ledger.is_away = False
    await until(lambda: len(ledger.rows) == len(settlements))
    await until(lambda: shipper.state().failing_since is None)

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_drain_against_an_absent_ledger_ends_in_time(
    journal: Journal, shipper: Shipper, ledger: CountingLedger
) -> None:
    ledger.is_away = True
    settle_many(journal, 3)

    assert not await shipper.drain(0.05)
    assert journal.has_pending


async def test_one_settlement_that_cannot_be_stored_holds_up_no_other(
    journal: Journal, shipper: Shipper, ledger: CountingLedger, tmp_path: Path
) -> None:
    settlements = settle_many(journal, 40)
    poison = settlements[17].intent.request_id
    ledger.refuses = frozenset({poison})

    assert await shipper.drain(5)

    assert len(ledger.rows) == 39
    assert shipper.state().rejected == 1
    ((intent, _),) = [orjson.loads(line) for line in (tmp_path / "rejected.jsonl").read_bytes().splitlines()]
    assert intent[0] == str(poison)


async def test_two_replayers_never_take_the_same_journal(tmp_path: Path, ledger: CountingLedger) -> None:
    dead = Journal(tmp_path, host="host", clock=HandClock(), max_bytes=64 * SEGMENT)
    dead.intent(make_intent())
    settle_many(dead, 5)
    dead.close()
    (path,) = list_journals(tmp_path)

    with adopt(path) as first, adopt(path) as second:
        assert first is not None
        assert second is None

    with adopt(path) as late:
        assert late is not None
        late.remove()
    with adopt(path) as too_late:
        assert too_late is None


async def test_a_replayer_that_fails_leaves_its_work_to_the_next(
    journal: Journal, shipper: Shipper, ledger: CountingLedger, tmp_path: Path
) -> None:
    dead = Journal(tmp_path, host="gone", clock=HandClock(), max_bytes=64 * SEGMENT)
    open_intent = make_intent()
    dead.intent(open_intent)
    settlements = settle_many(dead, 5)
    dead.close()
    ledger.is_away = True
    task = asyncio.create_task(shipper.run())
    await until(lambda: shipper.state().failing_since is not None)

    ledger.is_away = False
    await until(lambda: len(ledger.rows) == len(settlements) + 1)

    await until(lambda: len(list_journals(tmp_path)) == 1)
    assert shipper.state().interrupted == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
