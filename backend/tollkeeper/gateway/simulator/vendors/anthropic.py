"""Anthropic's Messages API: whole answers, streams, token counts and errors ("Messages", "Streaming", "Errors" pages)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.chat import Choice
from tollkeeper.gateway.simulator.counting import count_prompt
from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Script
from tollkeeper.gateway.simulator.vendors.anthropic_request import read_question, thinks
from tollkeeper.gateway.simulator.vendors.question import Json, Told, raw_digest, reading, reject, sign, tell

_TYPES: Final = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
    504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
# Where OpenAI's code means something that Anthropic says in another way.
_SAID: Final = {
    "insufficient_quota": (400, "Your credit balance is too low to access the Anthropic API."),
    "context_length_exceeded": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
}
_STOPS: Final = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal",
}  # fmt: skip


def _event(data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


_FRAMES: Final = Frames(
    "text/event-stream; charset=utf-8",
    half=b'event: content_block_delta\ndata: {"type":"content_block_',
    garbage=b"event: content_block_delta\ndata: {not json}\n\n",
    error=_event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
)


class AnthropicWire(Wire):
    """`model` and `is_stream` where the path says them (Vertex); `counts`: `count_tokens`."""

    def __init__(
        self, request_id: str, model: str | None = None, *, is_stream: bool | None = None, counts: bool = False
    ) -> None:
        self._request_id = request_id
        self._model = model
        self._is_stream = is_stream
        self._counts = counts

    def model(self, request: Mapping[str, Any]) -> str:
        if self._model is not None:
            return self._model
        model = request.get("model")
        if not isinstance(model, str):
            raise reject("model: Field required" if model is None else "model: Input should be a valid string")
        return model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return raw_digest(request, "messages")

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:  # noqa: ARG002 - the interface
        with reading():
            question = read_question(request, counts=self._counts)
            wanted = thinks(request)
        if self._counts:
            tokens = count_prompt(question)
            return whole(orjson.dumps({"input_tokens": tokens}), wish, Script(200, {}, (), model=model))
        if wanted is not None and family is not Family.EMBEDDING:
            family = Family.REASONING if wanted else Family.TEXT
        told = tell(question, model, family, wish)
        is_stream = request.get("stream") is True if self._is_stream is None else self._is_stream
        if is_stream:
            return stream(_events(told), _event({"type": "message_stop"}), _FRAMES, wish, told.script())
        return whole(orjson.dumps(_document(told)), wish, told.script())

    def refused(self, refusal: Refusal) -> Refused:
        status, message = _SAID.get(refusal.code or "", (refusal.status, refusal.message))
        kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": self._request_id}
        kept = {name: value for name, value in refusal.headers.items() if name != "retry-after-ms"}
        return Refused(status, {"content-type": JSON, **kept}, orjson.dumps(error))


def _document(told: Told) -> Json:
    [choice] = told.choices
    message = {**_head(told), "content": [block for block, _ in _blocks(choice)], **_end(choice)}
    return {**message, "usage": _usage(told, told.tokens)} if told.has_usage else message


def _events(told: Told) -> Iterator[Event]:
    """The events but the last."""
    [choice] = told.choices
    start: Json = {**_head(told), "content": [], "stop_reason": None, "stop_sequence": None}
    if told.has_usage:
        start["usage"] = _usage(told, 1)
    yield _event({"type": "message_start", "message": start}), 0
    for index, (block, tokens) in enumerate(_blocks(choice)):
        yield from _block_events(index, block, tokens)
    end: Json = {"type": "message_delta", "delta": _end(choice)}
    if told.has_usage:
        end["usage"] = {
            "input_tokens": told.prompt_tokens - told.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": told.cached_tokens,
            "output_tokens": told.tokens,
            "output_tokens_details": {"thinking_tokens": told.reasoning_tokens},
        }
    yield _event(end), 0


def _block_events(index: int, block: Json, tokens: tuple[str, ...]) -> Iterator[Event]:
    kind = block["type"]
    empty: Json = {
        "text": {"type": "text", "text": ""},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "tool_use": {**block, "input": {}},
    }[kind]
    # The name of a tool is a token of its own.
    yield _event({"type": "content_block_start", "index": index, "content_block": empty}), int(kind == "tool_use")
    if index == 0:
        yield _event({"type": "ping"}), 0
    delta, field = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", "partial_json"),
    }[kind]
    for token in tokens:
        yield _event({"type": "content_block_delta", "index": index, "delta": {"type": delta, field: token}}), 1
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield _event({"type": "content_block_delta", "index": index, "delta": signed}), 0
    yield _event({"type": "content_block_stop", "index": index}), 0


def _blocks(choice: Choice) -> Iterator[tuple[Json, tuple[str, ...]]]:
    """Each block, and its tokens."""
    if choice.reasoning:
        thinking = "".join(choice.reasoning)
        yield {"type": "thinking", "thinking": thinking, "signature": sign(thinking)}, choice.reasoning
    said = choice.content or choice.refusal
    if said:
        yield {"type": "text", "text": "".join(said), "citations": None}, said
    for call in choice.calls:
        written = "".join(call.arguments)
        try:
            value = orjson.loads(written)
        except orjson.JSONDecodeError:
            # Cut off by the cap: what came so far, as Anthropic does it.
            value = {}
        yield (
            {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": value},
            call.arguments,
        )


def _head(told: Told) -> Json:
    return {"id": f"msg_{told.id}", "type": "message", "role": "assistant", "model": told.model}


def _end(choice: Choice) -> Json:
    if choice.stopped_by is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stopped_by}
    reason = "refusal" if choice.refusal and choice.finish_reason == "stop" else _STOPS[choice.finish_reason]
    return {"stop_reason": reason, "stop_sequence": None}


def _usage(told: Told, output_tokens: int) -> Json:
    return {
        "input_tokens": told.prompt_tokens - told.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": told.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
