"""What a vendor says when it refuses or breaks off: words from outside, that may repeat what nobody should read."""

from collections.abc import Callable, Sequence
from typing import Final

from tollkeeper.contracts.guardrails import Direction
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.placeholders import Placeholders, apply
from tollkeeper.gateway.screen import Hit

_WITHHELD: Final = "The provider refused the request, and a guardrail keeps back what it said."


def look_at_error(
    error: TollkeeperError, look: Callable[[Part], list[Hit]], told: Callable[[Sequence[Hit], Part], None]
) -> None:
    """In place: the attempt keeps the same error, and ledger and logs get no more of it than the caller."""
    for field in ("message", "code", "param"):
        text = getattr(error, field)
        if not text:
            continue
        part = Part(text, role="assistant", direction=Direction.OUTPUT)
        hits = look(part)
        if not hits:
            continue
        told(hits, part)
        if any(hit.is_blocking for hit in hits):
            error.message, error.code, error.param = _WITHHELD, type(error).code, None
            break
        setattr(error, field, apply(text, Placeholders().edits(text, hits)))
    error.args = (error.message,)
