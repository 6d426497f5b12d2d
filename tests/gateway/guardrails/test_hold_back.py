"""However an answer is cut into chunks: what is found in the whole is gone from the stream, and originals come back."""

import itertools
import os
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.guardrails.guarding import policy
from tests.gateway.guardrails.samples import CLEAN, PII
from tests.gateway.guardrails.test_secrets import TOKENS
from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.contracts.guardrails import Action, RuleUse
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.hold_back import Blocked, HoldBack
from tollkeeper.gateway.placeholders import Placeholders, apply
from tollkeeper.gateway.screen import Screen

ROUNDS = 10_000 if os.environ.get("TOLLKEEPER_TEST_FULL") else 400
PIECES = [*(text for _, text, _ in PII), *(f"key {token} end" for token in TOKENS.values()), *CLEAN, "é 🙂", "\n"]


def screen(action: Action) -> Screen:
    return Screen([policy(RuleUse("pii", "pii", action), RuleUse("secrets", "secrets", action))], RULES)


REDACT, REVERSIBLE, BLOCK, FLAG = (screen(a) for a in (Action.REDACT, Action.REVERSIBLE, Action.BLOCK, Action.FLAG))
NOTHING = Screen([policy()], RULES)


def chunks_of(text: str, cuts: Sequence[int]) -> list[Chunk]:
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    chunks = [Chunk({"choices": [{"index": 0, "delta": {"content": piece}}]}, raw=b"{}") for piece in pieces]
    return [*chunks, Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True)]


async def through(text: str, cuts: Sequence[int], of: Screen, placeholders: Placeholders | None = None) -> str:
    async def rest() -> AsyncIterator[Batch]:
        for chunk in chunks_of(text, cuts):
            yield (chunk,)

    out: list[str] = []
    held = HoldBack((), rest(), of.output, placeholders or Placeholders(), lambda _hits, _part: None)
    try:
        async for batch in held:
            out += [chunk.data["choices"][0]["delta"].get("content") or "" for chunk in batch]
    except Blocked:
        out.append("⊘")
    return "".join(out)


def redacted(text: str) -> str:
    return apply(text, Placeholders().edits(text, REDACT.output.look(Part(text))))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5), st.lists(st.integers(0, 900), max_size=60))
async def test_no_value_gets_through_in_pieces(parts: list[str], cuts: list[int]) -> None:
    text = " ; ".join(parts)
    streamed = await through(text, cuts, REDACT)
    hits = [hit for hit in REDACT.output.look(Part(text)) if hit.finding.end - hit.finding.start >= 9]
    for hit in hits:
        value = text[hit.finding.start : hit.finding.end]
        assert value not in streamed or redacted(text).count(value), (hit.finding.label, value)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.lists(st.integers(0, 300), max_size=30))
async def test_what_is_only_looked_at_arrives_as_it_was(text: str, cuts: list[int]) -> None:
    assert await through(text, cuts, FLAG) == text


async def test_originals_come_back_however_the_answer_is_cut() -> None:
    generator = random.Random(7)
    for _ in range(ROUNDS):
        original = " ".join(generator.choices(PIECES, k=generator.randint(1, 6)))
        placeholders = Placeholders()
        sent = apply(original, placeholders.edits(original, REVERSIBLE.input.look(Part(original))))
        assert not any(
            original[hit.finding.start : hit.finding.end] in sent
            for hit in REVERSIBLE.input.look(Part(original))
            if hit.finding.end - hit.finding.start >= 9
        )
        cuts = [generator.randint(0, len(sent)) for _ in range(generator.randint(0, 40))]
        assert await through(sent, cuts, NOTHING, placeholders) == original


async def test_a_block_lets_nothing_of_the_value_out() -> None:
    generator = random.Random(11)
    for _, text, value in PII:
        if len(value) < 9:
            continue
        for _ in range(5):
            cuts = [generator.randint(0, len(text)) for _ in range(12)]
            streamed = await through(text, cuts, BLOCK)
            assert streamed.endswith("⊘")
            assert value[:9] not in streamed


async def test_a_long_value_is_gone_to_its_end_and_the_rest_goes_on() -> None:
    key = (
        "-----BEGIN PRIVATE KEY-----\n"
        + "\n".join("MIIEvQ" + "aB3" * 19 for _ in range(40))
        + "\n-----END PRIVATE KEY-----"
    )
    text = f"Here: {key}\nThat was it, keep it safe."
    for size in (1, 7, 40, 300):
        streamed = await through(text, range(0, len(text), size), REDACT)
        assert streamed == "Here: [PRIVATE_KEY]\nThat was it, keep it safe."


@pytest.mark.parametrize("field", ["content", "reasoning_content", "refusal"])
async def test_every_text_of_a_choice_is_looked_at(field: str) -> None:
    async def rest() -> AsyncIterator[Batch]:
        for piece in ("a@b", ".io ", "x"):
            yield (Chunk({"choices": [{"index": 0, "delta": {field: piece}, "logprobs": {"content": [1]}}]}),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    seen: list[dict[str, Any]] = []
    async for batch in HoldBack((), rest(), REDACT.output, Placeholders(), lambda _hits, _part: None):
        seen += [chunk.data["choices"][0] for chunk in batch]
    assert "".join(choice["delta"].get(field, "") for choice in seen) == "[EMAIL] x"
    # The tokens would spell it out.
    assert seen[0]["logprobs"] is None


async def test_choices_and_tool_calls_are_kept_apart() -> None:
    def call(index: int, arguments: str) -> dict[str, Any]:
        return {"index": index, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}}

    placeholders = Placeholders()
    quoted = 'a"b@example.com'
    assert quoted
    apply("x bob@b.io", placeholders.edits("x bob@b.io", REVERSIBLE.input.look(Part("x bob@b.io"))))

    async def rest() -> AsyncIterator[Batch]:
        yield (Chunk({"choices": [call(0, '{"to": "<EMA'), call(1, '{"to": "c@d')]}),)
        yield (Chunk({"choices": [call(1, '.io"}'), call(0, 'IL_1>"}')]}),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    said = {0: "", 1: ""}
    async for batch in HoldBack((), rest(), REDACT.output, placeholders, lambda _hits, _part: None):
        for chunk in batch:
            for choice in chunk.data["choices"]:
                for one in choice["delta"].get("tool_calls", ()):
                    said[choice["index"]] += one["function"]["arguments"]
    assert said == {0: '{"to": "bob@b.io"}', 1: '{"to": "[EMAIL]"}'}


async def test_the_end_of_the_thoughts_does_not_hold_the_answer() -> None:
    deltas = [{"reasoning_content": "so it is."}, *[{"content": f"and {word} "} for word in "abcdefghij"]]
    sent = 0

    async def rest() -> AsyncIterator[Batch]:
        nonlocal sent
        for delta in deltas:
            sent += 1
            yield (Chunk({"choices": [{"index": 0, "delta": delta}]}, raw=b"{}"),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    held = HoldBack((), rest(), REDACT.output, Placeholders(), lambda _hits, _part: None)
    first_content = None
    async for batch in held:
        if first_content is None and any("content" in chunk.data["choices"][0]["delta"] for chunk in batch):
            first_content = sent
    assert first_content is not None
    assert first_content < 8


@pytest.mark.parametrize(
    "deltas",
    [
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": piece}]}
            for piece in ("card 4111 11", "11 1111 1111")
        ],
        [{"content": "see", "annotations": [{"url_citation": {"title": "4111 1111 1111 1111"}}]}],
        [{"content": [{"type": "text", "text": "4111 1111 1111 1111"}]}],
        [{"function_call": {"name": "pay", "arguments": '{"card": "4111 1111 1111 1111"}'}}],
        [{"tool_calls": [{"index": 0, "function": {"name": "bob@example.com", "arguments": "{}"}}]}],
        [{"nobody_knows": {"deep": ["4111 1111 1111 1111"]}}],
    ],
    ids=str,
)
async def test_no_field_of_a_chunk_is_overlooked(deltas: list[dict[str, Any]]) -> None:
    async def rest() -> AsyncIterator[Batch]:
        for delta in deltas:
            yield (Chunk({"choices": [{"index": 0, "delta": delta}]}, raw=b"{}"),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    held = HoldBack((), rest(), REDACT.output, Placeholders(), lambda _hits, _part: None)
    chunks = [chunk async for batch in held for chunk in batch]
    assert "1111 1111" not in str([chunk.data for chunk in chunks])
    assert "bob@" not in str([chunk.data for chunk in chunks])
    assert "[" in "".join(str(chunk.data) for chunk in chunks)


def test_a_callers_own_placeholder_leads_back_to_nothing() -> None:
    placeholders = Placeholders()
    text = "I wrote <EMAIL_1> myself, my mail is bob@example.com"
    placeholders.avoid(["and <email_2> elsewhere"])
    sent = apply(text, placeholders.edits(text, REVERSIBLE.input.look(Part(text))))
    assert sent == "I wrote <EMAIL_1> myself, my mail is <EMAIL_3>"
    assert placeholders.restore("<EMAIL_1> <EMAIL_2> <EMAIL_3>") == "<EMAIL_1> <EMAIL_2> bob@example.com"
