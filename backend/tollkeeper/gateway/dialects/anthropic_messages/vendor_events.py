"""The events of one answer of Anthropic's → canonical chunks, one after the other.

A block is a piece of text, of thinking, of a call; its events name it by its number. Arguments of calls come as pieces of
JSON that are relayed as they are. To a caller of the same dialect each event goes on in its own bytes.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.anthropic_messages.vendor_answer import (
    annotation_of,
    explain,
    finish_of,
    garbage,
    id_of,
    model_of,
    usage_fields,
)
from tollkeeper.gateway.dialects.anthropic_messages.vendor_arguments import write_arguments
from tollkeeper.gateway.dialects.anthropic_messages.vendor_failures import raise_error
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import ANSWER_TOOL, own_names
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import answers_by_tool, is_native
from tollkeeper.gateway.dialects.anthropic_messages.vendor_runs import Runs
from tollkeeper.gateway.dialects.anthropic_messages.vendor_thoughts import FORMAT
from tollkeeper.gateway.openai_repair import new_id
from tollkeeper.gateway.vendor_usage import latest_anthropic_usage, read_anthropic_usage

_DELTA: Final = b"event: content_block_delta\ndata: "
_BETWEEN: Final = b"\n\n" + _DELTA


class _ToolCall:
    """A block that calls a tool. `index`: among the calls of the answer; None: it is the answer itself."""

    __slots__ = ("has_arguments", "index", "input")

    def __init__(self, index: int | None, given: object) -> None:
        self.index = index
        # Some servers give all of it at the beginning.
        self.input = given
        self.has_arguments = False


class MessageEvents:
    """One stream's state."""

    __slots__ = (
        "_by_tool",
        "_call",
        "_calls",
        "_has_role",
        "_head",
        "_is_counted",
        "_is_native",
        "_length",
        "_names",
        "_runs",
        "_tools",
        "_usage",
        "has_begun",
        "is_finished",
        "is_over",
    )

    def __init__(self, call: Call) -> None:
        self._call = call
        self._is_native = is_native(call)
        self._names = own_names(call.body)
        self._by_tool = answers_by_tool(call.body)
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._is_counted = False
        self._has_role = False
        # Open blocks that call tools, by their numbers; how many calls there were.
        self._tools: dict[int, _ToolCall] = {}
        self._calls = 0
        self._runs = Runs()
        # Characters of text so far: where citations point.
        self._length = 0
        self.has_begun = False
        # The answer said why it ended; then, that it did.
        self.is_finished = False
        self.is_over = False

    def read(self, raw: bytes) -> list[Chunk]:
        """The chunks of one event. Raises `UpstreamError` for errors and for what is no event of Anthropic's."""
        try:
            event = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            if isinstance(event, dict):
                raise_error(event)
            raise garbage("an event without a type")
        chunk = self._delta(event, raw) if kind == "content_block_delta" else self._other(kind, event)
        if not self._is_native:
            return [] if chunk is None else [chunk]
        if chunk is None:
            chunk = Chunk({})
        chunk.native = _frame(kind, raw, event)
        return [chunk]

    def read_run(self, events: Sequence[bytes], at: int) -> tuple[Chunk, int] | None:
        """One chunk for as many events from `at` on as can be read together, and their number; None: use `read`."""
        found = self._runs.read(events, at)
        if found is None:
            return None
        text, count = found
        chunk = self._piece(self._runs.kind, self._runs.index, text) or Chunk({}, is_hidden=not self._is_native)
        if self._is_native:
            run = events[at] if count == 1 else _BETWEEN.join(events[at : at + count])
            chunk.native = b"%b%b\n\n" % (_DELTA, run)
        return chunk, count

    def end(self) -> list[Chunk]:
        """Usage, seen by the caller if it asked, and the mark of the end."""
        # What was said at the beginning alone is no count of the answer.
        told = self._usage if self._is_counted else {}
        usage = read_anthropic_usage(told)
        fields = usage_fields(usage, told)
        native = b"" if self._is_native else None
        chunks = []
        if usage is not None:
            data = {**self._head, "choices": [], **fields}
            is_hidden = not (self._call.wants_usage or self._is_native)
            chunks.append(Chunk(data, is_hidden=is_hidden, usage=usage, native=native))
        final = {} if usage is not None or not told else {"usage": told}
        chunks.append(Chunk(final, is_hidden=not self._is_native, is_final=True, native=native))
        return chunks

    def _other(self, kind: str, event: Mapping[str, Any]) -> Chunk | None:
        if kind == "content_block_start":
            return self._start(event)
        if kind == "content_block_stop":
            return self._stop(event)
        if kind == "message_start":
            return self._begin(event)
        if kind == "message_delta":
            return self._finish(event)
        if kind == "error":
            raise_error(event)
        if kind == "message_stop":
            if not self.is_finished:
                raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
            self.is_over = True
        # `ping`, and what was added since.
        return None

    def _begin(self, event: Mapping[str, Any]) -> Chunk | None:
        message = event.get("message")
        if not isinstance(message, dict):
            raise garbage("no message")
        raise_error(message)
        self.has_begun = True
        self._head = {
            "id": id_of(message),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model_of(message, self._call),
        }
        usage = message.get("usage")
        self._usage = usage if isinstance(usage, dict) else {}
        # Its output is what was made by then: a token or none.
        begun = read_anthropic_usage({**self._usage, "output_tokens": 0, "output_tokens_details": None})
        return None if begun is None else Chunk({}, is_hidden=not self._is_native, input_usage=begun)

    def _start(self, event: Mapping[str, Any]) -> Chunk | None:
        block, index = event.get("content_block"), event.get("index")
        if not isinstance(block, dict) or not isinstance(index, int):
            raise garbage("content that is no block")
        kind = block.get("type")
        if kind == "tool_use":
            return self._start_tool(block, index)
        if kind == "text":
            text = block.get("text")
            return self._write(text) if isinstance(text, str) and text else self._open()
        if kind == "thinking":
            detail: dict[str, Any] = {"type": "reasoning.text", "format": FORMAT, "index": index}
            if block.get("signature"):
                detail["signature"] = block["signature"]
            thought = block.get("thinking")
            return self._think(detail, thought if isinstance(thought, str) else "")
        if kind == "redacted_thinking":
            detail = {"type": "reasoning.encrypted", "data": block.get("data"), "format": FORMAT, "index": index}
            return self._chunk({"reasoning_details": [detail]}, is_content=True)
        return None

    def _start_tool(self, block: Mapping[str, Any], index: int) -> Chunk | None:
        name = block.get("name")
        if not isinstance(name, str) or not name:
            raise garbage("a tool call without a name")
        if self._by_tool and name == ANSWER_TOOL:
            self._tools[index] = _ToolCall(None, block.get("input"))
            return self._open()
        tool = self._tools[index] = _ToolCall(self._calls, block.get("input"))
        self._calls += 1
        call_id = block.get("id")
        call = {
            "index": tool.index,
            "id": call_id if isinstance(call_id, str) and call_id else new_id("toolu_"),
            "type": "function",
            "function": {"name": self._names.get(name, name), "arguments": ""},
        }
        return self._chunk({"tool_calls": [call]}, len(name), is_content=True)

    def _delta(self, event: Mapping[str, Any], raw: bytes) -> Chunk | None:
        delta, index = event.get("delta"), event.get("index")
        if not isinstance(delta, dict) or not isinstance(index, int):
            raise garbage("a change that is none")
        kind = delta.get("type")
        self._runs.learn(raw, kind, index, delta)
        if kind == "text_delta":
            return self._piece("text_delta", index, delta.get("text"))
        if kind == "input_json_delta":
            return self._piece("input_json_delta", index, delta.get("partial_json"))
        if kind == "thinking_delta":
            return self._piece("thinking_delta", index, delta.get("thinking"))
        return self._beside(kind, index, delta)

    def _piece(self, kind: str, index: int, text: object) -> Chunk | None:
        """More of a block."""
        if not isinstance(text, str):
            return None
        if kind == "text_delta":
            return self._write(text)
        if kind == "thinking_delta":
            return self._think({"type": "reasoning.text", "index": index}, text)
        tool = self._tools.get(index)
        return self._argue(tool, text) if tool is not None and text else None

    def _beside(self, kind: object, index: int, delta: Mapping[str, Any]) -> Chunk | None:
        """What is neither text nor a call."""
        if kind == "signature_delta":
            detail = {"type": "reasoning.text", "index": index, "signature": delta.get("signature")}
            return self._chunk({"reasoning_details": [detail]})
        if kind == "citations_delta":
            annotation = annotation_of(delta.get("citation"), self._length, 0)
            return None if annotation is None else self._chunk({"annotations": [annotation]})
        return None

    def _stop(self, event: Mapping[str, Any]) -> Chunk | None:
        """A call whose arguments never came has none, or had them at its beginning."""
        index = event.get("index")
        tool = self._tools.pop(index, None) if isinstance(index, int) else None
        return None if tool is None or tool.has_arguments else self._argue(tool, write_arguments(tool.input))

    def _finish(self, event: Mapping[str, Any]) -> Chunk | None:
        usage, delta = event.get("usage"), event.get("delta")
        if isinstance(usage, dict):
            self._usage = latest_anthropic_usage(self._usage, usage)
            self._is_counted = True
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if reason is None or not isinstance(delta, dict):
            return None
        self.is_finished = True
        said: dict[str, Any] = {}
        explain(delta.get("stop_details"), said)
        chunk = self._chunk(said, is_content=True)
        chunk.data["choices"][0] |= finish_of(reason, has_calls=self._calls > 0, by_tool=self._by_tool)
        return chunk

    def _write(self, text: str) -> Chunk:
        self._length += len(text)
        return self._chunk({"content": text}, len(text), is_content=bool(text))

    def _argue(self, tool: _ToolCall, piece: str) -> Chunk:
        tool.has_arguments = True
        if tool.index is None:
            return self._write(piece)
        call = {"index": tool.index, "function": {"arguments": piece}}
        return self._chunk({"tool_calls": [call]}, len(piece), is_content=True)

    def _think(self, detail: dict[str, Any], thought: str) -> Chunk:
        delta: dict[str, Any] = {"reasoning_details": [{**detail, "text": thought}]}
        if thought:
            delta["reasoning_content"] = thought
        return self._chunk(delta, len(thought), is_content=bool(thought))

    def _open(self) -> Chunk | None:
        return None if self._has_role else self._chunk({"content": ""})

    def _chunk(self, delta: dict[str, Any], length: int = 0, *, is_content: bool = False) -> Chunk:
        if not self._has_role:
            if not self.has_begun:
                raise garbage("content before its beginning")
            self._has_role = True
            # Of a turn that begins with a call there is no text.
            delta = {"role": "assistant", "content": None if "tool_calls" in delta else "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        data = {**self._head, "choices": [choice]}
        if self._call.wants_usage:
            data["usage"] = None
        return Chunk(data, is_content=is_content, text_length=length)


def _frame(kind: str, raw: bytes, event: Mapping[str, Any]) -> bytes:
    """With its name, without which Anthropic's clients skip it."""
    if not kind.isidentifier():
        raise garbage("an event without a type")
    if b"\n" in raw:
        raw = orjson.dumps(event)
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), raw)
