"""The texts of an answer that is still being written, and how one is looked at: of arguments of tools also as their reader
sees them, without JSON's escapes.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from tollkeeper.contracts.chat import Chunk
from tollkeeper.gateway.guardrail import MOST_HELD, Part, PartKind
from tollkeeper.gateway.screen import Hit, Lane
from tollkeeper.gateway.unescaping import begun, readings

# Escaped, each of the characters that wait takes six.
_LONGEST_ESCAPED: Final = 6 * MOST_HELD


@dataclass(slots=True)
class Run:
    """One text of the answer. Offsets count from its beginning; `text` begins at `base`."""

    kind: PartKind
    base: int = 0
    text: str = ""
    # Everything before has been judged and may leave.
    safe: int = 0
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    told: set[tuple[str, str, int]] = field(default_factory=set)
    is_dirty: bool = False
    # Which chunk of its choice it was last in. Names come whole.
    seen: int = 0
    is_whole: bool = False
    # A value that is being swallowed: how it began, and until where it is gone.
    opening: str = ""
    # Until where those were asked that stand outside, and what they have found.
    asked: int = 0
    told_outside: list[Hit] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.base + len(self.text)


@dataclass(slots=True)
class Piece:
    run: Run
    container: Any
    key: str
    start: int
    end: int


@dataclass(slots=True)
class Waiting:
    chunk: Chunk
    pieces: list[Piece]


def look(lane: Lane, part: Part) -> list[Hit]:
    hits = lane.look(part)
    if part.kind is PartKind.TOOL_ARGUMENTS and "\\" in part.text:
        for text, places in readings(part.text):
            plain = Part(text, part.kind, part.role, part.direction, part.is_final)
            for hit in lane.look(plain):
                found = hit.finding
                hits.append(replace(hit, finding=replace(found, start=places[found.start], end=places[found.end])))
    return hits


def held_from(lane: Lane, kind: PartKind, text: str) -> int:
    held = lane.held_from(text)
    if kind is not PartKind.TOOL_ARGUMENTS:
        return held
    begin = max(0, len(text) - _LONGEST_ESCAPED)
    end = text[begin:]
    if "\\" in end:
        held = min(held, begun(text))
        for plain, places in readings(end):
            held = min(held, begin + places[lane.held_from(plain)])
    return held


def moved(hit: Hit, by: int) -> Hit:
    found = hit.finding
    return replace(hit, finding=replace(found, start=max(found.start + by, 0), end=max(found.end + by, 0)))
