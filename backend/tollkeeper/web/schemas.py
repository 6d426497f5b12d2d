"""Base and field types of the control plane's payloads: unknown fields are refused, text can be stored and shown.

Input and output models differ: ids, tenants, counters and times are the server's and stand in output models only.
"""

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# What PostgreSQL's integer holds; larger limits mean nothing.
LARGEST_INT: Final = 2_147_483_647
# C0 and C1 controls, surrogates, and the marks that reorder text on the screen (a name must not read as another).
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs"})
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Schema(BaseModel):
    """Every payload of the control plane."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, str_max_length=10_000, hide_input_in_errors=True)


def _single_line(text: str) -> str:
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES or character in _BIDI for character in text):
        raise ValueError("text may not hold control characters")
    return text


def _lower(text: str) -> str:
    return text.lower()


# A name that people read: one line, trimmed.
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_single_line)
]
# A short word that programs compare: model names, kinds, actions; `*` may end a pattern.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+*-]*$", max_length=200)]
Pattern = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._:/@+-]*\*?)$", max_length=200)]
Patterns = Annotated[list[Pattern], Field(max_length=500)]
# Also of a network of one's own: `admin@localhost`, `ann@corp.internal`.
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=254,
        pattern=rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*$",
    ),
    AfterValidator(_lower),
]
# Requests a minute and the like.
Rate = Annotated[int, Field(strict=True, ge=1, le=LARGEST_INT)]
Tags = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")],
        Annotated[str, StringConstraints(max_length=256), AfterValidator(_single_line)],
    ],
    Field(max_length=32),
]


class FieldProblem(Schema):
    """One fault of a payload; it never repeats the value that was sent."""

    loc: list[str | int]
    message: str
    code: str


class Problem(BaseModel):
    """`application/problem+json` (RFC 9457)."""

    # An error may add members of its own.
    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:tollkeeper:problem:not_found"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


_PROBLEM_CONTENT: Final[Mapping[str, Any]] = MappingProxyType(
    {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
)


def problem_responses() -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a router: every error of the control plane has this one form."""
    return {
        "4XX": {"model": Problem, "description": "Refused", "content": dict(_PROBLEM_CONTENT)},
        "5XX": {"model": Problem, "description": "Not possible now", "content": dict(_PROBLEM_CONTENT)},
    }
