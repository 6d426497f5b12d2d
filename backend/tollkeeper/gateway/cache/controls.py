"""What a call asks of the cache for itself: the header `x-tollkeeper-cache` and the field `cache` of its body.

The header is a list of words (`no-cache, max-age=60`), the field an object with the same words as names
(`{"no-cache": true, "max-age": 60}`); both together add up. Unknown words are refused, so that a misspelt `no-store`
stores nothing in silence. The field is ours: no provider sees it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tollkeeper.contracts.cache import HEADER
from tollkeeper.contracts.chat import ABSENT, Call
from tollkeeper.core.errors import BadRequest

FIELD: Final = "cache"
WORDS: Final = ("no-cache", "no-store", "only-if-cached", "semantic", "max-age", "namespace")
_HEADER: Final = HEADER.encode()
_FLAGS: Final = {
    "no-cache": "is_fresh",
    "no-store": "is_private",
    "only-if-cached": "is_only_cached",
    "semantic": "is_semantic",
}
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_LONGEST_AGE: Final = 10 * 365 * 86_400
_LONGEST_HEADER: Final = 512


@dataclass(frozen=True, slots=True)
class Controls:
    """`is_fresh`: ask the provider; `is_private`: keep nothing of the answer; `max_age` in seconds: no older answers."""

    is_fresh: bool = False
    is_private: bool = False
    is_only_cached: bool = False
    is_semantic: bool = False
    max_age: int | None = None
    namespace: str = ""


NONE: Final = Controls()


def read_controls(headers: Mapping[bytes, bytes], call: Call) -> Controls:
    """Raises `BadRequest`."""
    text = headers.get(_HEADER)
    asked = _asked(call)
    if text is None and asked is None:
        return NONE
    controls = NONE
    if text is not None:
        if len(text) > _LONGEST_HEADER:
            raise _refusal(HEADER, "it is too long")
        for item in text.decode("latin-1").split(","):
            name, has_value, value = item.strip().partition("=")
            if name.strip():
                controls = _with(controls, HEADER, name.strip().lower(), value.strip() if has_value else True)
    if asked is not None:
        for name, value in asked.items():
            controls = _with(controls, FIELD, name, value)
    return controls


def without_field(call: Call) -> Call:
    """The call as providers see it."""
    if _asked(call) is None:
        return call
    native = call.native
    changes: dict[str, Any] = {FIELD: ABSENT} if FIELD in call.body else {}
    stripped = call.replace(**changes)
    if native is not None:
        stripped.native = {name: value for name, value in native.items() if name != FIELD}
    stripped.unexpressed = tuple(name for name in call.unexpressed if name != FIELD)
    stripped.estimated_input_tokens = call.estimated_input_tokens
    return stripped


def has_field(call: Call) -> bool:
    return FIELD in call.body or (call.native is not None and FIELD in call.native)


def _asked(call: Call) -> dict[str, Any] | None:
    """In the canonical body, or in the caller's own document where its dialect has no place for it."""
    asked = call.body.get(FIELD)
    if asked is None and call.native is not None:
        asked = call.native.get(FIELD)
    return asked if isinstance(asked, dict) else None


def _with(controls: Controls, where: str, name: str, value: Any) -> Controls:
    if (flag := _FLAGS.get(name)) is not None:
        if type(value) is not bool:
            raise _refusal(where, f"'{name}' is said or not, and has no value")
        changes: dict[str, Any] = {flag: value}
        return replace(controls, **changes)
    if name == "max-age":
        seconds = int(value) if isinstance(value, str) and value.isdigit() and len(value) <= 9 else value
        if type(seconds) is not int or not 0 <= seconds <= _LONGEST_AGE:
            raise _refusal(where, "'max-age' is a whole number of seconds")
        return replace(controls, max_age=seconds)
    if name == "namespace":
        if not isinstance(value, str) or not _NAMESPACE.fullmatch(value):
            raise _refusal(where, "'namespace' has 1 to 64 letters, digits and . _ : -")
        return replace(controls, namespace=value)
    raise _refusal(where, f"it has a word that is not known; known are {', '.join(WORDS)}")


def _refusal(where: str, reason: str) -> BadRequest:
    return BadRequest(f"Invalid '{where}': {reason}.", code="invalid_value", param=where)
