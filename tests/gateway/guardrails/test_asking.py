"""Rules that ask somebody else: what they send, what their verdicts come to, and what their silence does."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.gateway.guardrails.guarding import CARD, MAIL, SAID, bodies, guarded, pii, policy
from tests.gateway.guardrails.test_guard import said
from tests.gateway.serving import Serving, chat, provider
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    Seen,
    answer,
    answer_json,
    completion,
    good_stream,
    running_upstream,
    silent,
    stream,
)
from tollkeeper.contracts.guardrails import Action, Direction, Mode, OnFailure, RuleUse, When
from tollkeeper.gateway.guardrails.webhook import WebhookSettings

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
INPUT, OUTPUT = frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT})
PASS = answer_json({"verdict": "pass"})


def verdict(judge: Callable[[list[str]], dict[str, Any]]) -> Script:
    """Answers by the texts of the question."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        document = judge([text["text"] for text in seen.json()["texts"]])
        return await answer_json(document)(seen, writer)

    return script


def against(word: str, how: str) -> Script:
    def judge(texts: list[str]) -> dict[str, Any]:
        found = [
            {"text": place, "start": text.index(word), "end": text.index(word) + len(word), "label": "word"}
            for place, text in enumerate(texts)
            if word in text
        ]
        return {"verdict": how, "findings": found} if found else {"verdict": "pass"}

    return verdict(judge)


@asynccontextmanager
async def asked(
    folder: Path,
    *more: RuleUse,
    settings: dict[str, Any] | None = None,
    rule: dict[str, Any] | None = None,
    **fields: Any,
) -> AsyncIterator[tuple[Serving, FakeUpstream, FakeUpstream]]:
    """The gateway, the vendor, and who is asked."""
    async with running_upstream() as judge:
        judge.script = PASS
        url = f"{judge.base_url}/check"
        given = {"url": url, "secret": SECRET, "allow_private_address": True, **(settings or {})}
        # A machine may be slow: those deadlines that are to pass are given.
        use = RuleUse("judge", "webhook", settings=given, **{"deadline_seconds": 60.0, **(rule or {})})
        house = replace(policy(*more, use, **fields), is_managed_by_file=True)
        async with guarded(folder, house) as (gateway, vendor):
            yield gateway, vendor, judge


def user(text: str, **fields: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": text}], **fields)


async def test_a_question_is_signed_and_holds_every_text_of_the_call(tmp_path: Path) -> None:
    async with asked(tmp_path, rule={"directions": INPUT}) as (gateway, vendor, judge):
        messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "héllo\U0001f600 there"}]
        response = await gateway.post(body=chat(messages=messages))
        assert response.status_code == 200
        [seen] = judge.seen
        sent = f"{seen.header('webhook-id')}.{seen.header('webhook-timestamp')}.".encode() + seen.body
        signature = base64.b64encode(hmac.digest(bytes(range(32)), sent, "sha256")).decode()
        assert seen.header("webhook-signature") == f"v1,{signature}"
        question = seen.json()
        assert (question["type"], question["direction"], question["is_final"]) == ("guardrail.check", "input", True)
        assert question["request_id"] == response.headers["x-request-id"]
        assert [(text["role"], text["text"]) for text in question["texts"]] == [
            ("system", "be kind"),
            ("user", "héllo\U0001f600 there"),
        ]
        assert SECRET not in str(seen.headers) + seen.body.decode()
        assert len(vendor.seen) == 1


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", ["chat user", "messages user", "gemini user", "responses input"])
async def test_verdicts_hold_on_the_way_in_and_out(tmp_path: Path, place: str, is_stream: bool) -> None:
    async with asked(tmp_path) as (gateway, vendor, judge):
        judge.script = against("Falke", "block")
        path, body = bodies("tell me of Falke", stream=is_stream)[place]
        refused = await gateway.post(path, body)
        assert refused.status_code == 400, refused.text
        assert vendor.seen == []
        path, body = bodies("tell me of birds", stream=is_stream)[place]
        text = "There was one called Falke, long ago."
        pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
        for how, expected in (("redact", "There was one called [WORD], long ago."), ("flag", text), ("block", "")):
            judge.script = against("Falke", how)
            vendor.script = stream(*good_stream(*pieces)) if is_stream else answer_json(completion(text))
            response = await gateway.post(path, body)
            assert response.status_code == 200, response.text
            if how == "block":
                assert "Falke" not in response.text
            else:
                assert expected in said(response.content)


async def test_a_stream_can_be_asked_about_in_pieces(tmp_path: Path) -> None:
    text = "word " * 200 + "Falke " + "more " * 200
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    async with asked(tmp_path, settings={"stream_characters": 200}, rule={"directions": OUTPUT}) as (
        gateway,
        vendor,
        judge,
    ):
        for how, expected in (("redact", text.replace("Falke", "[WORD]")), ("flag", text)):
            judge.seen.clear()
            judge.script = against("Falke", how)
            vendor.script = stream(*good_stream(*pieces))
            response = await gateway.post(body=user("hello", stream=True))
            assert said(response.content) == expected
            assert len(judge.seen) > 5
            assert all(len(text["text"]) < 1_000 for seen in judge.seen for text in seen.json()["texts"])
        judge.script = against("Falke", "block")
        vendor.script = stream(*good_stream(*pieces))
        response = await gateway.post(body=user("hello", stream=True))
        shown = said(response.content)
        assert shown.startswith("word word")
        assert "Falke" not in shown
        assert '"finish_reason":"content_filter"' in response.text.replace('": "', '":"')


async def test_what_is_taken_out_is_told_nobody_outside(tmp_path: Path) -> None:
    rules = (RuleUse("personal", "pii", Action.REVERSIBLE), RuleUse("keys", "secrets", Action.REDACT))
    async with asked(tmp_path, *rules) as (gateway, vendor, judge):
        judge.script = against("thanks", "redact")
        vendor.script = answer_json(completion(f"I see <CARD_1>, and {CARD}."))
        response = await gateway.post(body=user(SAID))
        assert response.status_code == 200
        heard = "".join(seen.body.decode() for seen in judge.seen)
        assert CARD not in heard
        assert MAIL not in heard
        # What they found behind a placeholder is found in its own place.
        sent = vendor.seen[0].json()["messages"][0]["content"]
        assert sent == "My card is <CARD_1> and my mail <EMAIL_1>, [WORD]."


async def test_a_policy_says_the_most_that_a_verdict_does(tmp_path: Path) -> None:
    for action, actions, status in (
        (Action.FLAG, {}, 200),
        (Action.BLOCK, {"word": Action.FLAG}, 200),
        (Action.BLOCK, {}, 400),
    ):
        async with asked(tmp_path, rule={"action": action, "actions": actions}) as (gateway, _, judge):
            judge.script = against("Falke", "block")
            response = await gateway.post(body=user("about Falke"))
            assert response.status_code == status


GARBAGE = {
    "a refusal": answer_json({"verdict": "pass"}, status=500),
    "a redirect": answer(302, b"", [("location", "http://127.0.0.1/")]),
    "no JSON": answer(200, b"<html>"),
    "another JSON": answer_json([1, 2]),
    "an unknown verdict": answer_json({"verdict": "maybe"}),
    "a place that is not there": answer_json(
        {"verdict": "block", "findings": [{"text": 0, "start": 0, "end": 10_000}]}
    ),
    "a text that is not there": answer_json({"verdict": "block", "findings": [{"text": 99}]}),
    "an end before its start": answer_json({"verdict": "block", "findings": [{"start": 3, "end": 1}]}),
    "a strange label": answer_json({"verdict": "block", "findings": [{"label": "x\ny"}]}),
    "a pass that found something": answer_json({"verdict": "pass", "findings": [{"text": 0}]}),
    "nothing to take out": answer_json({"verdict": "redact"}),
    "too much": answer(200, b'{"verdict": "pass", "x": "' + b"x" * 400_000 + b'"}'),
    "not utf-8": answer(200, b'{"verdict": "\xff\xfe"}'),
}


@pytest.mark.parametrize("on_failure", [OnFailure.BLOCK, OnFailure.FLAG])
@pytest.mark.parametrize("garbage", sorted(GARBAGE))
async def test_nonsense_is_no_pass(tmp_path: Path, garbage: str, on_failure: OnFailure) -> None:
    async with asked(tmp_path, rule={"on_failure": on_failure, "directions": INPUT}) as (gateway, vendor, judge):
        judge.script = GARBAGE[garbage]
        response = await gateway.post(body=user("hello"))
        assert response.status_code == (400 if on_failure is OnFailure.BLOCK else 200), response.text
        assert len(vendor.seen) == (on_failure is OnFailure.FLAG)
        if on_failure is OnFailure.BLOCK:
            assert response.json()["error"]["code"] == "guardrail_blocked"
            assert response.json()["error"]["label"] == "scanner_failed"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("direction", list(Direction))
async def test_whoever_hangs_is_waited_for_no_longer_than_its_deadline(
    tmp_path: Path, direction: Direction, is_stream: bool
) -> None:
    rule = {"directions": frozenset({direction}), "deadline_seconds": 0.3}
    async with asked(tmp_path, rule=rule) as (gateway, vendor, judge):
        judge.script = silent(30)
        vendor.script = stream(*good_stream("he", "llo")) if is_stream else answer_json(completion("hello"))
        response = await gateway.post(body=user("hello", stream=is_stream))
        if direction is Direction.INPUT:
            assert response.status_code == 400
        else:
            assert '"finish_reason":"content_filter"' in response.text.replace('": "', '":"')
            assert "llo" not in response.text


async def test_all_are_asked_at_once(tmp_path: Path) -> None:
    """Each waits for the other: one after another they would wait for ever."""
    both = asyncio.Event()
    count = 0

    async def together(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        nonlocal count
        count += 1
        if count == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 50)
        return await PASS(seen, writer)

    async with running_upstream() as judge:
        judge.script = together
        given = {"url": f"{judge.base_url}/check", "secret": SECRET, "allow_private_address": True}
        uses = [RuleUse(f"judge{n}", "webhook", settings=given, directions=INPUT, deadline_seconds=60) for n in (1, 2)]
        async with guarded(tmp_path, replace(policy(*uses), is_managed_by_file=True)) as (gateway, _):
            response = await gateway.post(body=user("hello"))
            assert (response.status_code, count) == (200, 2)


async def test_beside_the_call_nothing_leaves_before_the_verdict(tmp_path: Path) -> None:
    asked_for = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        asked_for.set()
        # Only once the vendor has the call.
        for _ in range(3_000):
            if vendor.seen:
                break
            await asyncio.sleep(0.01)
        return await against("Falke", "block")(seen, writer)

    rule = {"directions": INPUT, "action": Action.BLOCK}
    async with asked(tmp_path, rule={**rule, "actions": {}}, when=When.DURING) as (gateway, vendor, judge):
        # A verdict may change what is sent, so this one has to come before.
        judge.script = against("Falke", "block")
        await gateway.post(body=user("about Falke"))
        assert vendor.seen == []
    async with asked(tmp_path, rule=rule, settings={"may_redact": False}, when=When.DURING) as (gateway, vendor, judge):
        judge.script = script
        refused = await gateway.post(body=user("about Falke"))
        passed = await gateway.post(body=user("about birds"))
        assert (refused.status_code, passed.status_code) == (400, 200)
        assert asked_for.is_set()
        assert len(vendor.seen) == 2


async def test_rules_that_are_not_drawn_are_not_asked(tmp_path: Path) -> None:
    async with asked(tmp_path, rule={"sample_millionths": 0}) as (gateway, _, judge):
        assert (await gateway.post(body=user("hello"))).status_code == 200
        assert judge.seen == []


async def test_monitoring_asks_and_lets_pass(tmp_path: Path) -> None:
    async with asked(tmp_path, mode=Mode.MONITOR) as (gateway, _, judge):
        judge.script = against("Falke", "block")
        response = await gateway.post(body=user("about Falke"))
        assert response.status_code == 200
        assert len(judge.seen) == 2


async def test_only_the_operator_leads_inside(tmp_path: Path) -> None:
    async with running_upstream() as judge:
        judge.script = PASS
        given = {"url": f"{judge.base_url}/check", "secret": SECRET, "allow_private_address": True}
        use = RuleUse("judge", "webhook", settings=given, deadline_seconds=60)
        async with guarded(tmp_path, policy(use)) as (gateway, vendor):
            response = await gateway.post(body=user("hello"))
            assert response.status_code == 400
            assert judge.seen == []
            assert vendor.seen == []


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://example.com/check"},
        {"url": "https://user@example.com/"},
        {"url": "ftp://example.com"},
        {"secret": ""},
        {"secret": "whsec_"},
        {"secret": "whsec_c2hvcnQ="},
        {"secret": "A" * 64},
    ],
)
def test_settings_that_would_be_unsafe_are_refused_and_not_repeated(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSettings.model_validate({"url": "https://example.com/check", "secret": SECRET, **fields})
    assert SECRET not in str(refused.value)
    assert not fields.get("secret") or fields["secret"] not in str(refused.value) or fields["secret"] == "whsec_"


def test_a_secret_is_in_no_rendering_of_the_settings() -> None:
    settings = WebhookSettings.model_validate({"url": "https://example.com/check", "secret": SECRET})
    assert SECRET not in repr(settings) + settings.model_dump_json()
    assert WebhookSettings.model_json_schema()["properties"]["secret"]["writeOnly"] is True
    assert SECRET not in repr(RuleUse("judge", "webhook", settings={"secret": SECRET}))


def moderated(*flags: dict[str, float]) -> Script:
    """Flags from a half on."""
    results = [
        {"flagged": any(s >= 0.5 for s in one.values()), "categories": {k: s >= 0.5 for k, s in one.items()}, "category_scores": one}
        for one in flags
    ]  # fmt: skip
    return answer_json({"id": "modr-1", "model": "omni", "results": results})


@pytest.mark.parametrize(
    ("settings", "scores", "status"),
    [
        ({}, {"violence": 0.9, "self-harm/intent": 0.1}, 400),
        ({}, {"violence": 0.1, "self-harm/intent": 0.1}, 200),
        ({"thresholds": {"violence": 0.95}}, {"violence": 0.9}, 200),
        ({"thresholds": {"self-harm/intent": 0.05}}, {"violence": 0.1, "self-harm/intent": 0.1}, 400),
        ({"only": ["hate"]}, {"violence": 0.9, "hate": 0.1}, 200),
    ],
)
@pytest.mark.parametrize("by_provider", [False, True], ids=["a model of ours", "a provider"])
async def test_a_moderation_endpoint_is_held_to_thresholds(
    tmp_path: Path, settings: dict[str, Any], scores: dict[str, float], status: int, by_provider: bool
) -> None:
    async with running_upstream() as moderator:
        moderator.script = moderated(scores)
        given = {"model": "gpt-4o-mini", **settings}
        if by_provider:
            given = {"model": "omni-moderation-latest", "provider": "moderator", **settings}
        use = RuleUse("harm", "moderation", settings=given, directions=INPUT, deadline_seconds=60)
        async with guarded(tmp_path, replace(policy(use), is_managed_by_file=True)) as (gateway, vendor):
            snap = gateway.snapshots.snapshot
            name = "moderator" if by_provider else "one"
            there = {**snap.providers, name: provider(name, moderator.base_url)}
            gateway.snapshots.snapshot = replace(snap, version=2, providers=there)
            if not by_provider:
                # The call itself goes elsewhere.
                path, body = bodies("some words", stream=False)["messages user"]
                response = await gateway.post(path, {**body, "model": "claude"})
                del vendor
                refused = response.status_code == 400
                assert refused is (status == 400), response.text
            else:
                response = await gateway.post(body=user("some words"))
                assert response.status_code == status, response.text
            [seen] = moderator.seen
            assert seen.path.endswith("/moderations")
            assert seen.json() == {"model": given["model"], "input": ["some words"]}


@pytest.mark.parametrize(
    "script",
    [
        answer_json({"results": []}),
        answer_json({"results": [{"flagged": True}]}),
        answer_json({"results": [{"categories": {"hate": "yes"}}]}),
        answer_json({"error": {}}, status=500),
    ],
)
async def test_a_moderation_that_is_none_is_no_pass(tmp_path: Path, script: Script) -> None:
    async with running_upstream() as moderator:
        moderator.script = script
        use = RuleUse("harm", "moderation", settings={"provider": "moderator"}, directions=INPUT, deadline_seconds=60)
        async with guarded(tmp_path, replace(policy(use), is_managed_by_file=True)) as (gateway, vendor):
            snap = gateway.snapshots.snapshot
            there = {**snap.providers, "moderator": provider("moderator", moderator.base_url)}
            gateway.snapshots.snapshot = replace(snap, version=2, providers=there)
            response = await gateway.post(body=user("some words"))
            assert response.status_code == 400, response.text
            assert vendor.seen == []


async def test_nothing_of_a_text_is_logged_when_a_rule_cannot_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with asked(tmp_path, pii(Action.FLAG)) as (gateway, _, judge):
        judge.script = answer_json({"verdict": "Falke in the answer"})
        await gateway.post(body=user("about Falke in the question"))
    logged = capsys.readouterr()
    assert "guardrail_failed" in logged.out + logged.err
    assert "Falke" not in logged.out + logged.err
    assert json.dumps(SECRET)[1:-1] not in logged.out + logged.err
