"""Legacy completions: what a simulated model adds to a prompt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tollkeeper.gateway.simulator import prose
from tollkeeper.gateway.simulator.chat import stop
from tollkeeper.gateway.simulator.chat_request import missing, read_count, read_stops
from tollkeeper.gateway.simulator.counting import count, pieces
from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.directives import Directives
from tollkeeper.gateway.simulator.logprobs import alternatives, logprob
from tollkeeper.gateway.simulator.refusal import invalid

Json = dict[str, Any]
# OpenAI's default for this operation.
_DEFAULT_CAP = 16


@dataclass(frozen=True, slots=True)
class Text:
    """`echoed` is the prompt where the caller wants it back; its tokens count as prompt only."""

    tokens: tuple[str, ...]
    finish_reason: str
    echoed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    id: str
    created: int
    model: str
    logprobs: int | None

    def fields(self) -> Json:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_simulated",
        }


def read_prompts(body: Mapping[str, Any]) -> list[str]:
    """The prompts as texts; tokens are written as their numbers, since nobody knows which words they stand for."""
    prompt = body.get("prompt")
    if prompt is None:
        raise missing("prompt")
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(entry, str) for entry in prompt):
            return prompt
        if all(type(token) is int for token in prompt):
            return [_spell(prompt)]
        if all(isinstance(row, list) and row and all(type(token) is int for token in row) for row in prompt):
            return [_spell(row) for row in prompt]
    raise invalid("prompt", "a string, an array of strings, of tokens or of arrays of tokens")


def count_prompts(body: Mapping[str, Any]) -> int:
    prompt = body["prompt"]
    if isinstance(prompt, str):
        return count(prompt)
    if isinstance(prompt[0], int):
        return len(prompt)
    return sum(count(entry) if isinstance(entry, str) else len(entry) for entry in prompt)


def complete(body: Mapping[str, Any], prompt: str, wish: Directives, dice: Dice) -> Text:
    cap = read_count(body, "max_tokens", least=0)
    cap = max(_DEFAULT_CAP, wish.length or 0) if cap is None else cap
    text, _ = stop(" " + prose.answer(dice, prompt, wish.length), read_stops(body))
    tokens = pieces(text)
    echoed = tuple(pieces(prompt)) if body.get("echo") is True else ()
    is_whole = len(tokens) <= cap
    reason = "content_filter" if wish.is_filtered else "stop" if is_whole else "length"
    return Text(tuple(tokens[:cap]), reason, echoed)


def write_usage(prompt_tokens: int, texts: Sequence[Text], cached_tokens: int) -> Json:
    completion_tokens = sum(len(text.tokens) for text in texts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": min(cached_tokens, prompt_tokens)},
    }


def write_whole(head: Head, texts: Sequence[Text], usage: Json | None) -> Json:
    choices = [
        {
            "text": "".join((*text.echoed, *text.tokens)),
            "index": index,
            "logprobs": _logprobs(head, (*text.echoed, *text.tokens), 0),
            "finish_reason": text.finish_reason,
        }
        for index, text in enumerate(texts)
    ]
    document = {**head.fields(), "choices": choices}
    return document if usage is None else {**document, "usage": usage}


def write_stream(
    head: Head, texts: Sequence[Text], usage: Json | None, *, shows_usage: bool
) -> Iterator[tuple[Json, int]]:
    frame = head.fields()
    if shows_usage:
        frame["usage"] = None
    for index, text in enumerate(texts):
        offset = 0
        for position, token in enumerate((*text.echoed, *text.tokens)):
            choice = {
                "text": token,
                "index": index,
                "logprobs": _logprobs(head, (token,), offset),
                "finish_reason": None,
            }
            offset += len(token)
            yield {**frame, "choices": [choice]}, 0 if position < len(text.echoed) else 1
        end = {"text": "", "index": index, "logprobs": None, "finish_reason": text.finish_reason}
        yield {**frame, "choices": [end]}, 0
    if shows_usage and usage is not None:
        yield {**frame, "choices": [], "usage": usage}, 0


def _logprobs(head: Head, tokens: Sequence[str], offset: int) -> Json | None:
    if head.logprobs is None:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": list(tokens),
        "token_logprobs": [logprob(token) for token in tokens],
        "top_logprobs": [dict(alternatives(token, head.logprobs)) for token in tokens],
        "text_offset": offsets,
    }


def _spell(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))
