"""Lets the rules that hold for a call look at what it says, and at what is answered, before either leaves.

One place for every endpoint, dialect and stream flag: texts are found in the documents themselves, the caller's own and
the canonical one alike. What a rule may not let pass is refused on the way in, and ends the answer on the way out.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Operation, Reply
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.core.errors import BadRequest, TollkeeperError
from tollkeeper.gateway.chunk_texts import forget_tokens
from tollkeeper.gateway.error_texts import look_at_error
from tollkeeper.gateway.guarded_stream import GuardedStream, blocked_choices
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.looking import Looking, Told
from tollkeeper.gateway.multipart import rename_files
from tollkeeper.gateway.outside import WaysOut
from tollkeeper.gateway.passed_watch import PassedWatch
from tollkeeper.gateway.screen import Hit, Lane, Screen
from tollkeeper.gateway.screens import Screens
from tollkeeper.gateway.stage import Exchange, Next

_CHOICES: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
# Answers without a text that a model made.
_TEXTLESS: Final = frozenset({Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.SPEECH})


# Fields that take tokens where others write a text.
_TOKENS_IN: Final = {Operation.COMPLETIONS: "prompt", Operation.EMBEDDINGS: "input"}


class Guard:
    def __init__(self, screens: Screens, told: Told, ways: WaysOut, share: Callable[[], float] = random.random) -> None:
        self._screens = screens
        self._told = told
        self._ways = ways
        self._share = share

    def __call__(self, exchange: Exchange, next_stage: Next) -> Awaitable[Reply]:
        # No coroutine of its own where nothing holds.
        screen = self._screens.find(exchange.snapshot, exchange.principal, exchange.call.model)
        if screen is None:
            return next_stage(exchange)
        return _Guarding(exchange, self._looking(exchange, screen)).run(next_stage)

    def watch(self, exchange: Exchange) -> PassedWatch | None:
        """Of a request that is passed on, in which no field is known to be no text. None: nothing holds."""
        screen = self._screens.find(exchange.snapshot, exchange.principal, exchange.call.model)
        return None if screen is None else PassedWatch(self._looking(exchange, screen))

    def _looking(self, exchange: Exchange, screen: Screen) -> Looking:
        exchange.guard = screen.digest
        return Looking(exchange, screen, self._told, self._ways, self._share() if screen.samples else 0.0)


class _Guarding:
    """One call under its screen."""

    def __init__(self, exchange: Exchange, looking: Looking) -> None:
        self._exchange = exchange
        self._looking = looking
        self._screen = looking.screen
        self._placeholders = looking.placeholders
        self._looked_at = looking.look_at

    async def run(self, next_stage: Next) -> Reply:
        try:
            reply = await self._called(next_stage)
        except TollkeeperError as error:
            # Also a refusal that is the caller's fault says so in the vendor's words.
            if not self._exchange.is_blocked:
                look_at_error(error, self._look_back, self._looking.told)
            raise
        exchange = self._exchange
        if exchange.is_screened:
            return reply
        if (self._screen.output.is_empty and not self._placeholders) or exchange.operation in _TEXTLESS:
            return reply
        return await (self._stream(reply) if reply.is_stream else self._whole(reply))

    def _look_back(self, part: Part) -> list[Hit]:
        return self._looking.kept(self._screen.output.look(part))

    async def _called(self, next_stage: Next) -> Reply:
        exchange = self._exchange
        if self._screen.input.is_empty:
            reply = await next_stage(exchange)
        elif self._screen.is_beside:
            reply = await self._beside(next_stage)
        else:
            await self._look_at_call()
            # What is not its own gets no answer of others, and gives none.
            exchange.is_reversible = bool(self._placeholders)
            reply = await next_stage(exchange)
        return reply

    async def _beside(self, next_stage: Next) -> Reply:
        """The provider works while the input is looked at; nothing of its answer leaves before that is done."""
        looking = asyncio.create_task(self._look_at_call())
        try:
            reply = await next_stage(self._exchange)
        except BaseException:
            looking.cancel()
            with suppress(asyncio.CancelledError, BadRequest):
                await looking
            raise
        try:
            await looking
        except BaseException:
            # What is billed all the same is left to `meter`, which has it read to its end.
            leftovers = [attempt.leftover for attempt in self._exchange.tries]
            if reply.rest is not None and not any(one is not None and one.is_still_billed() for one in leftovers):
                await reply.rest.aclose()  # type: ignore[attr-defined]
            raise
        return reply

    # The way in

    async def _look_at_call(self) -> None:
        exchange = self._exchange
        call = exchange.call
        known: dict[Any, list[Hit]] = {}
        lane = self._screen.input
        if _has_tokens(call.body.get(_TOKENS_IN.get(exchange.operation, ""))):
            self._looking.tell(self._looking.kept(lane.unreadable()), Part(""))
        body = await self._looked_at(call.body, Direction.INPUT, lane, known)
        native = None if call.native is None else await self._looked_at(call.native, Direction.INPUT, lane, known)
        if body is not None or native is not None:
            exchange.call = _rewritten(call, body, native)
        if call.form is not None:
            files = [part.filename or "" for part in call.form.parts]
            names = await self._looked_at({"names": files}, Direction.INPUT, lane, known)
            if names is not None:
                exchange.call = exchange.call.replace()
                exchange.call.form = rename_files(call.form, names["names"])

    # The way out

    async def _whole(self, reply: Reply) -> Reply:
        chunk = reply.primed[0]
        known: dict[Any, list[Hit]] = {}
        lane = self._screen.output
        try:
            if chunk.content_type is not None:
                changed: Chunk | None = await self._text_file(chunk, lane, known)
            else:
                data = await self._looked_at(chunk.data, Direction.OUTPUT, lane, known)
                native = _parsed(chunk.native)
                if native is not None:
                    # What the vendor's own form says and the canonical one has no place for.
                    seen = await self._looked_at(native, Direction.OUTPUT, lane, known)
                    data = data or (None if seen is None else chunk.data)
                changed = None
                if data is not None:
                    forget_tokens(data)
                    changed = _with_data(chunk, data)
        except BadRequest:
            if self._exchange.operation not in _CHOICES:
                raise
            changed = _with_data(chunk, blocked_choices(chunk.data))
        if changed is None:
            return reply
        return Reply(is_stream=False, primed=(changed,), taps=reply.taps)

    async def _text_file(self, chunk: Chunk, lane: Lane, known: dict[Any, list[Hit]]) -> Chunk | None:
        """Transcripts as text and subtitles: no document, one text."""
        if chunk.native is None:
            return None
        holder = {"text": chunk.native.decode("utf-8", "replace")}
        changed = await self._looked_at(holder, Direction.OUTPUT, lane, known)
        if changed is None:
            return None
        return _with_data(chunk, chunk.data, changed["text"].encode())

    async def _stream(self, reply: Reply) -> Reply:
        stream = GuardedStream(
            reply.primed,
            reply.rest,
            self._screen.output,
            self._placeholders,
            told=self._looking.told,
            kept=self._looking.kept,
            blocked=self._looking.block,
            operation=self._exchange.operation,
            ask=self._looking.asking(self._screen.output) if self._screen.output.is_asking else None,
        )
        return Reply(is_stream=True, primed=(), rest=stream, taps=reply.taps)


def _has_tokens(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(one, int) or (isinstance(one, list) and any(isinstance(inner, int) for inner in one))
        for one in value
    )


def _rewritten(call: Call, body: dict[str, Any] | None, native: dict[str, Any] | None) -> Call:
    changed = {} if body is None else {name: value for name, value in body.items() if value is not call.body.get(name)}
    kept = native if native is not None else call.native
    rewritten = call.replace(**changed)
    # Both forms were rewritten alike, so the caller's own still says the same.
    rewritten.native = kept
    return rewritten


def _with_data(chunk: Chunk, data: dict[str, Any], native: bytes | None = None) -> Chunk:
    return Chunk(
        data,
        is_content=chunk.is_content,
        is_hidden=chunk.is_hidden,
        is_final=chunk.is_final,
        usage=chunk.usage,
        text_length=chunk.text_length,
        native=native,
        amounts=chunk.amounts,
        content_type=chunk.content_type,
    )


def _parsed(native: bytes | None) -> dict[str, Any] | None:
    if not native:
        return None
    try:
        document = orjson.loads(native)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
