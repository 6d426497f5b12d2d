"""Counters of budgets that are wrong are found to the nano-dollar, and made right beside running shippers."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.money.records import make_intent, make_settlement
from tollkeeper.contracts.money import PLATFORM, counter_ref
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import Budget
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.partitions import drop_expired
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.domains.usage.spend import backfill
from tollkeeper.domains.usage.spend_verification import rebuild_spend, verify_spend

NOW = datetime.now(UTC)
TENANT = uuid7()


def at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


async def change(database: Database, statement: str) -> None:
    async with database.platform() as session:
        await session.execute(text(statement))


async def fill(sink: LedgerSink, *refs: str, moment: datetime = NOW, count: int = 10) -> None:
    await sink.ship(
        [
            make_settlement(
                make_intent(tenant_id=TENANT, budgets=refs, request_id=at(moment)), cost_nano=3, charge_nano=5
            )
            for _ in range(count)
        ]
    )


async def test_what_was_shipped_or_backfilled_has_no_drift(sink: LedgerSink, database: Database) -> None:
    ref, other = counter_ref(uuid7(), 0), counter_ref(uuid7(), 0, "alice")
    await fill(sink, ref, other, "@" + ref)
    async with database.platform() as session:
        await backfill(session, TENANT, ref, 1_000)

    found = await verify_spend(database)

    assert (found.counters, found.not_verifiable, found.wrong) == (3, 0, [])
    assert await rebuild_spend(database) == 0


@pytest.mark.parametrize(
    ("plant", "drifts"),
    [
        ("UPDATE budget_spend SET spent_nano = spent_nano + 1", [1, 1]),
        ("UPDATE budget_spend SET spent_nano = 0 WHERE subject = 'alice'", [-50]),
        ("UPDATE budget_spend SET ref = ref || 'x', subject = subject || 'x' WHERE subject = 'alice'", [-50, 50]),
        ("UPDATE budget_spend SET spent_nano = spent_nano - 7 WHERE backfill_nano > 0", [-7]),
    ],
)
async def test_planted_drift_is_found_and_repaired(
    sink: LedgerSink, database: Database, plant: str, drifts: list[int]
) -> None:
    budget = uuid7()
    await fill(sink, counter_ref(budget, 0), counter_ref(budget, 0, "alice"))
    async with database.platform() as session:
        await backfill(session, TENANT, counter_ref(budget, 0), 1_000)
    await change(database, plant)

    wrong = (await verify_spend(database)).wrong
    repaired = await rebuild_spend(database)

    assert sorted(drift.drift_nano for drift in wrong) == sorted(drifts)
    assert repaired == len(drifts)
    assert (await verify_spend(database)).wrong == []
    # Whoever counts takes the repaired figure for the newer one.
    (spend,) = await sink.ship([make_settlement(make_intent(tenant_id=TENANT, budgets=(counter_ref(budget, 0),)))])
    assert (spend.spent_nano, spend.version >= 3) == (1_050 + 19_800, True)


async def test_counters_are_rebuilt_while_shippers_grow_them(sink: LedgerSink, database: Database) -> None:
    ref, other = counter_ref(uuid7(), 0), LedgerSink(database, SystemClock(), retention_days=400)
    await fill(sink, ref)

    async def ship(shipper: LedgerSink) -> None:
        for _ in range(15):
            await fill(shipper, ref, "@" + ref, count=20)

    async def repair() -> None:
        for _ in range(6):
            await change(database, "UPDATE budget_spend SET spent_nano = spent_nano + 3")
            await rebuild_spend(database)
            assert (await verify_spend(database)).wrong == []

    await asyncio.gather(ship(sink), ship(other), repair())

    assert (await verify_spend(database)).wrong == []
    async with database.platform() as session:
        spent = (await session.execute(text("SELECT tenant_id, spent_nano FROM budget_spend"))).all()
    assert {row.tenant_id: row.spent_nano for row in spent} == {TENANT: 5 * 610, PLATFORM: 3 * 600}


async def test_counters_whose_calls_are_gone_are_left_as_they_are(sink: LedgerSink, database: Database) -> None:
    young = uuid7()
    async with database.platform() as session:
        await session.execute(
            text("INSERT INTO tenants (id, name, slug) VALUES (:id, 'spending', 'spending')"), {"id": TENANT}
        )
    async with database.platform() as session:
        session.add(
            Budget(id=young, tenant_id=TENANT, scope="tenant", amount_nano=1, window_kind="total", counts_from=0)
        )
    old_total = counter_ref(uuid7(), 0)
    this_week = counter_ref(uuid7(), int((NOW - timedelta(days=5)).timestamp()))
    await fill(sink, old_total, moment=NOW - timedelta(days=20))
    await fill(sink, old_total, this_week, counter_ref(young, 0))
    async with database.platform() as session:
        await drop_expired(session, 10)
    await change(database, "UPDATE budget_spend SET spent_nano = spent_nano + 1")

    found = await verify_spend(database)

    assert (found.counters, found.not_verifiable) == (2, 1)
    assert {drift.ref for drift in found.wrong} == {this_week, counter_ref(young, 0)}
    assert await rebuild_spend(database) == 2
    async with database.platform() as session:
        kept = (
            await session.execute(text("SELECT spent_nano FROM budget_spend WHERE ref = :ref"), {"ref": old_total})
        ).scalar_one()
    assert kept == 101
