"""Writes a chat answer as OpenAI does: one document, or the chunks of a stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tollkeeper.gateway.simulator.chat import Choice, ToolCall
from tollkeeper.gateway.simulator.logprobs import token_logprobs

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of an answer repeats."""

    id: str
    created: int
    model: str
    # None: not asked for.
    top_logprobs: int | None = None

    def fields(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }


def write_usage(prompt_tokens: int, choices: Sequence[Choice], cached_tokens: int) -> Json:
    completion_tokens = sum(choice.tokens for choice in choices)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": min(cached_tokens, prompt_tokens), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": sum(len(choice.reasoning) for choice in choices),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def write_whole(head: Head, choices: Sequence[Choice], usage: Json | None) -> Json:
    document = head.fields("chat.completion")
    document["choices"] = [
        {
            "index": index,
            "message": _message(choice),
            "logprobs": _logprobs(head, choice.content, choice.refusal),
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(choices)
    ]
    return document if usage is None else {**document, "usage": usage}


def write_stream(
    head: Head, choices: Sequence[Choice], usage: Json | None, *, shows_usage: bool
) -> Iterator[tuple[Json, int]]:
    """Chunks, each with its completion tokens; the choices take turns. `shows_usage`: the caller asked for it."""
    frame = head.fields("chat.completion.chunk")
    if shows_usage:
        frame["usage"] = None
    rows = [_choice_chunks(head, index, choice) for index, choice in enumerate(choices)]
    while rows:
        going: list[Iterator[tuple[Json, int]]] = []
        for row in rows:
            chunk = next(row, None)
            if chunk is not None:
                yield {**frame, "choices": [chunk[0]]}, chunk[1]
                going.append(row)
        rows = going
    if shows_usage and usage is not None:
        yield {**frame, "choices": [], "usage": usage}, 0


def _choice_chunks(head: Head, index: int, choice: Choice) -> Iterator[tuple[Json, int]]:
    def chunk(delta: Json, logprobs: Json | None = None, finish_reason: str | None = None) -> Json:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}

    is_text = not (choice.calls or choice.refusal)
    yield chunk({"role": "assistant", "content": "" if is_text else None, "refusal": None}), 0
    for token in choice.reasoning:
        yield chunk({"reasoning_content": token}), 1
    for token in choice.content:
        yield chunk({"content": token}, _logprobs(head, (token,), ())), 1
    for token in choice.refusal:
        yield chunk({"refusal": token}, _logprobs(head, (), (token,))), 1
    for position, call in enumerate(choice.calls):
        if choice.is_function_call:
            yield chunk({"function_call": {"name": call.name, "arguments": ""}}), 1
            for token in call.arguments:
                yield chunk({"function_call": {"arguments": token}}), 1
        else:
            kind, field = _shape(call)
            first = {"index": position, "id": call.id, "type": kind, kind: {"name": call.name, field: ""}}
            yield chunk({"tool_calls": [first]}), 1
            for token in call.arguments:
                yield chunk({"tool_calls": [{"index": position, kind: {field: token}}]}), 1
    yield chunk({}, finish_reason=choice.finish_reason), 0


def _message(choice: Choice) -> Json:
    message: Json = {
        "role": "assistant",
        "content": None if choice.calls or choice.refusal else "".join(choice.content),
        "refusal": "".join(choice.refusal) or None,
        "annotations": [],
    }
    if choice.reasoning:
        # Not OpenAI's: vendors that show their reasoning call it this.
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.is_function_call:
        call = choice.calls[0] if choice.calls else None
        if call is not None:
            message["function_call"] = {"name": call.name, "arguments": "".join(call.arguments)}
    elif choice.calls:
        message["tool_calls"] = [_tool_call(call) for call in choice.calls]
    return message


def _tool_call(call: ToolCall) -> Json:
    kind, field = _shape(call)
    return {"id": call.id, "type": kind, kind: {"name": call.name, field: "".join(call.arguments)}}


def _shape(call: ToolCall) -> tuple[str, str]:
    return ("custom", "input") if call.is_custom else ("function", "arguments")


def _logprobs(head: Head, content: Sequence[str], refusal: Sequence[str]) -> Json | None:
    if head.top_logprobs is None:
        return None
    return {
        "content": token_logprobs(content, head.top_logprobs) if content else None,
        "refusal": token_logprobs(refusal, head.top_logprobs) if refusal else None,
    }
