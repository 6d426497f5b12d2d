"""Tools that may not be offered or called: in every dialect, whole and streamed."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.guardrails.guarding import guarded, policy
from tests.gateway.upstream import answer_json, chunk, completion, event, good_stream, stream
from tollkeeper.contracts.guardrails import Action, Direction, RuleUse
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.guardrails.tools import Tools, ToolSettings

CALLS = "delete_everything"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def offers(name: str, *, is_stream: bool = False) -> dict[str, tuple[str, dict[str, Any]]]:
    user = {"role": "user", "content": "hello"}
    function = {"name": name, "description": "Does it.", "parameters": SCHEMA}
    method = "streamGenerateContent" if is_stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": "hello"}]}]
    return {
        "chat": (
            "/v1/chat/completions",
            {
                "model": "gpt-4o-mini",
                "stream": is_stream,
                "messages": [user],
                "tools": [{"type": "function", "function": function}],
            },
        ),
        "messages": (
            "/v1/messages",
            {
                "model": "gpt-4o-mini",
                "max_tokens": 9,
                "stream": is_stream,
                "messages": [user],
                "tools": [{"name": name, "input_schema": SCHEMA}],
            },
        ),
        "gemini": (
            f"/v1beta/models/gpt-4o-mini:{method}",
            {"contents": contents, "tools": [{"functionDeclarations": [function]}]},
        ),
        "responses": (
            "/v1/responses",
            {
                "model": "gpt-4o-mini",
                "stream": is_stream,
                "store": False,
                "input": "hello",
                "tools": [{"type": "function", **function}],
            },
        ),
    }


RULE = RuleUse("tools", "tools", Action.BLOCK, settings={"allow": ["weather", "search_*"], "deny": ["search_people"]})


@pytest.mark.parametrize("dialect", sorted(offers("")))
@pytest.mark.parametrize(
    ("name", "passes"),
    [("weather", True), ("search_news", True), (CALLS, False), ("Search_People", False), ("a", False)],
)
async def test_only_allowed_tools_may_be_offered(tmp_path: Path, dialect: str, name: str, passes: bool) -> None:
    async with guarded(tmp_path, policy(RULE)) as (gateway, vendor):
        response = await gateway.post(*offers(name)[dialect])
        assert (response.status_code == 200) is passes, response.text
        assert bool(vendor.seen) is passes
        if not passes:
            assert response.status_code == 400
            assert "guardrail 'tools'" in response.text


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/chat/completions", "functions", [{"name": CALLS, "parameters": SCHEMA}]),
        ("/v1/chat/completions", "tools", [{"type": "custom", "custom": {"name": CALLS}}]),
        ("/v1/chat/completions", "web_search_options", {}),
        ("/v1/responses", "tools", [{"type": "web_search"}]),
        ("/v1/responses", "tools", [{"type": "mcp", "server_label": "weather", "server_url": "https://example.com"}]),
        ("/v1/messages", "tools", [{"type": "web_search_20250305", "name": "weather"}]),
        ("/v1beta/models/gemini:generateContent", "tools", [{"googleSearch": {}}]),
    ],
)
async def test_what_a_vendor_does_itself_is_a_tool_too(tmp_path: Path, path: str, field: str, value: Any) -> None:
    user = {"role": "user", "content": "hello"}
    body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [user], field: value}
    if path.endswith("responses"):
        body = {"model": "gpt-4o-mini", "input": "hello", "store": False, field: value}
    elif path.endswith("messages"):
        body = {**body, "model": "claude", "max_tokens": 9}
    elif "gemini" in path:
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], field: value}
    async with guarded(tmp_path, policy(RULE)) as (gateway, vendor):
        response = await gateway.post(path, body)
        assert response.status_code == 400, response.text
        assert "guardrail 'tools'" in response.text
        assert vendor.seen == []


def _called(name: str, *, is_stream: bool) -> Any:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": '{"all": true}'}}
    if not is_stream:
        answer = completion("")
        answer["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
        answer["choices"][0]["finish_reason"] = "tool_calls"
        return answer_json(answer)
    begun = {**call, "index": 0, "function": {"name": name, "arguments": ""}}
    deltas = [{"tool_calls": [begun]}, {"tool_calls": [{"index": 0, "function": {"arguments": '{"all": true}'}}]}]
    first, *end = good_stream()
    return stream(first, *(event(chunk(delta)) for delta in deltas), *end)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", sorted(offers("")))
@pytest.mark.parametrize(("name", "passes"), [("weather", True), (CALLS, False)])
async def test_only_allowed_tools_may_be_called(
    tmp_path: Path, dialect: str, name: str, passes: bool, is_stream: bool
) -> None:
    """Whatever a caller offered: models make names up, and are talked into others."""
    async with guarded(tmp_path, policy(RULE)) as (gateway, vendor):
        vendor.script = _called(name, is_stream=is_stream)
        response = await gateway.post(*offers("weather", is_stream=is_stream)[dialect])
        assert response.status_code == 200, response.text
        assert (name in response.text) is passes


def test_names_stand_for_themselves_and_no_other_text_does() -> None:
    rule = Tools(ToolSettings(allow=("weather",)))
    assert rule.check(Part("the word elsewhere")) == ()
    assert rule.check(Part("past", PartKind.TOOL_CALL)) == ()
    [found] = rule.check(Part("other", PartKind.TOOL_CALL, "assistant", Direction.OUTPUT))
    assert (found.start, found.end) == (0, 5)
