"""Lets the rules that hold for a call look at what it says, and at what is answered, before either leaves.

One place for every endpoint, dialect and stream flag: texts are found in the documents themselves, the caller's own and
the canonical one alike. What a rule may not let pass is refused on the way in, and ends the answer on the way out.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Operation, Reply
from tollkeeper.contracts.guardrails import Direction, GuardrailPolicy
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.asking import Asking
from tollkeeper.gateway.encoded_texts import parsed
from tollkeeper.gateway.guarded_stream import GuardedStream, blocked_choices
from tollkeeper.gateway.guardrail import Outside, Part
from tollkeeper.gateway.hold_back import forget_tokens
from tollkeeper.gateway.outside import WaysOut
from tollkeeper.gateway.placeholders import Placeholders, slice_of
from tollkeeper.gateway.screen import Hit, Lane, Screen
from tollkeeper.gateway.screens import Screens
from tollkeeper.gateway.stage import Exchange, Next
from tollkeeper.gateway.texts import Nested, Text, flat, read_texts

_CHOICES: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
# Answers without a text that a model made.
_TEXTLESS: Final = frozenset({Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.SPEECH})

# Told of everything found: the call, the finds, and the text they are in (for policies that keep it).
Told = Callable[[Exchange, Sequence[Hit], Part], None]


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
        return self._guarding(exchange, screen).run(next_stage)

    async def look_at_bytes(self, exchange: Exchange, body: bytes) -> bytes:
        """Of a request that is passed on: what may leave of its body, in which no field is known to be no text."""
        screen = self._screens.find(exchange.snapshot, exchange.principal, exchange.call.model)
        if screen is None or screen.input.is_empty or not body:
            return body
        return await self._guarding(exchange, screen).look_at_bytes(body)

    def _guarding(self, exchange: Exchange, screen: Screen) -> "_Guarding":
        exchange.guard = screen.digest
        return _Guarding(exchange, screen, self._told, self._ways, self._share() if screen.samples else 0.0)


class _Guarding:
    """One call under its screen."""

    def __init__(self, exchange: Exchange, screen: Screen, told: Told, ways: WaysOut, share: float) -> None:
        self._ways = ways
        self._exchange = exchange
        self._screen = screen
        self._told = told
        self._share_millionths = int(share * 1_000_000)
        self._placeholders = Placeholders()
        key_id = exchange.principal.key_id
        self._exempt = [one for one in screen.exemptions if one.key_id == key_id and one.expires_at > time.time()]

    async def run(self, next_stage: Next) -> Reply:
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
        if exchange.is_screened:
            return reply
        if (self._screen.output.is_empty and not self._placeholders) or exchange.operation in _TEXTLESS:
            return reply
        return await (self._stream(reply) if reply.is_stream else self._whole(reply))

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
        body = await self._looked_at(call.body, Direction.INPUT, lane, known)
        native = None if call.native is None else await self._looked_at(call.native, Direction.INPUT, lane, known)
        if body is not None or native is not None:
            exchange.call = _rewritten(call, body, native)

    async def look_at_bytes(self, body: bytes) -> bytes:
        try:
            encoding, text = "utf-8", body.decode()
        except UnicodeDecodeError:
            # Each byte a letter: what is not changed stays as it is.
            encoding, text = "latin-1", body.decode("latin-1")
        value = parsed(text)
        is_json = isinstance(value, dict | list)
        holder = {"body": value if is_json else text}
        changed = await self._looked_at(holder, Direction.INPUT, self._screen.input, {})
        if changed is None:
            return body
        return orjson.dumps(changed["body"]) if is_json else str(changed["body"]).encode(encoding, "replace")

    async def _looked_at(
        self, document: Any, direction: Direction, lane: Lane, known: dict[Any, list[Hit]]
    ) -> dict[str, Any] | None:
        """A copy with what was taken out; None where nothing was. Raises where nothing may pass."""
        operation = self._exchange.operation
        texts = list(flat(read_texts(document, direction, operation)))
        fresh: dict[Any, Text] = {}
        for text in texts:
            if text.sign in known:
                continue
            lengths = [length for _, _, length in text.pieces]
            known[text.sign] = self._kept(await lane.look_at_pieces(text.part, lengths))
            self._tell(known[text.sign], text.part)
            fresh[text.sign] = text
        if lane.is_asking and fresh:
            # Last, and about what is left: the rules here are quick, and keep what they take out from those outside.
            looked = [(text.part, known[sign]) for sign, text in fresh.items()]
            for (sign, text), found in zip(fresh.items(), await self._asking(lane)(looked), strict=True):
                if hits := self._kept(found):
                    self._tell(hits, text.part)
                    known[sign] = sorted([*known[sign], *hits], key=lambda hit: hit.finding.start)
        is_changed = any(hit.is_changing for text in texts for hit in known[text.sign])
        if not is_changed and (direction is Direction.INPUT or not self._placeholders):
            return None
        copied: dict[str, Any] = _copy(document)
        for one in read_texts(copied, direction, operation):
            is_changed = self._write_all(one, known) or is_changed
        return copied if is_changed else None

    def _tell(self, hits: list[Hit], part: Part) -> None:
        """Raises where one of them lets nothing pass."""
        if not hits:
            return
        self._told(self._exchange, hits, part)
        if (blocking := next((hit for hit in hits if hit.is_blocking), None)) is not None:
            self._block()
            raise blocked_by(blocking, part.direction)

    def _asking(self, lane: Lane) -> Asking:
        def outside(policy: GuardrailPolicy) -> Outside:
            return self._ways.of(self._exchange, policy)

        return Asking(lane, self._placeholders, outside, lambda failure: bool(self._kept([failure])))

    def _write_all(self, one: Text | Nested, known: dict[Any, list[Hit]]) -> bool:
        if isinstance(one, Text):
            return self._write(one, known.get(one.sign, []))
        written = [self._write_all(inner, known) for inner in one.texts]
        if any(written):
            one.close()
        return any(written)

    def _write(self, text: Text, hits: Sequence[Hit]) -> bool:
        value = text.part.text
        edits = self._placeholders.edits(value, hits)
        is_output = text.part.direction is Direction.OUTPUT
        if not edits and not (is_output and self._placeholders.restore(value) != value):
            return False

        def text_of(start: int, end: int) -> str:
            piece = slice_of(value, edits, start, end)
            return self._placeholders.restore(piece) if is_output else piece

        text.write(text_of)
        return True

    def _block(self) -> None:
        self._exchange.is_blocked = True

    def _kept(self, hits: list[Hit]) -> list[Hit]:
        """Without those of rules that were not drawn for this call, or that the key is exempt from."""
        if not hits or not (self._exempt or self._share_millionths):
            return hits
        return [
            hit
            for hit in hits
            if self._share_millionths < hit.use.sample_millionths
            and not any(
                one.rule_name == hit.use.name
                and one.label in {None, hit.finding.label}
                # Rules of other policies may have the same name.
                and one in hit.policy.exemptions
                for one in self._exempt
            )
        ]

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
            told=lambda hits, part: self._told(self._exchange, hits, part),
            kept=self._kept,
            blocked=self._block,
            operation=self._exchange.operation,
            ask=self._asking(self._screen.output) if self._screen.output.is_asking else None,
        )
        return Reply(is_stream=True, primed=(), rest=stream, taps=reply.taps)


def blocked_by(hit: Hit, direction: Direction) -> BadRequest:
    what = "This request" if direction is Direction.INPUT else "The answer to this request"
    message = hit.policy.message or (
        f"{what} was stopped by the guardrail '{hit.use.name}' of the policy '{hit.policy.name}' "
        f"({hit.finding.label}). Change what it says, or ask an administrator."
    )
    return BadRequest(message, code="guardrail_blocked", details={"rule": hit.use.name, "label": hit.finding.label})


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


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
