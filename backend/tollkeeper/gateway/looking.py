"""One call under the rules that hold for it: looks at documents of it, tells what was found, and writes them anew."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Direction, GuardrailPolicy
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.asking import Asking
from tollkeeper.gateway.guardrail import Outside, Part
from tollkeeper.gateway.outside import WaysOut
from tollkeeper.gateway.placeholders import Placeholders, slice_of
from tollkeeper.gateway.screen import Hit, Lane, Screen
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.texts import Nested, Text, flat, read_texts

Read = Callable[[Any, Direction, Operation], Iterable[Text | Nested]]
# Told of everything found: the call, the finds, and the text they are in (for policies that keep it).
Told = Callable[[Exchange, Sequence[Hit], Part], None]


class Looking:
    def __init__(self, exchange: Exchange, screen: Screen, told: Told, ways: WaysOut, share: float) -> None:
        self._ways = ways
        self._exchange = exchange
        self.screen = screen
        self._told = told
        self._share_millionths = int(share * 1_000_000)
        self.placeholders = Placeholders()
        key_id = exchange.principal.key_id
        self._exempt = [one for one in screen.exemptions if one.key_id == key_id and one.expires_at > time.time()]

    async def look_at(
        self, document: Any, direction: Direction, lane: Lane, known: dict[Any, list[Hit]], read: Read = read_texts
    ) -> dict[str, Any] | None:
        """A copy with what was taken out; None where nothing was. Raises where nothing may pass."""
        operation = self._exchange.operation
        texts = list(flat(read(document, direction, operation)))
        if direction is Direction.INPUT:
            self.placeholders.avoid(text.part.text for text in texts)
        fresh: dict[Any, Text] = {}
        for text in texts:
            if text.sign in known:
                continue
            lengths = [length for _, _, length in text.pieces]
            known[text.sign] = self.kept(await lane.look_at_pieces(text.part, lengths))
            self.tell(known[text.sign], text.part)
            fresh[text.sign] = text
        if lane.is_asking and fresh:
            # Last, and about what is left: the rules here are quick, and keep what they take out from those outside.
            looked = [(text.part, known[sign]) for sign, text in fresh.items()]
            for (sign, text), found in zip(fresh.items(), await self.asking(lane)(looked), strict=True):
                if hits := self.kept(found):
                    self.tell(hits, text.part)
                    known[sign] = sorted([*known[sign], *hits], key=lambda hit: hit.finding.start)
        is_changed = any(hit.is_changing for text in texts for hit in known[text.sign])
        if not is_changed and (direction is Direction.INPUT or not self.placeholders):
            return None
        copied: dict[str, Any] = _copy(document)
        for one in read(copied, direction, operation):
            is_changed = self._write_all(one, known) or is_changed
        return copied if is_changed else None

    def told(self, hits: Sequence[Hit], part: Part) -> None:
        self._told(self._exchange, hits, part)

    def tell(self, hits: list[Hit], part: Part) -> None:
        """Raises where one of them lets nothing pass."""
        if not hits:
            return
        self.told(hits, part)
        if (blocking := next((hit for hit in hits if hit.is_blocking), None)) is not None:
            self.block()
            raise blocked_by(blocking, part.direction)

    def asking(self, lane: Lane) -> Asking:
        def outside(policy: GuardrailPolicy) -> Outside:
            return self._ways.of(self._exchange, policy)

        return Asking(lane, self.placeholders, outside, lambda failure: bool(self.kept([failure])))

    def _write_all(self, one: Text | Nested, known: dict[Any, list[Hit]]) -> bool:
        if isinstance(one, Text):
            return self._write(one, known.get(one.sign, []))
        written = [self._write_all(inner, known) for inner in one.texts]
        if any(written):
            one.close()
        return any(written)

    def _write(self, text: Text, hits: Sequence[Hit]) -> bool:
        value = text.part.text
        edits = self.placeholders.edits(value, hits)
        is_output = text.part.direction is Direction.OUTPUT
        if not edits and not (is_output and self.placeholders.restore(value) != value):
            return False

        def text_of(start: int, end: int) -> str:
            piece = slice_of(value, edits, start, end)
            return self.placeholders.restore(piece) if is_output else piece

        text.write(text_of)
        return True

    def block(self) -> None:
        self._exchange.is_blocked = True

    def kept(self, hits: list[Hit]) -> list[Hit]:
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
