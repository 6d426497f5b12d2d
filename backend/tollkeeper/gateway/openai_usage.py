"""OpenAI's `usage` object ↔ disjoint token classes, with the ways vendors differ from it."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Usage
from tollkeeper.gateway.usage_counts import MOST_HIDDEN, Doubts, mapping, read_count

_INSIDE: Final = ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens")
_OUTSIDE: Final = ("reasoning_tokens", "audio_tokens", "image_tokens")
# DeepSeek, Moonshot, Mistral: beside the totals instead of among the details.
_ELSEWHERE: Final = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
_BESIDE: Final = frozenset(_ELSEWHERE)


def read_usage(value: object) -> Usage | None:
    """None when there is nothing usable, so that the caller counts for itself."""
    if not isinstance(value, dict):
        return None
    prompt = read_count(value.get("prompt_tokens"))
    completion = read_count(value.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    inside = value.get("prompt_tokens_details")
    outside = value.get("completion_tokens_details")
    return _with_details(value, prompt, completion, mapping(inside), mapping(outside))


def read_responses_usage(value: object) -> Usage | None:
    """The same figures as the Responses API and the newer audio endpoints name them."""
    if not isinstance(value, dict):
        return None
    inputs = read_count(value.get("input_tokens"))
    outputs = read_count(value.get("output_tokens", 0))
    if inputs is None or outputs is None:
        return None
    inside = value.get("input_tokens_details", value.get("input_token_details"))
    outside = value.get("output_tokens_details", value.get("output_token_details"))
    return _with_details(value, inputs, outputs, mapping(inside), mapping(outside))


def _with_details(
    value: Mapping[str, Any], prompt: int, completion: int, inside: Mapping[str, Any], outside: Mapping[str, Any]
) -> Usage:
    total = value.get("total_tokens")
    if (
        (total is None or total == prompt + completion)
        and _BESIDE.isdisjoint(value)
        and not (any(map(inside.get, _INSIDE)) or any(map(outside.get, _OUTSIDE)))
    ):
        # The usual call: the details are there and all nought.
        return Usage(input=prompt, output=completion)
    doubts = Doubts()
    cached = inside.get("cached_tokens")
    if cached is None:
        cached = next((value[name] for name in _ELSEWHERE if value.get(name) is not None), None)
    of_cached = mapping(inside.get("cached_tokens_details"))
    cache_read, remaining = doubts.take(cached, prompt, prompt)
    cache_write, remaining = doubts.take(inside.get("cache_write_tokens"), prompt, remaining)
    # The details count cached audio and pictures too, where they say of what the cached part consists.
    input_audio, remaining = doubts.take(_less(inside, of_cached, "audio_tokens"), prompt, remaining)
    input_image, remaining = doubts.take(_less(inside, of_cached, "image_tokens"), prompt, remaining)
    completion, reasoning_count = _with_reasoning(doubts, prompt, completion, outside.get("reasoning_tokens"), total)
    reasoning, visible = doubts.take(reasoning_count, completion, completion)
    output_audio, visible = doubts.take(outside.get("audio_tokens"), completion, visible)
    output_image, visible = doubts.take(outside.get("image_tokens"), completion, visible)
    return Usage(
        input=remaining,
        cache_read=cache_read,
        cache_write=cache_write,
        input_audio=input_audio,
        input_image=input_image,
        output=visible,
        reasoning=reasoning,
        output_audio=output_audio,
        output_image=output_image,
        is_estimated=doubts.found,
    )


def _with_reasoning(doubts: Doubts, prompt: int, completion: int, reasoning: object, total: object) -> tuple[int, int]:
    """The output's total and the reasoning in it.

    xAI leaves reasoning out of `completion_tokens` and puts it in the total; Gemini's OpenAI layer does the same and
    does not say that it was reasoning. Both charge it as output.
    """
    count = doubts.count(reasoning)
    whole = None if total is None else doubts.count(total)
    if whole is None:
        # Where nothing else tells: reasoning that does not fit in cannot be in.
        doubts.found = doubts.found or count > completion
        return (completion + count, count) if count > completion else (completion, count)
    beyond = whole - prompt - completion
    if beyond > 0 and beyond == count:
        return completion + beyond, beyond
    if count == 0 and 0 < beyond <= MOST_HIDDEN:
        doubts.found = True
        return completion + beyond, beyond
    doubts.found = doubts.found or beyond != 0
    return completion, count


def _less(inside: Mapping[str, Any], of_cached: Mapping[str, Any], name: str) -> object:
    """What of a kind of input was not in the cache; as it stands where that cannot be told."""
    count, cached = read_count(inside.get(name)), read_count(of_cached.get(name))
    return inside.get(name) if count is None or cached is None or cached > count else count - cached


def write_usage(usage: Usage) -> dict[str, Any]:
    """The object a client expects; totals include the classes of the details."""
    inside = {"cached_tokens": usage.cache_read, "audio_tokens": usage.input_audio}
    if usage.cache_write or usage.cache_write_1h:
        inside["cache_write_tokens"] = usage.cache_write + usage.cache_write_1h
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": inside,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio},
    }
