"""Making, changing and removing budgets.

A budget counts from when it was made, or, with `backfill`, what its present window has cost before as well. Lowering it
below what is spent admits nothing until the next window; removing it leaves what is held to be settled.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.windows import bounds
from tollkeeper.core import events
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import MalformedPayload
from tollkeeper.core.ids import format_id
from tollkeeper.core.money import MAX_USD, format_usd, nano_from_usd, usd_from_nano
from tollkeeper.db.models import Budget
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.budgets.backfill import backfill_counters
from tollkeeper.domains.budgets.schemas import BudgetCreate, BudgetUpdate, BudgetView
from tollkeeper.domains.limits import service as rules
from tollkeeper.domains.limits.service import budget_of
from tollkeeper.web.caller import Caller


class Budgets:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID | None, wanted: BudgetCreate
    ) -> Budget:
        now = self._clock.now()
        values = wanted.columns()
        self._check_increase(values)
        start, _ = bounds(wanted.terms, now.timestamp())
        row = Budget(
            **rules.placed(tenant_id, wanted),
            **values,
            is_per_model=wanted.is_per_model,
            counts_from=start if wanted.backfill else int(now.timestamp()),
        )
        await rules.add(session, tenant_id, row, wanted.scope)
        if wanted.backfill:
            await backfill_counters(session, budget_of(row), tenant_id, start)
        tenant = rules.audited(caller, row)
        await audit.record(session, caller, "budgets.create", "budget", _id(row), None, facts(row), tenant_id=tenant)
        await events.emit(session, tenant, events.BudgetCreated(row.id, row.scope))
        await rules.announce_rule(session, row)
        return row

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        budget_id: UUID,
        changed: BudgetUpdate,
        if_match: frozenset[int] | None,
    ) -> Budget:
        row = await rules.get_for_change(session, caller, Budget, budget_id, if_match)
        before = facts(row)
        values = changed.changes()
        if row.window_kind == "total" and values.get("rolls_over"):
            raise MalformedPayload("The window 'total' has none after it to roll over to.", param="rolls_over")
        stored = {name: getattr(row, name) for name in ("amount_nano", "increase_nano", "increase_until")}
        if stored.keys() & values.keys():
            # An increase that is over stays as it was; only a new one has to end in the future.
            self._check_increase({**stored, **values}, is_new="increase_until" in values)
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        old, new = audit.changes(before, facts(row))
        if not new:
            return row
        await session.flush()
        tenant = rules.audited(caller, row)
        await audit.record(session, caller, "budgets.update", "budget", _id(row), old, new, tenant_id=tenant)
        await events.emit(session, tenant, events.BudgetChanged(row.id, sorted(new)))
        await rules.announce_rule(session, row)
        return row

    async def delete(
        self, session: AsyncSession, caller: Caller, budget_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        row = await rules.get_for_change(session, caller, Budget, budget_id, if_match)
        await session.delete(row)
        await session.flush()
        tenant = rules.audited(caller, row)
        await audit.record(session, caller, "budgets.delete", "budget", _id(row), facts(row), None, tenant_id=tenant)
        await events.emit(session, tenant, events.BudgetDeleted(row.id))
        await rules.announce_rule(session, row)

    def _check_increase(self, values: Mapping[str, Any], *, is_new: bool = True) -> None:
        amount, until = values.get("increase_nano") or 0, values.get("increase_until")
        if bool(amount) != (until is not None):
            raise MalformedPayload("Send increase_usd together with increase_until.", param="increase_until")
        if is_new and until is not None and until <= self._clock.now():
            raise MalformedPayload("increase_until lies in the past.", param="increase_until")
        if values["amount_nano"] + amount > nano_from_usd(MAX_USD):
            raise MalformedPayload(f"Amount and increase are at most ${MAX_USD:,} together.", param="increase_usd")


async def count_whole_month(session: AsyncSession, row: Budget, now: datetime) -> None:
    """For a tenant's `monthly_budget`, made a moment ago: what its month has cost so far counts."""
    budget = budget_of(row)
    start, _ = bounds(budget.window, now.timestamp())
    row.counts_from = start
    await session.flush()
    await backfill_counters(session, budget_of(row), row.tenant_id, start)


def view(row: Budget) -> BudgetView:
    return BudgetView.model_validate(
        {
            **facts(row),
            **rules.common(row),
            "id": row.id,
            "amount_usd": usd_from_nano(row.amount_nano),
            "increase_usd": usd_from_nano(row.increase_nano) if row.increase_nano else None,
            "counts_from": datetime.fromtimestamp(row.counts_from, tz=UTC),
        }
    )


def facts(row: Budget) -> dict[str, Any]:
    """What the audit trail keeps of a budget."""
    return {
        **rules.rule_facts(row),
        "amount_usd": format_usd(row.amount_nano),
        "window": row.window_kind,
        "time_zone": row.time_zone,
        "anchor": None if row.anchor is None else datetime.fromtimestamp(row.anchor, tz=UTC),
        "window_seconds": row.seconds,
        "mode": "hard" if row.is_hard else "soft",
        "increase_usd": format_usd(row.increase_nano) if row.increase_nano else None,
        "increase_until": row.increase_until,
        "rolls_over": row.rolls_over,
        "refusal_status": row.refusal_status,
        "thresholds": list(row.thresholds),
    }


def _id(row: Budget) -> str:
    return format_id("bud", row.id)
