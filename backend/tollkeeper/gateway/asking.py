"""Asks those who stand outside about texts, and never tells them what the policies take out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tollkeeper.contracts.guardrails import GuardrailPolicy
from tollkeeper.gateway.guardrail import Outside, Part
from tollkeeper.gateway.placeholders import Placeholders, apply
from tollkeeper.gateway.screen import Hit, Lane

# Texts with what was found in them so far; what is found in each beside that.
Looked = Sequence[tuple[Part, Sequence[Hit]]]
AskAbout = Callable[[Looked], Awaitable[list[list[Hit]]]]


class Asking:
    """Of one call and one direction."""

    def __init__(
        self,
        lane: Lane,
        placeholders: Placeholders,
        outside: Callable[[GuardrailPolicy], Outside],
        is_asked: Callable[[Hit], bool],
    ) -> None:
        self._lane = lane
        self._placeholders = placeholders
        self._outside = outside
        self._is_asked = is_asked

    async def __call__(self, looked: Looked) -> list[list[Hit]]:
        edits = [self._placeholders.edits(part.text, hits) for part, hits in looked]
        parts = [
            replace(part, text=apply(part.text, made)) if made else part
            for (part, _), made in zip(looked, edits, strict=True)
        ]
        answers = await self._lane.ask(parts, self._outside, self._is_asked)
        return [
            [_moved_back(hit, made) for hit in hits] if made else hits
            for hits, made in zip(answers, edits, strict=True)
        ]


def _moved_back(hit: Hit, edits: Sequence[tuple[int, int, str]]) -> Hit:
    found = hit.finding
    start, end = _place(found.start, edits, is_end=False), _place(found.end, edits, is_end=True)
    return replace(hit, finding=replace(found, start=start, end=max(start, end)))


def _place(place: int, edits: Sequence[tuple[int, int, str]], *, is_end: bool) -> int:
    """Of the text that was sent, in the text that there is. Within a placeholder: the end of what it stands for."""
    shift = 0
    for start, end, placeholder in edits:
        begin = start + shift
        until = begin + len(placeholder)
        if place < begin or (is_end and place == begin):
            break
        if place < until or (is_end and place == until):
            return end if is_end else start
        shift += len(placeholder) - (end - start)
    return place - shift
