"""Looks at what is passed on, in no dialect: addresses, bodies and answers."""

from collections.abc import Iterable
from typing import Final

from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.looking import Looking, blocked_by
from tollkeeper.gateway.passed import Passed
from tollkeeper.gateway.passed_texts import is_text, read_events, read_passed

# More of an answer is not held in memory to be looked at.
_MOST_HELD_BYTES: Final = 32 * 1024 * 1024


class PassedWatch:
    """Of one request; what goes out reversibly comes back in its answer."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking

    async def look_at_words(self, words: Iterable[str]) -> None:
        """Of an address or a name, which cannot be written anew: refused where something would have to be taken out."""
        lane = self._looking.screen.input
        looked = [(part, self._looking.kept(lane.look(part))) for part in map(Part, words)]
        answers = await self._looking.asking(lane)(looked) if lane.is_asking and looked else [[] for _ in looked]
        for (part, hits), found in zip(looked, answers, strict=True):
            together = [*hits, *self._looking.kept(found)]
            self._looking.tell(together, part)
            if (changing := next((hit for hit in together if hit.is_changing), None)) is not None:
                self._looking.block()
                raise blocked_by(changing, Direction.INPUT)

    async def look_at_bytes(self, body: bytes) -> bytes:
        """What may leave of them."""
        if self._looking.screen.input.is_empty or not body:
            return body
        texts = read_passed(body)
        changed = await self._looking.look_at(texts.document, Direction.INPUT, self._looking.screen.input, {})
        return body if changed is None else texts.write(changed)

    async def look_at_passed(self, passed: Passed) -> Passed:
        """Held to its end, as nobody knows its dialect; what is no text goes by."""
        if (self._looking.screen.output.is_empty and not self._looking.placeholders) or not is_text(
            passed.headers.get("content-type", "")
        ):
            return passed
        content = await passed.read(_MOST_HELD_BYTES)
        texts = read_passed(content, may_be_events=True)
        changed = await self._looking.look_at(
            texts.document, Direction.OUTPUT, self._looking.screen.output, {}, read_events
        )
        return passed.with_content(content) if changed is None else passed.with_content(texts.write(changed))
