"""What vendors are told for caches of their own: marks where a policy asks, and whose prompts are whose."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cache.caching import attached, before, policy, worker
from tests.gateway.serving import chat
from tests.gateway.upstream import FakeUpstream, answer_json, completion
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.prompt_marks import with_marks

MARK = {"type": "ephemeral"}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "Two?"},
]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "ab"]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}


def call(**body: Any) -> Call:
    return Call(Operation.CHAT, "m", is_stream=False, body=chat(messages=TURNS, **body))


def test_marks_stand_on_what_comes_again() -> None:
    body = with_marks(call(tools=TOOLS), "d").body
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, MARK]
    assert [message.get("cache_control") for message in body["messages"]] == [MARK, None, MARK, None]


def test_a_single_question_has_its_instructions_marked_alone() -> None:
    made = with_marks(Call(Operation.CHAT, "m", is_stream=False, body=chat(messages=[TURNS[0], TURNS[1]])), "d")
    assert [message.get("cache_control") for message in made.body["messages"]] == [MARK, None]


@pytest.mark.parametrize(
    "body",
    [
        {"cache_control": MARK},
        {"tools": [{**TOOLS[0], "cache_control": MARK}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": MARK}]}]},
    ],
)
def test_a_caller_with_a_mark_of_its_own_knows_better(body: dict[str, Any]) -> None:
    made = Call(Operation.CHAT, "m", is_stream=False, body=chat(**body))
    assert with_marks(made, "d") is made


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_anthropic_gets_marks_where_the_policy_asks(tmp_path: Path, vendor: FakeUpstream, path: str) -> None:
    vendor.script = answer_json(MESSAGE)
    rules = policy(exact=None, marks=True)
    async with worker(tmp_path, before(vendor, attached(rules), kind="anthropic"), None) as one:
        body = (
            chat(messages=TURNS)
            if path.endswith("completions")
            else {**chat(messages=TURNS[1:]), "system": "Be brief."}
        )
        answer = await one.ask(path=path, json={**body, "max_tokens": 10})
        assert answer.status_code == 200, answer.text
    sent = vendor.seen[0].json()
    assert sent["system"][-1]["cache_control"] == MARK
    assert json.dumps(sent["messages"]).count("cache_control") == 1
    assert sent["messages"][1]["content"][-1]["cache_control"] == MARK


async def test_others_get_none(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with worker(tmp_path, before(vendor, attached(policy(marks=True))), None) as one:
        await one.ask(json=chat(messages=TURNS))
    assert b"cache_control" not in vendor.seen[0].body


async def test_each_tenant_has_a_salt_of_its_own_whatever_it_sends(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion())
    async with worker(tmp_path, before(vendor, kind="vllm"), None) as one:
        other = new_key().token
        one.gateway.keys.add(other, tenant_id=uuid7())
        await one.ask()
        await one.ask(json=chat(cache_salt="of another"))
        await one.ask(other, json=chat(cache_salt="of another"))
    first, second, third = (seen.json()["cache_salt"] for seen in vendor.seen)
    assert first == second != third
    assert len(first) == len(third) == 32


async def test_servers_that_know_no_salt_get_none(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with worker(tmp_path, before(vendor), None) as one:
        await one.ask()
    assert "cache_salt" not in vendor.seen[0].json()
