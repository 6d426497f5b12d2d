"""Asks the data plane where a call would go, as the key that is named, and shows the answer.

Of the platform's own rules only those on the tenant are shown, as everywhere.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.explained import ExplainedRoute, RoutedTarget, RouteQuestion
from tollkeeper.contracts.money import Budget, Limit, RuleScope, ScopeKind
from tollkeeper.contracts.ports import KeyLookup, RouteExplainer
from tollkeeper.contracts.principal import EXPIRED, Environment, Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import NotFound, Unauthenticated
from tollkeeper.core.money import usd_from_nano
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.catalog.service import show_price
from tollkeeper.domains.keys.service import Keys
from tollkeeper.domains.route_policies.explain_schemas import (
    CountedBudgetOut,
    CountedLimitOut,
    ExplainedRouteOut,
    FallbackOut,
    LeftOutOut,
    RefusalOut,
    RoutedTargetOut,
    RouteQuestionIn,
)
from tollkeeper.web.caller import Caller

_NOBODY = UUID(int=0)


class Explaining:
    def __init__(self, explainer: RouteExplainer, lookup: KeyLookup, clock: Clock) -> None:
        self._explainer = explainer
        self._lookup = lookup
        self._clock = clock

    async def __call__(
        self, session: AsyncSession, caller: Caller, keys: Keys, body: RouteQuestionIn
    ) -> ExplainedRouteOut:
        principal, refusal = await self._principal(session, caller, keys, body.key_id)
        question = RouteQuestion(principal, body.model, body.endpoint, body.body, body.headers, body.share)
        shown = _show(await self._explainer.explain(question), is_whole=caller.is_platform)
        if refusal is not None:
            shown.refusal = RefusalOut(status=Unauthenticated.status, code=Unauthenticated.code, message=refusal)
        return shown

    async def _principal(
        self, session: AsyncSession, caller: Caller, keys: Keys, key_id: UUID | None
    ) -> tuple[Principal, str | None]:
        """And why a call with that key would not even be looked at."""
        if key_id is None:
            use = frozenset({Permission.GATEWAY_USE})
            return Principal(caller.tenant_id, _NOBODY, caller.user_id, Environment.LIVE, use), None
        row = await keys.get(session, caller, key_id)
        record = await self._lookup.find_by_id(row.id)
        if record is None:
            raise NotFound("There is no such key.")
        is_over = record.expires_at is not None and record.expires_at <= self._clock.unix()
        return record.principal, record.refusal or (EXPIRED if is_over else None)


def _show(found: ExplainedRoute, *, is_whole: bool) -> ExplainedRouteOut:
    return ExplainedRouteOut(
        model=found.name,
        policy=found.policy,
        policy_id=found.policy_id,
        policy_version=found.policy_version,
        share=found.share,
        targets=[_target(target, is_whole=is_whole) for target in found.targets],
        left_out=[
            LeftOutOut(provider=one.provider, model=one.model, reason=one.reason, detail=one.detail)
            for one in found.left_out
        ],
        fallbacks=[
            FallbackOut(kind=kind.value, targets=[_target(target, is_whole=is_whole) for target in targets])
            for kind, targets in found.fallbacks.items()
        ],
        notes=list(found.notes),
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        most_usd=None if found.most_nano is None else usd_from_nano(found.most_nano),
        usual_usd=None if found.usual_nano is None else usd_from_nano(found.usual_nano),
        limits=[_limit(limit) for limit in found.limits if _is_shown(limit)],
        budgets=[_budget(budget) for budget in found.budgets if _is_shown(budget)],
        refusal=None
        if found.refusal is None
        else RefusalOut(status=found.refusal.status, code=found.refusal.code, message=found.refusal.message),
    )


def _target(target: RoutedTarget, *, is_whole: bool) -> RoutedTargetOut:
    latency = target.latency_seconds
    return RoutedTargetOut(
        provider=target.provider,
        model=target.model,
        price=None if target.price is None else show_price(target.price),
        context_tokens=target.context_tokens,
        max_output_tokens=target.max_output_tokens,
        blocked_seconds=round(target.blocked_seconds, 3),
        latency_ms=None if latency is None else round(latency * 1000),
        in_flight=target.in_flight if is_whole else None,
        cache_read_share=round(target.cache_read_share, 4),
    )


def _is_shown(rule: Limit | Budget) -> bool:
    return not rule.is_platform or rule.scope.kind is ScopeKind.TENANT


def _limit(limit: Limit) -> CountedLimitOut:
    return CountedLimitOut(
        id=limit.id,
        scope=_scope(limit.scope),
        unit=limit.unit.value,
        amount=limit.amount,
        period=None if limit.period is None else limit.period.value,
        is_shadow=limit.is_shadow,
    )


def _budget(budget: Budget) -> CountedBudgetOut:
    return CountedBudgetOut(
        id=budget.id,
        scope=_scope(budget.scope),
        amount_usd=usd_from_nano(budget.amount_nano),
        window=budget.window.kind.value,
        mode="hard" if budget.is_hard else "soft",
    )


def _scope(scope: RuleScope) -> str:
    """Its kind, and what it is about where that is no id of ours."""
    is_id = scope.kind in (ScopeKind.TENANT, ScopeKind.TEAM, ScopeKind.PROJECT, ScopeKind.USER, ScopeKind.KEY)
    return scope.kind.value if is_id or scope.subject is None else f"{scope.kind.value}:{scope.subject}"
