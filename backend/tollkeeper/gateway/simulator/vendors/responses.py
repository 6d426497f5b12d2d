"""OpenAI's Responses API: whole answers, every event of a stream, and errors ("Responses" and "Streaming events" pages).

Keeps nothing: an id of an earlier response is unknown, and reasoning comes back by its encrypted content alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.chat import Choice
from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal, invalid
from tollkeeper.gateway.simulator.script import Script
from tollkeeper.gateway.simulator.vendors.question import Json, Told, raw_digest, sign, tell
from tollkeeper.gateway.simulator.vendors.responses_request import ENCRYPTED, read_question

_ENDS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _event(data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


_FAILURE: Final[Json] = {
    "type": "error", "code": "server_error", "message": "The server had an error. (simulated)", "param": None,
    "sequence_number": 0,
}  # fmt: skip
_FRAMES: Final = Frames(
    "text/event-stream; charset=utf-8",
    half=b'event: response.output_text.delta\ndata: {"type":"response.output_',
    garbage=b"event: response.output_text.delta\ndata: {not json}\n\n",
    error=_event(_FAILURE),
)


class ResponsesWire(Wire):
    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def model(self, request: Mapping[str, Any]) -> str:
        model = request.get("model")
        if not isinstance(model, str):
            raise invalid("model", "a string")
        return model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return raw_digest(request, "responses")

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:  # noqa: ARG002 - the interface
        told = tell(read_question(request), model, family, wish)
        is_encrypted = ENCRYPTED in (request.get("include") or ())
        written = _Response(request, told, int(self._now()), is_encrypted=is_encrypted)
        if request.get("stream") is True:
            *events, (last, _) = _numbered(written.events())
            return stream(iter(events), last, _FRAMES, wish, told.script())
        return whole(orjson.dumps(written.document()), wish, told.script())

    def refused(self, refusal: Refusal) -> Refused:
        return Refused(refusal.status, {"content-type": JSON, **refusal.headers}, refusal.body())


def _numbered(events: Iterator[tuple[Json, int]]) -> Iterator[Event]:
    for number, (event, tokens) in enumerate(events):
        yield _event({**event, "sequence_number": number}), tokens


class _Response:
    """One answer, and both ways to tell it."""

    def __init__(self, request: Mapping[str, Any], told: Told, created: int, *, is_encrypted: bool) -> None:
        self._request = request
        self._told = told
        self._created = created
        [self._choice] = told.choices
        self._items = list(_items(self._choice, told.id, is_encrypted=is_encrypted))

    def document(self) -> Json:
        reason = _ENDS.get(self._choice.finish_reason)
        return {
            **self._head("completed" if reason is None else "incomplete"),
            "incomplete_details": None if reason is None else {"reason": reason},
            "completed_at": self._created,
            "output": [item for item, _ in self._items],
            "usage": self._usage() if self._told.has_usage else None,
        }

    def events(self) -> Iterator[tuple[Json, int]]:
        began = self._head("in_progress")
        yield {"type": "response.created", "response": began}, 0
        yield {"type": "response.in_progress", "response": began}, 0
        for index, (item, tokens) in enumerate(self._items):
            empty = {name: [] if isinstance(value, list) else "" for name, value in item.items() if name in _GROWING}
            added = {**item, "status": "in_progress", **empty}
            added.pop("encrypted_content", None)
            # The name of a tool is a token of its own.
            is_call = item["type"].endswith("_call")
            yield {"type": "response.output_item.added", "output_index": index, "item": added}, int(is_call)
            yield from _ITEM_EVENTS[item["type"]](item, index, tokens)
            yield {"type": "response.output_item.done", "output_index": index, "item": item}, 0
        last = self.document()
        yield {"type": f"response.{last['status']}", "response": last}, 0

    def _head(self, status: str) -> Json:
        request = self._request
        return {
            "id": f"resp_{self._told.id}",
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.get("instructions"),
            "max_output_tokens": request.get("max_output_tokens"),
            "max_tool_calls": None,
            "model": self._told.model,
            "output": [],
            "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
            "previous_response_id": None,
            "prompt_cache_key": request.get("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None, **(request.get("reasoning") or {})},
            "safety_identifier": request.get("safety_identifier"),
            "service_tier": "default",
            "store": request.get("store") is not False,
            "temperature": request.get("temperature", 1.0),
            "text": {"format": {"type": "text"}, **(request.get("text") or {})},
            "tool_choice": request.get("tool_choice", "auto"),
            "tools": request.get("tools") or [],
            "top_logprobs": request.get("top_logprobs") or 0,
            "top_p": request.get("top_p", 1.0),
            "truncation": request.get("truncation") or "disabled",
            "usage": None,
            "user": request.get("user"),
            "metadata": request.get("metadata") or {},
        }

    def _usage(self) -> Json:
        told = self._told
        return {
            "input_tokens": told.prompt_tokens,
            "input_tokens_details": {"cached_tokens": told.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": told.tokens,
            "output_tokens_details": {"reasoning_tokens": told.reasoning_tokens},
            "total_tokens": told.prompt_tokens + told.tokens,
        }


# What of an item is empty when it begins.
_GROWING: Final = frozenset({"content", "summary", "arguments", "input"})


def _items(choice: Choice, name: str, *, is_encrypted: bool) -> Iterator[tuple[Json, tuple[str, ...]]]:
    """The items of an answer, each with its tokens."""
    if choice.reasoning:
        thought = "".join(choice.reasoning)
        item: Json = {"type": "reasoning", "id": f"rs_{name}", "summary": [{"type": "summary_text", "text": thought}]}
        yield {**item, "encrypted_content": sign(thought)} if is_encrypted else item, choice.reasoning
    message: Json = {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": "completed"}
    if choice.refusal:
        part: Json = {"type": "refusal", "refusal": "".join(choice.refusal)}
        yield {**message, "content": [part]}, choice.refusal
    elif choice.content or not choice.calls:
        part = {"type": "output_text", "text": "".join(choice.content), "annotations": [], "logprobs": []}
        yield {**message, "content": [part]}, choice.content
    for position, call in enumerate(choice.calls):
        written = "".join(call.arguments)
        shape: Json = (
            {"type": "custom_tool_call", "input": written}
            if call.is_custom
            else {"type": "function_call", "arguments": written}
        )
        prefix = "ctc" if call.is_custom else "fc"
        item = {
            **shape,
            "id": f"{prefix}_{name}_{position}",
            "call_id": call.id,
            "name": call.name,
            "status": "completed",
        }
        yield item, call.arguments


def _message_events(item: Json, index: int, tokens: tuple[str, ...]) -> Iterator[tuple[Json, int]]:
    place: Json = {"item_id": item["id"], "output_index": index, "content_index": 0}
    [part] = item["content"]
    field = "text" if part["type"] == "output_text" else "refusal"
    kind = f"response.{'output_text' if field == 'text' else 'refusal'}"
    beside: Json = {"logprobs": []} if field == "text" else {}
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}, 0
    for token in tokens:
        yield {"type": f"{kind}.delta", **place, "delta": token, **beside}, 1
    yield {"type": f"{kind}.done", **place, field: part[field], **beside}, 0
    yield {"type": "response.content_part.done", **place, "part": part}, 0


def _thought_events(item: Json, index: int, tokens: tuple[str, ...]) -> Iterator[tuple[Json, int]]:
    place: Json = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    [part] = item["summary"]
    kind = "response.reasoning_summary"
    yield {"type": f"{kind}_part.added", **place, "part": {**part, "text": ""}}, 0
    for token in tokens:
        yield {"type": f"{kind}_text.delta", **place, "delta": token}, 1
    yield {"type": f"{kind}_text.done", **place, "text": part["text"]}, 0
    yield {"type": f"{kind}_part.done", **place, "part": part}, 0


def _call_events(item: Json, index: int, tokens: tuple[str, ...]) -> Iterator[tuple[Json, int]]:
    place: Json = {"item_id": item["id"], "output_index": index}
    is_custom = item["type"] == "custom_tool_call"
    kind = "response.custom_tool_call_input" if is_custom else "response.function_call_arguments"
    field = "input" if is_custom else "arguments"
    for token in tokens:
        yield {"type": f"{kind}.delta", **place, "delta": token}, 1
    beside: Json = {} if is_custom else {"name": item["name"]}
    yield {"type": f"{kind}.done", **place, field: item[field], **beside}, 0


_ITEM_EVENTS: Final[Mapping[str, Callable[[Json, int, tuple[str, ...]], Iterator[tuple[Json, int]]]]] = {
    "message": _message_events,
    "reasoning": _thought_events,
    "function_call": _call_events,
    "custom_tool_call": _call_events,
}
