"""An explanation is the decision that a call would get, without the call."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.gateway.routing.deciding import Told, fork, routed
from tests.gateway.serving import FixedSnapshot, ManualClock, principal, provider, route, snapshot
from tests.money.admissions import make_budget
from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.explained import ExplainedRoute, RouteQuestion
from tollkeeper.contracts.money import Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.principal import Environment
from tollkeeper.contracts.routing import Branch, Condition, FallbackKind, Fork, Strategy, Target
from tollkeeper.core.errors import BadRequest, ModelNotFound
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.explain import Explainer
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.routing.health import Standing

A, B, C = (Target(name, "m") for name in "abc")


def explainer(root: Fork, view: Told | None = None, clock: ManualClock | None = None, **fields: Any) -> Explainer:
    snap = snapshot([provider(name, None) for name in "abc"], [routed(root, **fields)])
    return Explainer(FixedSnapshot(snap), clock or ManualClock(), Forecasts(), view)


async def explained(
    root: Fork, view: Told | None = None, question: dict[str, Any] | None = None, **fields: Any
) -> ExplainedRoute:
    given = {"principal": principal(), "model": "m", **(question or {})}
    return await explainer(root, view, **fields).explain(RouteQuestion(**given))


async def test_targets_come_in_order_with_price_and_health_and_the_others_with_a_reason() -> None:
    clock = ManualClock()
    view = Told({"a": Standing(blocked_until=clock.monotonic() + 30), "b": Standing(latency_seconds=0.25, in_flight=3)})
    price = Price(uuid7(), 1_000_000, 2_000_000)
    root = fork(Strategy.PRIORITY, A, B, Branch(C, when=Condition(min_input_tokens=1_000)), name="p")
    found = await explained(root, view, clock=clock, target_prices={("a", "m"): price, ("b", "m"): price}, price=price)
    assert [(one.provider, one.blocked_seconds > 20, one.latency_seconds, one.in_flight) for one in found.targets] == [
        ("b", False, 0.25, 3),
        ("a", True, None, 0),
    ]
    assert {one.price for one in found.targets} == {price}
    assert [(one.provider, one.reason, one.detail) for one in found.left_out] == [
        ("c", "condition", "min_input_tokens")
    ]
    assert found.refusal is None
    assert found.usual_nano is not None
    assert found.usual_nano > 0


async def test_a_number_beyond_64_bits_is_told_as_the_endpoint_tells_it() -> None:
    body = {"messages": [{"role": "user", "content": "?"}], "metadata": {"n": 10**30}}
    with pytest.raises(BadRequest) as refused:
        await explained(fork(Strategy.PRIORITY, A), question={"body": body})
    assert refused.value.code == "number_out_of_range"


async def test_the_body_decides_as_it_would_for_a_call() -> None:
    root = fork(Strategy.PRIORITY, Branch(A, when=Condition(min_input_tokens=1_000)), B)
    long = {"messages": [{"role": "user", "content": "word " * 5_000}], "max_tokens": 7}
    found = await explained(root, question={"body": long})
    assert [one.provider for one in found.targets] == ["a", "b"]
    assert (found.input_tokens > 1_000, found.output_tokens) == (True, 7)
    assert [one.provider for one in (await explained(root)).targets] == ["b"]


async def test_headers_of_any_case_narrow_and_their_refusal_is_shown() -> None:
    root = fork(Strategy.PRIORITY, A, B)
    kept = await explained(root, question={"headers": {"X-Tollkeeper-Route": "b"}})
    assert ([one.provider for one in kept.targets], [one.reason for one in kept.left_out]) == (["b"], ["not_named"])
    refused = await explained(root, question={"headers": {"x-tollkeeper-route": "z"}})
    assert refused.refusal is not None
    assert (refused.refusal.status, refused.refusal.code) == (400, "route_not_allowed")


async def test_the_same_share_draws_the_same_order() -> None:
    root = fork(Strategy.WEIGHTED, A, B, C)
    orders = {tuple(one.provider for one in (await explained(root, question={"share": 0.7})).targets) for _ in range(5)}
    assert len(orders) == 1
    drawn = {(await explained(root, question={"share": n / 10})).targets[0].provider for n in range(10)}
    assert drawn == {"a", "b", "c"}


async def test_limits_and_budgets_are_those_that_the_call_would_count_under() -> None:
    def limit(kind: ScopeKind, subject: str | None) -> Limit:
        return Limit(uuid7(), RuleScope(kind, subject), Unit.REQUESTS, 100, Period.MINUTE)

    mine = (limit(ScopeKind.TENANT, None), limit(ScopeKind.MODEL, "m"), limit(ScopeKind.PROVIDER, "a"))
    others = (limit(ScopeKind.MODEL, "x"), limit(ScopeKind.PROVIDER, "b"), limit(ScopeKind.ENDPOINT, "/v1/embeddings"))
    budget = make_budget()
    who = principal(limits=(*mine, *others), budgets=(replace(budget, scope=RuleScope(ScopeKind.TENANT)),))
    found = await explained(fork(Strategy.PRIORITY, A, B), question={"principal": who})
    assert {one.id for one in found.limits} == {one.id for one in mine}
    assert [one.id for one in found.budgets] == [budget.id]


async def test_fallbacks_are_shown_with_their_own_targets() -> None:
    found = await explained(fork(Strategy.PRIORITY, A), fallbacks={FallbackKind.BUDGET: fork(Strategy.PRIORITY, C, B)})
    assert {kind: [one.provider for one in some] for kind, some in found.fallbacks.items()} == {
        FallbackKind.BUDGET: ["c", "b"]
    }


async def test_what_a_key_may_not_use_is_told_as_the_call_would_be() -> None:
    test_key = await explained(
        fork(Strategy.PRIORITY, A), question={"principal": principal(environment=Environment.TEST)}
    )
    assert test_key.refusal is not None
    assert (test_key.refusal.status, test_key.refusal.code) == (403, "permission_denied")
    other = await explained(
        fork(Strategy.PRIORITY, A), question={"principal": principal(allowed_providers=frozenset({"b"}))}
    )
    assert other.refusal is not None
    assert other.refusal.code == "provider_not_allowed"
    assert [one.reason for one in other.left_out] == ["provider_not_allowed"]


@pytest.mark.parametrize("endpoint", ["nothing", "/v1/models", "audio/transcriptions", "rerank"])
async def test_an_endpoint_that_takes_no_such_call_is_refused(endpoint: str) -> None:
    with pytest.raises(BadRequest):
        await explained(fork(Strategy.PRIORITY, A), question={"endpoint": endpoint})


@pytest.mark.parametrize(
    "endpoint",
    [
        "chat/completions",
        "/api/v1/chat/completions",
        "completions",
        "embeddings",
        "messages",
        "moderations",
        "responses",
    ],
)
async def test_endpoints_are_explained_without_a_body(endpoint: str) -> None:
    found = await explained(fork(Strategy.PRIORITY, A), question={"endpoint": endpoint})
    assert [one.provider for one in found.targets] == ["a"]


async def test_a_body_that_is_no_call_is_refused_with_its_fault() -> None:
    with pytest.raises(BadRequest) as caught:
        await explained(fork(Strategy.PRIORITY, A), question={"body": {"messages": "hi"}})
    assert caught.value.param == "messages"


async def test_unknown_models_and_those_of_other_tenants_lead_nowhere() -> None:
    plain = route("plain", ("a", "m"), tenant_id=UUID(int=9))
    asking = Explainer(FixedSnapshot(snapshot([provider("a", None)], [plain])), ManualClock(), Forecasts())
    for name in ("plain", "unheard-of"):
        with pytest.raises(ModelNotFound):
            await asking.explain(RouteQuestion(principal(), name))
    own = await asking.explain(RouteQuestion(principal(tenant_id=UUID(int=9)), "plain"))
    assert (own.name, own.policy, [one.provider for one in own.targets]) == ("plain", None, ["a"])
