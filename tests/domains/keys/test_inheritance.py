"""The merging of levels: narrowing only, whatever the levels and their order."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.principal import name_allowed
from tollkeeper.core.flags import FLAGS, KEY_IMPORT, PROVIDER_HEADERS, is_on
from tollkeeper.domains.keys.inheritance import LOGGING_POLICIES, Level, inherit, narrow, nearest, refusal, strictest

NAMES = st.text("ab", max_size=3)
PATTERNS = st.builds(str.__add__, NAMES, st.sampled_from(["", "*"])).filter(bool)
LISTS = st.none() | st.lists(PATTERNS, max_size=4)


@given(st.lists(LISTS, max_size=5), NAMES)
def test_a_name_is_allowed_where_every_level_allows_it(lists: list[list[str] | None], name: str) -> None:
    allowed = all(entries is None or name_allowed(name, frozenset(entries)) for entries in lists)
    assert name_allowed(name, narrow(lists)) == allowed


@given(st.lists(LISTS, max_size=5), LISTS, NAMES)
def test_one_more_level_never_widens(lists: list[list[str] | None], added: list[str] | None, name: str) -> None:
    if name_allowed(name, narrow([*lists, added])):
        assert name_allowed(name, narrow(lists))


@given(st.lists(LISTS, max_size=5).flatmap(lambda lists: st.tuples(st.just(lists), st.permutations(lists))))
def test_the_order_of_the_levels_does_not_matter_to_what_is_allowed(
    pair: tuple[list[list[str] | None], list[list[str] | None]],
) -> None:
    lists, shuffled = pair
    assert narrow(lists) == narrow(shuffled)


@given(st.lists(st.none() | st.sampled_from(LOGGING_POLICIES), min_size=1, max_size=5))
def test_the_strictest_logging_policy_wins(policies: list[str | None]) -> None:
    given_policies = [policy for policy in policies if policy is not None] or ["metadata"]
    assert LOGGING_POLICIES.index(strictest(policies)) == min(map(LOGGING_POLICIES.index, given_policies))


def test_a_logging_policy_nobody_knows_keeps_nothing() -> None:
    assert strictest(["full", "verbose"]) == "none"


def test_an_empty_list_allows_nothing_and_no_list_everything() -> None:
    assert (narrow([None, None]), narrow([["*"], []])) == (None, frozenset())


def test_the_nearest_tag_wins() -> None:
    assert nearest([{"team": "a", "cost": "1"}, {"cost": "2"}]) == {"team": "a", "cost": "2"}


def test_the_nearest_level_decides_a_self_service_flag() -> None:
    off, on = {PROVIDER_HEADERS.name: False}, {PROVIDER_HEADERS.name: True}
    assert is_on(PROVIDER_HEADERS, {})
    assert not is_on(PROVIDER_HEADERS, off)
    assert is_on(PROVIDER_HEADERS, off, on)
    assert not is_on(PROVIDER_HEADERS, on, {}, off)


def test_a_flag_of_the_platform_is_read_of_the_tenant_alone() -> None:
    assert not is_on(KEY_IMPORT, {KEY_IMPORT.name: False}, {KEY_IMPORT.name: True})


def test_flags_nobody_knows_or_of_another_type_mean_nothing() -> None:
    level = Level("tenant", UUID(int=1), "acme", flags={"teleport": True, PROVIDER_HEADERS.name: "no"})
    assert inherit([level]).flags == {name: flag.default for name, flag in FLAGS.items()}


def test_the_outermost_level_that_is_off_says_why() -> None:
    tenant = Level("tenant", UUID(int=1), "acme")
    team, project = (Level(kind, UUID(int=2), kind, is_active=False) for kind in ("team", "project"))
    stopped_by = inherit([tenant, team, project]).stopped_by
    assert stopped_by is team
    assert refusal(stopped_by) == "The team of this API key is archived. Ask an administrator."
    assert refusal(inherit([tenant]).stopped_by) is None
    suspended = Level("tenant", UUID(int=1), "acme", is_active=False)
    assert refusal(suspended, "invoice 7 is open.") == (
        "The organisation of this API key is suspended: invoice 7 is open. Ask an administrator."
    )
