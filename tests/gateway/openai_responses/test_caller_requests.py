"""What callers of the Responses API may send, and what it means in the canonical form."""

import base64
import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.contracts.chat import Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.openai_responses import ResponsesCaller

CALLER = ResponsesCaller()
FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": True,
}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}


def read(**fields: Any) -> Call:
    return CALLER.read_call(orjson.dumps({"model": "m", "input": "Hi", **fields}), {}, "/v1/responses")


def messages(items: Any, **fields: Any) -> Any:
    return read(input=items, **fields).body["messages"]


def refusal(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    return caught.value


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], "id": "msg_1"}


def called(name: str = "f", call_id: str = "call_1", arguments: str = '{"a":1}') -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments}


def answered(call_id: str = "call_1", output: Any = "4") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def test_a_string_is_one_message_of_the_user() -> None:
    call = read()
    assert call.body == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert call.wants_usage
    assert not call.is_stream
    assert call.native == {"model": "m", "input": "Hi", "store": False}


# Case 12 (litellm#26879)
def test_instructions_and_developer_messages_become_one_leading_system() -> None:
    items = [
        {"role": "developer", "content": "First."},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Second."}]},
        {"role": "user", "content": "Hi"},
    ]
    assert messages(items, instructions="Be brief.") == [
        {"role": "system", "content": "Be brief.\n\nFirst.\n\nSecond."},
        {"role": "user", "content": "Hi"},
    ]


def test_a_later_developer_message_keeps_its_place() -> None:
    found = messages([{"role": "user", "content": "Hi"}, {"role": "developer", "content": "Now in French."}])
    assert found == [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Now in French."}]


def test_items_of_one_turn_are_one_assistant_message() -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Think."}]},
        said("Let me see."),
        called("f", "call_1"),
        called("g", "call_2", ""),
        answered("call_2", "no"),
        answered("call_1", [{"type": "input_text", "text": "yes"}]),
        said("Done."),
    ]
    assert messages(items)[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "Think.",
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "Think.", "format": "openai", "id": "rs_1", "index": 0}
            ],
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": "no"},
        {"role": "tool", "tool_call_id": "call_1", "content": "yes"},
        {"role": "assistant", "content": "Done."},
    ]


def test_answers_in_a_row_stay_apart() -> None:
    assert [message["content"] for message in messages([said("One."), said("Two.")])] == ["One.", "Two."]


def test_pictures_files_and_sounds_are_parts() -> None:
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "high"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    assert messages([{"role": "user", "content": content}])[0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_url": "https://example.com/a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


def test_custom_tools_and_their_calls() -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "custom_tool_call", "call_id": "c", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a b"},
    ]
    call = read(input=items, tools=[{"type": "custom", "name": "sh", "format": GRAMMAR}])
    assert call.body["messages"][1]["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    ]
    grammar = {"syntax": "lark", "definition": "start: WORD"}
    assert call.body["tools"] == [
        {"type": "custom", "custom": {"name": "sh", "format": {"type": "grammar", "grammar": grammar}}}
    ]


def test_functions_are_nested_and_their_choice() -> None:
    inner = {name: value for name, value in FUNCTION.items() if name != "type"}
    call = read(tools=[FUNCTION], tool_choice={"type": "function", "name": "get_weather"}, parallel_tool_calls=False)
    assert call.body["tools"] == [{"type": "function", "function": inner}]
    assert call.body["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert call.body["parallel_tool_calls"] is False
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_weather"}]}
    assert read(tools=[FUNCTION], tool_choice=allowed).body["tool_choice"] == {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_weather"}}]},
    }


def test_what_goes_with_tools_is_left_out_without_them() -> None:
    body = read(tools=[], tool_choice="auto", parallel_tool_calls=True).body
    assert body.keys() == {"model", "messages"}


def test_fields_with_another_name_or_shape() -> None:
    schema = {"type": "object", "properties": {}}
    body = read(
        max_output_tokens=100,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}, "verbosity": "low"},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        temperature=0.5,
        user="u",
        metadata={"a": "b"},
        previous_response_id=None,
        top_k=5,
    ).body
    assert {name: body[name] for name in body if name != "messages"} == {
        "model": "m",
        "max_completion_tokens": 100,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "temperature": 0.5,
        "user": "u",
        "top_k": 5,
    }
    assert read(text={"format": {"type": "json_object"}}).body["response_format"] == {"type": "json_object"}
    assert "response_format" not in read(text={"format": {"type": "text"}}).body


def test_what_no_other_dialect_has_is_named() -> None:
    assert read(tools=[FUNCTION, {"type": "web_search"}]).needs_native == "tools[1].type"
    assert (
        read(input=[{"type": "web_search_call", "id": "ws_1", "status": "completed"}]).needs_native == "input[0].type"
    )
    hologram = [{"role": "user", "content": [{"type": "input_hologram"}]}]
    assert read(input=hologram).needs_native == "input[0].content[0].type"
    assert read(prompt={"id": "pmpt_1"}).needs_native == "prompt"
    assert read(tools=[FUNCTION], tool_choice={"type": "file_search"}).needs_native == "tool_choice.type"
    assert read(truncation="auto", max_tool_calls=3).unexpressed == ("max_tool_calls", "truncation")
    assert read(tools=[FUNCTION], truncation="disabled").needs_native is None
    # Money must see that something is bought whose price nobody knows.
    assert {"type": "web_search"} in read(tools=[{"type": "web_search"}]).body["tools"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "missing_required_parameter"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": ["Hi"]}, "input[0]", "invalid_type"),
        ({"input": [{"role": 5}]}, "input[0].role", "invalid_type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type", None),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", None),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url", None),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data", None),
        ({"input": [{"type": []}]}, "input[0].type", "invalid_type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "missing_required_parameter"),
        ({"input": [called(arguments={})]}, "input[0].arguments", "invalid_type"),  # type: ignore[arg-type]
        ({"input": [answered(output=None)]}, "input[0].output", "missing_required_parameter"),
        ({"input": [answered(output={"a": 1})]}, "input[0].output", "invalid_type"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id", "missing_required_parameter"),
        ({"input": [{"type": "item_reference", "id": "m"}] * 1001}, "input", "invalid_value"),
        ({"instructions": 5}, "instructions", "invalid_type"),
        ({"tools": {"a": 1}}, "tools", "invalid_type"),
        ({"tools": [{"name": "f"}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{**FUNCTION, "parameters": "x"}]}, "tools[0].parameters", "invalid_type"),
        ({"tools": [FUNCTION], "tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tools": [FUNCTION], "tool_choice": 5}, "tool_choice", "invalid_type"),
        ({"text": 5}, "text", "invalid_type"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "text.format.schema",
            "missing_required_parameter",
        ),
        ({"reasoning": {"effort": 5}}, "reasoning.effort", "invalid_type"),
        ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"store": "yes"}, "store", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"include": "x"}, "include", "invalid_type"),
        ({"truncation": []}, "truncation", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {"a": "b" * 513}}, "metadata", "invalid_value"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_value"),
        ({"previous_response_id": 5}, "previous_response_id", "invalid_type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, code: str | None) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert code is None or error.code == code


# Reasoning


def test_encrypted_reasoning_of_openai_comes_back_as_it_was() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    call = read(input=[{"role": "user", "content": "Hi"}, item, called(), answered()])
    assert call.body["messages"][1]["reasoning_details"] == [
        {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai", "id": "rs_1", "index": 0}
    ]
    assert call.native is not None
    assert item in call.native["input"]


@pytest.mark.parametrize(
    "packed",
    ["tkr1.", "tkr1.!", "tkr1." + base64.b64encode(b'{"a":1}').decode(), "tkr1." + base64.b64encode(b"[[]]").decode()],
)
def test_packed_reasoning_that_is_not_ours_is_refused(packed: str) -> None:
    error = refusal(input=[{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": packed}])
    assert error.param == "input[0].encrypted_content"


# Anything at all

GOOD: Mapping[str, Any] = {
    "model": "m",
    "instructions": "x",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "e"},
        said("x"),
        called(),
        answered(),
        {"type": "item_reference", "id": "msg_1"},
    ],
    "tools": [FUNCTION, {"type": "custom", "name": "c", "format": GRAMMAR}, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "truncation": "auto",
    "max_output_tokens": 5,
    "previous_response_id": "resp_" + "0" * 32,
    "store": True,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.just("tkr1.W10="),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "a", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = places(GOOD)[1:]


@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_a_document_that_was_tampered_with_is_a_call_or_a_bad_request(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    document = copy.deepcopy(dict(GOOD))
    for path, value in changes:
        at: Any = document
        for step in path[:-1]:
            try:
                at = at[step]
            except (KeyError, IndexError, TypeError):
                break
        of_list = isinstance(at, list) and isinstance(path[-1], int) and path[-1] < len(at)
        if of_list or (isinstance(at, dict) and isinstance(path[-1], str)):
            at[path[-1]] = value
    with suppress(BadRequest):
        call = CALLER.read_call(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS), {}, "")
        assert isinstance(call.body["messages"], list)
        assert b"response.completed" in CALLER.writer(call).end(None)


def test_the_good_document_is_good() -> None:
    call = CALLER.read_call(orjson.dumps(GOOD), {}, "")
    assert call.turn is not None
    assert call.turn.references == ("msg_1",)
