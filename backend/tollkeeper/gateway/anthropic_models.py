"""`GET /v1/models` in Anthropic's shape: one path with two of them, told apart by the header that its clients always send."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.core.errors import BadRequest

ANTHROPIC_VERSION: Final = b"anthropic-version"
_LIMIT: Final = 20
_MOST: Final = 1_000


def write_model(route: ModelRoute, name: str) -> bytes:
    return orjson.dumps(_model(route, name))


def write_models(routes: Iterable[ModelRoute], query: bytes) -> bytes:
    """One page, by name. Patterns answer for a name and are not listed. Raises `BadRequest` for a page there cannot be."""
    names = {route.name: route for route in routes if not route.name.endswith("*")}
    page, has_more = _page(sorted(names), query)
    return orjson.dumps(
        {
            "data": [_model(names[name], name) for name in page],
            "has_more": has_more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def _model(route: ModelRoute, name: str) -> dict[str, Any]:
    # What is not known may be an epoch value, by the vendor's own word.
    created = datetime.fromtimestamp(route.created_unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": created,
        "lifecycle": "active",
        "max_input_tokens": route.context_tokens,
        "max_tokens": route.max_output_tokens,
    }


def _page(names: Sequence[str], query: bytes) -> tuple[Sequence[str], bool]:
    asked = parse_qs(query.decode("latin-1"))
    limit = _read_limit(asked.get("limit"))
    after, before = asked.get("after_id"), asked.get("before_id")
    if after and before:
        raise BadRequest("Send 'after_id' or 'before_id', not both.", param="before_id", code="invalid_value")
    if before:
        earlier = [name for name in names if name < before[0]]
        return earlier[-limit:], len(earlier) > limit
    later = [name for name in names if name > after[0]] if after else names
    return later[:limit], len(later) > limit


def _read_limit(values: Sequence[str] | None) -> int:
    if not values:
        return _LIMIT
    text = values[0]
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MOST)) else 0
    if not 1 <= limit <= _MOST:
        raise BadRequest(f"Invalid 'limit': expected 1 to {_MOST}.", param="limit", code="invalid_value")
    return limit
