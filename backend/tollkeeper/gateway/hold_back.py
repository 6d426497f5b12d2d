"""A stream that is looked at while it is written: a chunk leaves once nothing in it can still become a match.

Each text of the answer (a choice's content, its reasoning, a tool call's arguments) is one run of characters, however it
is cut into chunks. What is found is taken out of the chunks it lies in; what must not be said at all ends the stream.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.chunk_texts import native_texts, texts_of
from tollkeeper.gateway.guardrail import MOST_HELD, Part, PartKind
from tollkeeper.gateway.placeholders import Placeholders, slice_of
from tollkeeper.gateway.screen import Hit, Lane

# Of what has left: a value's name stands before it.
_LOOK_BACK: Final = 96
# Thrown away in pieces, not letter by letter.
_KEPT: Final = 256
# Of a value longer than what waits: enough to know the rest of it by.
_OPENING: Final = 80
_CLOSING: Final = 40
# So many chunks of its choice without a letter of it: a text is over, as thoughts are once the answer begins.
_PAUSE: Final = 4

Told = Callable[[Sequence[Hit], Part], None]


class Blocked(Exception):
    """What the answer was about to say must not be said."""

    def __init__(self, hit: Hit) -> None:
        super().__init__(hit.use.name)
        self.hit = hit


@dataclass(slots=True)
class _Run:
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

    @property
    def end(self) -> int:
        return self.base + len(self.text)


@dataclass(slots=True)
class _Piece:
    run: _Run
    container: Any
    key: str
    start: int
    end: int


@dataclass(slots=True)
class _Waiting:
    chunk: Chunk
    pieces: list[_Piece]


class HoldBack:
    """An async iterator of batches over another one. `lane` is what looks, `placeholders` what comes back.

    Raises `Blocked` for what may not be said; everything judged before it has left by then.
    """

    def __init__(
        self,
        primed: Batch,
        rest: AsyncIterator[Batch] | None,
        lane: Lane,
        placeholders: Placeholders,
        told: Told,
        kept: Callable[[list[Hit]], list[Hit]] = list,
    ) -> None:
        self._primed: Batch | None = primed
        self._rest = rest
        self._lane = lane
        self._placeholders = placeholders
        self._told = told
        self._kept = kept
        # Of the latest chunk, and the choices there have been: for an end of our own.
        self.last_data: dict[str, Any] = {}
        self.choices: set[int] = set()
        self._runs: dict[tuple[Any, ...], _Run] = {}
        self._waiting: deque[_Waiting] = deque()
        # How many chunks each choice had.
        self._counts: dict[Any, int] = {}
        self._is_changed = False
        self._blocked: Blocked | None = None
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        while True:
            if self._blocked is not None:
                raise self._blocked
            if self._is_over:
                raise StopAsyncIteration
            batch = await self._next()
            if batch is None:
                self._is_over = True
                ready = self._release(is_final=True)
            else:
                for chunk in batch:
                    self._take(chunk)
                ready = self._release(is_final=bool(batch) and batch[-1].is_final)
            if ready:
                return ready

    async def _next(self) -> Batch | None:
        if self._primed is not None:
            primed, self._primed = self._primed, None
            return primed
        if self._rest is None:
            return None
        try:
            return await anext(self._rest)
        except StopAsyncIteration:
            return None

    def _take(self, chunk: Chunk) -> None:
        pieces = []
        if chunk.data:
            self.last_data = chunk.data
        found = texts_of(chunk.data)
        for choice in {name[0] for name, *_ in found}:
            self._counts[choice] = self._counts.get(choice, 0) + 1
        for name, container, key, kind in found:
            text = container[key]
            run = self._runs.get(name)
            if run is None:
                if isinstance(name[0], int):
                    self.choices.add(name[0])
                run = self._runs[name] = _Run(kind, is_whole=name[-1] == "name")
            run.seen = self._counts[name[0]]
            start = run.end
            run.text += text
            run.is_dirty = True
            pieces.append(_Piece(run, container, key, start, run.end))
        if chunk.native:
            self._look_at_native(chunk)
        self._waiting.append(_Waiting(chunk, pieces))

    def _look_at_native(self, chunk: Chunk) -> None:
        """What the vendor's own frames say and the canonical chunk has no place for: judged at once, told or not at all."""
        if self._is_changed:
            return
        own = {container[key] for _, container, key, _ in texts_of(chunk.data)}
        for part in native_texts(chunk.native or b"", own.__contains__):
            hits = self._kept(self._lane.look(part))
            if not hits:
                continue
            self._told(hits, part)
            blocking = next((hit for hit in hits if hit.is_blocking), None)
            if blocking is not None:
                self._blocked = Blocked(blocking)
            if blocking is not None or any(hit.is_changing for hit in hits):
                self._is_changed = True
                chunk.native = None
                return

    def _release(self, *, is_final: bool) -> list[Chunk]:
        for name, run in self._runs.items():
            if run.is_dirty or run.safe < run.end:
                is_over = run.is_whole or self._counts[name[0]] - run.seen >= _PAUSE
                if run.is_dirty or is_final or is_over:
                    self._judge(run, is_final=is_final, is_over=is_over)
        ready: list[Chunk] = []
        waiting = self._waiting
        while waiting and all(piece.end <= piece.run.safe for piece in waiting[0].pieces):
            ready.append(self._let_go(waiting.popleft()))
        if self._blocked is not None and not ready:
            raise self._blocked
        return ready

    def _judge(self, run: _Run, *, is_final: bool, is_over: bool = False) -> None:
        """`is_over`: most likely no more of it comes, while the answer goes on."""
        run.is_dirty = False
        text, shift = run.text, run.base
        if run.opening:
            # The rest of a long value is known by its beginning.
            lead = run.safe - run.base
            text, shift = run.opening + text[lead:], run.safe - len(run.opening)
        part = Part(text, run.kind, "assistant", Direction.OUTPUT, is_final)
        found = self._lane.look(part)
        is_final = is_final or (is_over and not self._lane.needs_whole)
        if not (found or run.opening or self._placeholders or self._lane.needs_whole or is_final):
            # As good as always.
            run.safe = max(run.safe, shift + self._lane.held_from(text))
            if run.safe - run.base > _KEPT:
                self._forget(run)
            return
        judged, safe = self._split(run, found, text, shift, is_final=is_final)
        blocking = next((hit for hit in judged if hit.is_blocking), None)
        if blocking is not None:
            self._blocked = Blocked(blocking)
            safe = blocking.finding.start
            judged = [hit for hit in judged if hit.finding.start < safe or hit is blocking]
        self._settle(run, text, shift, judged)
        if self._placeholders:
            self._bring_back(run, text, shift, safe)
        run.safe = max(run.safe, shift + safe)
        run.opening = self._opening(text, judged) if not is_final else ""
        if run.safe - run.base > _KEPT:
            self._forget(run)

    def _split(self, run: _Run, found: list[Hit], text: str, shift: int, *, is_final: bool) -> tuple[list[Hit], int]:
        """What can be judged by now, and until where the text may leave."""
        hits = [hit for hit in self._kept(found) if hit.finding.end + shift > run.safe]
        if self._lane.needs_whole and not is_final:
            return [], 0
        safe = len(text) if is_final else min(self._lane.held_from(text), self._placeholders.held_from(text))
        judged = []
        for hit in hits:
            place = hit.finding
            is_going_on = place.start < len(run.opening)
            if not (is_final or is_going_on) and place.end >= len(text) and len(text) - place.start <= MOST_HELD:
                safe = min(safe, place.start)
            else:
                judged.append(hit)
        if not is_final:
            judged = [hit for hit in judged if hit.finding.start < max(safe, len(run.opening))]
            # A value is judged whole.
            safe = max([safe, *(hit.finding.end for hit in judged)])
        return judged, safe

    def _settle(self, run: _Run, text: str, shift: int, judged: list[Hit]) -> None:
        fresh = []
        for hit in judged:
            if hit.finding.start < len(run.opening):
                continue
            sign = (hit.finding.rule, hit.finding.label, shift + hit.finding.start)
            if sign not in run.told:
                run.told.add(sign)
                fresh.append(hit)
        if fresh:
            self._told(fresh, Part(text, run.kind, "assistant", Direction.OUTPUT))
        begin = max(run.safe - shift, 0)
        for start, end, replacement in self._placeholders.edits(text, judged):
            is_going_on = bool(run.opening) and start < len(run.opening)
            run.edits.append((shift + max(start, begin), shift + end, "" if is_going_on else replacement))

    def _bring_back(self, run: _Run, text: str, shift: int, safe: int) -> None:
        is_json = run.kind is PartKind.TOOL_ARGUMENTS
        for start, end, original in self._placeholders.places(text, is_json=is_json):
            if shift + start >= run.safe and end <= safe:
                run.edits.append((shift + start, shift + end, original))
        run.edits.sort()

    @staticmethod
    def _opening(text: str, judged: list[Hit]) -> str:
        """Of the value that was found and goes on behind the end of what is there."""
        going_on = next((hit for hit in judged if hit.is_changing and hit.finding.end >= len(text)), None)
        if going_on is None:
            return ""
        start = going_on.finding.start
        # And its end, in which the mark that closes it may have begun.
        return text[start : start + _OPENING] + text[max(start + _OPENING, len(text) - _CLOSING) :]

    def _let_go(self, waiting: _Waiting) -> Chunk:
        chunk = waiting.chunk
        for piece in waiting.pieces:
            run = piece.run
            edits = [(start - run.base, end - run.base, new) for start, end, new in run.edits]
            before = piece.container[piece.key]
            after = slice_of(run.text, edits, piece.start - run.base, piece.end - run.base)
            if after != before:
                piece.container[piece.key] = after
                self._is_changed = True
                chunk.raw = None
                forget_tokens(chunk.data)
        if self._is_changed:
            # From here on the vendor's own bytes are not what the caller is told.
            chunk.native = None
        return chunk

    def _forget(self, run: _Run) -> None:
        """What has left and is too far back to say anything of what comes."""
        kept_by_waiting = min((p.start for w in self._waiting for p in w.pieces if p.run is run), default=run.end)
        begin = min(run.safe - _LOOK_BACK, kept_by_waiting)
        if begin > run.base:
            run.text = run.text[begin - run.base :]
            run.base = begin
            run.edits = [edit for edit in run.edits if edit[1] > begin]

    async def aclose(self) -> None:
        rest = self._rest
        if rest is not None:
            await rest.aclose()  # type: ignore[attr-defined]


def forget_tokens(data: dict[str, Any]) -> None:
    """Log probabilities spell the text out once more."""
    for choice in data.get("choices") or ():
        if isinstance(choice, dict) and choice.get("logprobs"):
            choice["logprobs"] = None
