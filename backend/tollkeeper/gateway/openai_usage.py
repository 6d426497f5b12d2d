"""OpenAI's `usage` object ↔ disjoint token classes, with the ways vendors differ from it."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Usage

# More than any context window or answer; a larger number is a vendor's mistake, and ours to count instead.
_MOST: Final = 1_000_000_000
# A tuple: a union written with | would be built anew at every check.
_NUMBER: Final = (int, float)
_INSIDE: Final = ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens")
_OUTSIDE: Final = ("reasoning_tokens", "audio_tokens", "image_tokens")
_ELSEWHERE: Final = frozenset({"prompt_cache_hit_tokens", "cached_tokens"})


def read_usage(value: object) -> Usage | None:
    """None when there is nothing usable, so that the caller counts for itself."""
    if not isinstance(value, dict):
        return None
    prompt = _count(value.get("prompt_tokens"))
    completion = _count(value.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    inside = value.get("prompt_tokens_details")
    outside = value.get("completion_tokens_details")
    return _with_details(value, prompt, completion, _mapping(inside), _mapping(outside))


def _with_details(
    value: Mapping[str, Any], prompt: int, completion: int, inside: Mapping[str, Any], outside: Mapping[str, Any]
) -> Usage:
    if not (any(map(inside.get, _INSIDE)) or any(map(outside.get, _OUTSIDE)) or not _ELSEWHERE.isdisjoint(value)):
        # The usual call: the details are there and all nought.
        return Usage(input=prompt, output=completion)
    # DeepSeek says prompt_cache_hit_tokens, Moonshot a top-level cached_tokens.
    cached = inside.get("cached_tokens")
    if cached is None:
        cached = value.get("prompt_cache_hit_tokens", value.get("cached_tokens"))
    remaining = prompt
    cache_read, remaining = _take(cached, remaining)
    cache_write, remaining = _take(inside.get("cache_write_tokens"), remaining)
    input_audio, remaining = _take(inside.get("audio_tokens"), remaining)
    input_image, remaining = _take(inside.get("image_tokens"), remaining)
    reasoning_count = _count(outside.get("reasoning_tokens")) or 0
    total = _count(value.get("total_tokens"))
    if reasoning_count and total == prompt + completion + reasoning_count:
        # xAI leaves reasoning out of completion_tokens and puts it in the total.
        completion += reasoning_count
    visible = completion
    reasoning, visible = _take(reasoning_count, visible)
    output_audio, visible = _take(outside.get("audio_tokens"), visible)
    output_image, visible = _take(outside.get("image_tokens"), visible)
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
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """The object a client expects; totals include the classes of the details."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": usage.input_audio},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio},
    }


def _count(value: object) -> int | None:
    if type(value) is int and 0 <= value <= _MOST:
        return value
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        return None
    # Some vendors write 12.0; NaN and fractions are refused by the comparison.
    count = int(value) if value == value and abs(value) <= _MOST else -1  # noqa: PLR0124 - NaN differs from itself
    return count if count >= 0 and count == value else None


def _take(part: object, remaining: int) -> tuple[int, int]:
    """A class out of its total, never more than is left of it."""
    count = min(_count(part) or 0, remaining)
    return count, remaining - count


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
