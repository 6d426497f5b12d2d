"""What of a limit is left at this moment. Redis away: the terms alone, and `is_live` says so."""

from uuid import UUID

from tollkeeper.contracts.money import PLATFORM, Limit, Unit
from tollkeeper.contracts.ports import CounterView
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.domains.limits.counted import Viewer, counted_subject, shown_subject
from tollkeeper.domains.limits.schemas import LimitStatus

_LONG_PERIODS = frozenset({"hour", "day"})


async def limit_status(
    limit: Limit,
    tenant_id: UUID | None,
    counters: CounterView,
    now: float,
    viewer: Viewer,
    *,
    subject: str | None,
    model: str | None,
) -> LimitStatus:
    amount = limit.amount
    if limit.override_amount is not None and limit.override_until is not None and limit.override_until > now:
        amount = limit.override_amount
    counted = counted_subject(limit, subject, model)
    viewer.check(subject, counted)
    rate, is_live = None, True
    if counted is not None:
        try:
            rate = await counters.rate(tenant_id or PLATFORM, limit, counted)
        except DependencyUnavailable:
            is_live = False
    return LimitStatus(
        id=limit.id,
        subject=shown_subject(limit.scope.kind, counted or ""),
        unit=limit.unit.value,
        period=None if limit.period is None else limit.period.value,
        amount=amount,
        burst=_burst(limit, amount),
        is_live=is_live,
        remaining=None if rate is None else rate.remaining,
        reset_seconds=None if rate is None else rate.reset_seconds,
    )


def _burst(limit: Limit, amount: int) -> int | None:
    """RULING 12."""
    if limit.unit is Unit.PARALLEL or limit.period is None:
        return None
    if limit.burst is not None:
        return min(limit.burst, amount)
    return amount if limit.period.value in _LONG_PERIODS else max(1, amount // 6)
