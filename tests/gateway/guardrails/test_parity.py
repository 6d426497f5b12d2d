"""The same words meet the same verdict on every path that is served: made from the table of paths, so that a new one without
a case here fails.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.forms import TYPE, form
from tests.gateway.guardrails.guarding import CARD, MAIL, SAID, bodies, guarded, pii, policy
from tests.gateway.serving import Serving
from tests.gateway.upstream import Script, answer_json, chunk, completion, event, good_stream, stream
from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Action, Direction, GuardrailPolicy, RuleUse
from tollkeeper.gateway.paths import FORM_OPERATIONS, GEMINI_METHODS, Paths

INPUT, OUTPUT = frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT})
SERVED = list(Paths(64).all())
# Under its other prefixes a path leads to the very same dialect: what is proven of each in full is proven once.
ONCE = [(path, operation) for path, operation in SERVED if not path.startswith(("/api/", "/v1/models/"))]
STREAMED = {Operation.CHAT, Operation.COMPLETIONS}
MODEL = "gpt-4o-mini"
# Answers of these have no text that a model made, and none of the caller's.
TEXTLESS = {Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.SPEECH, Operation.COUNT_TOKENS}


def tail(path: str) -> str:
    """What is the same under every prefix."""
    return (
        path.rpartition(":")[2]
        if "{model}" in path
        else path.removeprefix("/api").removeprefix("/v1").removeprefix("/v2")
    )


def forms(text: str) -> dict[str, list[bytes]]:
    image = ("image", b"\x89PNG\r\n", "a.png")
    sound = ("file", b"RIFF", "a.wav")
    return {
        "/images/edits": [form(("model", MODEL), ("prompt", text), image)],
        "/images/variations": [form(("model", MODEL), ("user", text), image)],
        "/audio/transcriptions": [
            form(("model", MODEL), ("prompt", text), sound),
            form(("model", MODEL), ("keywords[]", text), ("keywords[]", "x"), sound),
        ],
        "/audio/translations": [form(("model", MODEL), ("prompt", text), sound)],
    }


def calls(path: str, text: str, *, is_stream: bool = False) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Every place where a call of this path can say something: where it is sent, its body and its headers."""
    mine = tail(path)
    served = path.replace("{model}", MODEL)
    for place, (usual, body) in bodies(text, stream=is_stream).items():
        method = usual.rpartition(":")[2] if ":" in usual else tail(usual)
        if method == mine or (mine in {"countTokens", "streamGenerateContent"} and place.startswith("gemini")):
            yield served, body, {}
        elif mine == "/messages/count_tokens" and usual == "/v1/messages":
            yield served, {name: value for name, value in body.items() if name not in {"max_tokens", "stream"}}, {}
        elif mine == "/responses/input_tokens" and usual == "/v1/responses":
            yield served, {name: value for name, value in body.items() if name not in {"store", "stream"}}, {}
    for content in forms(text).get(mine, ()):
        yield served, content, TYPE
    parts = {"parts": [{"text": text}]}
    if mine == "embedContent":
        yield served, {"content": parts}, {}
    elif mine == "batchEmbedContents":
        yield served, {"requests": [{"model": f"models/{MODEL}", "content": parts}]}, {}


async def send(gateway: Serving, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    return await gateway.post(path, body, headers=headers)


def test_a_path_means_the_same_under_every_prefix() -> None:
    paths = Paths(64)
    for path, _ in SERVED:
        shown = path.replace("{model}", MODEL)
        others = [other for other, _ in SERVED if tail(other) == tail(path)]
        assert all(paths.find(other.replace("{model}", MODEL)) == paths.find(shown) for other in others), path
    assert {tail(path) for path, _ in ONCE} == {tail(path) for path, _ in SERVED}


def test_every_operation_of_a_model_is_served_somewhere() -> None:
    served = {operation for _, operation in SERVED}
    assert served == set(Operation) - {Operation.PASSTHROUGH, Operation.FINE_TUNING}
    assert {tail(path) for path, _ in SERVED} >= set(GEMINI_METHODS)


@pytest.mark.parametrize("path", [path for path, _ in SERVED])
def test_every_path_has_a_case(path: str) -> None:
    assert list(calls(path, SAID)), f"say in `calls` what a call of {path} looks like"


@pytest.mark.parametrize(("path", "operation"), SERVED)
async def test_what_may_not_be_said_is_refused_on_every_path(tmp_path: Path, path: str, operation: Operation) -> None:
    async with guarded(tmp_path, policy(pii(Action.BLOCK))) as (gateway, vendor):
        for is_stream in (False, True) if operation in STREAMED and "{model}" not in path else (False,):
            for where, body, headers in calls(path, SAID, is_stream=is_stream):
                response = await send(gateway, where, body, headers)
                assert response.status_code == 400, (body, response.text)
                assert "stopped by the guardrail 'personal' of the policy 'house'" in response.text
                assert CARD not in response.text
        assert vendor.seen == []
        assert gateway.settlements == []


@pytest.mark.parametrize(("path", "operation"), ONCE)
async def test_what_is_taken_out_leaves_on_no_path(tmp_path: Path, path: str, operation: Operation) -> None:
    async with guarded(tmp_path, policy(pii(Action.REDACT, directions=INPUT))) as (gateway, vendor):
        count = 0
        for where, body, headers in calls(path, SAID):
            await send(gateway, where, body, headers)
            count += 1
        sent = b"".join(seen.body for seen in vendor.seen)
        assert CARD.encode() not in sent
        assert MAIL.encode() not in sent
        # Counting asks no vendor that has no way to count.
        assert operation is Operation.COUNT_TOKENS or (len(vendor.seen), sent.count(b"[CARD]")) == (count, count)


# Among the answers of chat.
THOUGHT = 2


def answers(operation: Operation, text: str) -> list[Script]:
    """Every place where an answer of this operation can say something."""
    call = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": text})}}
    if operation is Operation.CHAT:
        messages = (
            {"content": text},
            {"content": None, "tool_calls": [call]},
            {"content": "x", "reasoning_content": text},
        )
        found = []
        for message in messages:
            answer = completion("")
            answer["choices"][0]["message"] = {"role": "assistant", **message}
            found.append(answer_json(answer))
        return found
    if operation is Operation.COMPLETIONS:
        choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
        return [answer_json({**completion("x"), "object": "text_completion", "choices": [choice]})]
    if operation in {Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}:
        return [answer_json({"text": text}), answer_json({"text": "x", "segments": [{"id": 0, "text": text}]})]
    if operation in {Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS}:
        return [answer_json({"created": 1, "data": [{"url": "https://a.example/x.png", "revised_prompt": text}]})]
    if operation is Operation.RERANK:
        result = {"index": 0, "relevance_score": 0.5, "document": {"text": text}}
        return [answer_json({"id": "x", "results": [result], "meta": {"billed_units": {"search_units": 1}}})]
    return []


@pytest.mark.parametrize("operation", sorted({operation for _, operation in SERVED}))
def test_every_operation_has_an_answer(operation: Operation) -> None:
    assert bool(answers(operation, SAID)) is (operation not in TEXTLESS)


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REDACT])
@pytest.mark.parametrize(("path", "operation"), [one for one in ONCE if one[1] not in TEXTLESS])
async def test_what_may_not_be_answered_is_not(tmp_path: Path, path: str, operation: Operation, action: Action) -> None:
    where, body, headers = next(calls(path, "hello there"))
    if operation not in FORM_OPERATIONS and "{model}" not in path:
        body = {name: value for name, value in body.items() if name != "stream"}
    is_stream = "streamGenerateContent" in path
    async with guarded(tmp_path, policy(pii(action, directions=OUTPUT))) as (gateway, vendor):
        for place, script in enumerate(answers(operation, SAID) if not is_stream else [streams(SAID)[0]]):
            vendor.script = script
            response = await send(gateway, where, body, headers)
            assert CARD not in response.text, response.text
            assert MAIL not in response.text, response.text
            if action is Action.REDACT:
                assert response.status_code == 200, response.text
                # Not every dialect shows its caller what a model thought.
                assert "[CARD]" in response.text or place == THOUGHT
        assert len(await gateway.settled(len(vendor.seen))) == len(vendor.seen)


def streams(text: str) -> list[Script]:
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    first, *end = good_stream()
    arguments = json.dumps({"to": text})
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "mail", "arguments": ""}}
    deltas: list[dict[str, Any]] = [{"tool_calls": [call]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": letter}}]} for letter in arguments]
    thoughts = [{"reasoning_content": piece} for piece in pieces] + [{"content": "so"}]
    return [
        stream(*good_stream(*pieces)),
        stream(first, *(event(chunk(delta)) for delta in deltas), *end),
        stream(first, *(event(chunk(delta)) for delta in thoughts), *end),
    ]


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REDACT])
@pytest.mark.parametrize("path", [path for path, operation in ONCE if operation is Operation.CHAT])
async def test_what_may_not_be_answered_is_not_streamed(tmp_path: Path, path: str, action: Action) -> None:
    if path.endswith(":generateContent"):
        return
    where, body, headers = next(calls(path, "hello there", is_stream=True))
    async with guarded(tmp_path, policy(pii(action, directions=OUTPUT))) as (gateway, vendor):
        for script in streams(SAID):
            vendor.script = script
            response = await send(gateway, where, body, headers)
            assert response.status_code == 200, response.text
            shown = response.text.replace("\\", "")
            for part in (CARD[:9], CARD[-9:], MAIL):
                assert part not in shown


RULES_BESIDE = {
    "keywords": {"topics": {"people": ["thanks"]}},
    "regex": {"patterns": {"thanks": "thanks"}},
    "length": {"most_characters": 40},
    "secrets": {},
}


@pytest.mark.parametrize("rule", sorted(RULES_BESIDE))
@pytest.mark.parametrize(("path", "operation"), ONCE)
async def test_every_rule_looks_on_every_path(tmp_path: Path, path: str, operation: Operation, rule: str) -> None:
    text = "My key ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a" + ", thanks."
    house: GuardrailPolicy = replace(
        policy(RuleUse("one", rule, Action.BLOCK, settings=RULES_BESIDE[rule])), name="house"
    )
    async with guarded(tmp_path, house) as (gateway, vendor):
        where, body, headers = next(calls(path, text))
        response = await send(gateway, where, body, headers)
        assert response.status_code == 400, (operation, body, response.text)
        assert vendor.seen == []
