"""Puts a written answer into a script: whole or as a stream, with the cut, the silence or the nonsense it was asked for."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tollkeeper.gateway.simulator.directives import Directives
from tollkeeper.gateway.simulator.refusal import chosen
from tollkeeper.gateway.simulator.script import Ending, Part, Script

JSON: Final = "application/json"
_GARBAGE: Final = b"<html><body>502 Bad Gateway (simulated)</body></html>"

# The bytes of an event, and the completion tokens in it.
Event = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Frames:
    """How streams of one wire format are framed and how they break."""

    content_type: str
    # Part of an event: a reader must not take it for a whole one.
    half: bytes
    garbage: bytes
    # The event of a failure in the middle.
    error: bytes


def whole(content: bytes, wish: Directives, script: Script) -> Script:
    if wish.error_after is not None:
        raise chosen(500, None, None)
    content = _GARBAGE if wish.is_garbage else content
    is_cut = wish.cut_after is not None or wish.hang_after is not None
    shown = content[: len(content) // 2] if is_cut else content
    ending = Ending.COMPLETE
    if is_cut:
        ending = Ending.CUT if wish.cut_after is not None else Ending.HANG
    return dataclasses.replace(
        script,
        headers={"content-type": JSON},
        parts=(Part(shown, tokens=0 if is_cut else script.completion_tokens),),
        ending=ending,
        content_length=len(content),
    )


def stream(events: Iterable[Event], end: bytes, frames: Frames, wish: Directives, script: Script) -> Script:
    """`end` is what shows that nothing is missing: `no-done` leaves it out."""
    ending = Ending.COMPLETE
    last: int | None = None
    if wish.cut_after is not None:
        ending, last = Ending.CUT, wish.cut_after
    elif wish.hang_after is not None:
        ending, last = Ending.HANG, wish.hang_after
    return dataclasses.replace(
        script,
        headers={"content-type": frames.content_type, "cache-control": "no-cache"},
        parts=_parts(events, end, frames, wish, last),
        ending=ending,
        is_stream=True,
    )


def _parts(events: Iterable[Event], end: bytes, frames: Frames, wish: Directives, last: int | None) -> Iterator[Part]:
    """The events of a stream. `last`: after so many events with tokens nothing follows."""
    sent = 0
    wait = 0.0
    for event, tokens in events:
        if tokens:
            if sent == last:
                yield Part(frames.half, wait)
                return
            if sent == wish.error_after:
                yield Part(frames.error, wait)
                return
            sent += 1
        if wish.is_garbage and tokens:
            yield Part(frames.garbage, wait)
            return
        yield Part(event, wait, tokens)
        wait = wish.pace_seconds
    if wish.has_done and last is None and end:
        yield Part(end)
