"""A stream behind its guard: what is left of it when a rule says no is an end of the dialect's own, and the vendor stops."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Batch, Chunk, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.asking import AskAbout
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.hold_back import Blocked, HoldBack
from tollkeeper.gateway.placeholders import Placeholders
from tollkeeper.gateway.screen import Hit, Lane

# Fields of a chunk that say which answer it belongs to.
_HEAD: Final = ("id", "object", "created", "model", "system_fingerprint")


class GuardedStream:
    def __init__(
        self,
        primed: Batch,
        rest: AsyncIterator[Batch] | None,
        lane: Lane,
        placeholders: Placeholders,
        *,
        told: Callable[[Sequence[Hit], Part], None],
        kept: Callable[[list[Hit]], list[Hit]],
        blocked: Callable[[], None],
        operation: Operation,
        ask: AskAbout | None = None,
    ) -> None:
        self._held = HoldBack(primed, rest, lane, placeholders, told, kept, ask)
        self._blocked = blocked
        self._operation = operation
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._is_over:
            raise StopAsyncIteration
        try:
            batch = await anext(self._held)
        except Blocked as blocked:
            # Not closed here: `meter` sees to it that what is billed all the same is read to its end.
            self._is_over = True
            self._blocked()
            return (self._last(blocked),)
        if batch and batch[-1].is_final:
            self._is_over = True
        return batch

    async def aclose(self) -> None:
        await self._held.aclose()

    def _last(self, blocked: Blocked) -> Chunk:
        if self._operation in {Operation.CHAT, Operation.COMPLETIONS}:
            last = self._held.last_data
            head: dict[str, Any] = {name: last[name] for name in _HEAD if name in last}
            choices: list[dict[str, Any]] = [
                {"index": index, "delta": {}, "logprobs": None, "finish_reason": "content_filter"}
                if self._operation is Operation.CHAT
                else {"index": index, "text": "", "logprobs": None, "finish_reason": "content_filter"}
                for index in sorted(self._held.choices or {0})
            ]
            return Chunk({**head, "choices": choices}, is_content=True, is_final=True)
        error = BadRequest(
            f"The answer was stopped by the guardrail '{blocked.hit.use.name}' of the policy '{blocked.hit.policy.name}'.",
            code="guardrail_blocked",
        )
        return Chunk({}, is_hidden=True, is_final=True, error=error)


def blocked_choices(data: dict[str, Any]) -> dict[str, Any]:
    """A whole answer of which nothing may be said."""
    choices = []
    for choice in data.get("choices") or ():
        index = choice.get("index", 0) if isinstance(choice, dict) else 0
        kept: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": "content_filter"}
        if isinstance(choice, dict) and "message" in choice:
            kept["message"] = {"role": "assistant", "content": "", "refusal": None}
        else:
            kept["text"] = ""
        choices.append(kept)
    return {**{name: data[name] for name in (*_HEAD, "usage") if name in data}, "choices": choices}
