"""What budgets have spent according to the ledger: grown with its rows in their transaction, read by whoever counts.

A counter is a tenant and a `counter_ref`; those of the platform are under the tenant PLATFORM, without the `@` by which
rows tell them apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM, Spend, read_counter_ref
from tollkeeper.contracts.usage import Settlement
from tollkeeper.db.session import Database

Counter = tuple[UUID, str]

DEADLINE_SECONDS: Final = 0.5
_OF_PLATFORM: Final = "@"
# The lock on a counter is held until the end of the transaction: everyone takes them in this order.
_GROW: Final = """
    WITH grown AS (
        INSERT INTO budget_spend AS spend (tenant_id, ref, budget_id, window_start, subject, spent_nano, version)
        SELECT tenant_id, ref, budget_id, to_timestamp(window_start), subject, nano, 1
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[])
            AS given (tenant_id, ref, budget_id, window_start, subject, nano)
        ORDER BY tenant_id, ref
        ON CONFLICT (tenant_id, ref) DO UPDATE
        SET spent_nano = spend.spent_nano + excluded.spent_nano, version = spend.version + 1, updated_at = now()
        RETURNING *
    )
    SELECT grown.tenant_id, ref, subject, window_start, spent_nano, grown.version, notified, budget_id,
           thresholds, amount_nano, increase_nano, increase_until, rolls_over, window_kind, time_zone, anchor, seconds,
           counts_from
    FROM grown LEFT JOIN budgets ON budgets.id = budget_id
"""
_READ: Final = """
    SELECT tenant_id, ref, spent_nano, version FROM budget_spend
    WHERE (tenant_id, ref) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
"""
_LOOK_UP: Final = text(
    "SELECT ref, spent_nano, version FROM budget_spend WHERE tenant_id = :tenant_id AND ref = ANY(:refs)"
)


def counters_of(settlements: Iterable[Settlement]) -> set[Counter]:
    """Those the settlements name."""
    return {
        (PLATFORM, ref[1:]) if ref.startswith(_OF_PLATFORM) else (settlement.intent.tenant_id, ref)
        for settlement in settlements
        for ref in settlement.intent.budgets
    }


async def grow(connection: asyncpg.Connection, sums: Mapping[Counter, int]) -> list[asyncpg.Record]:
    """Add to what counters have spent; each as it is then, with its budget's terms, where there is one still.

    Raises ValueError for a reference that names no counter.
    """
    rows = [(*counter, *read_counter_ref(counter[1]), nano) for counter, nano in sorted(sums.items())]
    tenants, refs, budgets, starts, subjects, nanos = zip(*rows, strict=True)
    grown: list[asyncpg.Record] = await connection.fetch(_GROW, tenants, refs, budgets, starts, subjects, nanos)
    return grown


async def read(connection: asyncpg.Connection, counters: Sequence[Counter]) -> list[Spend]:
    """Inside the transaction of `grow`, but of other counters."""
    tenants, refs = zip(*counters, strict=True)
    found = {spend[:2]: spend for spend in await connection.fetch(_READ, tenants, refs)}
    return [spend_of(found[counter]) if counter in found else Spend(*counter, 0, 0) for counter in counters]


def spend_of(row: Any) -> Spend:
    return Spend(row["tenant_id"], row["ref"], row["spent_nano"], row["version"])


class SqlSpend:
    """The `SpendSource` of this system."""

    def __init__(self, database: Database, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._database = database
        self._deadline_seconds = deadline_seconds

    async def read(self, tenant_id: UUID, refs: Sequence[str]) -> Sequence[Spend]:
        async with self._database.lookup(deadline_seconds=self._deadline_seconds) as session:
            rows = (await session.execute(_LOOK_UP, {"tenant_id": tenant_id, "refs": list(refs)})).all()
        found = {row.ref: Spend(tenant_id, row.ref, row.spent_nano, row.version) for row in rows}
        return [found.get(ref) or Spend(tenant_id, ref, 0, 0) for ref in refs]


async def backfill(session: AsyncSession, tenant_id: UUID, ref: str, nano: int) -> None:
    """What was spent before the budget was made, which no row names. Once for a counter."""
    budget_id, start, subject = read_counter_ref(ref)
    await session.execute(
        text("""
            INSERT INTO budget_spend AS spend
                (tenant_id, ref, budget_id, window_start, subject, spent_nano, backfill_nano, version)
            VALUES (:tenant_id, :ref, :budget_id, to_timestamp(:start), :subject, :nano, :nano, 1)
            ON CONFLICT (tenant_id, ref) DO UPDATE
            SET spent_nano = spend.spent_nano - spend.backfill_nano + excluded.backfill_nano,
                backfill_nano = excluded.backfill_nano, version = spend.version + 1, updated_at = now()
        """),
        {"tenant_id": tenant_id, "ref": ref, "budget_id": budget_id, "start": start, "subject": subject, "nano": nano},
    )
