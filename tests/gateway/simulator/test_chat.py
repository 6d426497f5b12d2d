import json
from typing import Any

import jsonschema_rs
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.gateway.simulator.asking import CHAT, TIME, WEATHER, ask, chat, chunks, document
from tollkeeper.gateway.simulator.counting import count, pieces

TOOL_TURNS = [
    {"role": "user", "content": "Weather in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
]
# Everything that changes the shape of an answer.
SHAPES: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"max_tokens": 2},
    {"stop": ["simulated"]},
    {"logprobs": True, "top_logprobs": 3},
    {"model": "simulated-refuse"},
    {"model": "simulated-refuse", "logprobs": True},
    {"model": "simulated-reasoning"},
    {"model": "simulated-filter"},
    {"tools": [WEATHER]},
    {"tools": [WEATHER, TIME], "parallel_tool_calls": True},
    {"tools": [WEATHER, TIME], "tool_choice": {"type": "function", "function": {"name": "get_time"}}, "n": 2},
    {"tools": [WEATHER], "messages": TOOL_TURNS},
    {"functions": [WEATHER["function"]]},
    {"response_format": {"type": "json_object"}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:"}}]}]},
]  # fmt: skip


def message(**fields: Any) -> Any:
    return chat(**fields)["choices"][0]["message"]


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_answers_are_what_the_sdks_types_say(shape: dict[str, Any]) -> None:
    parsed = ChatCompletion.model_validate_json(json.dumps(chat(**shape)), strict=True)
    assert parsed.usage is not None
    assert parsed.usage.prompt_tokens + parsed.usage.completion_tokens == parsed.usage.total_tokens


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_are_what_the_sdks_types_say(shape: dict[str, Any]) -> None:
    found = chunks(ask(stream=True, stream_options={"include_usage": True}, **shape))
    parsed = [ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True) for chunk in found]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in parsed}) == 1
    assert parsed[-1].usage is not None
    assert parsed[-1].choices == []
    assert all("usage" in chunk and chunk["usage"] is None for chunk in found[:-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stream_says_what_the_whole_answer_says(shape: dict[str, Any]) -> None:
    whole = chat(**shape)
    rebuilt: dict[int, dict[str, Any]] = {}
    for chunk in chunks(ask(stream=True, **shape)):
        assert "usage" not in chunk
        for choice in chunk["choices"]:
            one = rebuilt.setdefault(
                choice["index"], {"text": "", "refusal": "", "thought": "", "calls": {}, "old": ""}
            )
            delta = choice["delta"]
            assert ("role" in delta) == (not one.get("begun"))
            one["begun"] = True
            one["text"] += delta.get("content") or ""
            one["refusal"] += delta.get("refusal") or ""
            one["thought"] += delta.get("reasoning_content") or ""
            one["old"] += (delta.get("function_call") or {}).get("arguments", "")
            for call in delta.get("tool_calls") or ():
                known = one["calls"].setdefault(call["index"], {"id": call.get("id"), "arguments": ""})
                known["arguments"] += call["function"]["arguments"]
            one["finish_reason"] = choice["finish_reason"]
    assert len(rebuilt) == len(whole["choices"])
    for choice in whole["choices"]:
        one, said = rebuilt[choice["index"]], choice["message"]
        assert one["text"] == (said["content"] or "")
        assert one["refusal"] == (said["refusal"] or "")
        assert one["thought"] == said.get("reasoning_content", "")
        assert one["old"] == said.get("function_call", {}).get("arguments", "")
        assert [(c["id"], c["arguments"]) for _, c in sorted(one["calls"].items())] == [
            (call["id"], call["function"]["arguments"]) for call in said.get("tool_calls", [])
        ]
        assert one["finish_reason"] == choice["finish_reason"]


def test_the_same_request_has_the_same_answer() -> None:
    assert chat() == chat()
    assert chat()["choices"] == chat(user="someone", model="simulated-slow-1ms")["choices"]


def test_another_request_has_another_answer() -> None:
    assert message() != message(messages=[{"role": "user", "content": "Something else"}])
    assert message() != message(seed=7)


def test_the_answer_tells_what_was_asked() -> None:
    assert "Hello, who are you?" in message()["content"]


def test_choices_of_one_call_differ() -> None:
    texts = {choice["message"]["content"] for choice in chat(n=4)["choices"]}
    assert len(texts) == 4


def test_usage_is_what_the_rule_says() -> None:
    answered = chat()
    assert answered["usage"]["prompt_tokens"] == 3 + 4 + count("Hello, who are you?")
    assert answered["usage"]["completion_tokens"] == count(answered["choices"][0]["message"]["content"])


def test_caps_end_an_answer_with_length() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answered = chat(**{name: 5})
        assert answered["choices"][0]["finish_reason"] == "length"
        assert answered["usage"]["completion_tokens"] == 5
        assert pieces(message()["content"])[:5] == pieces(answered["choices"][0]["message"]["content"])


def test_stop_ends_an_answer_before_the_word() -> None:
    answered = chat(stop="answer")["choices"][0]
    assert answered["message"]["content"] == "This is a simulated "
    assert answered["finish_reason"] == "stop"


def test_reasoning_is_counted_inside_the_completion() -> None:
    answered = chat(model="simulated-reasoning", reasoning_effort="low")
    usage = answered["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 16
    assert usage["completion_tokens"] == 16 + count(answered["choices"][0]["message"]["content"])


def test_reasoning_alone_can_use_up_the_cap() -> None:
    answered = chat(model="simulated-reasoning", max_completion_tokens=10)
    assert answered["choices"][0]["message"]["content"] == ""
    assert answered["choices"][0]["finish_reason"] == "length"
    assert answered["usage"]["completion_tokens_details"]["reasoning_tokens"] == 10


def test_tool_arguments_fit_the_schema() -> None:
    said = message(tools=[WEATHER])
    [call] = said["tool_calls"]
    assert said["content"] is None
    assert call["function"]["name"] == "get_weather"
    jsonschema_rs.validate(WEATHER["function"]["parameters"], json.loads(call["function"]["arguments"]))
    assert chat(tools=[WEATHER])["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tool_without_parameters_gets_an_empty_object() -> None:
    [call] = message(tools=[TIME])["tool_calls"]
    assert call["function"]["arguments"] == "{}"


def test_the_tool_that_is_named_is_called() -> None:
    asked = [{"role": "user", "content": "please use get_time now"}]
    assert message(tools=[WEATHER, TIME], messages=asked)["tool_calls"][0]["function"]["name"] == "get_time"
    choice = {"type": "function", "function": {"name": "get_time"}}
    assert message(tools=[WEATHER, TIME], tool_choice=choice)["tool_calls"][0]["function"]["name"] == "get_time"
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_time"}}]}}  # fmt: skip
    assert message(tools=[WEATHER, TIME], tool_choice=allowed)["tool_calls"][0]["function"]["name"] == "get_time"


def test_parallel_calls_come_when_asked_for() -> None:
    two = message(tools=[WEATHER, TIME], parallel_tool_calls=True)["tool_calls"]
    assert [call["function"]["name"] for call in two] == ["get_weather", "get_time"]
    same = message(tools=[WEATHER], parallel_tool_calls=True)["tool_calls"]
    assert len({call["id"] for call in same}) == 2
    assert len(message(tools=[WEATHER, TIME])["tool_calls"]) == 1


def test_tool_results_are_answered_in_text() -> None:
    said = message(tools=[WEATHER], messages=TOOL_TURNS)
    assert "18 degrees" in said["content"]
    assert "tool_calls" not in said


def test_tool_choice_none_is_obeyed_and_required_insists() -> None:
    assert "tool_calls" not in message(tools=[WEATHER], tool_choice="none")
    assert "tool_calls" in message(tools=[WEATHER], tool_choice="required", messages=TOOL_TURNS)


def test_a_cap_cuts_tool_arguments() -> None:
    answered = chat(tools=[WEATHER], max_tokens=2)["choices"][0]
    assert answered["finish_reason"] == "length"
    assert answered["message"]["tool_calls"][0]["function"]["arguments"]


def test_custom_tools_get_text() -> None:
    tool = {"type": "custom", "custom": {"name": "note"}}
    [call] = message(tools=[tool])["tool_calls"]
    assert call["type"] == "custom"
    assert call["custom"]["input"]
    ChatCompletion.model_validate_json(json.dumps(chat(tools=[tool])), strict=True)


def test_json_schema_is_fitted() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 4}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    jsonschema_rs.validate(schema, json.loads(message(response_format=wanted)["content"]))


def test_an_impossible_schema_is_a_bad_request() -> None:
    schema = {"type": "integer", "minimum": 5, "maximum": 4}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    script = ask(response_format=wanted)
    assert script.status == 400
    assert document(script)["error"]["code"] == "invalid_json_schema"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [1]}, "messages[0]", "invalid_value"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 128, "model": "simulated-length-100000"}, "n", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": 5}, "stream_options", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0]", "invalid_value"),
        (
            {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
            "invalid_value",
        ),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 5}, "model", "invalid_value"),
        ({"model": "simulated-embedding"}, "model", "unsupported_model"),
    ],
)
def test_bad_requests_name_what_is_wrong(fields: dict[str, Any], param: str, code: str) -> None:
    script = ask(CHAT, **fields)
    error = document(script)["error"]
    assert (script.status, error["param"], error["code"]) == (400, param, code)


def test_logprobs_belong_to_the_tokens() -> None:
    choice = chat(logprobs=True, top_logprobs=2)["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in entries)
    assert bytes(entries[0]["bytes"]).decode() == entries[0]["token"]
