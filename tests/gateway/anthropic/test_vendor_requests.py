"""The fields of a canonical call beside its messages: caps, clamps, tools, schemas, effort, and what stays behind.

Numbers in comments are those of the regression cases in the wire contract.
"""

import json
from typing import Any

import pytest

from tests.gateway.anthropic.vendor_calls import (
    HELLO,
    call_of,
    calling,
    dropped,
    function,
    prepared,
    request,
    result,
    user,
)
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor

OLD, NEW = "claude-3-7-sonnet-20250219", "claude-opus-5-5"
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["age"],
}
FORM = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


# 21
def test_call_without_a_cap_gets_the_longest_answer_of_the_model() -> None:
    assert request(most=64_000)["max_tokens"] == 64_000
    assert request("claude-3-haiku-20240307")["max_tokens"] == 4_096
    assert request("claude-opus-5")["max_tokens"] == 128_000
    assert request("claude-of-the-future")["max_tokens"] == 32_000


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": None, "max_completion_tokens": None}, 64_000),
        ({"max_tokens": 1_000_000}, 64_000),
    ],
)
def test_cap_of_the_caller_is_kept_within_what_the_model_can_do(fields: dict[str, Any], sent: int) -> None:
    assert request(most=64_000, **fields)["max_tokens"] == sent
    assert "max_completion_tokens" not in request(**fields)


def test_plain_call_is_small() -> None:
    assert request(most=9) == {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": HELLO}
    assert request(most=9, stream=True)["stream"] is True


def test_temperature_is_clamped() -> None:
    assert request(temperature=1.7)["temperature"] == 1
    assert request(temperature=0.2)["temperature"] == 0.2
    assert dropped(temperature=1.7) == []


def test_sampling_that_the_model_refuses_is_left_out_and_told() -> None:
    sent = request(NEW, temperature=0.2, top_p=0.5, top_k=3)
    assert sent.keys().isdisjoint({"temperature", "top_p", "top_k"})
    assert dropped(NEW, temperature=0.2, top_p=0.5, top_k=3) == ["temperature", "top_k", "top_p"]
    assert dropped(temperature=0.2, top_p=0.5) == ["top_p"]
    assert request(top_p=0.5, top_k=3) | {"top_p": 0.5, "top_k": 3} == request(top_p=0.5, top_k=3)


def test_model_of_another_make_behind_this_api_is_let_be() -> None:
    fields: dict[str, Any] = {"temperature": 0.2, "top_p": 0.5, "top_k": 3}
    assert request("minimax-m3", **fields) | fields == request("minimax-m3", **fields)


@pytest.mark.parametrize(
    ("stop", "sent"), [("END", ["END"]), (["a", "\n", " ", "b"], ["a", "b"]), ("\n", None), ([], None), (None, None)]
)
def test_blank_stops_are_dropped(stop: Any, sent: list[str] | None) -> None:
    assert request(stop=stop).get("stop_sequences") == sent


def test_stops_that_are_none_are_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        request(stop=[1])
    assert refused.value.param == "stop"


def test_several_answers_are_refused() -> None:
    assert request(n=1)
    with pytest.raises(BadRequest) as refused:
        request(n=2)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "n")


@pytest.mark.parametrize("name", ["functions", "function_call"])
def test_deprecated_functions_are_refused_with_what_to_use(name: str) -> None:
    fields: dict[str, Any] = {name: [{"name": "f"}] if name == "functions" else {"name": "f"}}
    with pytest.raises(BadRequest) as refused:
        request(**fields)
    assert refused.value.param == name


def test_what_anthropic_has_no_word_for_is_told() -> None:
    fields: dict[str, Any] = {
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {"5": 1},
        "seed": 1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "prediction": {"type": "content", "content": "x"},
        "store": True,
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "verbosity": "low",
        "web_search_options": {},
        "modalities": ["text", "audio"],
        "audio": {"voice": "x", "format": "wav"},
        "made_up": 1,
    }
    told = dropped(**fields)
    assert set(told) == fields.keys()
    assert request(**fields).keys() == {"model", "max_tokens", "messages"}


def test_defaults_that_sdks_write_out_are_not_told() -> None:
    fields: dict[str, Any] = {
        "logprobs": False, "presence_penalty": 0, "logit_bias": {}, "n": 1, "seed": None, "modalities": ["text"], "store": False,
    }  # fmt: skip
    assert dropped(**fields) == []
    assert request(**fields).keys() == {"model", "max_tokens", "messages"}


def test_end_user_and_tier_are_said_in_anthropics_words() -> None:
    assert request(user="u-1")["metadata"] == {"user_id": "u-1"}
    assert request(safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert request(metadata={"user_id": "m"})["metadata"] == {"user_id": "m"}
    assert request(service_tier="default")["service_tier"] == "standard_only"
    assert request(service_tier="auto")["service_tier"] == "auto"


# 22
def test_fields_of_anthropics_own_are_carried() -> None:
    fields: dict[str, Any] = {
        "cache_control": {"type": "ephemeral", "scope": "global"},
        "context_management": {"edits": []},
        "container": "c",
        "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "n"}],
        "inference_geo": "us",
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"task_budget": {"type": "tokens", "total": 9}},
    }
    assert request(NEW, **fields) | fields == request(NEW, **fields)
    assert dropped(NEW, **fields) == []


# Tools


def test_tool_is_written_with_its_schema() -> None:
    mark = {"type": "ephemeral"}
    schema = {"type": "object", "properties": {"q": {"type": "string", "minLength": 1}}, "required": ["q"]}
    tool = {**function("search", parameters=schema, description="Finds."), "cache_control": mark}
    assert request(tools=[tool])["tools"] == [
        {"name": "search", "input_schema": schema, "description": "Finds.", "cache_control": mark}
    ]


def test_tool_without_parameters_takes_none() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    untyped = {"type": "function", "function": {"name": "x", "parameters": {"properties": {}}}}
    tools = request(tools=[bare, untyped])["tools"]
    assert [tool["input_schema"] for tool in tools] == [{"type": "object", "properties": {}}] * 2


def test_strict_tool_is_strict_where_the_model_knows_it() -> None:
    tool: Any = function("f", parameters=SCHEMA, strict=True)
    sent = request(tools=[tool])["tools"][0]
    assert sent["strict"] is True
    assert sent["input_schema"]["additionalProperties"] is False
    assert sent["input_schema"]["properties"]["age"] == {"type": "integer", "description": "{minimum: 0}"}
    assert "strict" not in request(OLD, tools=[tool])["tools"][0]


def test_tools_of_anthropics_own_pass() -> None:
    own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    plain = {"name": "f", "input_schema": {"type": "object"}}
    assert request(tools=[own, plain])["tools"] == [own, plain]


@pytest.mark.parametrize(
    "tool", [{"type": "custom", "custom": {"name": "x"}}, {}, {"type": "function", "function": {}}]
)
def test_tool_that_cannot_be_expressed_is_refused_by_its_place(tool: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        request(tools=[function(), tool])
    assert refused.value.param is not None
    assert refused.value.param.startswith("tools[1]")


# 15
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "search"}}, {"type": "tool", "name": "search"}),
        ({"type": "any"}, {"type": "any"}),
        (None, None),
    ],
)
def test_tool_choice_is_translated(choice: Any, sent: Any) -> None:
    assert request(tools=[function()], tool_choice=choice).get("tool_choice") == sent


def test_allowed_tools_leave_only_those() -> None:
    allowed: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("b")]}}
    sent = request(tools=[function("a"), function("b")], tool_choice=allowed)
    assert [tool["name"] for tool in sent["tools"]] == ["b"]
    assert sent["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("choice", ["maybe", 1, {"type": "function"}, {"type": "tool"}, {}, {"type": "allowed_tools"}])
def test_choice_that_is_none_is_refused(choice: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        request(tools=[function()], tool_choice=choice)
    assert refused.value.param == "tool_choice"


def test_choice_without_tools_is_left_out() -> None:
    assert request(tool_choice="auto", parallel_tool_calls=False).keys() == {"model", "max_tokens", "messages"}


# 14
def test_one_call_at_a_time() -> None:
    def choice(**fields: Any) -> Any:
        return request(tools=[function()], parallel_tool_calls=False, **fields)["tool_choice"]

    assert choice() == {"type": "auto", "disable_parallel_tool_use": True}
    assert choice(tool_choice="required") == {"type": "any", "disable_parallel_tool_use": True}
    assert choice(tool_choice="none") == {"type": "none"}
    assert "tool_choice" not in request(tools=[function()], parallel_tool_calls=True)


def test_history_of_calls_keeps_its_tools() -> None:
    sent = request(messages=[user(), calling("a", "b"), result("call_0"), result("call_1")])
    assert [tool["name"] for tool in sent["tools"]] == ["a", "b"]
    assert sent["tool_choice"] == {"type": "none"}


# Forms of answers


def test_schema_is_the_format_of_the_output() -> None:
    sent = request(response_format=FORM)
    schema = sent["output_config"]["format"]["schema"]
    assert sent["output_config"]["format"]["type"] == "json_schema"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["age"]
    assert "tools" not in sent


def test_schema_of_an_old_model_is_a_tool_it_has_to_use() -> None:
    sent = request(OLD, response_format=FORM, reasoning_effort="high")
    assert sent["tools"][0]["input_schema"] == SCHEMA
    assert sent["tool_choice"] == {"type": "tool", "name": sent["tools"][0]["name"]}
    # A forced tool and thinking are refused together.
    assert "thinking" not in sent
    assert dropped(OLD, response_format=FORM, reasoning_effort="high") == ["reasoning_effort"]


def test_old_model_with_tools_of_the_caller_chooses_between_them_and_the_answer() -> None:
    sent = request(OLD, response_format=FORM, tools=[function()])
    assert sent["tools"][0]["name"] == "search"
    assert sent["tool_choice"] == {"type": "any"}


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    sent = request(response_format={"type": "json_object"})
    assert "JSON" in sent["system"]
    assert request(response_format={"type": "text"}).keys() == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize("schema", [7, "x", {"type": "object", "properties": {"a": 5}}])
def test_schema_that_is_none_is_refused(schema: Any) -> None:
    with pytest.raises(BadRequest):
        request(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


# Thinking


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "word"),
    [
        ("claude-3-5-haiku-20241022", "high", None, None),
        (OLD, "low", {"type": "enabled", "budget_tokens": 2_048}, None),
        (OLD, "none", None, None),
        ("claude-opus-4-5", "xhigh", {"type": "enabled", "budget_tokens": 32_000}, "high"),
        ("claude-sonnet-4-6", "medium", {"type": "adaptive"}, "medium"),
        ("claude-sonnet-4-6", "minimal", None, "low"),
        ("claude-opus-4-7", "xhigh", {"type": "adaptive"}, "xhigh"),
        ("claude-sonnet-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5", "high", None, "high"),
        (NEW, "none", None, "low"),
        (NEW, "max", None, "max"),
    ],
)
def test_effort_is_said_as_the_model_knows_it(model: str, effort: str, thinking: Any, word: str | None) -> None:
    sent = request(model, reasoning_effort=effort)
    assert sent.get("thinking") == thinking
    assert sent.get("output_config", {}).get("effort") == word


@pytest.mark.parametrize("cap", [1_025, 2_000, 4_096, 30_000])
def test_budget_of_thinking_stays_below_the_cap(cap: int) -> None:
    budget = request(OLD, reasoning_effort="high", max_tokens=cap)["thinking"]["budget_tokens"]
    assert 1_024 <= budget < cap


def test_effort_that_the_cap_leaves_no_room_for_is_told() -> None:
    assert "thinking" not in request(OLD, reasoning_effort="high", max_tokens=1_024)
    assert dropped(OLD, reasoning_effort="high", max_tokens=1_024) == ["reasoning_effort"]


def test_thinking_is_not_asked_for_where_anthropic_refuses_it() -> None:
    forced = request(OLD, reasoning_effort="high", tools=[function()], tool_choice="required")
    assert "thinking" not in forced
    replayed = request(OLD, [user(), calling("a"), result("call_0")], reasoning_effort="high", tools=[function("a")])
    assert "thinking" not in replayed
    signed = [{"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic", "index": 0}]
    history = [user(), calling("a", reasoning_details=signed), result("call_0")]
    assert "thinking" in request(OLD, history, reasoning_effort="high", tools=[function("a")])


def test_thinking_excludes_sampling() -> None:
    assert request(reasoning_effort="high", temperature=0.2, top_p=0.97).get("temperature") is None
    assert dropped(reasoning_effort="high", temperature=0.2, top_k=4) == ["temperature", "top_k"]
    own = {"type": "enabled", "budget_tokens": 2_000}
    assert dropped(OLD, thinking=own, temperature=0.2) == ["temperature"]


# The caller's own document


def native_call(**changes: Any) -> Call:
    native = {"model": "claude-x", "max_tokens": 9, "messages": HELLO, "top_k": 3, "stream": False, "made_up": [1]}
    call = call_of(max_completion_tokens=9)
    fields: dict[str, Any] = {"body": call.body, "dialect": "anthropic_messages", "native": native, **changes}
    return Call(Operation.CHAT, "claude-x", is_stream=fields.pop("is_stream", False), **fields)


def test_call_of_the_same_dialect_goes_out_as_it_came() -> None:
    sent = json.loads(AnthropicVendor().write_call(prepared(native_call())))
    assert sent == {"model": "claude-x", "max_tokens": 9, "messages": HELLO, "top_k": 3, "made_up": [1]}
    streamed = json.loads(AnthropicVendor().write_call(prepared(native_call(is_stream=True))))
    assert streamed["stream"] is True


def test_cap_of_a_budget_reaches_the_callers_own_document() -> None:
    sent = json.loads(AnthropicVendor().write_call(prepared(native_call(applied_cap=5))))
    assert sent["max_tokens"] == 5


def test_document_of_another_dialect_is_translated() -> None:
    sent = json.loads(AnthropicVendor().write_call(prepared(native_call(dialect="openai_responses"))))
    assert sent.keys() == {"model", "max_tokens", "messages"}
