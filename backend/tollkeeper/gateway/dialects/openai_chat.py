"""OpenAI's `chat.completions`: the canonical form of a chat call, so reading it is mostly checking it."""

import time
from collections.abc import AsyncIterator, Mapping
from operator import is_
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.openai_chunks import ChatChunks
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_fields import missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_repair import (
    FINISH_REASONS,
    is_translated,
    new_id,
    raise_error,
    repair_arguments,
    repair_finish_reason,
    with_canonical_reasoning,
)
from tollkeeper.gateway.openai_stream import read_events
from tollkeeper.gateway.openai_usage import read_usage

# A tuple: a union written with | would be built anew at every check.
_CONTENT: Final = (str, list, type(None))


class OpenAIChat(OpenAIEdge):
    NAME: ClassVar[str] = "openai_chat"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        data = read_object(body, self._max_json_depth)
        call = read_common(data, Operation.CHAT)
        messages = data.get("messages")
        if messages is None:
            raise missing("messages")
        if not isinstance(messages, list):
            raise wrong_type("messages", "an array of objects", messages)
        if not messages:
            raise missing("messages")
        for position, message in enumerate(messages):
            if (
                not isinstance(message, dict)
                or not isinstance(message.get("role"), str)
                or not isinstance(message.get("content"), _CONTENT)
            ):
                _refuse_message(message, position)
        tools = data.get("tools")
        if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
            raise wrong_type("tools", "an array of objects", tools)
        call.raw = body
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        data = _read_document(body)
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            raise UpstreamError("The provider's answer has no choices.", code="upstream_garbage")
        repaired = [_repair_choice(choice, position) for position, choice in enumerate(choices)]
        if is_translated(call.dialect):
            repaired = [{**choice, "message": with_canonical_reasoning(choice["message"])} for choice in repaired]
        raw: bytes | None = body
        if not all(map(is_, repaired, choices)):
            data, raw = {**data, "choices": repaired}, None
        if "error" in data:
            data, raw = {name: value for name, value in data.items() if name != "error"}, None
        if (
            not data.get("id")
            or data.get("object") != "chat.completion"
            or not data.get("created")
            or not data.get("model")
        ):
            data = {
                **data,
                "id": data.get("id") or new_id("chatcmpl-"),
                "object": "chat.completion",
                "created": data.get("created") or int(time.time()),
                "model": data.get("model") or call.model,
            }
            raw = None
        usage = read_usage(data.get("usage"))
        return Chunk(
            data,
            raw,
            is_content=True,
            is_final=True,
            usage=usage,
            # Only an estimate asks for it.
            text_length=0 if usage is not None else sum(_text_length(choice["message"]) for choice in repaired),
        )

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return read_events(reads, ChatChunks(call), lambda body: _as_chunk(self.read_whole(body, call)))

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)


def _as_chunk(whole: Chunk) -> Chunk:
    """A whole answer as the one chunk of a stream."""
    data = {name: value for name, value in whole.data.items() if name != "usage"}
    data["object"] = "chat.completion.chunk"
    data["choices"] = [
        {**{name: value for name, value in choice.items() if name != "message"}, "delta": _as_delta(choice["message"])}
        for choice in data["choices"]
    ]
    return Chunk(data, is_content=True, usage=whole.usage, text_length=whole.text_length)


def _as_delta(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}


def _refuse_message(message: object, position: int) -> None:
    name = f"messages[{position}]"
    if not isinstance(message, dict):
        raise wrong_type(name, "an object", message)
    if "role" not in message:
        raise missing(f"{name}.role")
    if not isinstance(message["role"], str):
        raise wrong_type(f"{name}.role", "a string", message["role"])
    raise wrong_type(f"{name}.content", "a string or an array of objects", message.get("content"))


def _read_document(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
    if not isinstance(data, dict):
        raise UpstreamError("The provider's answer is no completion.", code="upstream_garbage")
    raise_error(data)
    return data


def _repair_choice(choice: Any, position: int) -> dict[str, Any]:
    """The choice itself when it is right already."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise UpstreamError("The provider's answer is no completion.", code="upstream_garbage")
    fixed = message
    if message.get("role") != "assistant":
        fixed = {**fixed, "role": "assistant"}
    if "content" not in message:
        fixed = {**fixed, "content": None}
    if "tool_calls" in message:
        calls = message["tool_calls"]
        if not calls:
            fixed = {name: value for name, value in fixed.items() if name != "tool_calls"}
        else:
            repaired = [_repair_call(call) for call in calls]
            if repaired != calls:
                fixed = {**fixed, "tool_calls": repaired}
    reason = choice.get("finish_reason")
    if fixed is message and reason in FINISH_REASONS and type(choice.get("index")) is int:
        return choice  # type: ignore[no-any-return]
    index = choice.get("index")
    return {
        **choice,
        "index": index if type(index) is int else position,
        "message": fixed,
        "finish_reason": repair_finish_reason(reason) or "stop",
    }


def _repair_call(call: Any) -> Any:
    if not isinstance(call, dict):
        raise UpstreamError("The provider sent a tool call that is no object.", code="upstream_garbage")
    if call.get("type") == "custom":
        return call
    inner = call.get("function")
    inner = inner if isinstance(inner, dict) else {}
    arguments = repair_arguments(inner.get("arguments"), empty="{}")
    wanted = {**call, "id": call.get("id") or new_id("call_"), "type": "function"}
    wanted["function"] = {**inner, "arguments": arguments}
    wanted.pop("index", None)
    return wanted


def _text_length(message: dict[str, Any]) -> int:
    texts = (message.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal"))
    length = sum(len(text) for text in texts if isinstance(text, str))
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        length += len(inner.get("arguments") or inner.get("input") or "")
    return length
