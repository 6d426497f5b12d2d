"""What an operator opens of a provider beyond the operations the gateway knows: paths that are passed through as they
are, and the flat price of each request there (RULING 3: nobody can count what happens behind them).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tollkeeper.core.money import PICO_PER_NANO

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of the calls' headers that a vendor may see without an operator's word.
USUAL_HEADERS: Final = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "openai-beta",
        "range",
    }
)
# What no operator can open: credentials, identities, and what is said of the connection.
CLOSED_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-api-key",
        "x-goog-api-key",
        "x-real-ip",
    }
)
CLOSED_PREFIXES: Final = ("proxy-", "sec-", "x-amz-", "x-forwarded-", "x-tollkeeper-")
_RULE: Final = re.compile(rf"({'|'.join(METHODS)}|\*) (/\S*)")
_SEGMENT: Final = re.compile(r"\*\*?|[A-Za-z0-9._~!$&'()+,;=:@-]+")
_LONGEST_RULE: Final = 500


@dataclass(frozen=True, slots=True)
class OpenPath:
    """One line of the list: `GET /files/*`. `*` stands for one part of a path, `**` at its end for all that follows."""

    method: str
    path: str

    def admits(self, method: str, parts: Sequence[str]) -> bool:
        if self.method not in {"*", method}:
            return False
        wanted = self.path[1:].split("/")
        if wanted[-1] == "**":
            wanted.pop()
            if len(parts) <= len(wanted):
                return False
        elif len(parts) != len(wanted):
            return False
        return all(one in {"*", part} for one, part in zip(wanted, parts, strict=False))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Passthrough:
    """What is open at one provider. `request_nano`: of each request that the vendor did not refuse."""

    allow: tuple[OpenPath, ...]
    request_nano: int
    headers: frozenset[str] = frozenset()

    def find(self, method: str, parts: Sequence[str]) -> OpenPath | None:
        """The first line that admits a path, given as its decoded parts."""
        return next((one for one in self.allow if one.admits(method, parts)), None)

    @property
    def request_pico(self) -> int:
        return self.request_nano * PICO_PER_NANO


def read_open_path(text: str) -> OpenPath:
    """Raises ValueError, with what to write instead."""
    found = _RULE.fullmatch(text)
    if found is None or len(text) > _LONGEST_RULE:
        raise ValueError(f"expected a method ({', '.join(METHODS)} or *) and a path, such as GET /files/*")
    parts = found[2][1:].split("/")
    for part in parts:
        if _SEGMENT.fullmatch(part) is None or part in {".", ".."}:
            raise ValueError(
                "a path has parts of letters, digits and punctuation between single slashes; * stands for one part"
            )
    if "**" in parts[:-1]:
        raise ValueError("** stands for all that follows, so it ends a path")
    return OpenPath(found[1], found[2])


def check_open_header(name: str) -> str:
    """A header of the caller's that goes along, in lower case. Raises ValueError for one that never does."""
    lowered = name.lower()
    if re.fullmatch(r"[a-z0-9-]{1,100}", lowered) is None:
        raise ValueError("a header name has letters, digits and dashes only")
    if lowered in CLOSED_HEADERS or lowered.startswith(CLOSED_PREFIXES):
        raise ValueError(f"the header {lowered} is never passed on")
    return lowered
