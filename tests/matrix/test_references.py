"""Ids inside bodies and queries, and what lists show: another tenant's objects are not there, and nothing is written.

Every place that takes an id is found in the schemas, however deep it lies.
"""

import copy
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.matrix.calls import body_for, call, comparable, own_ids
from tests.matrix.operations import Operation, Place, operations
from tests.matrix.recipes import RECIPES
from tests.matrix.world import NOBODY, Person, Side, World, shown
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import GRANTABLE, Role, Scope

_KNOWN: Final = [op for op in operations() if op.permission is not None and op.name in RECIPES]
_IN_BODIES: Final = [
    pytest.param(op, place, prefix, id=f"{op} {'.'.join(place)}")
    for op in _KNOWN
    for place, prefix in op.body_ids.items()
]
_IN_QUERIES: Final = [
    pytest.param(op, name, prefix, id=f"{op} ?{name}") for op in _KNOWN for name, prefix in op.query_ids.items()
]
_LISTS: Final = [op for op in _KNOWN if op.method == "GET"]


# One of each in the other tenant before a list is read.
_KINDS: Final = (
    "usr",
    "key",
    "req",
    "mdl",
    "prv",
    "prc",
    "adj",
    "rtp",
    "grp",
    "grv",
    "job",
    "rol",
    "team",
    "prj",
    "inv",
    "idp",
    "wlb",
    "lim",
    "bud",
)


async def caller_of(world: World, operation: Operation) -> Person:
    """The mightiest caller that stays inside one tenant, or the platform's where nobody else may call."""
    return await world.person(Role.TENANT_ADMIN if operation.permission in GRANTABLE else Role.PLATFORM_ADMIN)


def with_value(body: Any, place: Place, value: Any) -> Any:
    """The body with `value` at the place; what lies on the way there is made."""
    if not place:
        return value
    head, *rest = place
    if head == "[]":
        return [with_value(body[0] if isinstance(body, list) and body else None, tuple(rest), value)]
    if head == "{}":
        return {"any": with_value(None, tuple(rest), value)}
    changed = copy.copy(body) if isinstance(body, dict) else {}
    changed[head] = with_value(changed.get(head), tuple(rest), value)
    return changed


@pytest.mark.parametrize(("operation", "place", "prefix"), _IN_BODIES)
async def test_a_foreign_id_in_a_body_is_as_unknown_as_one_that_never_was(
    world: World, operation: Operation, place: Place, prefix: str
) -> None:
    person = await caller_of(world, operation)
    if person.is_platform:
        return
    if RECIPES[operation.name].is_own:
        person = await world.new_person(Role.TENANT_ADMIN)
    ids = await own_ids(world, operation, person)
    body = await body_for(world, operation, person, ids, person.side)
    body = {**body, **RECIPES[operation.name].beside.get(place[0], {})}
    foreign = await world.make(prefix, world.theirs, None, {})
    await world.credential(person, Scope.ADMIN)
    before = await world.fingerprint()
    answers = [
        await call(world, operation, person, ids, scope=scope, body=with_value(body, place, shown(prefix, value)))
        for scope in (None, Scope.ADMIN)
        if operation.permission in person.permissions_by(scope) and not (scope and RECIPES[operation.name].by_key)
        for value in (foreign, uuid7())
    ]
    assert await world.fingerprint() == before, f"{operation} wrote something"
    for answer in answers:
        # Another tenant is never one of many.
        wanted = 404 if prefix == "ten" else RECIPES[operation.name].unknown_reference
        assert answer.status_code == wanted, f"{operation} with a foreign {'.'.join(place)}: {answer.text}"
    assert len({comparable(answer) for answer in answers}) == 1


@pytest.mark.parametrize(("operation", "name", "prefix"), _IN_QUERIES)
async def test_a_foreign_id_in_a_query_is_as_unknown_as_one_that_never_was(
    world: World, operation: Operation, name: str, prefix: str
) -> None:
    person = await caller_of(world, operation)
    if person.is_platform:
        return
    if RECIPES[operation.name].is_own:
        person = await world.new_person(Role.TENANT_ADMIN)
    foreign = await world.make(prefix, world.theirs, None, {})
    ids = await own_ids(world, operation, person)
    one, other = [
        await call(world, operation, person, ids, query={name: shown(prefix, value)}) for value in (foreign, uuid7())
    ]
    assert one.status_code == (404 if prefix == "ten" else other.status_code), one.text
    assert one.status_code in {200, 404}, f"{operation} ?{name}: {one.text}"
    assert without_times(comparable(one)) == without_times(comparable(other))


@pytest.mark.parametrize("operation", _LISTS, ids=str)
async def test_nothing_that_is_read_holds_a_word_of_the_other_tenant(world: World, operation: Operation) -> None:
    assert operation.permission is not None
    for prefix in _KINDS:
        await world.make(prefix, world.theirs, None, {})
    marks = [world.theirs.canary, world.theirs.tenant_id.hex]
    for role in (Role.TENANT_ADMIN, Role.AUDITOR, frozenset({operation.permission.value})):
        person = await world.person(role)
        if operation.permission not in person.permissions:
            continue
        seen = 0
        async for page in pages(world, operation, person):
            seen += 1
            for mark in marks:
                assert mark not in page, f"{operation} shows {mark} to {person.role}"
        assert seen


@pytest.mark.parametrize("operation", [op for op in _LISTS if op.is_list], ids=str)
async def test_lists_hold_ones_own(world: World, operation: Operation) -> None:
    """The negative control of the test above: the same words are found by who may see them."""
    admin = await world.person(Role.PLATFORM_ADMIN)
    query = {"tenant_id": shown("ten", world.theirs.tenant_id)} if "tenant_id" in operation.query else {}
    for prefix in _KINDS:
        await world.make(prefix, world.theirs, None, {})
    await world.new_user(NOBODY, world.theirs, kind="service")
    pages_seen = [page async for page in pages(world, operation, admin, query, world.theirs)]
    assert pages_seen
    if operation.path in _EMPTY:
        return
    shows = any(world.theirs.canary in page or world.theirs.tenant_id.hex in page for page in pages_seen)
    assert shows, f"{operation} shows nothing of the tenant to the platform's administrator"


# Nothing of a tenant's own is in them here: no calls were made, theirs has no audit trail, jobs and providers are the
# platform's, public prices everybody's, and no target has been called.
_EMPTY: Final = frozenset(
    {
        "/api/v1/usage/records",
        "/api/v1/budgets/{budget_id}/holds",
        "/api/v1/audit",
        "/api/v1/jobs",
        "/api/v1/catalog/providers",
        "/api/v1/catalog/price-list",
        "/api/v1/router/health",
        "/api/v1/guardrails/rules",
        "/api/v1/cache/entries",
    }
)
_MOMENT: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z")


async def pages(
    world: World, operation: Operation, person: Person, query: dict[str, str] | None = None, side: Side | None = None
) -> AsyncIterator[str]:
    ids = await own_ids(world, operation, person, side)
    cursor: dict[str, str] = {"limit": "100"} if operation.is_list else {}
    for _ in range(50):
        answer = await call(world, operation, person, ids, query={**cursor, **(query or {})})
        assert answer.status_code == 200, f"{operation}: {answer.text}"
        yield answer.text
        if not operation.is_list or answer.json()["next_cursor"] is None:
            return
        cursor["cursor"] = answer.json()["next_cursor"]


def without_times(answer: tuple[int, bytes]) -> tuple[int, bytes]:
    """Reports tell the moment they were made at."""
    return answer[0], _MOMENT.sub(b"", answer[1])
