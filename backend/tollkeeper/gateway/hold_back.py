"""A stream that is looked at while it is written: a chunk leaves once nothing in it can still become a match.

Each text of the answer (a choice's content, its reasoning, a tool call's arguments) is one run of characters, however it
is cut into chunks. What is found is taken out of the chunks it lies in; what must not be said at all ends the stream.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.asking import AskAbout
from tollkeeper.gateway.chunk_texts import forget_tokens, native_texts, texts_of
from tollkeeper.gateway.error_texts import look_at_error
from tollkeeper.gateway.guardrail import MOST_HELD, WHOLE, Part, PartKind
from tollkeeper.gateway.placeholders import Placeholders, slice_of
from tollkeeper.gateway.runs import Piece, Run, Waiting, ask_about, held_from, look, moved
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
        ask: AskAbout | None = None,
    ) -> None:
        self._ask = ask if lane.is_asking else None
        self._primed: Batch | None = primed
        self._rest = rest
        self._lane = lane
        self._placeholders = placeholders
        self._told = told
        self._kept = kept
        # Of the latest chunk, and the choices there have been: for an end of our own.
        self.last_data: dict[str, Any] = {}
        self.choices: set[int] = set()
        self._runs: dict[tuple[Any, ...], Run] = {}
        self._waiting: deque[Waiting] = deque()
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
            self._is_over = batch is None
            is_final = batch is None or (bool(batch) and batch[-1].is_final)
            for chunk in batch or ():
                self._take(chunk)
            if self._ask is not None:
                await self._ask_outside(self._ask, is_final=is_final)
            if ready := self._release(is_final=is_final):
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
                run = self._runs[name] = Run(kind, is_whole=name[-1] == "name")
            run.seen = self._counts[name[0]]
            start = run.end
            run.text += text
            run.is_dirty = True
            pieces.append(Piece(run, container, key, start, run.end))
        if chunk.native:
            self._look_at_native(chunk)
        if chunk.error is not None:
            look_at_error(chunk.error, lambda part: self._kept(self._lane.look(part)), self._told)
        self._waiting.append(Waiting(chunk, pieces))

    def _look_at_native(self, chunk: Chunk) -> None:
        """What the vendor's own frames say and the canonical chunk has no place for: judged at once, told or not at all."""
        if self._is_changed:
            return
        own = {container[key] for _, container, key, _ in texts_of(chunk.data)}
        for part in native_texts(chunk.native or b"", own.__contains__):
            if self._lane.holds_for_asked:
                # Nobody outside was asked about it, so it does not leave.
                self._is_changed = True
                chunk.native = None
                return
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

    async def _ask_outside(self, ask: AskAbout, *, is_final: bool) -> None:
        each = self._lane.asks_each
        due = [
            run
            for name, run in self._runs.items()
            if run.end > run.asked
            and (is_final or (each != WHOLE and (run.end - run.asked >= each or self._is_paused(name, run))))
        ]
        if due:
            await ask_about(due, self._lane, ask, self._kept, self._told, is_final=is_final)

    def _is_paused(self, name: tuple[Any, ...], run: Run) -> bool:
        """Most likely no more of it comes."""
        return run.is_whole or self._counts[name[0]] - run.seen >= _PAUSE

    def _release(self, *, is_final: bool) -> list[Chunk]:
        for name, run in self._runs.items():
            if is_final and self._lane.keeps_whole and not run.is_told_late:
                run.is_told_late = True
                self._tell_late(run)
            if run.is_dirty or run.safe < run.end:
                is_over = self._is_paused(name, run)
                if run.is_dirty or is_final or is_over:
                    self._judge(run, is_final=is_final, is_over=is_over)
        ready: list[Chunk] = []
        waiting = self._waiting
        while waiting and all(piece.end <= piece.run.safe for piece in waiting[0].pieces):
            ready.append(self._let_go(waiting.popleft()))
        if self._blocked is not None and not ready:
            raise self._blocked
        return ready

    def _judge(self, run: Run, *, is_final: bool, is_over: bool = False) -> None:
        """`is_over`: most likely no more of it comes, while the answer goes on."""
        run.is_dirty = False
        lane = self._lane
        if not is_final and (lane.needs_whole or (lane.holds_for_asked and run.asked <= run.safe)):
            return
        begin = run.safe - run.base
        # What is kept for later is not looked at again and again.
        lead = begin - _LOOK_BACK if begin > _KEPT else 0
        text, shift = run.text[lead:], run.base + lead
        if run.opening:
            # The rest of a long value is known by its beginning.
            text, shift = run.opening + run.text[begin:], run.safe - len(run.opening)
        if lane.holds_for_asked:
            text = text[: run.asked - shift]
        part = Part(text, run.kind, "assistant", Direction.OUTPUT, is_final and not lane.keeps_whole)
        found = look(lane, part)
        if run.told_outside:
            found = found + [moved(hit, -shift) for hit in run.told_outside]
        is_final = is_final or (is_over and not lane.needs_whole)
        if not (found or run.opening or self._placeholders or is_final):
            # As good as always.
            self._advance(run, shift + held_from(lane, run.kind, text))
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
        run.opening = self._opening(text, judged) if not is_final else ""
        self._advance(run, shift + safe)

    def _advance(self, run: Run, safe: int) -> None:
        run.safe = max(run.safe, safe)
        if run.safe - run.base > _KEPT:
            self._forget(run)

    def _tell_late(self, run: Run) -> None:
        """Of rules that can only judge what is there from end to end, and only tell."""
        part = Part(run.text, run.kind, "assistant", Direction.OUTPUT)
        if hits := self._kept(self._lane.look_at_whole(part)):
            self._told(hits, part)

    def _split(self, run: Run, found: list[Hit], text: str, shift: int, *, is_final: bool) -> tuple[list[Hit], int]:
        """What can be judged by now, and until where the text may leave."""
        hits = [hit for hit in self._kept(found) if hit.finding.end + shift > run.safe]
        safe = len(text) if is_final else min(held_from(self._lane, run.kind, text), self._placeholders.held_from(text))
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

    def _settle(self, run: Run, text: str, shift: int, judged: list[Hit]) -> None:
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

    def _bring_back(self, run: Run, text: str, shift: int, safe: int) -> None:
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

    def _let_go(self, waiting: Waiting) -> Chunk:
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

    def _forget(self, run: Run) -> None:
        """What has left and is too far back to say anything of what comes."""
        if self._lane.keeps_whole:
            return
        kept_by_waiting = min((p.start for w in self._waiting for p in w.pieces if p.run is run), default=run.end)
        begin = min(run.safe - _LOOK_BACK, kept_by_waiting)
        if self._ask is not None:
            begin = min(begin, run.asked - _LOOK_BACK)
        if begin > run.base:
            run.text = run.text[begin - run.base :]
            run.base = begin
            run.edits = [edit for edit in run.edits if edit[1] > begin]
            run.told_outside = [hit for hit in run.told_outside if hit.finding.end > begin]

    async def aclose(self) -> None:
        rest = self._rest
        if rest is not None:
            await rest.aclose()  # type: ignore[attr-defined]
