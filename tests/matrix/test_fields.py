"""What a body may hold: the listed members with fitting values, and not one more.

Every column of every table and every name that is the server's is tried as a further member of every object in every
body; every member is tried with values of wrong kinds. Neither writes anything, neither is ever a 5xx.
"""

import copy
import os
import random
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import orjson
import pytest

from tests.matrix.calls import call, own_ids, send
from tests.matrix.operations import Json, Operation, Place, objects_in, operations, variants
from tests.matrix.recipes import RECIPES, Scene, body_of
from tests.matrix.world import Person, World
from tollkeeper.core.permissions import GRANTABLE, Role
from tollkeeper.db import models as tables

_WRITES: Final = [op for op in operations() if op.body is not None and RECIPES.get(op.name, None) is not None]
# A name that SQL has to quote is no plain text to SQLAlchemy.
_COLUMNS: Final = {str(column.name) for table in tables.User.metadata.tables.values() for column in table.columns}
# Names that other gateways took from a client, or that a member of ours could be called inside.
_SERVER_OWNED: Final = {
    "id", "uuid", "tenant", "tenant_id", "org_id", "user", "user_role", "role", "roles", "role_id", "is_admin", "admin",
    "is_superuser", "permissions", "scopes", "version", "created_at", "updated_at", "deleted_at", "status", "state",
    "digest", "key", "token", "secret", "hash", "password_hash", "is_active", "is_platform", "platform", "spend",
    "current_spend_usd", "max_budget", "managed_by", "home_tenant_id", "member_id", "kind", "type", "email_verified",
    "allowed_routes", "metadata", "_id", "__proto__", "constructor", "self", "model_config", "model_fields_set",
}  # fmt: skip
_NAMES: Final = sorted(_COLUMNS | _SERVER_OWNED)
_IS_FULL: Final = os.environ.get("TOLLKEEPER_TEST_FULL") == "1"
_SOME: Final = 10
# The error names at most fifty members.
_AT_ONCE: Final = 40

writes = pytest.mark.parametrize("operation", _WRITES, ids=str)


async def caller_of(world: World, operation: Operation) -> Person:
    role = Role.TENANT_ADMIN if operation.permission in GRANTABLE else Role.PLATFORM_ADMIN
    if "ten" in operation.path_ids.values():
        # What is tried there may stay, and changes what everybody in the tenant may do.
        return await world.new_person(role, await world.new_side())
    return await (world.new_person(role) if RECIPES[operation.name].is_own else world.person(role))


@writes
async def test_no_member_is_taken_that_is_not_listed(world: World, operation: Operation) -> None:
    assert operation.body is not None
    person = await caller_of(world, operation)
    ids = await own_ids(world, operation, person)
    body = await body_of(RECIPES[operation.name], Scene(world, person, person.side, ids))
    before = await world.fingerprint()
    for place, schema in objects_in(operation.body):
        assert schema.get("additionalProperties", True) is False, f"{operation}: {place} takes any member"
        names = [name for name in _NAMES if name not in schema["properties"]]
        for some in (names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)):
            sent = with_members(body, place, schema, dict.fromkeys(some, "x"))
            answer = await call(world, operation, person, ids, body=sent)
            assert answer.status_code == 422, f"{operation} with {some}: {answer.text}"
            told = {error["loc"][-1] for error in answer.json()["errors"] if error["code"] == "extra_forbidden"}
            assert told == set(some), f"{operation} at {place} took {set(some) - told}"
    assert await world.fingerprint() == before, f"{operation} wrote something"


@writes
async def test_members_of_wrong_kinds_are_refused_and_never_break_anything(world: World, operation: Operation) -> None:
    assert operation.body is not None
    person = await caller_of(world, operation)
    ids = await own_ids(world, operation, person)
    scene = Scene(world, person, person.side, ids)
    for name, schema in operation.body.get("properties", {}).items():
        fits = jsonschema_rs.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        for value in odd_values(f"{operation} {name}"):
            recipe = RECIPES[operation.name]
            answer = await call(world, operation, person, ids, body={**await body_of(recipe, scene), name: value})
            what = f"{operation} with {name}={str(value)[:60]}"
            assert answer.status_code < 500, f"{what}: {answer.text}"
            if not fits.is_valid(value) and not is_spelling(schema, value):
                assert answer.status_code >= 400, f"{what} was taken: {answer.text}"
            if answer.is_success and recipe.is_own:
                person = await caller_of(world, operation)
            if answer.is_success and operation.method != "PATCH":
                ids = await own_ids(world, operation, person)


def odd_values(where: str) -> list[Any]:
    """All of them with `./tollkeeper test --full`, otherwise some, the same each time for the same place."""
    return list(_ODD) if _IS_FULL else [None, {}, *random.Random(where).sample(_ODD, _SOME)]


def is_spelling(schema: Json, value: Any) -> bool:
    """A number where the document names only text: an amount as JSON writes it, a moment in seconds since 1970."""
    told = [variant for variant in variants(schema) if variant.get("type") == "string"]
    is_text = any(variant.get("format") in {"date-time", "date"} or "pattern" in variant for variant in told)
    return is_text and isinstance(value, int | float) and not isinstance(value, bool)


@writes
async def test_bodies_that_are_no_object_are_refused(world: World, operation: Operation) -> None:
    person = await caller_of(world, operation)
    ids = await own_ids(world, operation, person)
    recipe = RECIPES[operation.name]
    valid = orjson.dumps(await body_of(recipe, Scene(world, person, person.side, ids)))
    credential = await world.credential(person, None)
    before = await world.fingerprint()
    for body in _bodies(valid):
        answer = await send(world, operation, recipe, ids, credential, body)
        assert 400 <= answer.status_code < 500, f"{operation} with {body[:60]!r}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = await send(world, operation, recipe, ids, credential, valid, headers={"content-type": kind})
        assert answer.status_code == 415, f"{operation} as {kind!r}: {answer.text}"
    assert await world.fingerprint() == before, f"{operation} wrote something"


_DEEP: Final[Any] = orjson.loads("[" * 100 + "]" * 100)
_ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 2**31, 2**63, -(2**63), 0.5, 1e308, "", " ", "x" * 20_001, "\u202eevil", "\t", "\u00a0",
    "null", "true", "0", "-1", "1e400", "NaN", "'; DROP TABLE users; --", "{{7*7}}", "../../etc/passwd", "%00", "*", "**",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "usr_" + "0" * 32, "ten_" + "f" * 32, "\U0001f600" * 300,
    [], {}, [None], [[]], [{}], ["x"] * 600, [1, "1", None], {"": ""}, {"x": None}, {"x" * 300: "x"}, {"a": {"b": {"c": []}}},
    {str(number): "x" for number in range(200)}, _DEEP,
)  # fmt: skip


def _bodies(valid: bytes) -> Iterator[bytes]:
    yield from (
        b"[]",
        b'"x"',
        b"1",
        b"true",
        b"[" * 2000,
        b"{",
        b'{"a":',
        b"\xff\xfe",
        b"NaN",
        b'{"x": NaN}',
        b'{"x": 1e999}',
    )
    yield b"[" * 200 + b"]" * 200
    yield b'{"x":' * 150 + b"1" + b"}" * 150
    yield b'{"x": "' + b"x" * (1024 * 1024 + 1) + b'"}'
    # The same name twice, a NUL, half a surrogate pair, a number no double holds.
    yield valid[:-1] + (b"," if len(valid) > 2 else b"") + b'"x":1,"x":2}'
    yield b'{"x": "\\u0000"}'
    yield b'{"x": "\\ud800"}'
    yield b'{"x": ' + b"9" * 5000 + b"}"


def with_members(body: Any, place: Place, schema: Json, members: Json) -> Any:
    """The body with further members in the object at the place; objects on the way are made where there are none."""
    if not place:
        return {**(body if isinstance(body, dict) else {}), **members}
    head, *rest = place
    if head == "[]":
        return [with_members(body[0] if isinstance(body, list) and body else None, tuple(rest), schema, members)]
    changed = copy.copy(body) if isinstance(body, dict) else {}
    changed[head] = with_members(changed.get(head), tuple(rest), schema, members)
    return changed
