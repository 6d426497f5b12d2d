"""Role × credential × route × object: what the declared permission says is what happens, and nothing else decides.

Generated from the mounted application: a route without a recipe fails, one with it is tried by everybody.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from tests.matrix.calls import (
    FORBIDDEN,
    Verdict,
    allowed,
    body_for,
    call,
    comparable,
    expected,
    make_ids,
    own_ids,
    send,
    unknown_ids,
    verdict_of,
)
from tests.matrix.operations import Operation, operations
from tests.matrix.recipes import RECIPES
from tests.matrix.world import NOBODY, Person, World
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import GRANTABLE, SCOPE_PERMISSIONS, Permission, Role, Scope

# A route without a recipe fails in the first test alone.
_GUARDED: Final = [op for op in operations() if op.permission is not None and op.name in RECIPES]
_WITH_IDS: Final = [operation for operation in _GUARDED if operation.path_ids]
guarded = pytest.mark.parametrize("operation", _GUARDED, ids=str)
with_ids = pytest.mark.parametrize("operation", _WITH_IDS, ids=str)


def test_every_route_has_a_recipe_and_every_recipe_a_route() -> None:
    names = {operation.name for operation in operations()}
    assert names - RECIPES.keys() == set(), "routes without an entry in recipes.py"
    assert RECIPES.keys() - names == set(), "entries in recipes.py without a route"


def test_a_route_is_public_only_for_a_reason() -> None:
    for operation in operations():
        if (recipe := RECIPES.get(operation.name)) is not None:
            assert (operation.permission is None) == (recipe.public is not None), operation


def test_routes_across_tenants_ask_for_what_no_tenants_role_can_hold() -> None:
    for operation in operations():
        if operation.is_platform:
            assert operation.permission not in GRANTABLE, operation


def test_every_id_in_a_path_is_a_public_id() -> None:
    for operation in operations():
        # What stands behind /console/ is looked up in a table of pages.
        if operation.name != "GET /console/{path:path}":
            assert None not in operation.path_ids.values(), operation


# ── Strangers ──

Stranger = Callable[[World], Awaitable[str | None]]


async def _of_a_platform_admin(world: World, **columns: object) -> tuple[UUID, str]:
    person = await world.person(Role.PLATFORM_ADMIN)
    return await world.new_key(person.user_id, world.ours, scopes=["admin", "inference"], **columns)


async def _nothing(world: World) -> str | None:
    return None


async def _garbage(world: World) -> str | None:
    return "garbage"


async def _malformed(world: World) -> str | None:
    """One character of a good key is another."""
    _, key = await _of_a_platform_admin(world)
    return key[:-1] + ("0" if key[-1] != "0" else "1")


async def _revoked(world: World) -> str | None:
    return (await _of_a_platform_admin(world, status="revoked"))[1]


async def _expired(world: World) -> str | None:
    past = world.services.clock.now() - timedelta(minutes=1)
    return (await _of_a_platform_admin(world, expires_at=past))[1]


async def _suspended(world: World) -> str | None:
    side = await world.new_side()
    person = await world.new_person(Role.PLATFORM_ADMIN, side)
    await world.suspend(side)
    return await world.credential(person, Scope.ADMIN)


async def _session_of_suspended(world: World) -> str | None:
    side = await world.new_side()
    person = await world.new_person(Role.PLATFORM_ADMIN, side)
    await world.suspend(side)
    return person.token


async def _disabled(world: World) -> str | None:
    user_id = await world.new_user(Role.PLATFORM_ADMIN, world.ours, is_active=False)
    return (await world.new_key(user_id, world.ours))[1]


async def _session_of_disabled(world: World) -> str | None:
    user_id = await world.new_user(Role.PLATFORM_ADMIN, world.ours, is_active=False)
    return await world.new_session(user_id, world.ours)


async def _left(world: World) -> str | None:
    user_id = await world.new_user(Role.PLATFORM_ADMIN, world.ours, removed_at=world.services.clock.now())
    return (await world.new_key(user_id, world.ours))[1]


async def _session_of_left(world: World) -> str | None:
    user_id = await world.new_user(Role.PLATFORM_ADMIN, world.ours, removed_at=world.services.clock.now())
    return await world.new_session(user_id, world.ours)


async def _ended_session(world: World) -> str | None:
    person = await world.person(Role.PLATFORM_ADMIN)
    return await world.new_session(person.user_id, world.ours, revoked_at=world.services.clock.now())


async def _session_before_a_change(world: World) -> str | None:
    """Its epoch is the one before."""
    person = await world.new_person(Role.PLATFORM_ADMIN)
    await world.raise_epoch(person.user_id)
    return person.token


_STRANGERS: Final[dict[str, Stranger]] = {
    "no credential": _nothing,
    "garbage": _garbage,
    "a malformed key": _malformed,
    "a revoked key": _revoked,
    "an expired key": _expired,
    "a key of a suspended tenant": _suspended,
    "a session in a suspended tenant": _session_of_suspended,
    "a key of a disabled user": _disabled,
    "a session of a disabled user": _session_of_disabled,
    "a key of a member who left": _left,
    "a session of a member who left": _session_of_left,
    "an ended session": _ended_session,
    "a session from before a change of the account": _session_before_a_change,
}


@pytest.fixture(scope="module")
async def strangers(world: World) -> dict[str, str | None]:
    return {name: await make(world) for name, make in _STRANGERS.items()}


@guarded
async def test_strangers_are_refused_before_anything_is_read(
    world: World, strangers: dict[str, str | None], operation: Operation
) -> None:
    admin = await world.person(Role.PLATFORM_ADMIN)
    ids = await own_ids(world, operation, admin)
    for name, credential in strangers.items():
        # Not even JSON: who reads it first answers 400.
        answer = await send(
            world, operation, RECIPES[operation.name], ids, credential, b"{" if operation.is_write else None
        )
        assert answer.status_code == 401, f"{operation} with {name}: {answer.status_code} {answer.text}"
        assert answer.headers["www-authenticate"]


# ── Roles ──


def _roles(permission: Permission) -> list[str | frozenset[str]]:
    exactly = frozenset({permission.value})
    everything_else = frozenset(each.value for each in GRANTABLE - {permission})
    return [*Role, exactly, everything_else, NOBODY]


@guarded
@pytest.mark.parametrize("scope", [None, Scope.ADMIN, Scope.INFERENCE], ids=["session", "admin key", "inference key"])
async def test_the_permission_decides_and_the_role_only_through_it(
    world: World, operation: Operation, scope: Scope | None
) -> None:
    assert operation.permission is not None
    recipe = RECIPES[operation.name]
    ids = await own_ids(world, operation, await world.person(Role.TENANT_ADMIN))
    roles = _roles(operation.permission)
    if scope is not None and operation.permission not in SCOPE_PERMISSIONS[scope]:
        # No role gives a key what its scope does not: the mightiest is enough, and the one that holds just this.
        roles = [Role.PLATFORM_ADMIN, Role.TENANT_ADMIN, frozenset({operation.permission.value})]
    for role in roles:
        person = await world.person(role)
        wanted = expected(operation, person, scope)
        body: Any = None
        if wanted == allowed(operation):
            person = await world.new_person(role) if recipe.is_own else person
            ids = await own_ids(world, operation, person)
            body = await body_for(world, operation, person, ids, person.side)
        elif operation.body is not None:
            # Who may not is refused whatever the body is; with a key, where only a session makes sense, it must fit.
            body = {} if wanted == FORBIDDEN else await body_for(world, operation, person, ids, person.side)
        answer = await call(world, operation, person, ids, scope=scope, body=body)
        assert verdict_of(answer, wanted) == wanted, f"{operation} by {person.role}: {answer.text}"


@guarded
async def test_a_session_that_is_not_fresh_does_what_needs_no_fresh_proof(world: World, operation: Operation) -> None:
    admin = await world.new_person(Role.PLATFORM_ADMIN)
    ids = await own_ids(world, operation, admin)
    body = await body_for(world, operation, admin, ids, admin.side)
    long_ago = timedelta(seconds=world.services.settings.step_up_seconds + 5)
    stale = await world.new_session(admin.user_id, world.ours, proven=long_ago)
    wanted = Verdict(403, "step_up_required") if operation.is_fresh else allowed(operation)
    answer = await call(world, operation, admin, ids, credential=stale, body=body)
    assert verdict_of(answer, wanted) == wanted, f"{operation}: {answer.text}"


# ── Objects ──


@with_ids
async def test_foreign_objects_are_as_unknown_as_those_that_never_were(world: World, operation: Operation) -> None:
    assert operation.permission is not None
    for role in (Role.TENANT_ADMIN, frozenset({operation.permission.value})):
        person = await world.person(role)
        body = await body_for(world, operation, person, await own_ids(world, operation, person), person.side)
        for scope in (None, Scope.ADMIN):
            if operation.permission not in person.permissions_by(scope):
                continue
            credential = await world.credential(person, scope)
            foreign_ids = await make_ids(world, operation, world.theirs, None)
            named = {f"a foreign {operation.path_ids}": (foreign_ids, unknown_ids(operation))}
            several = operation.path_ids.keys() if len(operation.path_ids) > 1 else set()
            for name in several - RECIPES[operation.name].rowless:
                own = await own_ids(world, operation, person)
                named[f"a foreign {name}"] = {**own, name: foreign_ids[name]}, {**own, name: uuid7()}
            before = await world.fingerprint()
            for what, pair in named.items():
                foreign, unknown = [
                    await call(world, operation, person, ids, credential=credential, body=body) for ids in pair
                ]
                assert unknown.status_code == 404, f"{operation} with an unknown id: {unknown.text}"
                assert comparable(foreign) == comparable(unknown), f"{operation} with {what}: {foreign.text}"
            assert await world.fingerprint() == before, f"{operation} wrote something"


@with_ids
async def test_without_the_permission_nobody_learns_which_objects_there_are(world: World, operation: Operation) -> None:
    person = await world.person(NOBODY)
    answers = [
        await call(world, operation, person, ids)
        for ids in (
            unknown_ids(operation),
            await make_ids(world, operation, world.theirs, None),
            await own_ids(world, operation, person),
        )
    ]
    assert [answer.json()["code"] for answer in answers] == [FORBIDDEN.code] * 3
    assert len({comparable(answer) for answer in answers}) == 1


@with_ids
async def test_platform_administrators_reach_every_tenants_objects(world: World, operation: Operation) -> None:
    admin = await world.person(Role.PLATFORM_ADMIN)
    wanted = Verdict(404) if RECIPES[operation.name].is_personal else allowed(operation)
    ids = await own_ids(world, operation, admin, world.theirs)
    answer = await call(world, operation, admin, ids, side=world.theirs)
    assert verdict_of(answer, wanted) == wanted, f"{operation}: {answer.text}"


@pytest.mark.parametrize("operation", [op for op in _WITH_IDS if RECIPES[op.name].is_personal], ids=str)
async def test_what_is_personal_is_nobody_elses(world: World, operation: Operation) -> None:
    colleague = await world.person(NOBODY)
    for role in Role:
        person = await world.person(role)
        answer = await call(world, operation, person, await make_ids(world, operation, world.ours, colleague))
        unknown = await call(world, operation, person, unknown_ids(operation))
        assert answer.status_code == 404, f"{operation} by {role}: {answer.text}"
        assert comparable(answer) == comparable(unknown)


@pytest.mark.parametrize(
    "operation", [operation for operation in _WITH_IDS if RECIPES[operation.name].colleagues], ids=str
)
async def test_a_colleagues_object_needs_the_right_to_colleagues(world: World, operation: Operation) -> None:
    assert operation.permission is not None
    recipe = RECIPES[operation.name]
    also = recipe.colleagues
    assert also is not None
    colleague: Person = await world.person(NOBODY)
    for role in (frozenset({operation.permission.value}), frozenset({operation.permission.value, also.value})):
        person = await world.person(role)
        wanted = allowed(operation) if also in person.permissions else Verdict(*recipe.colleagues_refusal)
        answer = await call(world, operation, person, await make_ids(world, operation, world.ours, colleague))
        assert verdict_of(answer, wanted) == wanted, f"{operation} by {person.role}: {answer.text}"
        if wanted.status == 404:
            unknown = await call(world, operation, person, unknown_ids(operation))
            assert comparable(answer) == comparable(unknown)
