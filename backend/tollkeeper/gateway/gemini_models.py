"""`GET /v1beta/models` in Google's shape; `GET /v1/models` too for clients of Google's own."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.core.errors import BadRequest

# All of Google's own clients send it; a key in `x-goog-api-key` is anybody's.
GOOG_API_CLIENT: Final = b"x-goog-api-client"
# "models.list", Gemini API reference: 50 where nothing is asked for, 1,000 at most.
_SIZE: Final = 50
_MOST: Final = 1_000
_METHODS: Final = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
)


def write_model(route: ModelRoute, name: str) -> bytes:
    return orjson.dumps(_model(route, name))


def write_models(routes: Iterable[ModelRoute], query: bytes) -> bytes:
    """One page, by name. Patterns answer for a name and are not listed. The token of the next page is its last name."""
    names = {route.name: route for route in routes if not route.name.endswith("*")}
    asked = parse_qs(query.decode("latin-1"))
    size = _read_size(asked.get("pageSize") or asked.get("page_size"))
    after = asked.get("pageToken") or asked.get("page_token")
    later = sorted(name for name in names if not after or name > after[0])
    document: dict[str, Any] = {"models": [_model(names[name], name) for name in later[:size]]}
    if len(later) > size:
        document["nextPageToken"] = later[size - 1]
    return orjson.dumps(document)


def _model(route: ModelRoute, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": f"models/{name}",
        "version": "1",
        "displayName": name,
        "supportedGenerationMethods": _METHODS,
    }
    if route.context_tokens is not None:
        shown["inputTokenLimit"] = route.context_tokens
    if route.max_output_tokens is not None:
        shown["outputTokenLimit"] = route.max_output_tokens
    return shown


def _read_size(values: list[str] | None) -> int:
    if not values:
        return _SIZE
    text = values[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadRequest("Invalid 'pageSize': expected a whole number.", param="pageSize", code="invalid_value")
    return min(int(text), _MOST) or _SIZE
