"""The cache behind the guard: what may not be said is not kept, and what was looked at is not looked at twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cache.caching import HEADER, Worker, attached, before, policy, worker
from tests.gateway.guardrails.guarding import CARD, MAIL, pii
from tests.gateway.guardrails.guarding import policy as rules
from tests.gateway.serving import TENANT, chat
from tests.gateway.upstream import FakeUpstream, answer_json, completion, good_stream, stream
from tollkeeper.contracts.guardrails import Action, Attachment, Direction, GuardrailPolicy, Level
from tollkeeper.gateway.screen import Lane

INPUT, OUTPUT = frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT})
PIECES = ("My mail ", "is bob@exa", "mple.com", ", thanks.")


@asynccontextmanager
async def guarded(folder: Path, vendor: FakeUpstream, *policies: GuardrailPolicy) -> AsyncIterator[Worker]:
    snap = replace(before(vendor, attached(policy())), guardrails=holding(*policies))
    async with worker(folder, snap, None) as one:
        yield one


def holding(*policies: GuardrailPolicy) -> dict[Any, tuple[Attachment, ...]]:
    return {TENANT: tuple(Attachment(one, Level.TENANT, TENANT) for one in policies)}


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": text}], **fields)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_that_was_stopped_is_not_kept(tmp_path: Path, vendor: FakeUpstream, *, is_stream: bool) -> None:
    vendor.script = stream(*good_stream("It is ", CARD)) if is_stream else answer_json(completion(f"It is {CARD}"))
    async with guarded(tmp_path, vendor, rules(pii(Action.BLOCK, directions=OUTPUT))) as one:
        for _ in range(2):
            answer = await one.ask(json=chat(stream=is_stream))
            assert "content_filter" in answer.text
            assert answer.headers[HEADER] == "miss"
        assert len(one.memory) == 0


async def test_a_call_that_is_refused_is_not_looked_for(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with guarded(tmp_path, vendor, rules(pii(Action.BLOCK, directions=INPUT))) as one:
        answer = await one.ask(json=asking(f"My card is {CARD}."))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "guardrail_blocked")
        assert HEADER not in answer.headers


async def test_what_is_put_back_for_one_caller_is_given_to_nobody(tmp_path: Path, vendor: FakeUpstream) -> None:
    """Two originals with one placeholder: to the provider they are the same call."""
    vendor.script = answer_json(completion("I wrote to <EMAIL_1>."))
    async with guarded(tmp_path, vendor, rules(pii(Action.REVERSIBLE))) as one:
        for name in ("ann", "bob", "ann"):
            answer = await one.ask(json=asking(f"Write to {name}@example.com."))
            assert answer.headers[HEADER] == "bypass"
            assert f"{name}@example.com" in answer.text
        assert len(vendor.seen) == 3
        assert len(one.memory) == 0


@pytest.mark.parametrize("is_stream", [False, True])
async def test_what_passed_the_rules_is_not_looked_at_again(
    tmp_path: Path, vendor: FakeUpstream, monkeypatch: pytest.MonkeyPatch, *, is_stream: bool
) -> None:
    vendor.script = stream(*good_stream(*PIECES)) if is_stream else answer_json(completion("".join(PIECES)))
    looked: list[Direction] = []
    look = Lane.look

    def noted(self: Lane, part: Any) -> Any:
        looked.append(part.direction)
        return look(self, part)

    monkeypatch.setattr(Lane, "look", noted)
    made = rules(pii(Action.REDACT))
    async with guarded(tmp_path, vendor, made) as one:
        first = await one.ask(json=chat(stream=is_stream))
        assert MAIL not in first.text
        assert Direction.OUTPUT in looked
        looked.clear()
        again = await one.ask(json=chat(stream=is_stream))
        assert again.headers[HEADER] == "exact"
        assert (MAIL in again.text, "[EMAIL]" in again.text) == (False, True)
        assert Direction.OUTPUT not in looked
        # Another version of the rules looks for itself.
        snap = one.gateway.snapshots.snapshot
        changed = holding(replace(made, version=2))
        one.gateway.snapshots.snapshot = replace(snap, version=snap.version + 1, guardrails=changed)
        again = await one.ask(json=chat(stream=is_stream))
        assert again.headers[HEADER] == "exact"
        assert Direction.OUTPUT in looked


async def test_an_answer_from_before_the_rules_is_looked_at(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion(f"It is {CARD}."))
    async with guarded(tmp_path, vendor) as one:
        assert CARD in (await one.ask()).text
        snap = one.gateway.snapshots.snapshot
        now = holding(rules(pii(Action.BLOCK, directions=OUTPUT)))
        one.gateway.snapshots.snapshot = replace(snap, version=snap.version + 1, guardrails=now)
        answer = await one.ask()
        assert answer.headers[HEADER] == "exact"
        assert CARD not in answer.text
        assert "content_filter" in answer.text


async def test_rules_that_look_at_some_answers_vouch_for_none(tmp_path: Path, vendor: FakeUpstream) -> None:
    """What one call was not drawn for, another one may be."""
    vendor.script = answer_json(completion(f"It is {MAIL}."))
    sampled = rules(pii(Action.REDACT, directions=OUTPUT, sample_millionths=0))
    async with guarded(tmp_path, vendor, sampled) as one:
        assert MAIL in (await one.ask()).text
        snap = one.gateway.snapshots.snapshot
        always = replace(sampled, rules=(replace(sampled.rules[0], sample_millionths=1_000_000),), version=2)
        one.gateway.snapshots.snapshot = replace(snap, version=snap.version + 1, guardrails=holding(always))
        answer = await one.ask()
        assert answer.headers[HEADER] == "exact"
        assert MAIL not in answer.text
