"""What the mounted application says of itself: each route's permission, and every place that takes an id.

Nothing here is written by hand: a route that is added tomorrow is in this list tomorrow.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from tollkeeper.core.config import Settings
from tollkeeper.core.permissions import Permission
from tollkeeper.main import create_app
from tollkeeper.web import deps
from tollkeeper.web.routing import declarations_of

Json = dict[str, Any]
# Where a value stands in a body: names of members, and `[]` for each item of a list.
Place = tuple[str, ...]

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PUBLIC_ID = re.compile(r"\^([a-z]+)_\[0-9a-f\]\{32\}\$")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    permission: Permission | None
    is_fresh: bool
    # Works across tenants, whoever calls.
    is_platform: bool
    status: int
    path_ids: Mapping[str, str | None]
    query_ids: Mapping[str, str]
    body: Json | None
    is_body_required: bool
    body_ids: Mapping[Place, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        return self.method in WRITES

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "cursor" in self.query

    @property
    def query(self) -> frozenset[str]:
        return frozenset(self.query_names)

    query_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.name


@cache
def document() -> Json:
    """The OpenAPI document, with the inference paths."""
    return application().openapi()


@cache
def application() -> FastAPI:
    """Only to be looked at: it is never started."""
    return create_app(Settings(_env_file=None))


@cache
def operations() -> tuple[Operation, ...]:
    """Every route of the mounted application, by path and method."""
    return tuple(sorted(operations_of(application(), document()), key=lambda found: (found.path, found.method)))


def operations_of(app: FastAPI, described: Json) -> Iterator[Operation]:
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        declared = declarations_of(route.dependant)
        assert len(declared) == 1, f"{context.path} declares {len(declared)} permissions"
        for method in sorted(context.methods - {"HEAD", "OPTIONS"}):
            shown = described["paths"].get(context.path, {}).get(method.lower(), {})
            parameters = shown.get("parameters", [])
            ids = {where: _ids_of(parameters, where, described) for where in ("path", "query")}
            names = re.findall(r"\{(\w+)[^}]*\}", context.path)
            body = _body_of(shown, described)
            yield Operation(
                method=method,
                path=context.path,
                permission=declared[0].permission,
                is_fresh=declared[0].fresh,
                is_platform=_depends_on(route.dependant, deps._platform_session),
                status=route.status_code or 200,
                path_ids={name: ids["path"].get(name) for name in names},
                query_ids=ids["query"],
                body=body,
                is_body_required=bool(shown.get("requestBody", {}).get("required")),
                body_ids=dict(_places(body, ())) if body else {},
                query_names=tuple(item["name"] for item in parameters if item["in"] == "query"),
            )


def resolve(schema: Any, described: Json, inside: tuple[str, ...] = ()) -> Any:
    """The schema with every reference replaced by what it leads to; what holds itself is opened twice."""
    if isinstance(schema, list):
        return [resolve(item, described, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if inside.count(name) > 1:
            return {}
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return resolve({**described["components"]["schemas"][name], **rest}, described, (*inside, name))
    return {key: resolve(value, described, inside) for key, value in schema.items()}


def objects_in(schema: Json, place: Place = ()) -> Iterator[tuple[Place, Json]]:
    """Every object with fixed members inside a body, the body itself first."""
    for variant in variants(schema):
        if "properties" in variant:
            yield place, variant
            for name, inner in variant["properties"].items():
                yield from objects_in(inner, (*place, name))
        if isinstance(variant.get("items"), dict):
            yield from objects_in(variant["items"], (*place, "[]"))


def variants(schema: Json) -> Iterator[Json]:
    yield schema
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, ()):
            yield from variants(inner)


def _body_of(shown: Json, described: Json) -> Json | None:
    schema = shown.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return None if schema is None else resolve(schema, described)


def _ids_of(parameters: list[Json], where: str, described: Json) -> dict[str, str]:
    found = {}
    for item in parameters:
        prefix = next((prefix for _, prefix in _places(resolve(item["schema"], described), ())), None)
        if item["in"] == where and prefix is not None:
            found[item["name"]] = prefix
    return found


def _places(schema: Json, place: Place) -> Iterator[tuple[Place, str]]:
    for variant in variants(schema):
        if (match := _PUBLIC_ID.fullmatch(str(variant.get("pattern", "")))) is not None:
            yield place, match[1]
        for name, inner in variant.get("properties", {}).items():
            yield from _places(inner, (*place, name))
        if isinstance(variant.get("items"), dict):
            yield from _places(variant["items"], (*place, "[]"))
        if isinstance(variant.get("additionalProperties"), dict):
            yield from _places(variant["additionalProperties"], (*place, "{}"))


def _depends_on(dependant: Dependant, wanted: Any) -> bool:
    return any(item.call is wanted or _depends_on(item, wanted) for item in dependant.dependencies)
