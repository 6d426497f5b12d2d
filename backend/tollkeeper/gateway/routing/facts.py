"""What a decision may look at of one call. Whatever takes work is worked out when it is asked for, once.

Pure: times and random numbers are given by whoever makes one, what needs the money side is a function of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final, Protocol

import orjson

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.asked import asked_of_chat

# What a caller narrows its own call with.
ROUTE_HEADER: Final = b"x-tollkeeper-route"
_SYSTEM: Final = ("system", "developer")
# Of a conversation's first texts: where they differ, they differ early.
_MOST_BYTES: Final = 16_384


class Reckoner(Protocol):
    """Tokens of a call, before anybody has counted it."""

    def bound_input(self, call: Call) -> int:
        """Rather too many."""
        ...

    def estimate_input(self, call: Call) -> int: ...

    def expect_output(self, principal: Principal, call: Call) -> int: ...


@dataclass(slots=True)
class Facts:
    """`share` is the caller's random number in [0, 1), `now` seconds of the monotonic clock, `unix` since 1970."""

    principal: Principal
    call: Call
    reckon: Reckoner
    share: float = 0.0
    now: float = 0.0
    unix: float = 0.0
    # Lower-case bytes, as ASGI gives them.
    headers: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))
    _input: int | None = None
    _bound: int | None = None
    _output: int | None = None
    _asked: frozenset[str] | None = None
    _tags: frozenset[str] | None = None

    @property
    def input_tokens(self) -> int:
        if self._input is None:
            self._input = self.reckon.estimate_input(self.call)
        return self._input

    @property
    def input_bound(self) -> int:
        if self._bound is None:
            self._bound = self.reckon.bound_input(self.call)
        return self._bound

    @property
    def output_tokens(self) -> int:
        if self._output is None:
            self._output = self.reckon.expect_output(self.principal, self.call)
        return self._output

    @property
    def asked(self) -> frozenset[str]:
        """`CAPABILITIES` that the call uses, and `stream`."""
        if self._asked is None:
            asked = asked_of_chat(self.call.body) if self.call.operation is Operation.CHAT else frozenset[str]()
            self._asked = asked | {"stream"} if self.call.is_stream else asked
        return self._asked

    @property
    def tags(self) -> frozenset[str]:
        """Of the key: `name` and `name:value` of each."""
        if self._tags is None:
            tags = self.principal.tags.items()
            self._tags = frozenset(name for name, _ in tags) | frozenset(f"{name}:{value}" for name, value in tags)
        return self._tags

    def header(self, name: str) -> str | None:
        value = self.headers.get(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def names(self) -> frozenset[str] | None:
        """What the caller wants the call kept to; None without a word of it."""
        value = self.headers.get(ROUTE_HEADER)
        if value is None:
            return None
        return frozenset(name for part in value.decode("latin-1").split(",") if (name := part.strip()))

    def affinity(self, by: str) -> int:
        """64 bits that stay the same for what calls are kept together by, in every process.

        A call that lacks it is kept with its end user's, else with its user's, else with its key's.
        """
        found: bytes | None = None
        if by == "conversation":
            found = conversation_of(self.call)
        elif by.startswith("header:"):
            found = self.headers.get(by[7:].encode("ascii"))
        if found is None and by != "key" and self.call.end_user is not None:
            found = self.call.end_user.encode("utf-8", "replace")
        if found is None:
            user_id = None if by == "key" else self.principal.user_id
            found = (user_id or self.principal.key_id).bytes
        digest = blake2b(found, digest_size=8, key=self.principal.tenant_id.bytes)
        return int.from_bytes(digest.digest())


def conversation_of(call: Call) -> bytes | None:
    """What all turns of one conversation begin with: `prompt_cache_key` where it is given, else the instructions and
    the first turn of the user; None where there is neither.
    """
    body = call.body
    if (given := body.get("prompt_cache_key")) is not None and type(given) is str:
        return given.encode("utf-8", "replace")
    messages = body.get("messages")
    if type(messages) is not list:
        first = body.get("prompt", body.get("input"))
        return None if first is None else _text(first)
    parts: list[bytes] = []
    for message in messages:
        if type(message) is not dict:
            return None
        role = message.get("role")
        if role in _SYSTEM or role == "user":
            parts.append(_text(message.get("content")))
            if role == "user":
                break
    return b"\x00".join(parts) if parts else None


def _text(content: Any) -> bytes:
    if type(content) is str:
        return content[:_MOST_BYTES].encode("utf-8", "replace")
    return orjson.dumps(content)[:_MOST_BYTES]
