"""Bedrock's Converse and ConverseStream: JSON, or event-stream frames, and exceptions by name ("Converse" reference)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.chat import Choice
from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Script
from tollkeeper.gateway.simulator.vendors import event_stream
from tollkeeper.gateway.simulator.vendors.bedrock_request import read_question, thinks
from tollkeeper.gateway.simulator.vendors.question import Json, Told, raw_digest, reading, sign, tell

_NAMES: Final = {
    400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException",
    404: "ResourceNotFoundException", 408: "ModelTimeoutException", 424: "ModelErrorException",
    429: "ThrottlingException", 500: "InternalServerException", 503: "ServiceUnavailableException",
}  # fmt: skip
_SAID: Final = {
    "insufficient_quota": (400, "ServiceQuotaExceededException", "You have exceeded a service quota."),
    "context_length_exceeded": (400, "ValidationException", "Input is too long for requested model."),
    "rate_limit_exceeded": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
}
_STOPS: Final = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered",
}  # fmt: skip


def _event(kind: str, data: Json) -> bytes:
    # Padding of varying length, so that the size of a frame tells nothing of what is in it.
    return event_stream.event(kind, orjson.dumps({**data, "p": "abcdefghijklmnop"[: len(repr(data)) % 17]}))


_WHOLE_EVENT: Final = _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "half"}})
_FRAMES: Final = Frames(
    event_stream.CONTENT_TYPE,
    half=_WHOLE_EVENT[: len(_WHOLE_EVENT) // 2],
    garbage=event_stream.event("contentBlockDelta", b"{not json}"),
    error=event_stream.exception(
        "modelStreamErrorException", b'{"message":"The system encountered an unexpected error during processing."}'
    ),
)


class BedrockWire(Wire):
    def __init__(self, model: str, *, is_stream: bool) -> None:
        self._model = model
        self._is_stream = is_stream

    def model(self, request: Mapping[str, Any]) -> str:  # noqa: ARG002 - the interface
        return self._model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return raw_digest(request, "converse")

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:  # noqa: ARG002 - the interface
        with reading():
            question, wanted = read_question(request), thinks(request)
        if wanted is not None and family is not Family.EMBEDDING:
            family = Family.REASONING if wanted else Family.TEXT
        told = tell(question, model, family, wish)
        if self._is_stream:
            return stream(_events(told), _end(told), _FRAMES, wish, told.script())
        return whole(orjson.dumps(_document(told)), wish, told.script())

    def refused(self, refusal: Refusal) -> Refused:
        name = _NAMES.get(refusal.status, "InternalServerException" if refusal.status >= 500 else "ValidationException")
        status, name, message = _SAID.get(refusal.code or "", (refusal.status, name, refusal.message))
        headers = {"content-type": JSON, "x-amzn-errortype": name}
        return Refused(status, headers, orjson.dumps({"message": message}))


def _document(told: Told) -> Json:
    [choice] = told.choices
    message = {"role": "assistant", "content": [block for block, _ in _blocks(choice)]}
    document: Json = {"output": {"message": message}, "stopReason": _stop_reason(choice)}
    document["metrics"] = {"latencyMs": 12}
    return {**document, "usage": _usage(told)} if told.has_usage else document


def _events(told: Told) -> Iterator[Event]:
    [choice] = told.choices
    yield _event("messageStart", {"role": "assistant"}), 0
    for index, (block, tokens) in enumerate(_blocks(choice)):
        [(kind, value)] = block.items()
        if kind == "toolUse":
            # Only a tool's block announces itself; its name is a token of its own.
            start: Json = {"toolUse": {"toolUseId": value["toolUseId"], "name": value["name"]}}
            yield _event("contentBlockStart", {"contentBlockIndex": index, "start": start}), 1
        for token in tokens:
            yield _event("contentBlockDelta", {"contentBlockIndex": index, "delta": _delta(kind, token)}), 1
        if kind == "reasoningContent":
            signature: Json = {"reasoningContent": {"signature": value["reasoningText"]["signature"]}}
            yield _event("contentBlockDelta", {"contentBlockIndex": index, "delta": signature}), 0
        yield _event("contentBlockStop", {"contentBlockIndex": index}), 0


def _delta(kind: str, token: str) -> Json:
    if kind == "toolUse":
        return {"toolUse": {"input": token}}
    return {"text": token} if kind == "text" else {"reasoningContent": {"text": token}}


def _end(told: Told) -> bytes:
    [choice] = told.choices
    metadata: Json = {"metrics": {"latencyMs": 12}}
    if told.has_usage:
        metadata["usage"] = _usage(told)
    return _event("messageStop", {"stopReason": _stop_reason(choice)}) + _event("metadata", metadata)


def _blocks(choice: Choice) -> Iterator[tuple[Json, tuple[str, ...]]]:
    if choice.reasoning:
        text = "".join(choice.reasoning)
        yield {"reasoningContent": {"reasoningText": {"text": text, "signature": sign(text)}}}, choice.reasoning
    said = choice.content or choice.refusal
    if said:
        yield {"text": "".join(said)}, said
    for call in choice.calls:
        try:
            value = orjson.loads("".join(call.arguments))
        except orjson.JSONDecodeError:
            value = {}
        use = {"toolUseId": call.id.replace("call_", "tooluse_"), "name": call.name, "input": value}
        yield {"toolUse": use}, call.arguments


def _stop_reason(choice: Choice) -> str:
    if choice.stopped_by is not None:
        return "stop_sequence"
    if choice.refusal and choice.finish_reason == "stop":
        return "guardrail_intervened"
    return _STOPS[choice.finish_reason]


def _usage(told: Told) -> Json:
    return {
        "inputTokens": told.prompt_tokens - told.cached_tokens,
        "outputTokens": told.tokens,
        "totalTokens": told.prompt_tokens + told.tokens,
        "cacheReadInputTokens": told.cached_tokens,
        "cacheWriteInputTokens": 0,
    }
