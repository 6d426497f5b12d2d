"""Versions as entity tags: `ETag: "3"` on answers, `If-Match: "3"` on writes, honoured when it is sent.

Without `If-Match` the last write wins; a write that races another still fails (409) by the row's version.
"""

import re
from typing import Annotated, Final, Protocol

from fastapi import Depends, Header, Response

from tollkeeper.core.errors import BadRequest, PreconditionFailed

_TAG: Final = re.compile(r'(?:W/)?"(\d{1,9})"')


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


def write_etag(response: Response, row: Versioned) -> None:
    response.headers["etag"] = f'"{row.version}"'


def check_match(expected: frozenset[int] | None, row: Versioned) -> None:
    """Call it with the row locked, before the first change."""
    if expected is not None and row.version not in expected:
        raise PreconditionFailed(
            "The object has changed since you read it; read it again and repeat the change.",
            details={"current_version": row.version},
        )


def _if_match(
    if_match: Annotated[
        str | None, Header(max_length=500, description='`ETag` of the version the change was made for, like `"3"`.')
    ] = None,
) -> frozenset[int] | None:
    if if_match is None or if_match.strip() == "*":
        return None
    matches = [_TAG.fullmatch(part.strip()) for part in if_match.split(",")]
    versions = frozenset(int(match[1]) for match in matches if match is not None)
    if len(matches) != sum(match is not None for match in matches):
        raise BadRequest('If-Match takes an ETag of this object, like "3".', code="invalid_if_match")
    return versions


IfMatch = Annotated[frozenset[int] | None, Depends(_if_match)]
