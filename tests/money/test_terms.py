"""Which rules a call is under, and where it counts there."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.money.admissions import make_budget
from tests.money.records import make_principal
from tollkeeper.contracts.money import (
    PLATFORM,
    Limit,
    Period,
    RuleScope,
    ScopeKind,
    Unit,
    Window,
    WindowKind,
    counter_ref,
    shorten_subject,
)
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.terms import SHADOW, Asked, Place, PlaceKind, Terms, terms_of

NOW = 1_790_000_000.0
ASKED = Asked("gpt-4o-mini", "chat/completions", "openai", "anna")
TEAM, PROJECT, USER = uuid7(), uuid7(), uuid7()
PRINCIPAL = replace(
    make_principal(team_id=TEAM, project_id=PROJECT, user_id=USER),
    tags={"team": "search", "stage": "beta"},
    run_id="r1",
)


def make_limit(kind: ScopeKind, subject: str | None = None, **fields: Any) -> Limit:
    values: dict[str, Any] = {"unit": Unit.REQUESTS, "amount": 60, "period": Period.MINUTE}
    return Limit(uuid7(), RuleScope(kind, subject), **(values | fields))


def terms(limit: Limit, asked: Asked = ASKED, principal: Principal = PRINCIPAL) -> list[Terms]:
    return terms_of(replace(principal, limits=(limit,)), asked, NOW)


def subject_of(limit: Limit, asked: Asked = ASKED) -> str | None:
    """What the limit counts the call as; None where it is not about it."""
    found = terms(limit, asked)
    if not found:
        return None
    (place,) = (*found[0].rates, *found[0].slots)
    return place.key.decode().rsplit(":", 1)[1] if b":" in place.key else ""


@pytest.mark.parametrize(
    ("kind", "subject", "counted_as"),
    [
        (ScopeKind.TENANT, PRINCIPAL.tenant_id.hex, ""),
        (ScopeKind.TENANT, uuid7().hex, None),
        (ScopeKind.TENANT, None, PRINCIPAL.tenant_id.hex),
        (ScopeKind.TEAM, TEAM.hex, ""),
        (ScopeKind.PROJECT, None, PROJECT.hex),
        (ScopeKind.USER, USER.hex, ""),
        (ScopeKind.KEY, None, PRINCIPAL.key_id.hex),
        (ScopeKind.TAG, "team=search", ""),
        (ScopeKind.TAG, "team=ads", None),
        (ScopeKind.TAG, "team=*", "search"),
        (ScopeKind.TAG, "region=*", None),
        (ScopeKind.END_USER, "anna", ""),
        (ScopeKind.END_USER, "bert", None),
        (ScopeKind.END_USER, None, "anna"),
        (ScopeKind.MODEL, "gpt-4o-mini", ""),
        (ScopeKind.MODEL, "gpt-*", ""),
        (ScopeKind.MODEL, "claude-*", None),
        (ScopeKind.MODEL, None, "gpt-4o-mini"),
        (ScopeKind.ENDPOINT, "chat/completions", ""),
        (ScopeKind.ENDPOINT, "chat", ""),
        (ScopeKind.ENDPOINT, "embeddings", None),
        (ScopeKind.PROVIDER, "openai", ""),
        (ScopeKind.PROVIDER, "azure", None),
        (ScopeKind.RUN, "r1", ""),
        (ScopeKind.RUN, None, "r1"),
    ],
)
def test_a_rule_is_about_the_calls_of_its_scope_alone(
    kind: ScopeKind, subject: str | None, counted_as: str | None
) -> None:
    assert subject_of(make_limit(kind, subject)) == counted_as


def test_what_is_not_there_is_under_no_rule_about_it() -> None:
    bare = make_principal()
    for kind in (ScopeKind.TEAM, ScopeKind.PROJECT, ScopeKind.USER, ScopeKind.RUN):
        assert terms(make_limit(kind), principal=bare) == []
    assert subject_of(make_limit(ScopeKind.END_USER), replace(ASKED, end_user=None)) is None


def test_a_rule_may_be_about_some_models_and_count_each_apart() -> None:
    some = make_limit(ScopeKind.TENANT, PRINCIPAL.tenant_id.hex, models=frozenset({"gpt-*"}))
    assert subject_of(some) == ""
    assert subject_of(some, replace(ASKED, model="claude-4")) is None
    each = make_limit(ScopeKind.KEY, PRINCIPAL.key_id.hex, is_per_model=True)
    assert subject_of(each) == "|gpt-4o-mini"
    both = make_limit(ScopeKind.END_USER, None, is_per_model=True)
    assert subject_of(both) == "anna|gpt-4o-mini"


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a,b", "ünicode", "new\nline", "{tag}", "~mine", '"'])
def test_what_a_caller_names_never_becomes_part_of_a_key_as_it_is(name: str) -> None:
    limit = make_limit(ScopeKind.END_USER)
    counted_as = subject_of(limit, replace(ASKED, end_user=name))
    assert counted_as is not None
    assert len(counted_as) == 33
    assert counted_as == shorten_subject(name) != shorten_subject(name + "x")


def only(limit: Limit) -> Place:
    (found,) = terms(limit)
    (place,) = (*found.rates, *found.slots)
    return place


def test_amounts_go_to_the_script_as_it_wants_them() -> None:
    rate = only(make_limit(ScopeKind.KEY, amount=600))
    assert (rate.kind, rate.one, rate.two, rate.three) == (PlaceKind.REQUESTS, 60_000_000, 600, 100)
    hourly = only(make_limit(ScopeKind.KEY, amount=5_000, unit=Unit.TOTAL_TOKENS, period=Period.HOUR))
    assert (hourly.kind, hourly.two, hourly.three) == (PlaceKind.TOKENS, 5_000, 5_000)
    parallel = only(make_limit(ScopeKind.KEY, amount=4, unit=Unit.PARALLEL, period=None, is_shadow=True))
    assert (parallel.kind, parallel.one, parallel.two) == (PlaceKind.PARALLEL + SHADOW, 4, 30_000)
    assert only(make_limit(ScopeKind.KEY, amount=10, burst=50)).three == 10


def test_an_override_ends_by_itself() -> None:
    limit = make_limit(ScopeKind.KEY, amount=60, override_amount=600, override_until=NOW + 5)
    principal = replace(PRINCIPAL, limits=(limit,))
    (during,) = terms_of(principal, ASKED, NOW)
    (after,) = terms_of(principal, ASKED, NOW + 5)
    assert (during.rates[0].two, during.until) == (600, NOW + 5)
    assert (after.rates[0].two, after.until) == (60, float("inf"))


def budgets_of(budget: Any, unix: float = NOW) -> Place:
    (found,) = terms_of(replace(PRINCIPAL, budgets=(budget,)), ASKED, unix)
    (place,) = found.budgets
    return place


def test_a_budget_counts_in_its_window() -> None:
    day = make_budget(5, scope=RuleScope(ScopeKind.TENANT, PRINCIPAL.tenant_id.hex), window=Window(WindowKind.DAY))
    start = int(NOW // 86_400 * 86_400)
    place = budgets_of(day)
    assert place.ref == counter_ref(day.id, start)
    assert (place.kind, place.one, place.two) == (PlaceKind.HARD, 5, start * 1000)
    (found,) = terms_of(replace(PRINCIPAL, budgets=(day,)), ASKED, NOW)
    assert found.until == start + 86_400


def test_a_new_budget_begins_when_it_is_made_and_one_with_a_past_asks_the_ledger() -> None:
    scope = RuleScope(ScopeKind.TENANT, PRINCIPAL.tenant_id.hex)
    made = int(NOW) - 100
    assert budgets_of(make_budget(scope=scope, counts_from=made)).two == made * 1000
    assert budgets_of(make_budget(scope=scope, counts_from=0)).two == 0
    start = int(NOW // 86_400 * 86_400)
    assert budgets_of(make_budget(scope=scope, counts_from=start, window=Window(WindowKind.DAY))).two == 0


def test_an_increase_counts_until_it_ends() -> None:
    scope = RuleScope(ScopeKind.KEY, PRINCIPAL.key_id.hex)
    budget = make_budget(100, scope=scope, increase_nano=50, increase_until=NOW + 1)
    assert budgets_of(budget).one == 150
    assert budgets_of(budget, NOW + 1).one == 100


def test_what_is_left_rolls_over_from_the_window_before() -> None:
    scope = RuleScope(ScopeKind.KEY, PRINCIPAL.key_id.hex)
    budget = make_budget(100, scope=scope, window=Window(WindowKind.DAY), rolls_over=True)
    place = budgets_of(budget)
    assert place.before is not None
    start = int(NOW // 86_400 * 86_400)
    assert place.before.ref == counter_ref(budget.id, start - 86_400)
    assert (place.before.kind, place.before.one) == (PlaceKind.BEFORE, 100)
    assert budgets_of(replace(budget, counts_from=start + 5)).before is None


def test_rules_of_the_platform_count_in_a_space_of_their_own() -> None:
    own = make_limit(ScopeKind.KEY)
    shared = make_limit(ScopeKind.PROVIDER, "openai", is_platform=True)
    principal = replace(PRINCIPAL, limits=(own, shared), budgets=(make_budget(is_platform=True),))
    tenant, platform = terms_of(principal, ASKED, NOW)
    assert (tenant.space, platform.space) == (PRINCIPAL.tenant_id, PLATFORM)
    assert all(place.key.startswith(b"tk:{%b}:" % UUID(int=0).hex.encode()) for place in platform.rates)
    assert platform.is_hard
    assert not tenant.budgets
