"""Where a call goes: the strategies of a fork, what is left out, and narrowing."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.gateway.routing.deciding import SNAPSHOT, Told, chat, decided, facts, fork, names, routed
from tests.gateway.serving import route
from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.routing import Branch, Condition, FallbackKind, Hours, Strategy, Target
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.routing.health import Standing
from tollkeeper.gateway.routing.plan import decide, only_target

A, B, C, D = (Target(name, "m") for name in "abcd")


def test_priority_keeps_the_order_and_leaves_out_the_unknown() -> None:
    made = decide(route("m", ("a", "1"), ("x", "2"), ("c", "3")), SNAPSHOT, facts(), Told())
    assert made.targets == (Target("a", "1"), Target("c", "3"))
    assert [(one.target.provider, one.reason) for one in made.left_out] == [("x", "provider_unknown")]


def test_providers_that_are_not_allowed_are_left_out() -> None:
    made = decided(fork(Strategy.PRIORITY, A, B), facts(allowed_providers=frozenset({"b*"})))
    assert names(made) == "b"
    assert [(one.target, one.reason) for one in made.left_out] == [(A, "provider_not_allowed")]


@pytest.mark.parametrize(("share", "first"), [(0.0, "a"), (0.09, "a"), (0.11, "b"), (0.99, "b")])
def test_weights_share_the_calls(share: float, first: str) -> None:
    made = decided(fork(Strategy.WEIGHTED, Target("a", "1", 1), Target("b", "2", 9)), facts(share=share))
    assert made.targets[0].provider == first
    assert len(made.targets) == 2


def test_a_branch_without_weight_only_stands_in() -> None:
    root = fork(Strategy.WEIGHTED, Branch(A, 0), Branch(B, 1))
    assert {names(decided(root, facts(share=share / 50))) for share in range(50)} == {"ba"}


def test_a_target_that_stands_in_two_branches_is_tried_once() -> None:
    inner = fork(Strategy.PRIORITY, B, A, name="inner")
    assert names(decided(fork(Strategy.PRIORITY, A, inner, B))) == "ab"


def test_a_nested_fork_is_tried_whole_before_the_next_branch() -> None:
    inner = fork(Strategy.LEAST_LATENCY, B, C)
    view = Told({"b": Standing(latency_seconds=2.0), "c": Standing(latency_seconds=1.0)})
    assert names(decided(fork(Strategy.PRIORITY, inner, A), view=view)) == "cba"


def test_a_blocked_target_is_tried_last_and_not_left_out() -> None:
    view = Told({"a": Standing(blocked_until=10.0)})
    made = decided(fork(Strategy.PRIORITY, A, B, C), facts(now=9.0), view)
    assert (names(made), made.left_out) == ("bca", ())
    assert names(decided(fork(Strategy.PRIORITY, A, B, C), facts(now=10.0), view)) == "abc"


def test_least_latency_counts_the_calls_that_are_under_way() -> None:
    slow_and_idle, fast_and_busy = Standing(latency_seconds=1.0), Standing(latency_seconds=0.4, in_flight=4)
    made = decided(fork(Strategy.LEAST_LATENCY, A, B), view=Told({"a": fast_and_busy, "b": slow_and_idle}))
    assert names(made) == "ba"


def test_least_latency_tries_what_it_does_not_know_once_at_a_time() -> None:
    root = fork(Strategy.LEAST_LATENCY, A, B)
    known = {"a": Standing(latency_seconds=0.1)}
    assert names(decided(root, view=Told(dict(known)))) == "ba"
    assert names(decided(root, view=Told({**known, "b": Standing(in_flight=1)}))) == "ab"


def test_least_latency_does_not_draw_the_blocked() -> None:
    view = Told({name: Standing(latency_seconds=1.0) for name in "abc"} | {"d": Standing(blocked_until=9.0)})
    firsts = {names(decided(fork(Strategy.LEAST_LATENCY, A, B, C, D), facts(share=n / 40), view))[0] for n in range(40)}
    assert firsts <= set("abc")
    assert len(firsts) > 1


def _priced(input_pico: int, output_pico: int, cache_read: int | None = None) -> Price:
    return Price(uuid7(), input_pico, output_pico, cache_read=cache_read)


def test_least_cost_reckons_with_what_the_vendor_caches() -> None:
    root = fork(Strategy.LEAST_COST, A, B)
    prices = {("a", "m"): _priced(100, 10), ("b", "m"): _priced(150, 10, cache_read=10)}
    what = facts(tokens=10_000)
    assert names(decided(root, what, target_prices=prices)) == "ab"
    cached = Told({"b": Standing(cache_read_share=0.8)})
    assert names(decided(root, facts(tokens=10_000), cached, target_prices=prices)) == "ba"


def test_least_cost_puts_the_unpriced_last() -> None:
    made = decided(fork(Strategy.LEAST_COST, A, B), price=None, target_prices={("b", "m"): _priced(9_000, 9_000)})
    assert names(made) == "ba"


def test_a_conversation_stays_where_it_began() -> None:
    root = fork(Strategy.STICKY, *(Target(name, "m") for name in "abcdefghij"))
    firsts = set()
    for number in range(40):
        opening = ("be kind", f"question {number}")
        began = decided(root, facts(chat(*opening), share=0.1))
        grown = decided(root, facts(chat(*opening, "an answer", "and then?"), share=0.9))
        assert began.targets == grown.targets
        firsts.add(began.targets[0].provider)
    assert len(firsts) > 5


def test_conversations_of_two_tenants_are_not_told_apart_by_one_another() -> None:
    root = fork(Strategy.STICKY, *(Target(name, "m") for name in "abcdefghij"))
    orders = {decided(root, facts(tenant_id=UUID(int=number))).targets for number in range(8)}
    assert len(orders) > 1


@pytest.mark.parametrize("by", ["user", "key", "header:x-session"])
def test_calls_are_kept_together_by_what_the_policy_says(by: str) -> None:
    root = fork(Strategy.STICKY, *(Target(name, "m") for name in "abcdefghij"), sticky_by=by)
    one = {"user_id": UUID(int=1), "key_id": UUID(int=2), "headers": {"x-session": "s1"}}
    other = {"user_id": UUID(int=7), "key_id": UUID(int=8), "headers": {"x-session": "s2"}}
    calls = [chat("be kind", f"question {number}") for number in range(6)]
    assert len({decided(root, facts(call, **one)).targets for call in calls}) == 1
    assert decided(root, facts(calls[0], **one)).targets != decided(root, facts(calls[0], **other)).targets


@pytest.mark.parametrize(("share", "order"), [(0.05, "ba"), (0.2, "ab")])
def test_a_canary_gets_its_share(share: float, order: str) -> None:
    assert names(decided(fork(Strategy.CANARY, A, B), facts(share=share))) == order


def test_a_canary_that_is_rolled_back_only_stands_in() -> None:
    made = decided(fork(Strategy.CANARY, A, B, name="new"), facts(share=0.05), Told(rolled_back=True))
    assert names(made) == "ab"
    assert made.notes == ("canary: new is rolled back",)


_HALF_PAST_NINE = datetime(2026, 11, 20, 8, 30, tzinfo=UTC).timestamp()  # a Friday, 9:30 in Berlin


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        (Condition(tenants=frozenset({UUID(int=5)})), facts(tenant_id=UUID(int=5))),
        (Condition(tags=frozenset({"team:red"})), facts(tags={"team": "red"})),
        (Condition(tags=frozenset({"team"})), facts(tags={"team": "blue"})),
        (Condition(headers={"x-env": frozenset({"dev", "test"})}), facts(headers={"x-env": "test"})),
        (Condition(min_input_tokens=100), facts(tokens=100)),
        (Condition(max_input_tokens=50), facts(tokens=50)),
        (Condition(capabilities=frozenset({"tools"})), facts(chat("x", "y", tools=[{"type": "function"}]))),
        (Condition(hours=(Hours("Europe/Berlin", 9 * 60, 10 * 60),)), facts(unix=_HALF_PAST_NINE)),
        (Condition(hours=(Hours("Europe/Berlin", 22 * 60, 9 * 60 + 31),)), facts(unix=_HALF_PAST_NINE)),
    ],
)
def test_a_branch_is_there_when_its_condition_holds(condition: Condition, what: object) -> None:
    root = fork(Strategy.PRIORITY, Branch(A, when=condition), B)
    assert names(decided(root, what)) == "ab"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "what", "detail"),
    [
        (Condition(tenants=frozenset({UUID(int=5)})), facts(), "tenants"),
        (Condition(tags=frozenset({"team:red"})), facts(tags={"team": "blue"}), "tags"),
        (Condition(headers={"x-env": frozenset({"dev"})}), facts(), "headers.x-env"),
        (Condition(min_input_tokens=100), facts(tokens=99), "min_input_tokens"),
        (Condition(max_input_tokens=50), facts(tokens=51), "max_input_tokens"),
        (Condition(capabilities=frozenset()), facts(chat("x", "y", tools=[{"type": "function"}])), "capabilities"),
        (Condition(hours=(Hours("UTC", 9 * 60, 10 * 60),)), facts(unix=_HALF_PAST_NINE), "hours"),
        (
            Condition(hours=(Hours("Europe/Berlin", 0, 720, frozenset({0, 1, 2, 3})),)),
            facts(unix=_HALF_PAST_NINE),
            "hours",
        ),
        # Past midnight it is still the night of the day before, a Thursday.
        (
            Condition(hours=(Hours("Europe/Berlin", 22 * 60, 600, frozenset({4})),)),
            facts(unix=_HALF_PAST_NINE),
            "hours",
        ),
    ],
)
def test_a_branch_whose_condition_fails_is_left_out_and_told(condition: Condition, what: object, detail: str) -> None:
    made = decided(fork(Strategy.PRIORITY, Branch(A, when=condition), B), what)  # type: ignore[arg-type]
    assert names(made) == "b"
    assert [(one.target, one.reason, one.detail) for one in made.left_out] == [(A, "condition", detail)]


def test_a_window_that_is_too_small_is_left_out_where_another_holds_the_call() -> None:
    small, large = Target("a", "m", context_tokens=1_000), Target("b", "m", context_tokens=100_000)
    made = decided(fork(Strategy.PRIORITY, small, large), facts(tokens=2_000))
    assert names(made) == "b"
    assert [(one.reason, one.detail) for one in made.left_out] == [
        ("context_too_small", "about 2000 tokens, 1000 at most")
    ]
    assert names(decided(fork(Strategy.PRIORITY, small, large), facts(tokens=1_000))) == "ab"


def test_windows_that_are_all_too_small_are_tried_all_the_same() -> None:
    root = fork(Strategy.PRIORITY, Target("a", "m", context_tokens=1_000), Target("b", "m", context_tokens=500))
    made = decided(root, facts(tokens=2_000))
    assert (names(made), made.left_out) == ("ab", ())


def test_of_windows_that_are_all_too_small_the_blocked_are_tried_last() -> None:
    root = fork(Strategy.PRIORITY, Target("a", "m", context_tokens=1_000), Target("b", "m", context_tokens=500))
    view = Told({"a": Standing(blocked_until=9.0)})
    assert names(decided(root, facts(tokens=2_000), view)) == "ba"


def test_a_call_that_no_target_holds_goes_to_the_larger_ones() -> None:
    large = fork(Strategy.PRIORITY, Target("c", "m", context_tokens=100_000))
    root = fork(Strategy.PRIORITY, Target("a", "m", context_tokens=1_000))
    fallbacks = {FallbackKind.CONTEXT_WINDOW: large, FallbackKind.BUDGET: fork(Strategy.PRIORITY, D)}
    made = decided(root, facts(tokens=2_000), fallbacks=fallbacks)
    assert names(made) == "c"
    assert set(made.fallbacks) == {FallbackKind.BUDGET}
    assert [one.target.provider for one in made.left_out] == ["a"]
    fits = decided(root, facts(tokens=10), fallbacks=fallbacks)
    assert names(fits) == "a"
    assert {kind: [one.provider for one in some] for kind, some in fits.fallbacks.items()} == {
        FallbackKind.CONTEXT_WINDOW: ["c"],
        FallbackKind.BUDGET: ["d"],
    }


def test_a_model_that_is_known_to_lack_what_is_asked_is_left_out() -> None:
    root = fork(Strategy.PRIORITY, Target("a", "m", lacks=frozenset({"tools"})), B)
    made = decided(root, facts(chat("x", "y", tools=[{"type": "function"}])))
    assert names(made) == "b"
    assert [(one.reason, one.detail) for one in made.left_out] == [("capability", "tools")]
    assert names(decided(root)) == "ab"


@pytest.mark.parametrize(
    ("header", "order"), [("b", "b"), ("b/m", "b"), ("inner", "bc"), ("a, inner", "abc"), ("whole", "abc")]
)
def test_a_caller_narrows_its_own_call(header: str, order: str) -> None:
    root = fork(Strategy.PRIORITY, A, fork(Strategy.PRIORITY, B, C, name="inner"), name="whole")
    assert names(decided(root, facts(headers={"x-tollkeeper-route": header}))) == order


@pytest.mark.parametrize("header", ["e", "b,nobody", "b/other", ""])
def test_a_name_that_is_no_part_of_the_route_is_told(header: str) -> None:
    made = decided(fork(Strategy.PRIORITY, A, B), facts(headers={"x-tollkeeper-route": header}))
    assert made.targets == ()
    assert made.unknown_names


def test_a_caller_cannot_name_a_provider_that_its_key_may_not_use() -> None:
    what = facts(headers={"x-tollkeeper-route": "a"}, allowed_providers=frozenset({"b"}))
    assert decided(fork(Strategy.PRIORITY, A, B), what).unknown_names == ("a",)


def test_narrowing_holds_for_the_fallbacks_too() -> None:
    fallbacks = {FallbackKind.BUDGET: fork(Strategy.PRIORITY, C, D)}
    root = fork(Strategy.PRIORITY, A, B)
    kept = decided(root, facts(headers={"x-tollkeeper-route": "a,d"}), fallbacks=fallbacks)
    assert (names(kept), [one.provider for one in kept.fallbacks[FallbackKind.BUDGET]]) == ("a", ["d"])
    allowed = decided(root, facts(allowed_providers=frozenset({"a"})), fallbacks=fallbacks)
    assert (names(allowed), dict(allowed.fallbacks)) == ("a", {})


def test_a_wildcard_passes_on_what_its_star_stands_for() -> None:
    wild = route("openai/*", ("a", "{rest}"), ("b", "*"))
    made = decide(wild, SNAPSHOT, facts(chat("x", "y", model="openai/gpt-5")), Told())
    assert made.targets == (Target("a", "gpt-5"), Target("b", "*"))
    assert decide(route("openai/*", ("a", "{rest}")), SNAPSHOT, facts(chat(model="openai/")), Told()).targets == ()


def test_a_route_with_one_target_needs_no_decision() -> None:
    one, who = route("m", ("a", "1")), facts().principal
    assert only_target(one, SNAPSHOT, who, {}) == one.targets
    assert only_target(one, SNAPSHOT, who, {b"x-tollkeeper-route": b"b"}) is None
    assert only_target(route("m", ("x", "1")), SNAPSHOT, who, {}) is None
    assert only_target(routed(fork(Strategy.PRIORITY, A)), SNAPSHOT, who, {}) is None
    assert only_target(one, SNAPSHOT, facts(allowed_providers=frozenset({"b"})).principal, {}) is None
