"""Rollups that are wrong are found to the call and the nano-dollar, and made right beside running shippers."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.money.records import HandClock, make_intent, make_settlement
from tollkeeper.contracts.usage import LedgerKind
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import uuid7
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.days import close_days
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.domains.usage.verification import DayGone, list_verifiable, rebuild_day, verify_day

NOW = datetime.now(UTC)
TODAY = NOW.date()
YESTERDAY = TODAY - timedelta(days=1)


def at(day: date) -> UUID:
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


async def change(database: Database, statement: str) -> None:
    async with database.platform() as session:
        await session.execute(text(statement))


async def fill(sink: LedgerSink, day: date, tenants: list[UUID]) -> None:
    settlements = [
        make_settlement(make_intent(tenant_id=tenant, request_id=at(day), model=f"m{number % 3}", team_id=uuid7()))
        for number in range(10)
        for tenant in tenants
    ]
    correction = make_settlement(settlements[0].intent, kind=LedgerKind.CORRECTION, charge_nano=-5, cost_nano=-5)
    await sink.ship([*settlements, correction])


async def test_what_was_shipped_has_no_drift(sink: LedgerSink, database: Database) -> None:
    tenants = sorted([uuid7(), uuid7()])
    await fill(sink, YESTERDAY, tenants)

    found = await verify_day(database, YESTERDAY)

    assert [entry.tenant_id for entry in found] == tenants
    assert [(entry.requests, entry.requests_drift, entry.wrong_rollups) for entry in found] == [(10, 0, 0)] * 2
    assert found[0].charge_nano == 10 * 19_800 - 5
    assert YESTERDAY in await list_verifiable(database)


@pytest.mark.parametrize(
    ("plant", "drift"),
    [
        ("UPDATE usage_rollups SET charge_nano = charge_nano + 1, requests = requests - 1", (-10, 10)),
        ("DELETE FROM usage_rollups", (-10, -198_000)),
        ("UPDATE usage_rollups SET hour = hour + interval '1 hour'", (0, 0)),
        ("UPDATE usage_rollups SET reasoning_tokens = 7", (0, 0)),
        ("UPDATE usage_rollups SET team_id = gen_random_uuid()", (0, 0)),
    ],
)
async def test_planted_drift_is_found_and_repaired(
    sink: LedgerSink, database: Database, plant: str, drift: tuple[int, int]
) -> None:
    tenant = uuid7()
    settlements = [
        make_settlement(make_intent(tenant_id=tenant, request_id=at(YESTERDAY), key_id=uuid7())) for _ in range(10)
    ]
    await sink.ship(settlements)
    await fill(sink, TODAY, [tenant])
    await change(database, f"{plant} WHERE hour < '{TODAY}'")

    (wrong,) = await verify_day(database, YESTERDAY)
    (unharmed,) = await verify_day(database, TODAY)
    repaired = await rebuild_day(database, YESTERDAY)
    (right,) = await verify_day(database, YESTERDAY)

    assert (wrong.requests_drift, wrong.charge_nano_drift) == drift
    assert wrong.wrong_rollups >= 10
    assert not wrong.is_right
    assert unharmed.is_right
    assert repaired == 10
    assert (right.requests, right.charge_nano, right.wrong_rollups) == (10, 198_000, 0)
    assert await rebuild_day(database, YESTERDAY) == 0


async def test_a_day_is_rebuilt_while_shippers_write_it(sink: LedgerSink, database: Database) -> None:
    tenant, other = uuid7(), LedgerSink(database, SystemClock(), retention_days=400)
    await fill(sink, TODAY, [tenant])

    async def ship(shipper: LedgerSink) -> None:
        for _ in range(15):
            await shipper.ship(
                [make_settlement(make_intent(tenant_id=tenant, request_id=at(TODAY))) for _ in range(20)]
            )

    async def repair() -> None:
        for _ in range(6):
            await change(database, "UPDATE usage_rollups SET requests = requests + 3")
            await rebuild_day(database, TODAY)
            (found,) = await verify_day(database, TODAY)
            assert found.is_right

    await asyncio.gather(ship(sink), ship(other), repair())

    (found,) = await verify_day(database, TODAY)
    assert (found.requests, found.wrong_rollups) == (10 + 2 * 15 * 20, 0)


async def test_a_day_that_was_dropped_is_left_as_it_is(sink: LedgerSink, database: Database) -> None:
    tenant, long_ago = uuid7(), TODAY - timedelta(days=30)
    await fill(sink, long_ago, [tenant])
    async with database.owner() as session:
        await session.execute(text(f"DROP TABLE usage_logs_p{long_ago:%Y%m%d}"))

    with pytest.raises(DayGone):
        await rebuild_day(database, long_ago)

    assert await verify_day(database, long_ago) == []
    async with database.platform() as session:
        assert (await session.execute(text("SELECT sum(requests) FROM usage_rollups"))).scalar_one() == 10


def noon() -> HandClock:
    """Whatever the time is: in a day's first hour the one before is not closed yet."""
    return HandClock(datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC).timestamp())


async def read(database: Database, query: str) -> list[tuple[object, ...]]:
    async with database.platform() as session:
        return [tuple(row) for row in (await session.execute(text(query))).all()]


async def test_days_are_closed_in_order_once_they_are_over(sink: LedgerSink, database: Database) -> None:
    days = [TODAY - timedelta(days=ago) for ago in (9, 5, 1, 0)]
    for day in days:
        await fill(sink, day, [uuid7()])

    assert await close_days(database, noon()) == days[:3]
    assert await close_days(database, noon()) == []
    # What comes late for any of them, and for one between them that had nothing, is in both.
    for day in (days[1], TODAY - timedelta(days=3), TODAY - timedelta(days=12), TODAY):
        await fill(sink, day, [uuid7()])

    sums = await read(database, "SELECT day, sum(requests) FROM usage_days GROUP BY 1 ORDER BY 1")
    expected = [(12, 10), (9, 10), (5, 20), (3, 10), (1, 10)]
    assert sums == [(TODAY - timedelta(days=ago), count) for ago, count in expected]
    for day in await list_verifiable(database):
        assert all(entry.is_right for entry in await verify_day(database, day))


async def test_a_day_is_not_closed_before_its_last_calls_are_in(sink: LedgerSink, database: Database) -> None:
    await fill(sink, YESTERDAY, [uuid7()])
    clock = HandClock(datetime(TODAY.year, TODAY.month, TODAY.day, 0, 59, tzinfo=UTC).timestamp())

    assert await close_days(database, clock) == []
    clock.seconds += 60
    assert await close_days(database, clock) == [YESTERDAY]


async def test_days_are_closed_while_shippers_write_them(sink: LedgerSink, database: Database) -> None:
    tenant, other = uuid7(), LedgerSink(database, SystemClock(), retention_days=400)

    async def ship(shipper: LedgerSink) -> None:
        for number in range(24):
            day = TODAY - timedelta(days=1 + number % 6)
            await shipper.ship([make_settlement(make_intent(tenant_id=tenant, request_id=at(day))) for _ in range(5)])

    async def close() -> None:
        for _ in range(12):
            await close_days(database, noon())

    await asyncio.gather(ship(sink), ship(other), close())

    await close_days(database, noon())
    (total,) = await read(database, "SELECT sum(requests)::int FROM usage_days")
    assert total == (2 * 24 * 5,)
    for day in await list_verifiable(database):
        assert all(entry.is_right for entry in await verify_day(database, day))


@pytest.mark.parametrize(
    "plant",
    [
        "UPDATE usage_days SET requests = requests + 1",
        "UPDATE usage_days SET model = 'other' WHERE model = 'm1'",
        "DELETE FROM usage_days WHERE model = 'm1'",
        "UPDATE usage_days SET tenant_id = gen_random_uuid()",
    ],
)
async def test_a_wrong_sum_of_a_day_is_found_and_repaired(sink: LedgerSink, database: Database, plant: str) -> None:
    tenant = uuid7()
    await fill(sink, YESTERDAY, [tenant])
    await close_days(database, noon())
    await change(database, plant)

    found = await verify_day(database, YESTERDAY)
    repaired = await rebuild_day(database, YESTERDAY)

    assert not all(entry.is_right for entry in found)
    assert repaired > 0
    assert [(entry.tenant_id, entry.is_right) for entry in await verify_day(database, YESTERDAY)] == [(tenant, True)]
    assert await rebuild_day(database, YESTERDAY) == 0
