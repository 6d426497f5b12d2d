"""What only tells holds nothing back, and is told all the same; what is tried is told what would have been asked."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.gateway.guardrails.guarding import policy
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT
from tollkeeper.contracts.chat import Batch, Chunk
from tollkeeper.contracts.guardrails import Action, Direction, GuardrailPolicy, RuleUse, TriedText
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.guard_trial import GuardTrial
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.hold_back import HoldBack
from tollkeeper.gateway.placeholders import Placeholders
from tollkeeper.gateway.screen import Hit, Screen

WORDS = ["some words " for _ in range(2_000)]
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_a_rule_over_the_whole_that_only_tells_sees_the_whole_and_holds_nothing() -> None:
    uses = RuleUse("long", "length", Action.FLAG, settings={"most_characters": 15_000}), RuleUse("pii", "pii")
    lane = Screen([policy(*uses)], RULES).output
    sent = 0

    async def rest() -> AsyncIterator[Batch]:
        nonlocal sent
        for word in WORDS:
            sent += 1
            yield (Chunk({"choices": [{"index": 0, "delta": {"content": word}}]}, raw=b"{}"),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    told: list[tuple[str, int]] = []

    def tell(hits: Any, part: Part) -> None:
        told.extend((hit.finding.label, len(part.text)) for hit in hits)

    first = None
    said = ""
    async for batch in HoldBack((), rest(), lane, Placeholders(), tell):
        first = sent if first is None else first
        said += "".join(chunk.data["choices"][0]["delta"].get("content", "") for chunk in batch)
    assert said == "".join(WORDS)
    assert first is not None
    assert first < 5
    assert told == [("too_long", len(said))]


async def test_a_rule_over_the_whole_that_acts_is_asked_once_and_not_at_each_chunk() -> None:
    lane = Screen([policy(RuleUse("long", "length", settings={"most_characters": 100_000}))], RULES).output
    looked = 0
    look = lane.look

    def counting(part: Part) -> list[Hit]:
        nonlocal looked
        looked += 1
        return look(part)

    lane.look = counting  # type: ignore[method-assign]

    async def rest() -> AsyncIterator[Batch]:
        for word in WORDS:
            yield (Chunk({"choices": [{"index": 0, "delta": {"content": word}}]}, raw=b"{}"),)
        yield (Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, is_final=True),)

    said = ""
    async for batch in HoldBack((), rest(), lane, Placeholders(), lambda _hits, _part: None):
        said += "".join(chunk.data["choices"][0]["delta"].get("content", "") for chunk in batch)
    assert said == "".join(WORDS)
    assert looked == 1


def webhook(**settings: Any) -> RuleUse:
    return RuleUse("judge", "webhook", settings={"url": "https://judge.example.com/", "secret": SECRET, **settings})


async def test_a_trial_says_whom_it_did_not_ask() -> None:
    asked = TriedText("hello", "text", "user", Direction.INPUT)
    tried = await GuardTrial().test(asked, [policy(webhook())], EMPTY_SNAPSHOT, UUID(int=1), "")
    assert [(one.label, one.is_monitored) for one in tried.findings] == [("not_asked", True)]
    assert tried.action is None


async def test_a_trial_looks_at_an_answer_as_at_one() -> None:
    schema = RuleUse("form", "json_schema", settings={"answer": {"type": "object"}})
    asked = TriedText("no object", "text", "assistant", Direction.OUTPUT)
    tried = await GuardTrial().test(asked, [policy(schema)], EMPTY_SNAPSHOT, UUID(int=1), "")
    assert [one.label for one in tried.findings] == ["not_json"]


@pytest.mark.parametrize(
    "use", [webhook(allow_private_address=True), RuleUse("harm", "moderation", settings={"provider": "openai"})]
)
async def test_what_is_the_operators_is_refused_to_all_others(use: RuleUse) -> None:
    stored = GuardrailPolicy(UUID(int=2), "house", 1, (use,), tenant_id=UUID(int=1))
    [(place, fault)] = GuardTrial().faults(stored)
    assert (place, "only the operator's file" in fault) == (0, True)
    filed = GuardrailPolicy(UUID(int=2), "house", 1, (use,), is_managed_by_file=True)
    assert GuardTrial().faults(filed) == []
    asked = TriedText("hello", "text", "user", Direction.INPUT)
    with pytest.raises(BadRequest, match="only the operator"):
        await GuardTrial().test(asked, [stored], EMPTY_SNAPSHOT, UUID(int=1), "")


def test_patterns_that_together_would_keep_every_call_waiting_are_refused() -> None:
    """Each of them runs; fifty took half a minute for twenty kilobytes, in which nobody else was served."""
    heavy = {f"p{number}": f"[a-z]{{1,900}}[0-9]{{1,90}}q{number}" for number in range(50)}
    apart = [RuleUse(f"r{name}", "regex", settings={"patterns": {name: heavy[name]}}) for name in list(heavy)[:8]]
    for rules in ([RuleUse("evil", "regex", settings={"patterns": heavy})], apart):
        [(_, fault)] = GuardTrial().faults(policy(*rules))
        assert "shorter repeats" in fault
    usual = {f"p{number}": rf"(?i)\bproject[ -]?(falke|x){number}\b" for number in range(100)}
    assert GuardTrial().faults(policy(RuleUse("names", "regex", settings={"patterns": usual}))) == []


def test_patterns_too_large_together_are_refused_with_their_reason() -> None:
    heavy = {f"p{number}": f"[^a]{{1,300}}é[^b]{{1,300}}q{number}" for number in range(100)}
    [(_, fault)] = GuardTrial().faults(policy(RuleUse("evil", "regex", settings={"patterns": heavy})))
    assert "too large" in fault
