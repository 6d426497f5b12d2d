"""What workers tell each other of targets, as small messages: hints, never orders. Pure: bytes in, bytes out.

What another worker met makes this one more careful for a while; what cannot be read is nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.routing import Place

MOST_BYTES: Final = 2_048
# However long a message says that a target is in trouble.
MOST_SECONDS: Final = 60.0


class HintKind(StrEnum):
    OPENED = "opened"
    PROBED = "probed"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Hint:
    """`place` and `seconds` of a breaker that opened; `canary` is the name of one that was rolled back.

    Of a probe the place has no model, and `is_well` says what came of it.
    """

    kind: HintKind
    sender: UUID
    place: Place | None = None
    seconds: float = 0.0
    canary: str | None = None
    is_well: bool = False


def write_hint(hint: Hint) -> bytes:
    document: dict[str, Any] = {"kind": hint.kind, "sender": hint.sender}
    if hint.place is not None:
        document |= {
            "provider": hint.place.provider,
            "model": hint.place.model,
            "credential": hint.place.credential_id,
            "seconds": round(hint.seconds, 3),
        }
    if hint.kind is HintKind.PROBED:
        document["well"] = hint.is_well
    if hint.canary is not None:
        document["canary"] = hint.canary
    return orjson.dumps(document)


def read_hint(message: bytes) -> Hint | None:
    """None for whatever is not a hint in the form of `write_hint`."""
    if len(message) > MOST_BYTES:
        return None
    try:
        document = orjson.loads(message)
        kind, sender = HintKind(document["kind"]), UUID(document["sender"])
        if kind is HintKind.ROLLED_BACK:
            canary = document["canary"]
            return Hint(kind, sender, canary=canary) if isinstance(canary, str) else None
        provider, model, credential = document["provider"], document["model"], document["credential"]
        seconds = document["seconds"]
        if not isinstance(provider, str) or not isinstance(model, str) or not isinstance(seconds, float | int):
            return None
        place = Place(provider, model, None if credential is None else UUID(credential))
        is_well = kind is HintKind.PROBED and document["well"] is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Hint(kind, sender, place, min(max(float(seconds), 0.0), MOST_SECONDS), is_well=is_well)
