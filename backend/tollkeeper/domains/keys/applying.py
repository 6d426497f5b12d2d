"""Which limits and budgets calls with a key may meet, each with the level it is about.

What the platform counts over all tenants is its own business: of its rules only those on the tenant are shown.
"""

from collections.abc import Collection, Sequence
from typing import Final

from tollkeeper.contracts.money import Budget, Limit, ScopeKind
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.ids import format_id
from tollkeeper.core.money import format_usd
from tollkeeper.domains.keys.effective_schemas import ApplyingBudget, ApplyingLimit, Source
from tollkeeper.domains.keys.inheritance import Level
from tollkeeper.domains.limits.schemas import PREFIXES, show_scope

_LEVELS: Final = frozenset({ScopeKind.TENANT, ScopeKind.TEAM, ScopeKind.PROJECT, ScopeKind.USER, ScopeKind.KEY})
_DEFAULT: Final = Source(kind="default", id=None, name=None)


def applying_limits(
    levels: Sequence[Level], principal: Principal, written: Collection[Limit], now: float
) -> list[ApplyingLimit]:
    """`written`: without the default of keys that have no limit of their own."""
    shown = []
    for limit in principal.limits:
        if not _is_met(limit, levels):
            continue
        is_overridden = limit.override_amount is not None and (limit.override_until or 0) > now
        is_written = limit in written
        shown.append(
            ApplyingLimit(
                id=limit.id if is_written else None,
                source=_source(limit, levels) if is_written else _DEFAULT,
                scope=show_scope(limit.scope),
                models=_sorted(limit.models),
                is_per_model=limit.is_per_model,
                is_platform=limit.is_platform,
                unit=limit.unit.value,
                amount=limit.override_amount if is_overridden and limit.override_amount is not None else limit.amount,
                period=None if limit.period is None else limit.period.value,
                burst=limit.burst,
                is_shadow=limit.is_shadow,
            )
        )
    return shown


def applying_budgets(levels: Sequence[Level], principal: Principal, now: float) -> list[ApplyingBudget]:
    return [
        ApplyingBudget(
            id=budget.id,
            source=_source(budget, levels),
            scope=show_scope(budget.scope),
            models=_sorted(budget.models),
            is_per_model=budget.is_per_model,
            is_platform=budget.is_platform,
            amount_usd=format_usd(
                budget.amount_nano + (budget.increase_nano if (budget.increase_until or 0) > now else 0)
            ),
            window=budget.window.kind.value,
            time_zone=budget.window.time_zone,
            mode="hard" if budget.is_hard else "soft",
        )
        for budget in principal.budgets
        if _is_met(budget, levels)
    ]


def source_of(level: Level) -> Source:
    return Source(kind=level.kind, id=format_id(PREFIXES[level.kind], level.id), name=level.name)


def _is_met(rule: Limit | Budget, levels: Sequence[Level]) -> bool:
    if rule.is_platform and rule.scope.kind is not ScopeKind.TENANT:
        return False
    # On a kind of level that the key has, as far as it can be told before a call.
    return rule.scope.kind not in _LEVELS or any(level.kind == rule.scope.kind for level in levels)


def _source(rule: Limit | Budget, levels: Sequence[Level]) -> Source | None:
    if rule.is_platform:
        return None
    return next((source_of(level) for level in levels if level.kind == rule.scope.kind), None)


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
