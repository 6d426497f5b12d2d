"""What a route policy comes to once its names are resolved, and every fault with its path."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from tollkeeper.contracts.catalog import DeclaredCatalog, ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.routing import FallbackKind, Fork, Strategy, Target
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.sealed_file import to_json
from tollkeeper.domains.catalog.policies import PolicyBook, PolicySource, all_targets, targets_of
from tollkeeper.domains.catalog.policy_fields import PolicyFields
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, StoredPrice, build_snapshot

A = {"provider": "a", "model": "m"}
B = {"provider": "b", "model": "m"}
TENANT = uuid7()


def source(name: str, tenant_id: UUID | None = None, **fields: Any) -> PolicySource:
    return PolicySource(name, PolicyFields.model_validate({"branches": [A], **fields}), uuid7(), tenant_id, version=1)


def book(*policies: PolicySource, models: tuple[ModelRoute, ...] = ()) -> PolicyBook:
    made = PolicyBook(policies, models, {"a", "b", "c"})
    made.tenants = {TENANT}
    return made


def faults(*policies: PolicySource, models: tuple[ModelRoute, ...] = ()) -> list[tuple[str, str]]:
    """Of the first, with their paths."""
    _, found = book(*policies, models=models).resolve(policies[0])
    return [(".".join(map(str, fault.path)), fault.message) for fault in found]


def many(count: int) -> list[dict[str, str]]:
    return [{"provider": "a", "model": f"m{number}"} for number in range(count)]


def nested(depth: int) -> dict[str, Any]:
    return A if depth == 0 else {"branches": [nested(depth - 1)]}


WHEN = {**A, "when": {}}


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"branches": [A, {"provider": "nobody", "model": "m"}]}, "branches.1.provider", "no provider nobody"),
        ({"branches": [{"provider": "a"}]}, "branches.0.model", "is required"),
        ({"branches": [{"model": "unheard-of"}]}, "branches.0.model", "no model unheard-of"),
        ({"branches": [{"policy": "unheard-of"}]}, "branches.0.policy", "no policy unheard-of"),
        ({"branches": [{"policy": "p"}]}, "branches.0.policy", "leads back to itself: policy p → policy p"),
        ({"branches": [{}]}, "branches.0", "leads nowhere"),
        ({"branches": [{**A, "policy": "q"}]}, "branches.0", "several places"),
        ({"branches": [{**A, "branches": [B]}]}, "branches.0", "several places"),
        ({"branches": [{**A, "strategy": "weighted"}]}, "branches.0.strategy", "there are none here"),
        ({"strategy": "weighted", "branches": [{**A, "weight": 0}]}, "branches", "sum to zero"),
        (
            {"branches": [{"strategy": "sticky", "branches": [{**A, "weight": 0}, {**B, "weight": 0}]}]},
            "branches.0.branches",
            "sum to zero",
        ),
        ({"strategy": "canary", "branches": [A, B]}, "canary", "is required"),
        ({"strategy": "canary", "branches": [A], "canary": {"share": "0.1"}}, "branches", "two branches"),
        ({"canary": {"share": "0.1"}}, "canary", "belongs to the strategy canary"),
        ({"sticky_by": "user"}, "sticky_by", "belongs to the strategy sticky"),
        ({"strategy": "sticky", "sticky_by": "phase of the moon"}, "sticky_by", "is conversation, user, key or header"),
        ({"strategy": "sticky", "sticky_by": "header:x y"}, "sticky_by", "is conversation, user, key or header"),
        ({"branches": [{**A, "sticky_by": "user"}]}, "branches.0.sticky_by", "belongs to branches"),
        (
            {"branches": [{**A, "when": {"headers": {"x:y": ["1"]}}}]},
            "branches.0.when.headers.x:y",
            "no name of a header",
        ),
        ({"branches": [{**A, "when": {"tenants": ["me"]}}]}, "branches.0.when.tenants.0", "expected an id"),
        (
            {"branches": [{**A, "when": {"tenants": [format_id("ten", UUID(int=1))]}}]},
            "branches.0.when.tenants.0",
            "no such tenant",
        ),
        (
            {"branches": [{**A, "when": {"hours": [{"zone": "Mars/Base", "since": "09:00", "until": "10:00"}]}}]},
            "branches.0.when.hours.0.zone",
            "no time zone",
        ),
        (
            {"branches": [{**A, "when": {"hours": [{"zone": "../etc/passwd", "since": "09:00", "until": "10:00"}]}}]},
            "branches.0.when.hours.0.zone",
            "no time zone",
        ),
        (
            {"branches": [{**A, "when": {"hours": [{"since": "09:00", "until": "09:00"}]}}]},
            "branches.0.when.hours.0.until",
            "are empty",
        ),
        (
            {"branches": [{**A, "when": {"min_input_tokens": 9, "max_input_tokens": 8}}]},
            "branches.0.when.max_input_tokens",
            "less than min_input_tokens",
        ),
        ({"fallbacks": {"budget": [A]}}, "fallbacks.budget", "falls back to itself"),
        ({"fallbacks": {"budget": [{"policy": "p"}]}}, "fallbacks.budget.0.policy", "leads back to itself"),
        ({"fallbacks": {"budget": [{"provider": "x", "model": "m"}]}}, "fallbacks.budget.0.provider", "no provider x"),
        (
            {"branches": many(60), "fallbacks": {"budget": [{**B, "model": f"x{n}"} for n in range(5)]}},
            "fallbacks",
            "more than 64 targets",
        ),
        ({"branches": [nested(5)]}, "branches.0.branches.0.branches.0.branches.0.branches.0.branches", "5 levels"),
    ],
)
def test_a_fault_is_told_with_its_path(fields: dict[str, Any], path: str, words: str) -> None:
    found = faults(source("p", **fields))
    assert [where for where, _ in found] == [path], found
    assert words in found[0][1]


def test_all_faults_are_told_at_once() -> None:
    found = faults(source("p", branches=[{"policy": "x"}, {"provider": "x", "model": "m"}, {}]))
    assert [where for where, _ in found] == ["branches.0.policy", "branches.1.provider", "branches.2"]


def test_a_circle_through_others_is_told_where_it_begins() -> None:
    model = ModelRoute(uuid7(), "named", (), policy_name="r")
    circle = [
        source("p", branches=[A, {"policy": "q"}]),
        source("q", branches=[{"model": "named"}]),
        source("r", branches=[{"policy": "p"}]),
    ]
    assert faults(*circle, models=(model,)) == [
        (
            "branches.1.policy",
            "leads back to itself: policy p → policy q → model named → policy r → policy p",
        )
    ]


def test_a_target_reached_on_two_ways_is_no_circle() -> None:
    shared = source("shared")
    policies = [
        source("p", branches=[{"policy": "shared"}, {"policy": "q"}]),
        source("q", branches=[{"policy": "shared"}]),
    ]
    assert faults(*policies, shared) == []


def test_few_policies_that_multiply_are_refused_at_once() -> None:
    doubling = [source(f"p{n}", branches=[{"policy": f"p{n + 1}"}] * 60) for n in range(4)]
    found = faults(*doubling, source("p4", branches=many(60)))
    assert [where for where, _ in found] == ["branches.0.policy"]
    assert "more than 64 targets" in found[0][1]


def test_policies_within_policies_that_lead_nowhere_end_too() -> None:
    doubling = [source(f"p{n}", branches=[{"policy": f"p{n + 1}"}] * 64) for n in range(4)]
    found = faults(*doubling, source("p4", branches=[{"policy": "p0"}] * 64))
    assert any("too many branches" in message for _, message in found)


def test_names_become_forks_that_say_where_they_come_from() -> None:
    inner = source("inner", strategy="least_latency", branches=[A, B])
    model = ModelRoute(uuid7(), "named", (Target("c", "own", 3),))
    outer = source("outer", strategy="weighted", branches=[{"policy": "inner", "weight": 2}, {"model": "named"}])
    policy, found = book(outer, inner, models=(model,)).resolve(outer)
    assert found == []
    assert (policy.name, policy.root.name, policy.version) == ("outer", "outer", 1)
    first, second = (branch.to for branch in policy.root.branches)
    assert isinstance(first, Fork)
    assert isinstance(second, Fork)
    assert (first.name, first.strategy) == ("inner", Strategy.LEAST_LATENCY)
    assert [branch.weight for branch in policy.root.branches] == [2, 1]
    assert list(targets_of(second)) == [Target("c", "own", 3)]


def test_a_tenants_own_policy_goes_before_the_shared_one_of_its_name() -> None:
    shared, own = source("name", branches=[A]), source("name", TENANT, branches=[B])
    outer, common = (
        source("outer", TENANT, branches=[{"policy": "name"}]),
        source("common", branches=[{"policy": "name"}]),
    )
    made = book(shared, own, outer, common)
    assert [target.provider for target in targets_of(made.resolve(outer)[0].root)] == ["b"]
    assert [target.provider for target in targets_of(made.resolve(common)[0].root)] == ["a"]


def test_rules_are_taken_over_exactly() -> None:
    policy, found = book().resolve(
        source(
            "p",
            strategy="canary",
            branches=[A, B],
            canary={"share": "0.05", "least_calls": 7},
            retry={"most_attempts": 3, "budget": "0.2"},
            deadlines={"first_token": 2.5},
            hedge={"after_seconds": 1, "share": "0.01"},
            breaker={"failures": 2, "floor": "0.000001"},
            probe_seconds=30,
        )
    )
    assert found == []
    canary, hedge = policy.root.canary, policy.hedge
    assert canary is not None
    assert hedge is not None
    assert (canary.share_millionths, canary.least_calls) == (50_000, 7)
    assert (policy.retry.most_attempts, policy.retry.budget_millionths) == (3, 200_000)
    assert (policy.deadlines.first_token, policy.deadlines.idle) == (2.5, None)
    assert (hedge.after_seconds, hedge.share_millionths, hedge.spend_millionths) == (1, 10_000, 50_000)
    assert (policy.breaker.failures, policy.breaker.floor_millionths, policy.probe_seconds) == (2, 1, 30)


def provider(name: str, kind: str) -> ProviderConfig:
    return ProviderConfig(uuid7(), name, kind, None)


def price(output: int) -> Price:
    return Price(uuid7(), 1, output)


def built(
    model: ModelRoute,
    *policies: PolicySource,
    prices: dict[tuple[str | None, str], Price] | None = None,
) -> Snapshot:
    stored = StoredCatalog(
        providers=(provider("a", "openai"), provider("b", "openai"), provider("sim", "simulated")),
        models=(model,),
        policies=policies,
        prices=tuple(StoredPrice(None, at, name, one) for (at, name), one in (prices or {}).items()),
    )
    return build_snapshot(1, Sources(file=DeclaredCatalog(), stored=stored, price_list=load_price_list()))


def routed(policy: str = "p", name: str = "m", **fields: Any) -> ModelRoute:
    return ModelRoute(uuid7(), name, (), policy_name=policy, **fields)


def test_a_model_leads_to_all_places_of_its_policy_each_at_its_own_price() -> None:
    policy = source("p", branches=[A, B], fallbacks={"budget": [{"provider": "sim", "model": "simulated"}]})
    one, two = price(5), price(9)
    route = built(routed(), policy, prices={("a", "m"): one, ("b", "m"): two}).models[None, "m"]
    assert [target.provider for target in route.targets] == ["a", "b", "sim"]
    assert route.policy is not None
    assert list(targets_of(route.policy.fallbacks[FallbackKind.BUDGET])) == [route.targets[2]]
    assert route.is_priced_by_target
    assert [route.price_of(target) for target in route.targets[:2]] == [one, two]
    assert route.price_at("sim", "simulated") is not None
    # What is told where one price has to stand for all.
    assert route.price == two
    assert not route.is_simulated


def test_a_price_of_the_models_own_holds_at_every_target() -> None:
    own = price(1)
    prices = {("a", "m"): price(5), ("b", "m"): price(9), (None, "m"): own}
    route = built(routed(), source("p", branches=[A, B]), prices=prices).models[None, "m"]
    assert not route.is_priced_by_target
    assert {route.price_of(target) for target in route.targets} == {own}
    # By which the cheapest vendor is found all the same.
    assert route.target_prices["a", "m"].output == 5


def test_one_target_without_a_price_leaves_the_model_unpriced() -> None:
    route = built(routed(), source("p", branches=[A, B]), prices={("a", "m"): price(5)}).models[None, "m"]
    assert (route.price, route.is_priced_by_target) == (None, False)


def test_a_target_that_passes_the_name_on_has_the_price_of_that_name() -> None:
    star = source("p", branches=[{"provider": "a", "model": "*"}])
    route = built(routed(name="gpt-4o-mini"), star).models[None, "gpt-4o-mini"]
    assert route.is_priced_by_target
    assert route.price_at("a", "gpt-4o-mini") == route.price_at("a", "*") == route.price
    assert route.policy is not None
    (target,) = all_targets(route.policy)
    assert target.context_tokens is not None


def test_a_policy_that_is_not_whole_leads_nowhere_and_to_nothing_free() -> None:
    for broken in (source("p", branches=[{"policy": "gone"}]), source("other")):
        route = built(routed(), broken).models[None, "m"]
        assert (route.targets, route.policy, route.price, route.is_simulated) == ((), None, None, False)


def test_tenants_price_holds_for_a_routed_model_too() -> None:
    agreed = price(2)
    prices = {("a", "m"): price(5), ("b", "m"): price(9)}
    stored = StoredCatalog(
        providers=(provider("a", "openai"), provider("b", "openai")),
        models=(routed(),),
        policies=(source("p", branches=[A, B]),),
        prices=(
            *(StoredPrice(None, at, name, one) for (at, name), one in prices.items()),
            StoredPrice(TENANT, None, "m", agreed),
        ),
    )
    snapshot = build_snapshot(1, Sources(file=DeclaredCatalog(), stored=stored, price_list=load_price_list()))
    own = snapshot.models[TENANT, "m"]
    assert {own.price_of(target) for target in own.targets} == {agreed}


def test_policies_are_kept_for_a_start_without_the_database() -> None:
    when = {
        "tenants": [format_id("ten", TENANT)],
        "hours": [{"zone": "Europe/Berlin", "since": "22:00", "until": "06:00"}],
    }
    policy = source("p", TENANT, strategy="canary", branches=[{**A, "when": when}, B], canary={"share": "0.05"})
    stored = StoredCatalog(models=(routed(),), policies=(policy,))
    assert TypeAdapter(StoredCatalog).validate_json(to_json(stored)) == stored


def test_targets_of_one_model_are_told_apart_by_what_they_hold() -> None:
    both = ModelRoute(uuid7(), "pair", (Target("a", "gpt-4o"), Target("a", "gpt-4.1")))
    route = built(both).models[None, "pair"]
    assert [target.context_tokens for target in route.targets] == [128_000, 1_047_576]
    alone = ModelRoute(uuid7(), "one", (Target("a", "gpt-4o"),))
    assert built(alone).models[None, "one"].targets[0].context_tokens is None
