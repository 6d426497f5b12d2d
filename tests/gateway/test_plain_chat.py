"""Calls of other dialects as OpenAI's plain form has them."""

from typing import Any

import pytest

from tollkeeper.contracts.chat import ABSENT, Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.plain_chat import plain_changes

MARK = {"type": "ephemeral"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def plain(*messages: Any, keeps: frozenset[str] = frozenset(), **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": list(messages), **fields}
    call = Call(Operation.CHAT, "m", is_stream=False, body=body, dialect="anthropic_messages")
    return call.replace(**plain_changes(body, keeps)).body


def tool(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "a", "content": content, **fields}


def test_extensions_go_and_the_rest_stays() -> None:
    assert plain(
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}, PICTURE]},
        {
            "role": "assistant",
            "content": "b",
            "reasoning_content": "r",
            "reasoning_details": [{}],
            "cache_control": MARK,
            "tool_calls": [{"id": "a", "type": "function", "function": {}, "extra_content": {}}],
        },
        tools=[{"type": "function", "function": {"name": "f"}, "cache_control": MARK}],
        cache_control=MARK,
        top_k=3,
        temperature=1,
    ) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]},
            {"role": "assistant", "content": "b", "tool_calls": [{"id": "a", "type": "function", "function": {}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "temperature": 1,
    }


def test_what_a_vendor_understands_is_kept() -> None:
    body = plain(
        {"role": "assistant", "content": "b", "reasoning_content": "r"},
        top_k=3,
        keeps=frozenset({"top_k", "reasoning_content"}),
    )
    assert (body["top_k"], body["messages"][0]["reasoning_content"]) == (3, "r")


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "high"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "reasoning_effort": "max"}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, None),
    ],
)
def test_a_budget_of_thinking_is_an_effort(fields: Any, effort: str | None) -> None:
    body = plain({"role": "user", "content": "a"}, **fields)
    assert body.get("reasoning_effort") == effort
    assert "thinking" not in body


def test_pictures_of_results_follow_the_last_result_of_the_turn() -> None:
    found = plain(
        tool([{"type": "text", "text": "x"}, PICTURE]),
        {**tool("y"), "tool_call_id": "b"},
        {"role": "user", "content": "z"},
    )["messages"]
    assert [message["role"] for message in found] == ["tool", "tool", "user", "user"]
    assert found[0]["content"].startswith("x\n\n")
    assert found[2]["content"][1] == PICTURE
    assert "a" in found[2]["content"][0]["text"]


def test_pictures_of_the_last_result_are_not_lost() -> None:
    assert plain(tool([PICTURE]))["messages"][-1]["content"][-1] == PICTURE


@pytest.mark.parametrize("content", ["it broke", [{"type": "text", "text": "it broke"}]])
def test_result_that_is_an_error_says_so(content: Any) -> None:
    assert plain(tool(content, is_error=True))["messages"] == [tool("Error: it broke")]


@pytest.mark.parametrize(("role", "joined"), [("system", "a\n\nb"), ("tool", "a\n\nb"), ("assistant", "ab")])
def test_texts_of_others_than_the_user_are_one(role: str, joined: str) -> None:
    parts = [{"type": "text", "text": "a", "cache_control": MARK}, {"type": "text", "text": "b"}]
    assert plain({"role": role, "content": parts})["messages"][0]["content"] == joined


def test_document_in_words_keeps_its_title() -> None:
    part = {"type": "text", "text": "words", "title": "T", "context": "C", "citations": {"enabled": True}}
    assert plain({"role": "user", "content": [part]})["messages"][0]["content"] == [
        {"type": "text", "text": "T\n\nC\n\nwords"}
    ]


def test_blocks_of_a_vendors_own_tools_are_left_out() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "server_tool_use", "id": "x"}]
    assert plain({"role": "assistant", "content": blocks})["messages"][0]["content"] == "a"


@pytest.mark.parametrize("role", ["user", "tool", "system"])
def test_part_without_a_form_is_refused_where_the_model_is_told_it(role: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        plain({"role": role, "content": [{"type": "hologram"}]})
    assert (refusal.value.code, refusal.value.param) == ("unsupported_input", "messages[0].content")


def test_file_by_its_address_is_refused() -> None:
    with pytest.raises(BadRequest) as refusal:
        plain({"role": "user", "content": [{"type": "file", "file": {"file_url": "https://x.test"}}]})
    assert (refusal.value.code, refusal.value.param) == ("unsupported_input", "messages[0].content")


def test_nothing_is_changed_that_the_caller_holds() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": MARK}]}
    body = {"model": "m", "messages": [message], "top_k": 1}
    assert plain_changes(body)["top_k"] is ABSENT
    assert message["content"] == [{"type": "text", "text": "a", "cache_control": MARK}]
