"""What is noted of a find: by rule and label, off the calls' way, bounded, without the text unless it may be kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.gateway.guardrails.guarding import SAID, guarded, pii, policy
from tests.gateway.serving import KEY, Serving, chat
from tollkeeper.contracts.guardrails import Action, Direction, GuardrailEvent, Mode
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway import guard_events
from tollkeeper.gateway.guard_events import GuardEvents


class Sink:
    def __init__(self) -> None:
        self.written: list[GuardrailEvent] = []
        self.error: Exception | None = None

    async def write(self, events: Sequence[GuardrailEvent]) -> None:
        if self.error is not None:
            raise self.error
        self.written += events


def noting() -> tuple[GuardEvents, Sink, CollectorRegistry]:
    sink, registry = Sink(), CollectorRegistry()
    return GuardEvents(sink, registry), sink, registry


async def say(gateway: Serving, **fields: Any) -> int:
    return (await gateway.post(body=chat(messages=[{"role": "user", "content": SAID}], **fields))).status_code


def dropped(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("tollkeeper_guardrail_events_dropped_total")


async def test_a_find_is_noted_with_all_but_the_text(tmp_path: Path) -> None:
    events, sink, _ = noting()
    made = policy(pii(Action.REDACT), name="house")
    async with guarded(tmp_path, made, guard_events=events) as (gateway, _vendor):
        assert await say(gateway) == 200
        await events.flush()
        who = gateway.keys.record(KEY).principal
    noted = [one for one in sink.written if one.direction is Direction.INPUT]
    assert {one.label for one in noted} == {"card", "email"}
    (card,) = [one for one in noted if one.label == "card"]
    assert (card.tenant_id, card.key_id, card.model) == (who.tenant_id, who.key_id, "gpt-4o-mini")
    assert (card.policy, card.policy_id, card.rule, card.action) == ("house", made.id, "personal", Action.REDACT)
    assert (card.place, card.role, card.times, card.is_monitored, card.text) == ("text", "user", 1, False, None)


@pytest.mark.parametrize(("logging", "kept"), [("full", True), ("metadata", False), ("none", None)])
async def test_a_text_is_kept_where_the_policy_and_the_tenants_logging_both_say_so(
    tmp_path: Path, logging: str, kept: bool | None
) -> None:
    events, sink, _ = noting()
    made = policy(pii(Action.BLOCK), keeps_text=True, mode=Mode.MONITOR)
    async with guarded(tmp_path, made, guard_events=events) as (gateway, _vendor):
        record = gateway.keys.record(KEY)
        gateway.keys.records = {
            name: replace(one, principal=replace(record.principal, logging_policy=logging))
            for name, one in gateway.keys.records.items()
        }
        assert await say(gateway) == 200
        await events.flush()
    if kept is None:
        assert sink.written == []
        return
    texts = {one.text for one in sink.written if one.direction is Direction.INPUT}
    assert texts == ({"4111 1111 1111 1111", "bob@example.com"} if kept else {None})
    assert all(one.is_monitored for one in sink.written)


async def test_what_finds_the_queue_full_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_events, "MAX_WAITING", 3)
    events, sink, registry = noting()
    async with guarded(tmp_path, policy(pii(Action.BLOCK)), guard_events=events) as (gateway, _vendor):
        sink.error = DependencyUnavailable("away")
        for _ in range(2):
            assert await say(gateway) == 400
            with pytest.raises(DependencyUnavailable):
                await events.flush()
        assert dropped(registry) == 1
        sink.error = None
        await events.flush()
        assert len(sink.written) == 3


async def test_what_can_never_be_written_is_not_tried_for_ever(tmp_path: Path) -> None:
    events, sink, registry = noting()
    async with guarded(tmp_path, policy(pii(Action.BLOCK)), guard_events=events) as (gateway, _vendor):
        assert await say(gateway) == 400
        sink.error = ValueError("no")
        with pytest.raises(ValueError, match="no"):
            await events.flush()
        sink.error = None
        await events.flush()
    assert (sink.written, dropped(registry)) == ([], 2)
