import threading
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.money import encodings
from tollkeeper.gateway.money.encodings import CL100K, O200K, SLICE
from tollkeeper.gateway.money.families import OTHER, family_of
from tollkeeper.gateway.money.tokens import OFF_LOOP_BYTES, count, count_chat, count_off_loop, count_upper

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
pieces = st.lists(
    st.sampled_from(
        ["he's ", "I'LL", " don't", "\r\n\r\n", "  ", "\t", "12345", " 3.14", "你好", "é", "ß", "😀", "<|end|>", "_"]
    )
    | st.text(max_size=5),
    max_size=60,
).map("".join)
PROSE = "The quick brown fox jumps over the lazy dog, and it's 3 o'clock.\n" * 2_000
CHINESE = "今天天气很好，我们一起去公园散步吧。" * 3_000


with warnings.catch_warnings():
    # It opens its files in a way that Python 3.11 warns of and 3.13 does not.
    warnings.simplefilter("ignore", DeprecationWarning)
    ORACLE = import_module("bpe_openai._bindings")


@cache
def oracle(encoding: str) -> Any:
    """Another package's encoder, with a vocabulary of its own."""
    return ORACLE.tokenizer_for_encoding(encoding)


@settings(deadline=None)
@given(texts | pieces, st.sampled_from([O200K, CL100K]))
def test_openai_s_tokens_are_counted_exactly(text: str, encoding: str) -> None:
    text = text.encode("utf-8", "replace").decode()

    assert encodings.count(text, encoding) == len(oracle(encoding).encode(text))


def test_a_long_text_is_cut_where_nothing_changes() -> None:
    assert len(PROSE) > 3 * SLICE
    assert encodings.count(PROSE) == len(oracle(O200K).encode(PROSE))


def test_where_a_text_cannot_be_cut_well_it_is_a_token_or_two_a_slice() -> None:
    exact = len(oracle(O200K).encode(CHINESE))

    assert exact - 4 <= encodings.count(CHINESE) <= exact + 4


def test_half_a_character_is_counted_like_its_replacement() -> None:
    text = orjson.loads(b'"ok"') + "\ud83d"

    assert encodings.count(text) == encodings.count("ok?")


@settings(deadline=None)
@given(
    texts | pieces, st.sampled_from(["gpt-4o", "gpt-4", "claude-opus-5", "qwen3-max", "mixtral-8x7b", "my-own-model"])
)
def test_the_upper_count_lies_between_the_mean_and_the_bytes(text: str, model: str) -> None:
    family, size = family_of(model), len(text.encode("utf-8", "replace"))

    assert count_upper(text, family) <= size + 1
    assert min(count(text, family), size) <= count_upper(text, family)


def test_the_older_encoding_is_told_from_the_newer_unless_it_may_be_kept_too() -> None:
    family, exact = family_of("gpt-4"), len(oracle(CL100K).encode(PROSE))

    assert count(PROSE, family) == pytest.approx(exact, rel=0.1)
    assert count_upper(PROSE, family) >= exact
    assert count(PROSE, family, frozenset({O200K, CL100K})) == pytest.approx(exact, abs=4)
    assert count_upper(CHINESE, family) >= len(oracle(CL100K).encode(CHINESE))


def test_a_family_whose_digits_are_tokens_counts_them() -> None:
    digits = "1234567890" * 20

    assert count_upper(digits, family_of("qwen3-max")) >= 200 * 0.95
    assert encodings.count(digits) < 80


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-mini-2024-07-18", "openai"),
        ("openai/gpt-oss-120b", "openai"),
        ("gpt-4-turbo", "openai, cl100k"),
        ("text-embedding-3-small", "openai, cl100k"),
        ("claude-opus-4-6", "claude, until 4.6"),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "claude, until 4.6"),
        ("us.anthropic.claude-opus-4-7-v1:0", "claude, since 4.7"),
        ("claude-sonnet-5", "claude, since 4.7"),
        ("google/gemini-2.5-pro", "gemini"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama"),
        ("open-mixtral-8x22b", "mistral and llama, 32k"),
        ("mistral-medium-latest", "mistral"),
        ("accounts/fireworks/models/deepseek-v3p2", "deepseek"),
        ("Qwen/Qwen3-235B", "qwen"),
        ("grok-4.6", "grok"),
        ("somebody-s-own", "other"),
    ],
)
def test_a_model_s_family_is_told_from_its_name(model: str, family: str) -> None:
    assert family_of(model).name == family


def test_who_knows_nothing_of_a_family_expects_the_worst_of_all() -> None:
    for model in (
        "gpt-4",
        "claude-3-opus",
        "claude-opus-5",
        "qwen3",
        "deepseek-v3",
        "mixtral",
        "llama-3",
        "mistral-large",
    ):
        for text in (PROSE[:2_000], CHINESE[:500], "12345 " * 50):
            assert count_upper(text, family_of(model)) <= count_upper(text, OTHER)


def test_a_chat_has_the_marks_that_openai_publishes() -> None:
    # OpenAI cookbook, "How to count tokens with tiktoken": 3 for each message, and 3 before the answer.
    body = {"messages": [{"role": "user", "content": "hello world"}]}

    assert count_chat(body, family_of("gpt-4o")) in {8, 9}


def test_texts_of_tools_and_their_results_are_counted() -> None:
    text, family = "word " * 500, family_of("gpt-4o")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}
    for message in (
        {"role": "user", "content": [{"type": "text", "text": text}]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": text}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": text}]}]},
    ):
        assert count_chat({"messages": [message]}, family) >= 500
    assert (
        count_chat({"messages": [], "tools": [{"type": "function", "function": {"description": text}}]}, family) >= 500
    )


async def test_a_long_text_leaves_the_loop_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    family, text = family_of("gpt-4o"), PROSE[: OFF_LOOP_BYTES + 1]
    places: list[int] = []
    counter = encodings.counter

    def watched(encoding: str) -> encodings.Counter:
        places.append(threading.get_ident())
        return counter(encoding)

    monkeypatch.setattr(encodings, "counter", watched)
    assert await count_off_loop(text, family) == (count(text, family), count_upper(text, family))
    assert places[0] == places[1] != threading.get_ident()
    places.clear()

    monkeypatch.setattr(encodings, "is_loaded", lambda: False)
    await count_off_loop("the first of all", family)
    assert threading.get_ident() not in places
    places.clear()
    monkeypatch.undo()
    monkeypatch.setattr(encodings, "counter", watched)
    monkeypatch.setattr(encodings, "is_loaded", lambda: True)
    await count_off_loop("short", family)
    assert set(places) == {threading.get_ident()}
