"""Takes the path of a pass-through request apart, so that it has one reading and cannot leave the provider's base URL."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.paths import GEMINI_METHODS, OPERATION_PATHS, PREFIXES

_ROOTS: Final = tuple(f"{prefix}/providers/" for prefix in PREFIXES)
_SEGMENT: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
_UNRESERVED: Final = "~!$&'()*+,;=:@"
# A slash, a backslash or a percent sign that was hidden by an encoding would be another path to whoever decodes again.
_HIDDEN: Final = frozenset(b"/\\%")
_QUERY: Final = re.compile(rb"[!$-\[\]-~]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST_PATH: Final = 2_000
_METHODS: Final = {method.lower(): method for method in GEMINI_METHODS}
# What vendors write before their paths: versions, and Azure's names.
_PRELUDE: Final = re.compile(r"(?:/(?:v[0-9][0-9a-z]*|api|beta|openai|deployments/[^/]+))+(?=/)")


@dataclass(frozen=True, slots=True)
class PassedPath:
    """`parts` are decoded, for rules; `url_path` is what follows the base URL."""

    provider: str
    parts: tuple[str, ...]
    url_path: str


def is_passthrough(path: str) -> bool:
    return path.startswith(_ROOTS)


def read_passed_path(raw_path: bytes, query: bytes) -> PassedPath:
    """Raises `BadRequest` (`invalid_path`) for all that two readers could read in two ways."""
    root = next((root for root in _ROOTS if raw_path.startswith(root.encode("ascii"))), None)
    if root is None or len(raw_path) > _LONGEST_PATH:
        raise _invalid()
    name, *segments = raw_path[len(root) :].split(b"/")
    provider = name.decode("latin-1")
    if _NAME.fullmatch(provider) is None or _QUERY.fullmatch(query) is None:
        raise _invalid()
    parts = tuple(_read_segment(segment) for segment in segments)
    url_path = "".join(f"/{quote(part, safe=_UNRESERVED)}" for part in parts)
    return PassedPath(provider, parts, f"{url_path}?{query.decode('ascii')}" if query else url_path)


def operation_path(parts: tuple[str, ...]) -> str | None:
    """The path here of an operation that the gateway has itself: its calls have meters of their own."""
    # As the most generous server would read it: without parameters of parts, in any case of letters.
    path = "".join(f"/{part.partition(';')[0].rstrip('. ')}" for part in parts).lower()
    rest = path if (found := _PRELUDE.match(path)) is None else path[found.end() :]
    if rest in OPERATION_PATHS:
        return f"/v1{rest}"
    model, colon, method = rest.rpartition(":")
    return f"/v1beta{model}:{_METHODS[method]}" if colon and "/models/" in model + "/" and method in _METHODS else None


def _read_segment(segment: bytes) -> str:
    decoded = unquote_to_bytes(segment)
    # What stands behind a semicolon is left out by some servers, and trailing dots and spaces by others.
    bare = decoded.partition(b";")[0].strip(b". ")
    if (
        _SEGMENT.fullmatch(segment) is None
        or not bare
        or not _HIDDEN.isdisjoint(decoded)
        or any(not 0x20 <= byte < 0x7F for byte in decoded)
    ):
        raise _invalid()
    return decoded.decode("ascii")


def _invalid() -> BadRequest:
    return BadRequest(
        "The path cannot be passed on: it has empty or dotted parts, or characters that are no part of one.",
        code="invalid_path",
    )
