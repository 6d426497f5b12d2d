"""A canonical stream → Anthropic's events; or the vendor's own, where it speaks this dialect and nobody changed them."""

from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk, Usage
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway import sse
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.anthropic_messages.write_blocks import Blocks, Kind, event
from tollkeeper.gateway.dialects.anthropic_messages.write_errors import write_error_body
from tollkeeper.gateway.dialects.anthropic_messages.write_parts import (
    found_stop,
    full_names,
    message_id,
    stop_reason,
    usage_of,
)

# A line cannot begin so inside the JSON of another event.
_BLOCK_STARTS: Final = b"event: content_block_start\n"
_BLOCK_STOPS: Final = b"event: content_block_stop\n"
_END_BEGINS: Final = b"event: message_delta\n"
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_KINDS: Final = {"text": Kind.TEXT, "thinking": Kind.THINKING, "tool_use": Kind.TOOL}
_FIELDS_BESIDE: Final = ("reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls", "annotations")


class MessageWriter(Writer):
    """One stream. Usage comes last, so `end` writes the end."""

    __slots__ = (
        "_blocks",
        "_call",
        "_calls",
        "_finish",
        "_is_begun",
        "_is_open",
        "_is_refused",
        "_is_told",
        "_last",
        "_native_start",
        "_service_tier",
        "_stop",
        "_text_length",
        "_usage",
    )

    def __init__(self, call: Call) -> None:
        self._call = call
        self._blocks = Blocks(full_names(call))
        self._is_begun = False
        self._finish: object = None
        self._stop: str | None = None
        self._is_refused = False
        self._usage: Usage | None = None
        self._text_length = 0
        self._service_tier: object = None
        # Of relayed events: the start of the latest block, whether it is open, how many were calls of tools, whether the
        # reason of the end was told, and the end.
        self._native_start = b""
        self._is_open = False
        self._calls = 0
        self._is_told = False
        self._last: bytes | None = None

    def batch(self, batch: Batch) -> bytes:
        out: list[bytes] = []
        for chunk in batch:
            native = chunk.native
            if native is not None:
                self._relay(native, out)
                if chunk.is_final:
                    # What we add goes before it.
                    self._last = out.pop() if native else b""
            elif chunk.error is None:
                self._translate(chunk, out)
        return b"".join(out)

    def end(self, comment: str | None) -> bytes:
        out = [] if comment is None else [sse.comment(comment)]
        if self._last is not None:
            out.append(self._last)
            return b"".join(out)
        if not self._is_begun:
            self._begin({}, out)
        if not self._is_told:
            self._finish_message(out)
        out.append(_STOP)
        return b"".join(out)

    def error(self, error: TollkeeperError, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % write_error_body(error, request_id)

    def _finish_message(self, out: list[bytes]) -> None:
        if self._native_start:
            self._adopt()
        self._blocks.finish(out)
        reason = stop_reason(
            self._finish,
            has_tools=self._blocks.has_tools,
            is_refused=self._is_refused,
            is_cut=self._finish == "length" and self._blocks.is_cut,
        )
        delta = {
            "stop_reason": "stop_sequence" if self._stop is not None and reason == "end_turn" else reason,
            "stop_sequence": self._stop,
            "stop_details": {"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None,
        }
        usage = usage_of(self._usage, self._call, self._text_length, self._service_tier)
        out.append(event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}))

    def _relay(self, native: bytes, out: list[bytes]) -> None:
        out.append(native)
        self._is_begun = True
        at = native.rfind(_BLOCK_STARTS)
        if at >= 0:
            self._native_start = native[at + len(_BLOCK_STARTS) :]
            self._is_open = native.rfind(_BLOCK_STOPS) < at
            self._calls += native.count(b'"type":"tool_use"')
        elif self._is_open and _BLOCK_STOPS in native:
            self._is_open = False
        if not self._is_open and _END_BEGINS in native:
            self._is_told = True

    def _translate(self, chunk: Chunk, out: list[bytes]) -> None:
        if self._native_start:
            self._adopt()
        self._text_length += chunk.text_length
        if chunk.usage is not None:
            self._usage = chunk.usage
        data = chunk.data
        choices = data.get("choices")
        if chunk.is_hidden or not choices:
            return
        choice = choices[0]
        if not self._is_begun:
            self._begin(data, out)
        delta = choice.get("delta") or {}
        if any(name in delta for name in _FIELDS_BESIDE):
            self._beside(delta, out)
        else:
            text = delta.get("content")
            if text and isinstance(text, str):
                self._blocks.say(text, out)
        finish = choice.get("finish_reason")
        if finish is not None:
            self._finish = finish
            self._stop = found_stop(choice, self._call)
        if data.get("service_tier") is not None:
            self._service_tier = data["service_tier"]

    def _beside(self, delta: dict[str, Any], out: list[bytes]) -> None:
        """All that a delta can hold, in the order in which a turn has it."""
        blocks = self._blocks
        details = [detail for detail in delta.get("reasoning_details") or () if isinstance(detail, dict)]
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str) and not any(d.get("text") or d.get("summary") for d in details):
            blocks.think(thought, out)
        for detail in details:
            blocks.detail(detail, out)
        for name in ("content", "refusal"):
            text = delta.get(name)
            if text and isinstance(text, str):
                blocks.say(text, out)
                self._is_refused = self._is_refused or name == "refusal"
        if delta.get("annotations"):
            blocks.cite(delta["annotations"], out)
        for fragment in delta.get("tool_calls") or ():
            blocks.call(fragment, out)

    def _begin(self, data: dict[str, Any], out: list[bytes]) -> None:
        self._is_begun = True
        usage = usage_of(self._usage, self._call, 0, data.get("service_tier"))
        # Clients take it for the size of the conversation until the end says better.
        usage["input_tokens"] = max(usage["input_tokens"], 1)
        usage["output_tokens"] = 1
        message: dict[str, Any] = {
            "id": message_id(data),
            "type": "message",
            "role": "assistant",
            "model": data.get("model") or self._call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        out.append(event("message_start", {"type": "message_start", "message": message}))

    def _adopt(self) -> None:
        """Somebody changed what was relayed so far: write the rest from the canonical form."""
        start = orjson.loads(self._native_start.partition(b"data: ")[2].partition(b"\n")[0])
        kind = _KINDS.get(start["content_block"].get("type"), Kind.OTHER) if self._is_open else Kind.NONE
        self._blocks.adopt(start["index"], kind, self._calls)
        self._native_start = b""
