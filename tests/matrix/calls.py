"""One call of the matrix: made from the route's recipe, judged by the permission that the route declares."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx
import orjson

from tests.matrix.operations import Operation
from tests.matrix.recipes import RECIPES, Recipe, Scene, body_of, path_of
from tests.matrix.world import Person, Side, World
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Scope

# Sent with every write by cookie or bearer; a refusal must come before a byte of it counts.
JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True)
class Verdict:
    status: int
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code or ''}".strip()


# The body is made by the recipe.
MADE: Final = object()
FORBIDDEN: Final = Verdict(403, "permission_denied")
STRANGER: Final = Verdict(401)
NOT_FOUND: Final = Verdict(404)


def allowed(operation: Operation) -> Verdict:
    return Verdict(operation.status)


def expected(operation: Operation, person: Person, scope: Scope | None) -> Verdict:
    """For a call on one's own: what the declared permission says, and nothing else."""
    assert operation.permission is not None
    if operation.permission not in person.permissions_by(scope):
        return FORBIDDEN
    recipe = RECIPES[operation.name]
    if scope is not None and recipe.by_key is not None:
        return Verdict(*recipe.by_key)
    return allowed(operation)


def verdict_of(answer: httpx.Response, wanted: Verdict) -> Verdict:
    code = None if wanted.code is None or answer.status_code < 400 else answer.json()["code"]
    return Verdict(answer.status_code, code)


async def own_ids(world: World, operation: Operation, person: Person, side: Side | None = None) -> dict[str, UUID]:
    """A fresh object for every id in the path; of the caller's own where it can be somebody's."""
    recipe = RECIPES[operation.name]
    target = side or person.side
    if recipe.is_tenant_spent:
        target = await world.new_side()
    owner = person if target == person.side else None
    return await make_ids(world, operation, target, owner)


async def make_ids(world: World, operation: Operation, side: Side, owner: Person | None) -> dict[str, UUID]:
    ids: dict[str, UUID] = {}
    parents: dict[str, UUID] = {}
    for name, prefix in operation.path_ids.items():
        assert prefix is not None, f"{operation.name}: {name} is no public id"
        columns = RECIPES[operation.name].columns.get(prefix, {})
        ids[name] = parents[prefix] = await world.make(prefix, side, owner, parents, **columns)
    return ids


def unknown_ids(operation: Operation) -> dict[str, UUID]:
    return {name: uuid7() for name in operation.path_ids}


async def body_for(world: World, operation: Operation, person: Person, ids: Mapping[str, UUID], side: Side) -> Any:
    """A fitting body; what the call needs to be there is there now."""
    return await body_of(RECIPES[operation.name], Scene(world, person, side, ids))


async def call(
    world: World,
    operation: Operation,
    person: Person,
    ids: Mapping[str, UUID],
    *,
    scope: Scope | None = None,
    credential: str | None = None,
    body: Any = MADE,
    side: Side | None = None,
    query: Mapping[str, Any] | None = None,
) -> httpx.Response:
    """A call that is right in all but who makes it and what it names."""
    recipe = RECIPES[operation.name]
    sent = await body_for(world, operation, person, ids, side or person.side) if body is MADE else body
    return await send(world, operation, recipe, ids, credential or await world.credential(person, scope), sent, query)


async def send(
    world: World,
    operation: Operation,
    recipe: Recipe,
    ids: Mapping[str, UUID],
    credential: str | None,
    body: Any,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    path = path_of(operation.path, operation.path_ids, ids)
    content = body if isinstance(body, bytes) else None if body is None else orjson.dumps(body)
    return await world.ask(
        operation.method,
        path,
        credential,
        params={**(recipe.query or {}), **(query or {})},
        content=content,
        headers={**(JSON if content is not None else {}), **(headers or {})},
    )


def comparable(answer: httpx.Response) -> tuple[int, bytes]:
    """An answer without what names the request itself."""
    if "json" not in answer.headers.get("content-type", "") or "ndjson" in answer.headers["content-type"]:
        return answer.status_code, answer.content
    document = answer.json()
    document.pop("request_id", None)
    return answer.status_code, orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
