"""Whether `budget_spend` is what the ledger's rows add up to, and how to make it so again. Works beside running gateways.

Rows and what they spend are written in one transaction, so one statement sees both or neither. Where rows that may name
a counter were dropped with their days, what it has spent is all that is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import read_counter_ref
from tollkeeper.db.session import Database
from tollkeeper.domains.usage.partitions import dropped_through
from tollkeeper.domains.usage.rollup import spent_from

_STATEMENT_MS: Final = "600000"
_ROWS: Final = (
    "(SELECT * FROM usage_logs WHERE budgets IS NOT NULL UNION ALL SELECT * FROM usage_late WHERE budgets IS NOT NULL) "
    "AS ledger"
)
# No row names a budget before it is made, and a call's day is at most the one before it was admitted.
_FIRST_DAY: Final = "(greatest(window_start, coalesce(budgets.created_at, window_start)) AT TIME ZONE 'UTC')::date - 1"
_COMPARE: Final = text(f"""
    WITH compared AS (
        SELECT tenant_id, ref, coalesce(truth.nano, 0) + coalesce(backfill_nano, 0) AS nano,
               coalesce(spent_nano, 0) AS spent_nano,
               coalesce(window_start, to_timestamp(split_part(ref, ':', 2)::bigint)) AS window_start,
               coalesce(budget_id, split_part(ref, ':', 1)::uuid) AS budget_id
        FROM ({spent_from(_ROWS)}) AS truth FULL JOIN budget_spend USING (tenant_id, ref)
    ), judged AS (
        SELECT compared.*, CAST(:dropped AS date) IS NULL OR {_FIRST_DAY} > CAST(:dropped AS date) AS is_kept
        FROM compared LEFT JOIN budgets ON budgets.id = budget_id
    )
    SELECT NULL::uuid AS tenant_id, NULL AS ref, NULL::timestamptz AS window_start,
           count(*) FILTER (WHERE is_kept) AS nano, count(*) FILTER (WHERE NOT is_kept) AS spent_nano
    FROM judged
    UNION ALL
    SELECT tenant_id, ref, window_start, nano, spent_nano FROM judged WHERE is_kept AND nano <> spent_nano
    ORDER BY 1 NULLS FIRST, 2
""")  # noqa: S608 - names of our own
_REPAIR: Final = text("""
    INSERT INTO budget_spend AS spend (tenant_id, ref, budget_id, window_start, subject, spent_nano, version)
    VALUES (:tenant_id, :ref, :budget_id, :window_start, :subject, :nano, 1)
    ON CONFLICT (tenant_id, ref) DO UPDATE
    SET spent_nano = excluded.spent_nano, version = spend.version + 1, updated_at = now()
""")


@dataclass(frozen=True, slots=True)
class Drift:
    """One counter. The drift is what it says too much of, below zero too little."""

    tenant_id: UUID
    ref: str
    window_start: datetime
    nano: int
    drift_nano: int


@dataclass(frozen=True, slots=True)
class VerifiedSpend:
    counters: int
    # Some of their rows are gone.
    not_verifiable: int
    wrong: Sequence[Drift]


async def verify_spend(database: Database) -> VerifiedSpend:
    """Reads every row that names a budget."""
    async with database.platform() as session:
        return await _compare(session)


async def rebuild_spend(database: Database) -> int:
    """Make counters what the rows add up to; how many were wrong. Live ones follow with the next call they count.

    Shippers wait for it, if anything is wrong; what they hold is added to the right sums afterwards.
    """
    if not (await verify_spend(database)).wrong:
        return 0
    async with database.platform() as session:
        # From here on nobody adds to a counter. The statements below see every row that was counted before.
        await session.execute(text("LOCK TABLE budget_spend IN SHARE ROW EXCLUSIVE MODE"))
        wrong = (await _compare(session)).wrong
        for drift in wrong:
            budget_id, _, subject = read_counter_ref(drift.ref)
            values: dict[str, Any] = {"tenant_id": drift.tenant_id, "ref": drift.ref, "nano": drift.nano}
            values |= {"budget_id": budget_id, "window_start": drift.window_start, "subject": subject}
            await session.execute(_REPAIR, values)
        return len(wrong)


async def _compare(session: AsyncSession) -> VerifiedSpend:
    await session.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": _STATEMENT_MS})
    counts, *rows = (await session.execute(_COMPARE, {"dropped": await dropped_through(session)})).all()
    wrong = [Drift(row.tenant_id, row.ref, row.window_start, row.nano, row.spent_nano - row.nano) for row in rows]
    return VerifiedSpend(counters=counts.nano, not_verifiable=counts.spent_nano, wrong=wrong)
