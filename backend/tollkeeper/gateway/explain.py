"""Explains where a call would go: the decision of `resolve` and the appraisal of `admit`, and nothing after that.

It reads the call as an endpoint would, so that what a body makes of the route is in the answer.
"""

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.explained import ExplainedRoute, Refused, RoutedTarget, RouteQuestion, UnroutedTarget
from tollkeeper.contracts.key_bounds import endpoint_of
from tollkeeper.contracts.money import Budget, Limit
from tollkeeper.contracts.ports import SnapshotSource
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import FallbackKind, Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, TollkeeperError
from tollkeeper.gateway.money.appraise import appraise_exactly
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.terms import Asked, terms_of
from tollkeeper.gateway.paths import FORM_OPERATIONS, Paths
from tollkeeper.gateway.routing.facts import Facts
from tollkeeper.gateway.routing.health import HealthView
from tollkeeper.gateway.routing.plan import Blind, Decision, decide
from tollkeeper.gateway.stages.resolve import Reckoning, check_access, refusal_of, unknown_model

_SHORT: Final = [{"role": "user", "content": "?"}]
# What a call says beside its model when nobody says what: of the endpoints that people route.
_USUAL: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat/completions": {"messages": _SHORT},
    "completions": {"prompt": "?"},
    "embeddings": {"input": "?"},
    "messages": {"messages": _SHORT, "max_tokens": 1_024},
    "moderations": {"input": "?"},
    "responses": {"input": "?", "store": False},
}


class Explainer:
    """Implements the port `RouteExplainer`."""

    def __init__(
        self,
        snapshots: SnapshotSource,
        clock: Clock,
        forecasts: Forecasts,
        view: HealthView | None = None,
        *,
        max_json_depth: int = 64,
    ) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._forecasts = forecasts
        self._view = view or Blind()
        self._paths = Paths(max_json_depth)

    async def explain(self, question: RouteQuestion) -> ExplainedRoute:
        snapshot, principal = self._snapshots.current(), question.principal
        headers = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in question.headers.items()}
        call = self._read(question, headers)
        route = snapshot.find_model(principal.tenant_id, call.model)
        if route is None:
            raise unknown_model(call.model)
        facts = Facts(
            principal,
            call,
            Reckoning(self._forecasts),
            share=random.random() if question.share is None else question.share,  # noqa: S311 - guards nothing
            now=self._clock.monotonic(),
            unix=self._clock.unix(),
            headers=headers,
        )
        decision = decide(route, snapshot, facts, self._view)
        return await self._explained(question, snapshot, route, facts, decision)

    async def _explained(
        self, question: RouteQuestion, snapshot: Snapshot, route: ModelRoute, facts: Facts, decision: Decision
    ) -> ExplainedRoute:
        principal, call = facts.principal, facts.call
        reachable = [*decision.targets]
        for kind, targets in decision.fallbacks.items():
            reachable += () if kind is FallbackKind.BUDGET else targets
        appraisal = await appraise_exactly(call, route, principal, reachable, self._forecasts, snapshot=snapshot)
        is_priced = bool(reachable) and route.price is not None
        rules = self._rules(question, call, decision)
        policy = route.policy
        return ExplainedRoute(
            name=route.name,
            share=facts.share,
            targets=self._targets(route, decision.targets, facts),
            left_out=[
                UnroutedTarget(one.target.provider, one.target.model, one.reason, one.detail)
                for one in decision.left_out
            ],
            fallbacks={kind: self._targets(route, some, facts) for kind, some in decision.fallbacks.items()},
            notes=decision.notes,
            input_tokens=appraisal.input_tokens,
            output_tokens=appraisal.output_tokens,
            is_priced=is_priced,
            most_nano=appraisal.full_nano if is_priced else None,
            usual_nano=appraisal.forecast_nano if is_priced else None,
            limits=[rule for rule in rules if isinstance(rule, Limit)],
            budgets=[rule for rule in rules if isinstance(rule, Budget)],
            policy=None if policy is None else policy.name,
            policy_id=None if policy is None else policy.id,
            policy_version=None if policy is None else policy.version,
            refusal=_refusal(principal, route, facts, decision),
        )

    def _read(self, question: RouteQuestion, headers: Mapping[bytes, bytes]) -> Call:
        path = _path(question)
        way = self._paths.find(path)
        if way is None or way[0] in FORM_OPERATIONS or ":" in path:
            raise BadRequest("There is no such endpoint, or its calls are no documents with a model.", param="endpoint")
        body = question.body
        if body is None and (body := _USUAL.get(path.rpartition("/v1/")[2])) is None:
            raise BadRequest("Say what such a call would be: calls of this endpoint differ too much.", param="body")
        # Not `orjson`, which writes no integer beyond 64 bits and no half of a surrogate: the endpoint says what it thinks of one.
        written = json.dumps({**body, "model": question.model}, separators=(",", ":")).encode()
        return way[1].read_call(written, headers, path)

    def _rules(self, question: RouteQuestion, call: Call, decision: Decision) -> list[Limit | Budget]:
        """Those that this call would count under, at the target that it would try first; each once."""
        provider = decision.targets[0].provider if decision.targets else ""
        asked = Asked(call.model, endpoint_of(_path(question)), provider, call.end_user)
        found: dict[Any, Limit | Budget] = {}
        for terms in terms_of(question.principal, asked, self._clock.unix()):
            for place in (*terms.rates, *terms.slots, *terms.budgets):
                if place.rule is not None:
                    found.setdefault(place.rule.id, place.rule)
        return list(found.values())

    def _targets(self, route: ModelRoute, targets: Iterable[Target], facts: Facts) -> list[RoutedTarget]:
        shown = []
        for target in targets:
            model = facts.call.model if target.model == "*" else target.model
            standing = self._view.standing(target.provider, model, facts.now)
            shown.append(
                RoutedTarget(
                    target.provider,
                    model,
                    route.price_of(target),
                    target.context_tokens or route.context_tokens,
                    target.max_output_tokens or route.max_output_tokens,
                    max(0.0, standing.blocked_until - facts.now),
                    standing.latency_seconds,
                    standing.in_flight,
                    standing.cache_read_share,
                )
            )
        return shown


def _path(question: RouteQuestion) -> str:
    return question.endpoint if question.endpoint.startswith("/") else f"/v1/{question.endpoint}"


def _refusal(principal: Principal, route: ModelRoute, facts: Facts, decision: Decision) -> Refused | None:
    try:
        check_access(principal, route, facts.call.model)
    except TollkeeperError as error:
        return _refused(error)
    return None if decision.targets else _refused(refusal_of(decision, route, facts))


def _refused(error: TollkeeperError) -> Refused:
    return Refused(error.status, error.code, error.message)
