"""Keeps a stream within what its call has put aside: counts what is produced, extends the hold ahead of it, cuts it.

Reads ahead of the caller, because a vendor goes on producing into buffers that nobody looks at; a caller that stays
behind slows it down once all the call can come to is held. An extension is asked for beside the flow; only when the hold
is used up does the stream wait for the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tollkeeper.contracts.chat import Batch, Call, Chunk, Operation, Usage
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway.money.families import family_of
from tollkeeper.gateway.money.hold import Hold, Holds
from tollkeeper.gateway.money.produced import Produced
from tollkeeper.gateway.openai_usage import write_usage

# RULING 1: beside the round trip of an extension.
_LEAD_SECONDS: Final = 0.25
_LEAST_STEP: Final = 16
# Of what was produced: long answers ask seldom, and never hold much more than they use.
_STEP_SHARE: Final = 4
# A rate is measured over no less, so that a burst of what was waiting somewhere is not taken for one.
_RATE_SECONDS: Final = 0.1
# What a chunk takes in memory beside its text, roughly.
_CHUNK_BYTES: Final = 1_024
# What may wait for a slow caller before reading stops: little once all the call can come to is held. Where there is no
# room for that, what is not read is not counted, and reading goes on for longer.
_MOST_WAITING: Final = 262_144
_MOST_UNCOVERED: Final = 8_388_608


class Watch:
    """Batches as `read` gives them, or up to where they were cut; then the end of a good stream, `finish_reason: length`.

    `cut` stops the vendor and says what was used.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Batch]],
        cut: Callable[[], Awaitable[Usage]],
        hold: Hold,
        holds: Holds,
        call: Call,
        model: str,
        clock: Callable[[], float],
    ) -> None:
        """`model`: the vendor's name for it."""
        self._read = read
        self._cut = cut
        self._allowance = Allowance(hold, holds, clock)
        self._produced = Produced(family_of(model))
        self._seen = _Seen(call)
        self._ready: list[Chunk] = []
        self._waiting = 0
        self._is_over = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Batch:
        pump = self._pump
        if pump is None:
            pump = self._pump = asyncio.get_running_loop().create_task(self._run())
            pump.add_done_callback(lambda _: self._changed.set())
        while not self._ready:
            if pump.done():
                # Raises what ended it.
                pump.result()
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        batch, self._ready, self._waiting = self._ready, [], 0
        self._room.set()
        return batch

    async def aclose(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self._allowance.close()

    async def _run(self) -> None:
        try:
            while not self._is_over:
                await self._take(await self._read())
        except StopAsyncIteration:
            pass

    async def _take(self, batch: Batch) -> None:
        if batch and batch[-1].is_final:
            # It ended by itself; how much it was is the vendor's to say.
            self._is_over = True
            self._put(batch)
            return
        counts = [self._produced.add(chunk) for chunk in batch]
        self._allowance.note(self._produced.tokens)
        if await self._allowance.covers():
            self._put(batch)
        else:
            await self._end(
                [chunk for chunk, count in zip(batch, counts, strict=True) if count <= self._allowance.covered]
            )
        while self._waiting > _MOST_WAITING and not self._is_over:
            if self._waiting <= _MOST_UNCOVERED and not await self._allowance.covers_all():
                return
            if self._waiting > _MOST_WAITING:
                self._room.clear()
                await self._room.wait()

    async def _end(self, paid: Batch) -> None:
        """Of the last batch what is paid for; then a good end in the place of the rest."""
        usage = await self._cut()
        self._is_over = True
        self._put(paid)
        self._put(self._seen.closing(usage))

    def _put(self, batch: Batch) -> None:
        for chunk in batch:
            self._seen.note(chunk)
            self._waiting += _CHUNK_BYTES + chunk.text_length
        self._ready += batch
        self._changed.set()


class Allowance:
    """How many tokens of output the hold covers, against how many there are."""

    def __init__(self, hold: Hold, holds: Holds, clock: Callable[[], float]) -> None:
        appraisal = hold.appraisal
        self._hold = hold
        self._holds = holds
        self._clock = clock
        self._pico = appraisal.output_pico
        self._input_pico = appraisal.forecast_nano * 1000 - appraisal.output_tokens * self._pico
        self._cap = appraisal.output_cap
        self._full_nano = appraisal.full_nano
        self._trip_seconds = 0.0
        self._tokens_per_second = 0.0
        self._measured_at = clock()
        self._measured = 0
        # The last answer was no: the next question is asked when all is used up.
        self._is_short = False
        self._has_asked_for_all = False
        self._asking: asyncio.Task[bool] | None = None
        self.produced = 0

    @property
    def covered(self) -> int:
        left_pico = (self._hold.held_nano - self._hold.spent_nano) * 1000 - self._input_pico
        return max(left_pico // self._pico, 0) if self._pico else self.produced

    @property
    def is_whole(self) -> bool:
        """All the call can come to is held: nothing has to be watched any more."""
        if not self._pico or self._hold.is_full:
            return True
        left = self._hold.held_nano - self._hold.spent_nano
        return self._full_nano is not None and left >= self._full_nano

    def note(self, tokens: int) -> None:
        """So many there are now."""
        self.produced = tokens
        now = self._clock()
        seconds = now - self._measured_at
        rate = (self.produced - self._measured) / max(seconds, _RATE_SECONDS)
        self._tokens_per_second = max(self._tokens_per_second, rate)
        if seconds >= _RATE_SECONDS:
            self._measured_at, self._measured = now, self.produced

    async def covers(self) -> bool:
        """Whether what was produced is paid for. Asks for more ahead of that; waits only when there is nothing left."""
        while not self.is_whole:
            if self.produced <= self.covered:
                if not self._is_short and self.produced + self._lead() > self.covered:
                    self._ask()
                return True
            self._is_short = False
            if not await self._ask() and self.produced > self.covered:
                return False
        return True

    async def covers_all(self) -> bool:
        """Put aside all the call can come to, so that nothing has to be watched any more. Asked for once."""
        if self._asking is not None:
            await self._asking
        if self.is_whole:
            return True
        if self._full_nano is None or self._has_asked_for_all:
            return False
        self._has_asked_for_all = True
        return await self._asked(self._full_nano - (self._hold.held_nano - self._hold.spent_nano))

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _lead(self) -> int:
        return max(int(self._tokens_per_second * (self._trip_seconds + _LEAD_SECONDS)), _LEAST_STEP)

    def _ask(self) -> "asyncio.Task[bool]":
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._extend())
        return self._asking

    async def _extend(self) -> bool:
        """By what comes before the next answer, or a part of what there is; where there is no room for it, by less."""
        least = max(self.produced - self.covered, 0) + _LEAST_STEP
        step = max(self._lead(), self.produced // _STEP_SHARE, least)
        while True:
            add_nano = -(-step * self._pico // 1000)
            if self._full_nano is not None:
                missing = self._full_nano - (self._hold.held_nano - self._hold.spent_nano)
                add_nano = min(add_nano, missing)
            if await self._asked(add_nano):
                return True
            if step <= least:
                self._is_short = True
                return False
            step = max(step // 2, least)

    async def _asked(self, add_nano: int) -> bool:
        begun = self._clock()
        try:
            return await self._holds.extend(self._hold, add_nano)
        except DependencyUnavailable:
            return False
        finally:
            self._trip_seconds = self._clock() - begun


class _Seen:
    """What the closing chunks of a stream have to continue: its head, and the choices that have not ended."""

    def __init__(self, call: Call) -> None:
        self._is_chat = call.operation is Operation.CHAT
        self._wants_usage = call.wants_usage
        count = call.body.get("n")
        self._model = call.model
        self._head: dict[str, Any] = {}
        self._begun: set[int] = set()
        self._open = set(range(count if type(count) is int and count > 0 else 1))

    def note(self, chunk: Chunk) -> None:
        data = chunk.data
        if not data:
            return
        if not self._head:
            self._head = {name: value for name, value in data.items() if name not in {"choices", "usage"}}
        for choice in data.get("choices") or ():
            index = choice.get("index", 0)
            self._begun.add(index)
            if choice.get("finish_reason") is None:
                self._open.add(index)
            else:
                self._open.discard(index)

    def closing(self, usage: Usage) -> Batch:
        head = self._head or {"object": "chat.completion.chunk" if self._is_chat else "text_completion"}
        chunks = [Chunk({**head, "choices": [self._choice(index)]}, is_content=True) for index in sorted(self._open)]
        counted = {**head, "choices": [], "usage": write_usage(usage)}
        chunks.append(Chunk(counted, is_hidden=not self._wants_usage))
        chunks.append(Chunk({}, is_hidden=True, is_final=True))
        return chunks

    def _choice(self, index: int) -> dict[str, Any]:
        end = {"index": index, "logprobs": None, "finish_reason": "length"}
        if not self._is_chat:
            return {**end, "text": ""}
        return {**end, "delta": {} if index in self._begun else {"role": "assistant", "content": ""}}
