"""Lists as OpenAI's objects have them: what a query asks for, and the document of a page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from tollkeeper.contracts.files import Asked
from tollkeeper.core.errors import BadRequest, NotFound

_MOST_FIELDS: Final = 100


def read_query(query: bytes) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query.decode("latin-1"), max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise BadRequest("The query has too many fields.", code="invalid_value") from None


def read_page(
    told: Mapping[str, str], parse: Callable[[str], UUID], *, usual: int, most: int, is_ordered: bool = True
) -> Asked:
    """`limit`, `after` and, where the list has it, `order`. Others are let be."""
    limit = told.get("limit", str(usual))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 5 and 1 <= int(limit) <= most):
        raise invalid_value("limit", f"a number from 1 to {most}")
    order = told.get("order", "desc") if is_ordered else "desc"
    if order not in {"asc", "desc"}:
        raise invalid_value("order", "'asc' or 'desc'")
    after: UUID | None = None
    if told.get("after"):
        try:
            after = parse(told["after"])
        except ValueError:
            raise NotFound("The object that 'after' names was not found.", param="after") from None
    return Asked(int(limit), order == "asc", after)


def write_page(data: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def invalid_value(name: str, expected: str) -> BadRequest:
    return BadRequest(f"Invalid value for '{name}': expected {expected}.", code="invalid_value", param=name)
