"""Properties of the readers of vendors' usage: classes sum to the totals, and nothing a vendor writes makes a cost negative."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.price import cost_nano
from tollkeeper.gateway.openai_usage import read_responses_usage, read_usage
from tollkeeper.gateway.usage_counts import MOST
from tollkeeper.gateway.vendor_usage import (
    read_anthropic_usage,
    read_bedrock_usage,
    read_cohere_usage,
    read_gemini_usage,
)

CLASSES: Final = tuple(name for name in Usage.__slots__ if name != "is_estimated")
# Every class at another price, so that a token in the wrong one shows.
PRICE: Final = Price(
    uuid7(),
    input=1_000_000,
    output=2_000_000,
    cache_read=100_000,
    cache_write=1_250_000,
    cache_write_1h=2_000_000,
    input_audio=8_000_000,
    input_image=3_000_000,
    reasoning=2_500_000,
    output_audio=16_000_000,
    output_image=30_000_000,
)
Reader = Callable[[object], Usage | None]
FIELDS: Final = MappingProxyType[Reader, tuple[str, ...]](
    {
        read_usage: (
            "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "num_cached_tokens",
            "prompt_cache_hit_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens",
            "prompt_tokens_details", "completion_tokens_details", "cached_tokens_details",
        ),
        read_responses_usage: (
            "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "audio_tokens",
            "reasoning_tokens", "input_tokens_details", "output_tokens_details", "input_token_details",
            "cached_tokens_details",
        ),
        read_anthropic_usage: (
            "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
            "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "output_tokens_details", "thinking_tokens",
            "iterations", "type",
        ),
        read_gemini_usage: (
            "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
            "cachedContentTokenCount", "toolUsePromptTokenCount", "promptTokensDetails", "cacheTokensDetails",
            "candidatesTokensDetails", "modality", "tokenCount",
        ),
        read_bedrock_usage: (
            "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens",
            "cacheDetails", "ttl",
        ),
        read_cohere_usage: ("billed_units", "tokens", "input_tokens", "output_tokens", "cached_tokens"),
    }
)  # fmt: skip
READERS: Final = [pytest.param(reader, id=reader.__name__) for reader in FIELDS]
WORDS: Final = st.sampled_from(["compaction", "message", "AUDIO", "IMAGE", "TEXT", "1h", "5m", "12", ""])
LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers(-5, 300)
    | st.sampled_from([MOST, MOST + 1, 2**63, -(2**63)])
    | st.floats()
    | WORDS
)


NESTED: Final = frozenset({"cache_creation", "billed_units", "tokens"})


def payloads(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly in the vendor's shape, with counts that need not agree; now and then anything at all."""
    keys = st.sampled_from(names)
    inner = st.dictionaries(keys, st.integers(0, 300) | LEAVES, max_size=len(names))

    def value(name: str) -> st.SearchStrategy[Any]:
        if name in NESTED or name.endswith("_details"):
            return inner | st.dictionaries(keys, inner, max_size=2) | LEAVES
        if name.endswith("Details") or name == "iterations":
            return st.lists(inner, max_size=3) | LEAVES
        return st.integers(0, 300) | LEAVES

    return st.fixed_dictionaries({}, optional={name: value(name) for name in names})


def check(usage: Usage | None) -> None:
    if usage is None:
        return
    for name in CLASSES:
        assert type(getattr(usage, name)) is int
        assert getattr(usage, name) >= 0
    assert cost_nano(usage, PRICE) >= 0


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
def test_nothing_a_vendor_writes_is_negative_or_raises(reader: Reader, data: st.DataObject) -> None:
    check(reader(data.draw(payloads(FIELDS[reader]))))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", [None, [], "x", 7, {}, {"usage": {}}])
def test_what_is_no_usage_is_none(reader: Reader, value: object) -> None:
    assert reader(value) is None


counts: Final = st.integers(0, 100_000)


@given(st.lists(counts, min_size=5, max_size=5), st.lists(counts, min_size=4, max_size=4))
def test_openai_classes_sum_to_the_totals(inside: list[int], outside: list[int]) -> None:
    fresh, cached, written, audio, image = inside
    visible, reasoning, spoken, drawn = outside
    usage = read_usage(
        {
            "prompt_tokens": sum(inside),
            "completion_tokens": sum(outside),
            "total_tokens": sum(inside) + sum(outside),
            "prompt_tokens_details": {
                "cached_tokens": cached,
                "cache_write_tokens": written,
                "audio_tokens": audio,
                "image_tokens": image,
            },
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": spoken,
                "image_tokens": drawn,
            },
        }
    )

    assert usage == Usage(
        input=fresh,
        cache_read=cached,
        cache_write=written,
        input_audio=audio,
        input_image=image,
        output=visible,
        reasoning=reasoning,
        output_audio=spoken,
        output_image=drawn,
    )


@given(payloads(FIELDS[read_usage]))
def test_openai_classes_never_come_to_less_than_the_vendors_totals(payload: dict[str, Any]) -> None:
    usage = read_usage(payload)

    if usage is not None:
        assert usage.prompt_tokens == payload["prompt_tokens"]
        assert usage.completion_tokens >= payload.get("completion_tokens", 0)
        if usage.completion_tokens > payload.get("completion_tokens", 0):
            # More than it says only where another figure of its own says so.
            details = payload.get("completion_tokens_details")
            hidden = details.get("reasoning_tokens") if isinstance(details, dict) else None
            assert usage.is_estimated or usage.reasoning == hidden


@given(st.lists(counts, min_size=6, max_size=6))
def test_anthropic_classes_are_the_vendors_own(parts: list[int]) -> None:
    fresh, read, short, long, visible, thinking = parts
    usage = read_anthropic_usage(
        {
            "input_tokens": fresh,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
            "output_tokens": visible + thinking,
            "output_tokens_details": {"thinking_tokens": thinking},
        }
    )

    assert usage == Usage(
        input=fresh, cache_read=read, cache_write=short, cache_write_1h=long, output=visible, reasoning=thinking
    )


@given(st.lists(counts, min_size=8, max_size=8))
def test_gemini_classes_sum_to_the_total(parts: list[int]) -> None:
    fresh, cached, audio, image, tools, visible, thoughts, spoken = parts
    total = sum(parts)
    usage = read_gemini_usage(
        {
            "promptTokenCount": fresh + cached + audio + image,
            "cachedContentTokenCount": cached,
            "toolUsePromptTokenCount": tools,
            "candidatesTokenCount": visible + spoken,
            "thoughtsTokenCount": thoughts,
            "totalTokenCount": total,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": fresh + cached},
                {"modality": "AUDIO", "tokenCount": audio},
                {"modality": "IMAGE", "tokenCount": image},
            ],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": cached}],
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": visible},
                {"modality": "AUDIO", "tokenCount": spoken},
            ],
        }
    )

    assert usage is not None
    assert usage.prompt_tokens + usage.completion_tokens == total
    assert usage == Usage(
        input=fresh + tools,
        cache_read=cached,
        input_audio=audio,
        input_image=image,
        output=visible,
        reasoning=thoughts,
        output_audio=spoken,
    )


@given(st.lists(counts, min_size=5, max_size=5))
def test_bedrock_classes_sum_to_the_total(parts: list[int]) -> None:
    fresh, read, short, long, output = parts
    usage = read_bedrock_usage(
        {
            "inputTokens": fresh,
            "outputTokens": output,
            "totalTokens": sum(parts),
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": short + long,
            "cacheDetails": [{"ttl": "1h", "inputTokens": long}, {"ttl": "5m", "inputTokens": short}],
        }
    )

    assert usage == Usage(input=fresh, cache_read=read, cache_write=short, cache_write_1h=long, output=output)


@pytest.mark.parametrize(
    ("reader", "payload"),
    [
        (read_usage, {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": -4}}),
        (read_usage, {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2.5}}),
        (read_usage, {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}}),
        (read_usage, {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 14}),
        (read_usage, {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 10**8}),
        (read_anthropic_usage, {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": -1}),
        (read_anthropic_usage, {"input_tokens": 10, "output_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": -7}}),
        (read_anthropic_usage, {"input_tokens": 10, "output_tokens": 5, "iterations": [{"type": "advisor_message"}]}),
        (read_anthropic_usage, {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 6}}),
        (read_gemini_usage, {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 12}),
        (read_gemini_usage, {"promptTokenCount": 10, "candidatesTokenCount": 5, "cachedContentTokenCount": 11}),
        (read_bedrock_usage, {"inputTokens": 10, "outputTokens": 5, "totalTokens": 99}),
        (read_cohere_usage, {"tokens": {"input_tokens": 10, "output_tokens": 5}}),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_counted_as_it_stands_and_flagged(reader: Reader, payload: dict[str, Any]) -> None:
    usage = reader(payload)

    assert usage is not None
    assert usage.is_estimated
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 5)
    assert usage.cache_read == 0


def test_what_travels_as_json_is_read_as_it_was_written() -> None:
    written = orjson.dumps({"prompt_tokens": 10.0, "completion_tokens": 1e0, "total_tokens": 11})

    assert read_usage(orjson.loads(written)) == Usage(input=10, output=1)
