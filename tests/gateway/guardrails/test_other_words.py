"""Words beside the texts of a call: names of its files, what a vendor says when it refuses or breaks off, training data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from openai import BadRequestError

from tests.gateway.forms import TYPE, transcription
from tests.gateway.guardrails.guarding import MAIL, guarded, pii, policy
from tests.gateway.passthrough.test_fine_tuning import Tuned, tuned
from tests.gateway.serving import TENANT, chat
from tests.gateway.upstream import FakeUpstream, Script, answer_json, event, good_stream, stream
from tollkeeper.contracts.guardrails import Action, Attachment, Direction, GuardrailPolicy, Level, When
from tollkeeper.gateway.multipart import read_form, rename_files

INPUT, OUTPUT = frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT})
NAME = f"talk with {MAIL}.wav"


@pytest.mark.parametrize("when", [When.BEFORE, When.DURING])
async def test_the_name_of_a_file_is_looked_at(tmp_path: Path, when: When) -> None:
    body = transcription(b"RIFF\r\n\x00\xff").replace(b"sound.wav", NAME.encode())
    path = "/v1/audio/transcriptions"
    async with guarded(tmp_path, policy(pii(Action.BLOCK, directions=INPUT), when=when)) as (gateway, vendor):
        vendor.script = answer_json({"text": "hello"})
        response = await gateway.post(path, body.replace(b"whisper-1", b"gpt-4o-mini"), headers=TYPE)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "guardrail_blocked"
        assert bool(vendor.seen) is (when is When.DURING)


async def test_a_file_goes_out_under_another_name_and_with_the_same_bytes(tmp_path: Path) -> None:
    sound = b"RIFF\r\n--x\r\n\x00\xff" * 50
    body = transcription(sound).replace(b"sound.wav", NAME.encode()).replace(b"whisper-1", b"gpt-4o-mini")
    async with guarded(tmp_path, policy(pii(Action.REDACT, directions=INPUT))) as (gateway, vendor):
        vendor.script = answer_json({"text": "hello"})
        response = await gateway.post("/v1/audio/transcriptions", body, headers=TYPE)
        assert response.status_code == 200, response.text
        [seen] = vendor.seen
        assert MAIL.encode() not in seen.body
        form = read_form(seen.body, {b"content-type": (seen.header("content-type") or "").encode()})
        [file] = [part for part in form.parts if part.is_file]
        # The whole word is the address, as it stands there without a space before its ending.
        assert (file.filename or "").startswith("talk with [EMAIL]")
        assert bytes(form.view(file)) == sound
        assert form.values["model"] == "gpt-4o-mini"


def test_no_name_ends_its_own_head() -> None:
    form = read_form(transcription(b"abc"), {name.encode(): value.encode() for name, value in TYPE.items()})
    renamed = rename_files(form, ["", 'a"; filename="b\r\n\r\nevil\\'])
    [file] = [part for part in renamed.parts if part.is_file]
    assert file.filename == "a_; filename=_b____evil_"
    assert bytes(renamed.view(file)) == b"abc"
    assert renamed.values == form.values


def failing(status: int) -> Script:
    error = {"message": f"{MAIL} is over its quota", "type": "invalid_request_error", "code": f"who_{MAIL}"}
    return answer_json({"error": error}, status=status)


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REDACT])
@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_a_refusal_of_the_vendor_is_looked_at(
    tmp_path: Path, action: Action, status: int, is_stream: bool
) -> None:
    async with guarded(tmp_path, policy(pii(action, directions=OUTPUT))) as (gateway, vendor):
        vendor.script = failing(status)
        response = await gateway.post(body=chat(stream=is_stream))
        assert response.status_code >= 400
        assert MAIL not in response.text
        if status == 400:
            expected = "[EMAIL] is over its quota" if action is Action.REDACT else "a guardrail keeps back what it said"
            assert expected in response.text


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REDACT])
async def test_an_error_within_a_stream_is_looked_at(tmp_path: Path, action: Action) -> None:
    async with guarded(tmp_path, policy(pii(action, directions=OUTPUT))) as (gateway, vendor):
        first, text, *_ = good_stream("hello ")
        error = {"error": {"message": f"lost the line to {MAIL}", "type": "server_error", "code": None}}
        vendor.script = stream(first, text, event(error))
        response = await gateway.post(body=chat(stream=True))
        assert response.status_code == 200
        assert "hello" in response.text
        assert MAIL not in response.text
        last = json.loads(response.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["message"]


async def test_an_error_that_says_nothing_of_anybody_stays_as_it_is(tmp_path: Path) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK))) as (gateway, vendor):
        vendor.script = answer_json({"error": {"message": "Too long by 7 tokens.", "code": "context"}}, status=400)
        response = await gateway.post()
        assert response.json()["error"]["message"] == "Too long by 7 tokens."


def under(one: Tuned, *policies: GuardrailPolicy) -> None:
    snapshots = one.gateway.snapshots
    attached = {TENANT: tuple(Attachment(each, Level.TENANT, TENANT) for each in policies)}
    snap = snapshots.snapshot
    snapshots.snapshot = replace(snap, version=snap.version + 1, guardrails=attached)


LINES = [{"messages": [{"role": "user", "content": text}]} for text in ("hello", f"I am {MAIL}")]


async def test_training_data_is_looked_at_before_it_leaves(tmp_path: Path, vendor: FakeUpstream) -> None:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
    async with tuned(tmp_path, vendor) as one:
        under(one, policy(pii(Action.REDACT)))
        await one.client.fine_tuning.jobs.create(
            model="tune-me", training_file=one.files.add(content), suffix=f"for-{MAIL}"
        )
        sent = b"".join(seen.body for seen in vendor.seen)
        assert MAIL.encode() not in sent
        assert b"I am [EMAIL]" in sent
        uploaded = vendor.seen[0].body.split(b"octet-stream\r\n\r\n")[1].split(b"\r\n--")[0]
        assert [json.loads(line) for line in uploaded.splitlines()] == [
            LINES[0],
            {"messages": [{"role": "user", "content": "I am [EMAIL]"}]},
        ]
        vendor.seen.clear()
        under(one, policy(pii(Action.BLOCK)))
        with pytest.raises(BadRequestError, match="guardrail"):
            await one.client.fine_tuning.jobs.create(model="tune-me", training_file=one.files.add(content))
        assert vendor.seen == []
