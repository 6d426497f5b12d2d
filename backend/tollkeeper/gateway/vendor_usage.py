"""The `usage` of vendors that do not speak OpenAI's → disjoint token classes. Pure; None where nothing is usable.

Each function is named after the vendor's format and says where it differs; the dialects call them. What a vendor counts
twice, or in no total, is the reason for each of the tests in `tests/money/usage_payloads`.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Usage
from tollkeeper.gateway.usage_counts import MOST_HIDDEN, Doubts, mapping, read_count

_ITERATIONS: Final = frozenset({"message", "compaction"})


def read_anthropic_usage(value: object) -> Usage | None:
    """`input_tokens` are those neither read from nor written to a cache; `output_tokens` hold the thinking.

    A compaction is a call of its own within the call: billed, listed in `iterations`, in no total ("Compaction",
    Claude docs, 2026-10).
    """
    if not isinstance(value, dict):
        return None
    whole = _anthropic_part(value)
    iterations = value.get("iterations")
    if whole is None or not isinstance(iterations, list):
        return whole
    for iteration in map(mapping, iterations):
        part = _anthropic_part(iteration) if iteration.get("type") == "compaction" else None
        if part is not None:
            whole = _add(whole, part)
        elif iteration.get("type") not in _ITERATIONS or iteration.get("type") == "compaction":
            # Another model's work at another model's price, or a compaction without figures.
            whole = _add(whole, Usage(is_estimated=True))
    return whole


def latest_anthropic_usage(start: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Of a stream: what `message_start` said, as `message_delta` has it now. Both are running totals, so never a sum."""
    return {**start, **{name: value for name, value in delta.items() if value is not None}}


def _anthropic_part(value: Mapping[str, Any]) -> Usage | None:
    fresh = read_count(value.get("input_tokens"))
    output = read_count(value.get("output_tokens"))
    if fresh is None or output is None:
        return None
    doubts = Doubts()
    lifetimes = mapping(value.get("cache_creation"))
    five_minutes = doubts.count(lifetimes.get("ephemeral_5m_input_tokens"))
    an_hour = doubts.count(lifetimes.get("ephemeral_1h_input_tokens"))
    told = value.get("cache_creation_input_tokens")
    written = five_minutes + an_hour if told is None else doubts.count(told)
    if lifetimes and written != five_minutes + an_hour:
        doubts.found = True
        an_hour = min(an_hour, written)
    details = mapping(value.get("output_tokens_details"))
    thinking, visible = doubts.take(details.get("thinking_tokens", details.get("reasoning_tokens")), output, output)
    return Usage(
        input=fresh,
        cache_read=doubts.count(value.get("cache_read_input_tokens")),
        cache_write=written - an_hour,
        cache_write_1h=an_hour,
        output=visible,
        reasoning=thinking,
        is_estimated=doubts.found,
    )


def read_gemini_usage(value: object) -> Usage | None:
    """`usageMetadata`: the prompt holds its cached part; thoughts and the prompts of tools stand beside the totals.

    Counts that are nought are left out. Of a stream take the last one: they are running totals.
    """
    if not isinstance(value, dict):
        return None
    told_prompt, told_total = value.get("promptTokenCount"), value.get("totalTokenCount")
    if read_count(told_prompt) is None and (told_prompt is not None or read_count(told_total) is None):
        return None
    doubts = Doubts()
    prompt = doubts.count(told_prompt) + doubts.count(value.get("toolUsePromptTokenCount"))
    candidates = doubts.count(value.get("candidatesTokenCount", value.get("responseTokenCount")))
    thoughts = doubts.count(value.get("thoughtsTokenCount"))
    beyond = doubts.count(told_total) - prompt - candidates - thoughts
    if told_total is not None and beyond != 0:
        doubts.found = True
        candidates += beyond if 0 < beyond <= MOST_HIDDEN else 0
    sent = _by_modality(doubts, value.get("promptTokensDetails"), value.get("toolUsePromptTokensDetails"))
    cached = _by_modality(doubts, value.get("cacheTokensDetails"))
    made = _by_modality(doubts, value.get("candidatesTokensDetails", value.get("responseTokensDetails")))
    cache_read, remaining = doubts.take(value.get("cachedContentTokenCount"), prompt, prompt)
    audio, remaining = doubts.take(max(0, sent["AUDIO"] - cached["AUDIO"]), prompt, remaining)
    image, remaining = doubts.take(max(0, sent["IMAGE"] - cached["IMAGE"]), prompt, remaining)
    output_audio, visible = doubts.take(made["AUDIO"], candidates, candidates)
    output_image, visible = doubts.take(made["IMAGE"], candidates, visible)
    return Usage(
        input=remaining,
        cache_read=cache_read,
        input_audio=audio,
        input_image=image,
        output=visible,
        reasoning=thoughts,
        output_audio=output_audio,
        output_image=output_image,
        is_estimated=doubts.found,
    )


def read_bedrock_usage(value: object) -> Usage | None:
    """Converse's `TokenUsage`: `inputTokens` are those neither read from nor written to a cache."""
    if not isinstance(value, dict):
        return None
    fresh, output = read_count(value.get("inputTokens")), read_count(value.get("outputTokens"))
    if fresh is None or output is None:
        return None
    doubts = Doubts()
    read = doubts.count(value.get("cacheReadInputTokens"))
    written = doubts.count(value.get("cacheWriteInputTokens"))
    details = value.get("cacheDetails")
    an_hour = all_lifetimes = 0
    for detail in map(mapping, details) if isinstance(details, list) else ():
        count = doubts.count(detail.get("inputTokens"))
        all_lifetimes += count
        an_hour += count if detail.get("ttl") == "1h" else 0
    if all_lifetimes not in {0, written}:
        doubts.found = True
        an_hour = min(an_hour, written)
    total = value.get("totalTokens")
    if total is not None and doubts.count(total) not in {fresh + output, fresh + read + written + output}:
        doubts.found = True
    return Usage(
        input=fresh,
        cache_read=read,
        cache_write=written - an_hour,
        cache_write_1h=an_hour,
        output=output,
        is_estimated=doubts.found,
    )


def read_cohere_usage(value: object) -> Usage | None:
    """`billed_units` are what is charged; `tokens` also count what Cohere adds by itself and does not charge."""
    if not isinstance(value, dict):
        return None
    for name in ("billed_units", "tokens"):
        units = mapping(value.get(name))
        told, output = units.get("input_tokens"), read_count(units.get("output_tokens", 0))
        inputs = read_count(told)
        if inputs is not None and output is not None:
            return Usage(input=inputs, output=output, is_estimated=name == "tokens")
    return None


class _Modalities(dict[str, int]):
    def __missing__(self, key: str) -> int:
        return 0


def _by_modality(doubts: Doubts, *lists: object) -> _Modalities:
    """A list of `{modality, tokenCount}` as sums; PDF pages, video frames and text are not priced apart."""
    sums = _Modalities()
    for details in lists:
        for detail in map(mapping, details) if isinstance(details, list) else ():
            modality = detail.get("modality")
            if isinstance(modality, str):
                sums[modality] += doubts.count(detail.get("tokenCount"))
    return sums


def _add(one: Usage, other: Usage) -> Usage:
    return Usage(
        input=one.input + other.input,
        cache_read=one.cache_read + other.cache_read,
        cache_write=one.cache_write + other.cache_write,
        cache_write_1h=one.cache_write_1h + other.cache_write_1h,
        output=one.output + other.output,
        reasoning=one.reasoning + other.reasoning,
        is_estimated=one.is_estimated or other.is_estimated,
    )
