"""ConverseStream's events as batches of canonical chunks. Only `messageStop` ends an answer; `metadata` brings its count."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.batches import Batches
from tollkeeper.gateway.dialects.bedrock_converse.answer import (
    annotation_of,
    finish_reason,
    redacted_detail,
    text_detail,
    tier_of,
    usage_of,
)
from tollkeeper.gateway.dialects.bedrock_converse.event_stream import Frame, FrameReader
from tollkeeper.gateway.dialects.bedrock_converse.failures import exception_error
from tollkeeper.gateway.dialects.bedrock_converse.names import ANSWER_TOOL, answers_by_tool, own_names
from tollkeeper.gateway.openai_repair import new_id
from tollkeeper.gateway.openai_usage import write_usage


class ConverseStream(Batches):
    __slots__ = ("_chunks", "_frames")

    def __init__(self, reads: AsyncIterator[bytes], call: Call) -> None:
        super().__init__(reads)
        self._frames = FrameReader()
        self._chunks = _Chunks(call)

    def _feed(self, data: bytes, batch: list[Chunk]) -> None:
        for frame in self._frames.feed(data):
            batch += self._chunks.read(frame)
            if self._chunks.is_over:
                self._is_over = True
                return

    def _close(self, batch: list[Chunk]) -> None:
        """The end of the body without `metadata`: good when the message had ended."""
        if not self._frames.is_empty or not self._chunks.is_finished:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
        batch += self._chunks.end({})


class _Chunks:
    """One stream's state: each event's chunks for the caller."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._names = own_names(call.body)
        self._has_answer_tool = answers_by_tool(call.body)
        self._head = {
            "id": new_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": call.model,
        }
        self._has_role = False
        self._text_size = 0
        # Index of a block → our number of its call; None: the answer, given by a tool.
        self._calls: dict[int, int | None] = {}
        self._count = 0
        # Calls whose arguments have not begun: clients parse what they have at the end.
        self._empty: set[int] = set()
        self._thoughts: set[int] = set()
        self.is_finished = False
        self.is_over = False

    def read(self, frame: Frame) -> list[Chunk]:
        headers = frame.headers
        kind = headers.get(":message-type")
        if kind == "event":
            read = _EVENTS.get(headers.get(":event-type", ""))
            return [] if read is None else read(self, _object(frame.payload))
        if (error := exception_of(frame)) is not None:
            raise error
        return []

    def end(self, metadata: Mapping[str, Any]) -> list[Chunk]:
        """The closing chunks: usage, seen by the caller if it asked, and the mark of the end."""
        self.is_over = True
        final = Chunk(data={}, is_hidden=True, is_final=True)
        usage = usage_of(metadata)
        if usage is None:
            if metadata.get("usage"):
                final.data["usage"] = metadata["usage"]
            return [final]
        data = {**self._head, "choices": [], "usage": write_usage(usage)}
        if (tier := tier_of(metadata)) is not None:
            data["service_tier"] = tier
        return [Chunk(data, is_hidden=not self._call.wants_usage, usage=usage), final]

    def _start(self, event: Mapping[str, Any]) -> list[Chunk]:  # noqa: ARG002 - one of several
        if self._has_role:
            return []
        self._has_role = True
        return [Chunk(self._data({"role": "assistant", "content": ""}))]

    def _block_start(self, event: Mapping[str, Any]) -> list[Chunk]:
        start = event.get("start")
        use = start.get("toolUse") if isinstance(start, dict) else None
        if not isinstance(use, dict):
            return []
        index, name, call_id = _index(event), use.get("name"), use.get("toolUseId")
        if not isinstance(name, str) or not name:
            raise UpstreamError("The provider sent a tool call without a name.", code="upstream_garbage")
        if name == ANSWER_TOOL and self._has_answer_tool:
            self._calls[index] = None
            return []
        number = self._calls[index] = self._count
        self._count += 1
        self._empty.add(number)
        call = {
            "index": number,
            "id": call_id if isinstance(call_id, str) and call_id else new_id("call_"),
            "type": "function",
            "function": {"name": self._names.get(name, name), "arguments": ""},
        }
        return [*self._start({}), Chunk(self._data({"tool_calls": [call]}), is_content=True)]

    def _block_delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        delta = event.get("delta")
        if not isinstance(delta, dict):
            raise _no_event()
        if isinstance(text := delta.get("text"), str):
            return self._text(text)
        if isinstance(use := delta.get("toolUse"), dict):
            return self._arguments(_index(event), use.get("input"))
        if isinstance(thought := delta.get("reasoningContent"), dict):
            return self._thought(_index(event), thought)
        if (annotation := annotation_of(delta.get("citation"), 0, self._text_size)) is not None:
            return [Chunk(self._data({"annotations": [annotation]}))]
        return []

    def _text(self, text: str) -> list[Chunk]:
        if not text:
            return []
        self._text_size += len(text)
        chunk = Chunk(self._data({"content": text}), is_content=True, text_length=len(text))
        return [chunk] if self._has_role else [*self._start({}), chunk]

    def _arguments(self, index: int, text: object) -> list[Chunk]:
        if index not in self._calls:
            raise UpstreamError("The provider sent arguments of a call that has not begun.", code="upstream_garbage")
        if not isinstance(text, str) or not text:
            return []
        number = self._calls[index]
        if number is None:
            return self._text(text)
        self._empty.discard(number)
        fragment = {"index": number, "function": {"arguments": text}}
        return [Chunk(self._data({"tool_calls": [fragment]}), is_content=True, text_length=len(text))]

    def _thought(self, index: int, thought: Mapping[str, Any]) -> list[Chunk]:
        length = 0
        if isinstance(text := thought.get("text"), str):
            detail = text_detail(index, text, is_first=index not in self._thoughts)
            delta: dict[str, Any] = {"reasoning_content": text, "reasoning_details": [detail]}
            length = len(text)
        elif isinstance(signature := thought.get("signature"), str):
            detail = {"index": index, "type": "reasoning.text", "signature": signature}
            delta = {"reasoning_details": [detail if index in self._thoughts else {**text_detail(index, ""), **detail}]}
        elif isinstance(data := thought.get("redactedContent"), str):
            delta = {"reasoning_details": [redacted_detail(index, data)]}
        else:
            return []
        self._thoughts.add(index)
        return [*self._start({}), Chunk(self._data(delta), is_content=True, text_length=length)]

    def _block_stop(self, event: Mapping[str, Any]) -> list[Chunk]:
        number = self._calls.get(_index(event))
        if number is None or number not in self._empty:
            return []
        self._empty.discard(number)
        fragment = {"index": number, "function": {"arguments": "{}"}}
        return [Chunk(self._data({"tool_calls": [fragment]}), is_content=True, text_length=2)]

    def _stop(self, event: Mapping[str, Any]) -> list[Chunk]:
        reason = finish_reason(
            event.get("stopReason"), has_calls=self._count > 0, is_answered=None in self._calls.values()
        )
        self.is_finished = True
        return [*self._start({}), Chunk(self._data({}, reason), is_content=True)]

    def _metadata(self, event: Mapping[str, Any]) -> list[Chunk]:
        if not self.is_finished:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
        return self.end(event)

    def _data(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {
            **self._head,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        }


def exception_of(frame: Frame) -> UpstreamError | None:
    """The error that a frame is; None for events."""
    kind = frame.headers.get(":message-type")
    if kind == "exception":
        return exception_error(frame.headers.get(":exception-type", ""), frame.payload)
    return exception_error(frame.headers.get(":error-code", ""), frame.payload) if kind == "error" else None


_Read = Callable[[_Chunks, Mapping[str, Any]], list[Chunk]]
# Of a kind that nobody knew when this was written nothing is made: it may come any day.
_EVENTS: Final[Mapping[str, _Read]] = {
    "messageStart": _Chunks._start,  # noqa: SLF001 - the table of its own methods
    "contentBlockStart": _Chunks._block_start,  # noqa: SLF001 - as above
    "contentBlockDelta": _Chunks._block_delta,  # noqa: SLF001 - as above
    "contentBlockStop": _Chunks._block_stop,  # noqa: SLF001 - as above
    "messageStop": _Chunks._stop,  # noqa: SLF001 - as above
    "metadata": _Chunks._metadata,  # noqa: SLF001 - as above
}


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
    if not isinstance(value, dict):
        raise _no_event()
    return value


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("contentBlockIndex")
    if type(index) is not int:
        raise _no_event()
    return index


def _no_event() -> UpstreamError:
    return UpstreamError("The provider sent an event that is none.", code="upstream_garbage")
