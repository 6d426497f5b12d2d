"""`GET /v1/models`: what a caller may name, in OpenAI's shape."""

from collections.abc import Iterable
from typing import Any

import orjson

from tollkeeper.contracts.catalog import ModelRoute


def model_object(route: ModelRoute, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": route.created_unix, "owned_by": route.owned_by}


def write_model(route: ModelRoute, name: str) -> bytes:
    return orjson.dumps(model_object(route, name))


def write_models(routes: Iterable[ModelRoute]) -> bytes:
    """By name. Names that end in `*` are patterns, not models: they answer for a name but are not listed."""
    names = {route.name: route for route in routes if not route.name.endswith("*")}
    return orjson.dumps({"object": "list", "data": [model_object(names[name], name) for name in sorted(names)]})
