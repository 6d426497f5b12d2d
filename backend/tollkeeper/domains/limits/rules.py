"""Rows of rules as the data plane knows them: one by one, or all that may apply to a key, inside the key's own look-up.

`LIMIT_RULES` and `BUDGET_RULES` are columns of a query over a key, its tenant, project and team; `read_limits` and
`read_budgets` read what they give. The rows are found by whom they may be about, so that other keys' rules cost nothing.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ScalarSelect, SQLColumnExpression, cast, extract, func, literal, or_, select

from tollkeeper.contracts.money import Budget, Limit, Period, RuleScope, ScopeKind, Unit, Window, WindowKind
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.models.limits import Budget as BudgetRow
from tollkeeper.db.models.limits import Limit as LimitRow
from tollkeeper.db.models.teams import Project, Team

NOBODY: Final = UUID(int=0)


def _scope_columns(row: type[LimitRow] | type[BudgetRow]) -> tuple[SQLColumnExpression[Any], ...]:
    subject = func.coalesce(row.key_id, row.user_id, row.project_id, row.team_id, row.only_tenant_id)
    return row.id, row.tenant_id, row.scope, subject, row.value, row.models, row.is_per_model


def _unix(column: SQLColumnExpression[Any]) -> SQLColumnExpression[int]:
    return cast(extract("epoch", column), BigInteger)


def _rules_of_key(row: type[LimitRow] | type[BudgetRow], *columns: SQLColumnExpression[Any]) -> ScalarSelect[Any]:
    holders = (ApiKey.id, ApiKey.user_id, ApiKey.tenant_id, Team.id, Project.id, literal(NOBODY))
    return (
        select(func.json_agg(func.json_build_array(*_scope_columns(row), *columns), type_=JSON))
        .where(
            row.holder_id.in_(holders),
            # A person may be a member elsewhere, too.
            or_(row.tenant_id == ApiKey.tenant_id, row.tenant_id.is_(None)),
        )
        .correlate(ApiKey, Team, Project)
        .scalar_subquery()
    )


LIMIT_RULES: Final = _rules_of_key(
    LimitRow,
    LimitRow.unit,
    LimitRow.amount,
    LimitRow.period,
    LimitRow.burst,
    LimitRow.is_shadow,
    LimitRow.override_amount,
    _unix(LimitRow.override_until),
)
BUDGET_RULES: Final = _rules_of_key(
    BudgetRow,
    BudgetRow.amount_nano,
    BudgetRow.window_kind,
    BudgetRow.time_zone,
    BudgetRow.anchor,
    BudgetRow.seconds,
    BudgetRow.counts_from,
    BudgetRow.is_hard,
    BudgetRow.increase_nano,
    _unix(BudgetRow.increase_until),
    BudgetRow.rolls_over,
    BudgetRow.refusal_status,
)


def read_limits(rules: Sequence[Sequence[Any]] | None) -> tuple[Limit, ...]:
    """Of a row's `LIMIT_RULES`, in the order of their ids, the platform's last."""
    return tuple(sorted((_read_limit(values) for values in rules or ()), key=_order))


def read_budgets(rules: Sequence[Sequence[Any]] | None) -> tuple[Budget, ...]:
    """Of a row's `BUDGET_RULES`, in the order of their ids, the platform's last."""
    return tuple(sorted((_read_budget(values) for values in rules or ()), key=_order))


def limit_of(row: LimitRow) -> Limit:
    until = row.override_until
    return Limit(
        id=row.id,
        scope=scope_of(row),
        unit=Unit(row.unit),
        amount=row.amount,
        period=None if row.period is None else Period(row.period),
        burst=row.burst,
        models=_models(row.models),
        is_per_model=row.is_per_model,
        is_shadow=row.is_shadow,
        override_amount=row.override_amount,
        override_until=None if until is None else float(int(until.timestamp())),
        is_platform=row.tenant_id is None,
    )


def budget_of(row: BudgetRow) -> Budget:
    until = row.increase_until
    return Budget(
        id=row.id,
        scope=scope_of(row),
        amount_nano=row.amount_nano,
        window=Window(WindowKind(row.window_kind), row.time_zone, row.anchor, row.seconds),
        counts_from=row.counts_from,
        is_hard=row.is_hard,
        models=_models(row.models),
        is_per_model=row.is_per_model,
        increase_nano=row.increase_nano,
        increase_until=None if until is None else float(int(until.timestamp())),
        rolls_over=row.rolls_over,
        refusal_status=row.refusal_status,
        is_platform=row.tenant_id is None,
    )


def scope_of(row: LimitRow | BudgetRow) -> RuleScope:
    named = row.key_id or row.user_id or row.project_id or row.team_id or row.only_tenant_id
    return _scope(row.scope, row.tenant_id, named, row.value)


def _read_limit(values: Sequence[Any]) -> Limit:
    (rule_id, tenant_id, kind, named, value, models, is_per_model, *own) = values
    (unit, amount, period, burst, is_shadow, override_amount, override_until) = own
    return Limit(
        id=UUID(rule_id),
        scope=_scope(kind, _id(tenant_id), _id(named), value),
        unit=Unit(unit),
        amount=amount,
        period=None if period is None else Period(period),
        burst=burst,
        models=_models(models),
        is_per_model=is_per_model,
        is_shadow=is_shadow,
        override_amount=override_amount,
        override_until=None if override_until is None else float(override_until),
        is_platform=tenant_id is None,
    )


def _read_budget(values: Sequence[Any]) -> Budget:
    (rule_id, tenant_id, kind, named, value, models, is_per_model, *own) = values
    (amount, window, zone, anchor, seconds, counts_from, is_hard, increase, until, rolls_over, status) = own
    return Budget(
        id=UUID(rule_id),
        scope=_scope(kind, _id(tenant_id), _id(named), value),
        amount_nano=amount,
        window=Window(WindowKind(window), zone, anchor, seconds),
        counts_from=counts_from,
        is_hard=is_hard,
        models=_models(models),
        is_per_model=is_per_model,
        increase_nano=increase,
        increase_until=None if until is None else float(until),
        rolls_over=rolls_over,
        refusal_status=status,
        is_platform=tenant_id is None,
    )


def _scope(kind: str, tenant_id: UUID | None, named: UUID | None, value: str | None) -> RuleScope:
    """A tenant's own rule on its tenant is about that one; the platform's is about each, or the one it names."""
    if kind == ScopeKind.TENANT:
        named = named or tenant_id
    return RuleScope(ScopeKind(kind), value if named is None else named.hex)


def _order(rule: Limit | Budget) -> tuple[bool, int]:
    return rule.is_platform, rule.id.int


def _models(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
