"""`/responses/{id}` and what lies below it: look at a stored answer of the Responses API, list its input, delete it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

import orjson

from tollkeeper.contracts.ports import ResponseLookup, ResponseSink
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.responses import Item, StoredResponse
from tollkeeper.core.errors import BadRequest, NotFound
from tollkeeper.core.ids import parse_id
from tollkeeper.gateway.dialects.openai_responses import ENCRYPTED, shown, shown_item

_PATH: Final = re.compile(r"/(?:api/)?v1/responses/([^/]{1,100})(?:/(input_items|cancel))?")
_ALLOW: Final = {None: "GET, HEAD, DELETE", "input_items": "GET, HEAD", "cancel": "POST"}
_PAGE: Final = 20
_LARGEST_PAGE: Final = 100
_MOST_FIELDS: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """One of the paths, and the methods it takes."""

    name: str
    part: str | None

    @property
    def allow(self) -> str:
        return _ALLOW[self.part]


def find_place(path: str) -> Place | None:
    found = _PATH.fullmatch(path)
    return None if found is None else Place(found[1], found[2])


class StoredResponses:
    def __init__(self, lookup: ResponseLookup | None, sink: ResponseSink | None) -> None:
        self._lookup = lookup
        self._sink = sink

    async def serve(self, place: Place, method: str, query: bytes, principal: Principal) -> bytes:
        """The document for the caller. What another tenant or project has is unknown, in the very same words."""
        response_id = _read_id(place.name)
        if place.part is None and method == "DELETE":
            if response_id is None or self._sink is None or not await self._sink.delete(principal, response_id):
                raise _not_found(place)
            return orjson.dumps({"id": place.name, "object": "response", "deleted": True})
        asked = _Query(query)
        stored = await self._find(place, principal, response_id)
        if place.part == "cancel":
            raise BadRequest(
                "Only a response that runs in the background can be cancelled; close the connection of any other.",
                code="unsupported_operation",
            )
        if place.part is None:
            return orjson.dumps(shown(stored.response, encrypted=asked.encrypted))
        assert self._lookup is not None
        items: list[Item] = []
        # Everything that the answer was made of.
        for turn in await self._lookup.history(principal, stored.id) or [stored]:
            items += turn.input
            if turn.id != stored.id:
                items += turn.response["output"]
        return orjson.dumps(asked.page(items))

    async def _find(self, place: Place, principal: Principal, response_id: UUID | None) -> StoredResponse:
        if response_id is None or self._lookup is None:
            raise _not_found(place)
        stored = await self._lookup.find(principal, response_id)
        if stored is None:
            raise _not_found(place)
        return stored


class _Query:
    """`limit`, `order`, `after` and `include` of a list, OpenAI's way. Others are let be."""

    def __init__(self, query: bytes) -> None:
        try:
            given = parse_qsl(query.decode("latin-1"), max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise BadRequest("The query has too many fields.", code="invalid_value") from None
        told = dict(given)
        self.encrypted = any(name in {"include", "include[]"} and value == ENCRYPTED for name, value in given)
        self._order = told.get("order", "desc")
        self._after = told.get("after")
        limit = told.get("limit", str(_PAGE))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= _LARGEST_PAGE):
            raise _invalid("limit", f"a number from 1 to {_LARGEST_PAGE}")
        self._limit = int(limit)
        if self._order not in {"asc", "desc"}:
            raise _invalid("order", "'asc' or 'desc'")
        if told.get("stream") == "true":
            raise BadRequest(
                "A stored response is not streamed again; ask for it without 'stream'.",
                code="unsupported_parameter",
                param="stream",
            )

    def page(self, items: Sequence[Item]) -> dict[str, Any]:
        ordered = list(items) if self._order == "asc" else list(reversed(items))
        begin = 0
        if self._after is not None:
            places = [place for place, item in enumerate(ordered) if item.get("id") == self._after]
            if not places:
                raise _invalid("after", "the id of an item in this list")
            begin = places[-1] + 1
        page = [shown_item(item, encrypted=self.encrypted) for item in ordered[begin : begin + self._limit]]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0].get("id") if page else None,
            "last_id": page[-1].get("id") if page else None,
            "has_more": begin + self._limit < len(ordered),
        }


def _read_id(name: str) -> UUID | None:
    try:
        return parse_id("resp", name)
    except ValueError:
        return None


def _not_found(place: Place) -> NotFound:
    return NotFound(f"Response with id '{place.name}' not found.", code="response_not_found")


def _invalid(name: str, expected: str) -> BadRequest:
    return BadRequest(f"Invalid value for '{name}': expected {expected}.", code="invalid_value", param=name)
