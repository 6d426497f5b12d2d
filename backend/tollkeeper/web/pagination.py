"""Keyset paging: `limit` and an opaque `cursor` in, `{"data", "next_cursor"}` out. Nothing counts rows or skips them."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Query

from tollkeeper.core.errors import BadRequest
from tollkeeper.web.schemas import Schema

DEFAULT_LIMIT: Final = 20
LARGEST_LIMIT: Final = 100
_LONGEST_CURSOR: Final = 512

T = TypeVar("T")
Row = TypeVar("Row")
Position = int | str | UUID | datetime


class Page(Schema, Generic[T]):
    data: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What the caller asks for. A repository reads `limit + 1` rows after the position; `cut` makes the page."""

    limit: int
    cursor: str | None

    def position(self, kind: str, *types: type[Position]) -> tuple[Position, ...] | None:
        """The place to go on from; None for the first page. `kind` names the list, so that cursors are not mixed up."""
        return None if self.cursor is None else decode_cursor(self.cursor, kind, *types)

    def after_id(self, kind: str) -> UUID | None:
        """The position in a list that is ordered by id alone."""
        position = self.position(kind, UUID)
        if position is None:
            return None
        value = position[0]
        assert isinstance(value, UUID)
        return value


def cut(
    rows: Sequence[Row], request: PageRequest, kind: str, position: Callable[[Row], Sequence[Position]]
) -> tuple[Sequence[Row], str | None]:
    """The rows of the page, and the cursor when the extra row shows that there are more."""
    if len(rows) <= request.limit:
        return rows, None
    page = rows[: request.limit]
    return page, encode_cursor(kind, *position(page[-1]))


def encode_cursor(kind: str, *values: Position) -> str:
    parts = [value.hex if isinstance(value, UUID) else _text(value) for value in values]
    return base64.urlsafe_b64encode(orjson.dumps([kind, *parts])).rstrip(b"=").decode()


def decode_cursor(text: str, kind: str, *types: type[Position]) -> tuple[Position, ...]:
    """Raises BadRequest for anything `encode_cursor(kind, …)` has not made."""
    try:
        parts = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        return tuple(_read(value, wanted) for value, wanted in zip(_values(parts, kind), types, strict=True))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadRequest(
            "This cursor is not one of this list; begin again without it.", code="invalid_cursor", param="cursor"
        ) from error


def _values(parts: object, kind: str) -> list[object]:
    if not isinstance(parts, list) or parts[:1] != [kind]:
        raise ValueError("another list's cursor")
    return parts[1:]


def _text(value: int | str | datetime) -> int | str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _read(value: object, wanted: type[Position]) -> Position:
    if wanted is int:
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise ValueError("not an integer")
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not text")
    if wanted is UUID:
        return UUID(hex=value)
    if wanted is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        return moment
    return value


def _page_request(
    limit: Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="Rows of a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(min_length=1, max_length=_LONGEST_CURSOR, description="`next_cursor` of the page before.")
    ] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(_page_request)]
