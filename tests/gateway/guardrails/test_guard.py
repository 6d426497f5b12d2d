"""The same words meet the same verdict on every endpoint, dialect and stream flag, wherever they stand."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.gateway.guardrails.guarding import CARD, MAIL, SAID, bodies, guarded, pii, policy
from tests.gateway.serving import KEY, chat
from tests.gateway.upstream import STREAM_HEAD, USAGE, Seen, answer_json, completion, good_stream, http_chunk, stream
from tollkeeper.contracts.guardrails import Action, Direction, Exemption, Mode, OnFailure, RuleUse, When
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.gateway.guardrail import Finding, Part
from tollkeeper.gateway.screen import Screen

PLACES = sorted(bodies(""))
STREAMING = [
    place for place in PLACES if place.split()[0] in {"chat", "completions", "messages", "gemini", "responses"}
]
INPUT, OUTPUT = frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT})


def said(body: bytes) -> str:
    """What an answer says, or its events, put together."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(inner, str) and name in {"content", "text", "delta"}:
                    found.append(inner)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    text = body.decode()
    for line in text.splitlines() if "data: " in text else [text]:
        line = line.removeprefix("data: ")
        if line.startswith(("{", "[{")):
            walk(json.loads(line))
    return "".join(found)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", PLACES)
async def test_what_may_not_pass_is_refused_wherever_it_stands(tmp_path: Path, place: str, is_stream: bool) -> None:
    if is_stream and place not in STREAMING:
        return
    async with guarded(tmp_path, policy(pii(Action.BLOCK))) as (gateway, vendor):
        path, body = bodies(SAID, stream=is_stream)[place]
        response = await gateway.post(path, body)
        assert response.status_code == 400, response.text
        assert "guardrail" in response.text
        assert CARD not in response.text
        assert vendor.seen == []
        assert gateway.settlements == []


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_taken_out_never_reaches_the_vendor(tmp_path: Path, place: str) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT, directions=INPUT))) as (gateway, vendor):
        path, body = bodies(SAID)[place]
        await gateway.post(path, body)
        [seen] = vendor.seen
        sent = seen.body.decode()
        assert CARD not in sent
        assert MAIL not in sent
        assert "[CARD]" in sent
        assert "[EMAIL]" in sent


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", ["chat user", "completions", "messages user", "gemini user", "responses input"])
async def test_an_answer_is_looked_at_too(tmp_path: Path, place: str, is_stream: bool) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT, directions=OUTPUT))) as (gateway, vendor):
        path, body = bodies("hello", stream=is_stream)[place]
        pieces = [SAID[at : at + 5] for at in range(0, len(SAID), 5)]
        if place == "completions":
            vendor.script = (
                stream(*_texts(pieces)) if is_stream else answer_json({**completion("x"), "choices": [_choice(SAID)]})
            )
        else:
            vendor.script = stream(*good_stream(*pieces)) if is_stream else answer_json(completion(SAID))
        response = await gateway.post(path, body)
        assert response.status_code == 200, response.text
        assert "My card is [CARD] and my mail [EMAIL], thanks." in said(response.content)
        [settled] = await gateway.settled()
        assert settled.status is CallStatus.OK


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("place", "ending"),
    [
        ("chat user", '"finish_reason":"content_filter"'),
        ("messages user", '"stop_reason":"refusal"'),
        ("gemini user", '"finishReason":"SAFETY"'),
        ("responses input", "content_filter"),
    ],
)
async def test_a_blocked_answer_ends_as_its_dialect_ends_one(
    tmp_path: Path, place: str, ending: str, is_stream: bool
) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK, directions=OUTPUT))) as (gateway, vendor):
        path, body = bodies("hello", stream=is_stream)[place]
        pieces = [SAID[at : at + 5] for at in range(0, len(SAID), 5)]
        vendor.script = stream(*good_stream(*pieces)) if is_stream else answer_json(completion(SAID))
        response = await gateway.post(path, body)
        assert response.status_code == 200, response.text
        assert ending in response.text.replace('": "', '":"')
        assert CARD not in said(response.content)
        if is_stream:
            # What was said before stands.
            assert said(response.content).startswith("My")
        [settled] = await gateway.settled()
        assert settled.usage.completion_tokens > 0
        assert settled.status is CallStatus.BLOCKED


async def slow_end(_seen: Seen, writer: asyncio.StreamWriter) -> bool:
    """Says it, and tells its bill half a second later."""
    events = good_stream(*[SAID[at : at + 5] for at in range(0, len(SAID), 5)])
    writer.write(STREAM_HEAD + b"".join(http_chunk(one) for one in events[:-3]))
    await writer.drain()
    await asyncio.sleep(0.3)
    writer.write(b"".join(http_chunk(one) for one in events[-3:]) + b"0\r\n\r\n")
    await writer.drain()
    return True


@pytest.mark.parametrize("when", [When.BEFORE, When.DURING])
async def test_what_is_billed_after_a_block_is_read_to_its_end(tmp_path: Path, when: When) -> None:
    """The vendor's own count, not an estimate of what was seen of the answer."""
    of_answer = when is When.BEFORE
    rule = pii(Action.BLOCK, directions=OUTPUT if of_answer else INPUT)
    async with guarded(tmp_path, policy(rule, when=when)) as (gateway, vendor):
        vendor.script = slow_end
        said_by = "hello" if of_answer else SAID
        await gateway.post(body=chat(stream=True, messages=[{"role": "user", "content": said_by}]))
        [settled] = await gateway.settled()
        assert (settled.status, settled.usage.is_estimated) == (CallStatus.BLOCKED, False)
        assert settled.usage.completion_tokens == USAGE["completion_tokens"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", ["chat user", "messages user", "gemini user", "responses input"])
async def test_originals_come_back_to_the_caller_alone(tmp_path: Path, place: str, is_stream: bool) -> None:
    async with guarded(tmp_path, policy(pii(Action.REVERSIBLE, directions=INPUT))) as (gateway, vendor):
        path, body = bodies(SAID, stream=is_stream)[place]
        echo = "You wrote <CARD_1> and <EMAIL_1>; <CARD_9> I do not know."
        pieces = [echo[at : at + 3] for at in range(0, len(echo), 3)]
        vendor.script = stream(*good_stream(*pieces)) if is_stream else answer_json(completion(echo))
        response = await gateway.post(path, body)
        assert f"You wrote {CARD} and {MAIL}; <CARD_9> I do not know." in said(response.content)
        [seen] = vendor.seen
        assert CARD not in seen.body.decode()
        assert "<CARD_1>" in seen.body.decode().replace("\\u003c", "<").replace("\\u003e", ">")


async def test_monitoring_changes_nothing_and_counts(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK), mode=Mode.MONITOR)) as (gateway, vendor):
        response = await gateway.post(body=chat(messages=[{"role": "user", "content": SAID}]))
        assert response.status_code == 200
        assert CARD in vendor.seen[0].body.decode()
        counted = [sample for family in gateway.metrics.registry.collect() for sample in family.samples]
        hits = [
            s for s in counted if s.name == "tollkeeper_guardrail_hits_total" and s.labels["outcome"] == "monitored"
        ]
        assert sum(sample.value for sample in hits) == 2


async def test_unchanged_calls_are_relayed_as_they_came(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT))) as (gateway, vendor):
        body = b'{"model":"gpt-4o-mini",  "messages":[{"role":"user","content":"h\\u00e9"}]}'
        await gateway.post(body=body)
        assert vendor.seen[0].body == body


async def test_labels_can_have_actions_of_their_own(tmp_path: Path) -> None:
    rule = pii(Action.BLOCK, actions={"email": Action.FLAG})
    async with guarded(tmp_path, policy(rule)) as (gateway, _):
        allowed = await gateway.post(body=chat(messages=[{"role": "user", "content": MAIL}]))
        refused = await gateway.post(body=chat(messages=[{"role": "user", "content": CARD}]))
        assert (allowed.status_code, refused.status_code) == (200, 400)
        assert refused.json()["error"]["code"] == "guardrail_blocked"


async def test_levels_add_and_none_takes_away(tmp_path: Path) -> None:
    mild, strict = policy(pii(Action.FLAG), name="mild"), policy(pii(Action.BLOCK), name="strict")
    async with guarded(tmp_path, mild, strict) as (gateway, _):
        response = await gateway.post(body=chat(messages=[{"role": "user", "content": CARD}]))
        assert response.status_code == 400


async def test_a_key_can_be_exempt_until_a_moment(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK))) as (gateway, _):
        key_id = gateway.keys.record(KEY).principal.key_id
        for ends, status in ((time.time() + 600, 200), (time.time() - 1, 400)):
            exempt = policy(pii(Action.BLOCK), exemptions=(Exemption("personal", key_id, ends),))
            snap = gateway.snapshots.snapshot
            [attached] = next(iter(snap.guardrails.values()))
            gateway.snapshots.snapshot = replace(
                snap,
                version=snap.version + 1,
                guardrails={exempt.tenant_id: (replace(attached, policy=exempt),)},
            )
            response = await gateway.post(body=chat(messages=[{"role": "user", "content": CARD}]))
            assert response.status_code == status


async def test_looking_beside_the_call_holds_the_answer(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK, directions=INPUT), when=When.DURING)) as (gateway, vendor):
        refused = await gateway.post(body=chat(messages=[{"role": "user", "content": CARD}]))
        allowed = await gateway.post(body=chat())
        assert (refused.status_code, allowed.status_code) == (400, 200)
        assert refused.json()["error"]["code"] == "guardrail_blocked"
        # Both reached the vendor, and both are accounted for.
        assert len(vendor.seen) == 2
        assert len(await gateway.settled(2)) == 2


class NoSettings(BaseModel):
    pass


class Broken:
    NAME = "broken"
    TITLE = "Raises"
    Settings = NoSettings
    WINDOW = 10

    def __init__(self, settings: NoSettings) -> None:
        del settings

    def check(self, part: Part) -> list[Finding]:
        raise RuntimeError("no idea")


@pytest.mark.parametrize("on_failure", [OnFailure.BLOCK, OnFailure.FLAG])
def test_a_rule_that_cannot_say_is_no_pass(on_failure: OnFailure) -> None:
    screen = Screen([policy(RuleUse("broken", "broken", on_failure=on_failure))], {"broken": Broken})
    [hit] = screen.input.look(Part("hello"))
    assert hit.is_blocking is (on_failure is OnFailure.BLOCK)


def _choice(text: str) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}


def _texts(pieces: list[str]) -> list[bytes]:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-4o-mini"}
    events = [{**head, "choices": [{"index": 0, "text": piece, "finish_reason": None}]} for piece in pieces]
    events.append({**head, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    events.append({**head, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}})
    return [b"data: " + json.dumps(one).encode() + b"\n\n" for one in events] + [b"data: [DONE]\n\n"]


async def test_log_probabilities_do_not_spell_out_what_was_taken_out(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT, directions=OUTPUT))) as (gateway, vendor):
        answer = completion(SAID)
        tokens = [{"token": word, "logprob": -0.1, "bytes": None, "top_logprobs": []} for word in SAID.split(" ")]
        answer["choices"][0]["logprobs"] = {"content": tokens}
        vendor.script = answer_json(answer)
        response = await gateway.post(body=chat(logprobs=True))
        assert response.status_code == 200
        assert MAIL not in response.text
        assert response.json()["choices"][0]["logprobs"] is None
