"""The texts of an answer that is still being written, and how one is looked at: of arguments of tools also as their reader
sees them, without JSON's escapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tollkeeper.contracts.chat import Chunk
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.asking import AskAbout
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
    # The rules that only judge what is there from end to end have told what they found.
    is_told_late: bool = False
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


async def ask_about(
    due: Sequence[Run],
    lane: Lane,
    ask: AskAbout,
    kept: Callable[[list[Hit]], list[Hit]],
    told: Callable[[Sequence[Hit], Part], None],
    *,
    is_final: bool,
) -> None:
    """Those outside, about all at once; what they have found waits in the runs to be judged."""
    looked = []
    asked = []
    for run in due:
        part = Part(run.text, run.kind, "assistant", Direction.OUTPUT, is_final)
        hits = kept(lane.look(part))
        before, run.asked = run.asked, run.end
        # What does not leave here is told nobody else.
        if not any(hit.is_blocking for hit in hits):
            looked.append((part, hits))
            asked.append((run, before))
    if not looked:
        return
    for (run, before), (part, _), found in zip(asked, looked, await ask(looked), strict=True):
        hits = [hit for hit in kept(found) if hit.finding.end + run.base > before]
        only_told = [hit for hit in hits if not (hit.is_blocking or hit.is_changing)]
        if only_told:
            told(only_told, part)
        run.told_outside += [moved(hit, run.base) for hit in hits if hit.is_blocking or hit.is_changing]
        run.is_dirty = run.is_dirty or bool(hits)


def moved(hit: Hit, by: int) -> Hit:
    found = hit.finding
    return replace(hit, finding=replace(found, start=max(found.start + by, 0), end=max(found.end + by, 0)))
