"""What of a budget is spent, held and left, how fast it goes, and for which calls money is held.

Live figures come from the counters in Redis. Redis away: what the ledger has, without what is held, and `is_live` says so.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import PLATFORM, Budget, counter_ref
from tollkeeper.contracts.ports import CounterState, CounterView, OpenHold
from tollkeeper.contracts.windows import FOREVER, bounds, previous
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.money import format_usd
from tollkeeper.db.models import Budget as BudgetRow
from tollkeeper.domains.budgets import repository
from tollkeeper.domains.budgets.schemas import BudgetStatus, Forecast, HoldView, SubjectSpend
from tollkeeper.domains.limits.service import Viewer, budget_of, counted_subject, counts_apart, shown_subject

# Of one answer.
MOST_HOLDS: Final = 1000
_SHOWN_HOLDS: Final = 20
_SHOWN_SUBJECTS: Final = 20
_HOUR: Final = timedelta(hours=1)
# A mean over less says nothing.
_SHORTEST: Final = timedelta(minutes=1)


class BudgetReports:
    def __init__(self, counters: CounterView) -> None:
        self._counters = counters

    async def status(
        self,
        session: AsyncSession,
        row: BudgetRow,
        now: datetime,
        viewer: Viewer,
        *,
        subject: str | None,
        model: str | None,
    ) -> BudgetStatus:
        budget = budget_of(row)
        start, end = bounds(budget.window, now.timestamp())
        counted = counted_subject(budget, subject, model)
        viewer.check(subject, counted)
        refs = [] if counted is None else [counter_ref(budget.id, start, counted)]
        state = await self._state(row.tenant_id, refs[0]) if refs else None
        spent = None if state is None else state.spent_nano
        if spent is None:
            spent = (
                await repository.spent_in_ledger(session, row.tenant_id, refs[0])
                if refs
                else await repository.sum_of_window(session, row.tenant_id, row.id, start)
            )
        held = None if state is None else state.held_nano
        amount = await self._amount(session, row, budget, start, counted, now)
        remaining = None if counted is None else max(0, amount - spent - (held or 0))
        burn = await repository.spent_lately(session, row.tenant_id, row.id, refs, now)
        return BudgetStatus(
            id=row.id,
            subject=shown_subject(budget.scope.kind, counted or ""),
            window_start=None if end == FOREVER else _time(start),
            window_end=None if end == FOREVER else _time(end),
            amount_usd=format_usd(amount),
            spent_usd=format_usd(spent),
            held_usd=None if held is None else format_usd(held),
            remaining_usd=None if remaining is None else format_usd(remaining),
            is_live=counted is None or held is not None,
            burn_rate_usd_per_hour=format_usd(burn),
            forecast=_forecast(budget, spent, remaining, burn, start, end, now),
            thresholds_passed=[] if counted is None else [p for p in row.thresholds if spent * 100 >= p * amount],
            holds=[] if not refs else await self.holds(row.tenant_id, refs[0], viewer, limit=_SHOWN_HOLDS),
            subjects=await self._subjects(session, row, budget, start, viewer),
        )

    async def holds_page(
        self,
        row: BudgetRow,
        now: datetime,
        viewer: Viewer,
        *,
        subject: str | None,
        model: str | None,
        after: UUID | None,
        limit: int,
    ) -> Sequence[HoldView]:
        """In the order of their request ids, so about the oldest first."""
        budget = budget_of(row)
        counted = counted_subject(budget, subject, model)
        viewer.check(subject, counted)
        if counted is None:
            return []
        ref = counter_ref(budget.id, bounds(budget.window, now.timestamp())[0], counted)
        holds = sorted(await self.holds(row.tenant_id, ref, viewer, limit=MOST_HOLDS), key=lambda hold: hold.request_id)
        return [hold for hold in holds if after is None or hold.request_id > after][:limit]

    async def holds(self, tenant_id: UUID | None, ref: str, viewer: Viewer, *, limit: int) -> list[HoldView]:
        """None while Redis is away."""
        try:
            found = await self._counters.holds(
                tenant_id or PLATFORM, ref, limit=limit if viewer.own is None else MOST_HOLDS
            )
        except DependencyUnavailable:
            return []
        return [_show(hold) for hold in found if (viewer.own is None or hold.key_id in viewer.own)][:limit]

    async def _state(self, tenant_id: UUID | None, ref: str) -> CounterState | None:
        try:
            states = await self._counters.counters(tenant_id or PLATFORM, [ref])
        except DependencyUnavailable:
            return None
        return states[0] if states else None

    async def _amount(
        self, session: AsyncSession, row: BudgetRow, budget: Budget, start: int, counted: str | None, now: datetime
    ) -> int:
        """In force now."""
        amount = budget.amount_nano
        if budget.increase_until is not None and budget.increase_until > now.timestamp():
            amount += budget.increase_nano
        earlier = previous(budget.window, start)
        if not budget.rolls_over or earlier is None or counted is None or start <= budget.counts_from:
            return amount
        spent = await repository.spent_in_ledger(session, row.tenant_id, counter_ref(budget.id, earlier[0], counted))
        return amount + max(0, budget.amount_nano - spent)

    async def _subjects(
        self, session: AsyncSession, row: BudgetRow, budget: Budget, start: int, viewer: Viewer
    ) -> list[SubjectSpend]:
        if not (counts_apart(budget.scope) or budget.is_per_model):
            return []
        most = _SHOWN_SUBJECTS if viewer.own is None else MOST_HOLDS
        found = await repository.subjects_of(session, row.tenant_id, row.id, start, limit=most)
        return [
            SubjectSpend(subject=shown_subject(budget.scope.kind, subject), spent_usd=format_usd(nano))
            for subject, nano in found
            if viewer.sees_subject(subject)
        ][:_SHOWN_SUBJECTS]


def _forecast(
    budget: Budget, spent: int, remaining: int | None, burn: int, start: int, end: int, now: datetime
) -> Forecast:
    runs_out = None
    if remaining is not None and burn > 0:
        seconds = remaining * int(_HOUR.total_seconds()) // burn
        if now.timestamp() + seconds < end:
            runs_out = now + timedelta(seconds=seconds)
    if end == FOREVER:
        return Forecast(runs_out_at=runs_out, window_usd=None)
    began = max(start, budget.counts_from)
    elapsed = max(int(now.timestamp()) - began, int(_SHORTEST.total_seconds()))
    rest = max(0, end - int(now.timestamp()))
    return Forecast(runs_out_at=runs_out, window_usd=format_usd(spent + spent * rest // elapsed))


def _show(hold: OpenHold) -> HoldView:
    return HoldView(
        request_id=hold.request_id,
        amount_usd=format_usd(hold.amount_nano),
        age_seconds=hold.age_seconds,
        owner=hold.worker_id.hex,
        key_id=hold.key_id,
        model=hold.model,
        is_settled=hold.is_settled,
    )


def _time(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, tz=UTC)
