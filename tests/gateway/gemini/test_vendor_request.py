"""Canonical calls as Gemini's request: contents, tools, schemas, generation, and what is refused or dropped."""

import copy
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.gemini.wire import JPEG, PNG, SIGNATURE, WEATHER
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini import GeminiVendor, method_of, model_path, prepare
from tollkeeper.gateway.dialects.gemini.vendor_names import ToolNames, write_name
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.openai_fields import dropped_fields

Json = dict[str, Any]


def call_of(*messages: Json, model: str = "gemini-2.5-flash", **fields: Any) -> Call:
    body = {"model": model, "messages": list(messages) or [{"role": "user", "content": "Hi."}], **fields}
    return Call(Operation.CHAT, model, bool(fields.get("stream")), body)


def written(*messages: Json, vendor: GeminiVendor | None = None, **fields: Any) -> Json:
    call = call_of(*messages, **fields)
    document: Json = orjson.loads((vendor or GeminiVendor()).write_call(prepare(call, call.model)))
    return document


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any = None, *calls: Json, **fields: Any) -> Json:
    message: Json = {"role": "assistant", "content": content, **fields}
    return {**message, "tool_calls": list(calls)} if calls else message


def tool_call(call_id: str, name: str = "weather", arguments: Any = '{"city":"Rome"}', **fields: Any) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def tool(call_id: str, content: Any = "sunny", **fields: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def test_plain_call_becomes_contents_and_generation() -> None:
    document = written(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
        user("Hi."),
        assistant("Hello."),
        user("How are you?"),
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=100,
        n=2,
        stop="END",
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=3,
    )
    assert document == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi."}]},
            {"role": "model", "parts": [{"text": "Hello."}]},
            {"role": "user", "parts": [{"text": "How are you?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "And kind."}]},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "candidateCount": 2,
            "seed": 7,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "responseLogprobs": True,
            "logprobs": 3,
            "maxOutputTokens": 100,
            "stopSequences": ["END"],
        },
    }


def test_turns_of_one_role_become_one_and_empty_ones_none() -> None:
    document = written(user(""), user("a"), user([{"type": "text", "text": ""}, {"type": "text", "text": "b"}]))
    assert document["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_later_instruction_keeps_its_place() -> None:
    document = written(user("a"), assistant("b"), {"role": "system", "content": "Now in French."}, user("c"))
    assert document["contents"][-1] == {"role": "user", "parts": [{"text": "Now in French."}, {"text": "c"}]}
    assert "systemInstruction" not in document


def test_instruction_alone_is_what_is_answered() -> None:
    """11."""
    document = written({"role": "system", "content": "Say hello."})
    assert document == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


def test_history_that_begins_with_the_model_gets_a_user_before_it() -> None:
    document = written(assistant("Welcome."), user("Hi."))
    assert [content["role"] for content in document["contents"]] == ["user", "model", "user"]


def test_prefill_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        written(user("a"), assistant("It is"))
    assert (caught.value.code, caught.value.param) == ("unsupported_input", "messages")


def test_media_of_every_kind() -> None:
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
        # 18: what the bytes are, not what the address says.
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{JPEG}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.webp?x=1"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "SGk=", "filename": "a.txt"}},
        {"type": "file", "file": {"file_url": "https://example.com/b.pdf"}},
        {"type": "file", "file": {"file_id": "files/abc"}},
        {"type": "image_url", "image_url": {"url": "data:text/plain,a%20b"}},
    ]
    (content,) = written(user(parts))["contents"]
    assert content["parts"] == [
        {"text": "Look."},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}},
        {"fileData": {"fileUri": "https://example.com/a.webp?x=1", "mimeType": "image/webp"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "text/plain", "data": "SGk="}},
        {"fileData": {"fileUri": "https://example.com/b.pdf", "mimeType": "application/pdf"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
    ]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "hologram"}, "messages[0].content[0].type"),
        ({"type": "file", "file": {"file_id": "file-abc"}}, "messages[0].content[0].file.file_id"),
    ],
)
def test_parts_without_a_place_are_refused_by_name(part: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        written(user([part]))
    assert (caught.value.code, caught.value.param) == ("unsupported_input", param)


@pytest.mark.parametrize(
    "message",
    [
        user([7]),
        user([{"type": "text"}]),
        user([{"type": "image_url", "image_url": 7}]),
        user([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
        user([{"type": "image_url", "image_url": {"url": "data:image/png;base64"}}]),
        user([{"type": "image_url", "image_url": {"url": "https://[bad"}}, {"type": "input_audio"}]),
        user([{"type": "input_audio", "input_audio": {"data": 7}}]),
        user([{"type": "file", "file": "x"}]),
        user([{"type": "file", "file": {"file_data": 7}}]),
        user([{"type": "file", "file": {}}]),
        {"role": "function", "name": "f", "content": "x"},
        {"role": "wizard", "content": "x"},
        assistant(None, function_call={"name": "f", "arguments": "{}"}),
        assistant(None, tool_calls=7),
        assistant(None, {"id": "a", "type": "function"}),
        assistant(None, tool_call("")),
        assistant(None, tool_call("a", name=7)),  # type: ignore[arg-type]
        tool("nobody"),
        {"role": "tool", "content": "x"},
        user(""),
    ],
)
def test_bad_messages_are_bad_requests(message: Json) -> None:
    with pytest.raises(BadRequest) as caught:
        written(message)
    assert str(caught.value.param).startswith("messages")


def test_two_tool_messages_are_one_content_with_nothing_beside_them() -> None:
    """38."""
    document = written(
        user("Weather?"),
        assistant("Let me see.", tool_call("a"), tool_call("b", arguments='{"city":"Bonn"}')),
        tool("b", '{"sky": "grey"}'),
        tool("a", [{"type": "text", "text": "sunny"}]),
        user("And?"),
    )
    assert document["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"id": "a", "name": "weather", "args": {"city": "Rome"}}},
                {"functionCall": {"id": "b", "name": "weather", "args": {"city": "Bonn"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "weather", "response": {"output": "sunny"}}},
                {"functionResponse": {"id": "b", "name": "weather", "response": {"sky": "grey"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def test_answers_around_a_users_words_stand_together() -> None:
    document = written(
        user("Weather?"), assistant(None, tool_call("a"), tool_call("b")), tool("a"), user("Quick!"), tool("b")
    )
    assert [[next(iter(part)) for part in content["parts"]] for content in document["contents"]] == [
        ["text"],
        ["functionCall", "functionCall"],
        ["functionResponse", "functionResponse"],
        ["text"],
    ]


def test_call_that_is_answered_twice_has_one_answer() -> None:
    """2."""
    document = written(user("?"), assistant(None, tool_call("a")), tool("a", "old"), tool("a", "new"))
    (part,) = document["contents"][-1]["parts"]
    assert part["functionResponse"]["response"] == {"output": "new"}


def test_picture_that_a_tool_gave_follows_in_a_content_of_its_own() -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    document = written(user("?"), assistant(None, tool_call("a")), tool("a", [{"type": "text", "text": "x"}, picture]))
    assert document["contents"][-1] == {
        "role": "user",
        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
    }


def test_failed_tool_says_so() -> None:
    document = written(user("?"), assistant(None, tool_call("a")), tool("a", "no such city", is_error=True))
    (part,) = document["contents"][-1]["parts"]
    assert part["functionResponse"]["response"] == {"error": "no such city"}


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        (None, {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a":1}', {"a": 1}),
        ("[1]", {"arguments": "[1]"}),
        ("{", {"arguments": "{"}),
    ],
)
def test_arguments_become_an_object(arguments: Any, args: Json) -> None:
    """5, 55."""
    document = written(user("?"), assistant(None, tool_call("a", arguments=arguments)), tool("a"))
    assert document["contents"][1]["parts"][0]["functionCall"]["args"] == args


def test_ids_stay_out_where_a_vendor_has_none() -> None:
    document = written(user("?"), assistant(None, tool_call("a")), tool("a"), vendor=GeminiVendor(sends_ids=False))
    assert document["contents"][1]["parts"][0]["functionCall"].keys() == {"name", "args"}
    assert document["contents"][2]["parts"][0]["functionResponse"].keys() == {"name", "response"}


def test_signatures_go_back_where_they_came_from() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "of-thought", "format": "gemini", "index": 0},
        {"type": "reasoning.encrypted", "data": "of-text", "format": "gemini", "index": 1},
        {"type": "reasoning.encrypted", "data": "of-b", "format": "google-gemini-v1", "id": "b"},
        {"type": "reasoning.text", "text": "x", "signature": "theirs", "format": "anthropic"},
        7,
    ]
    signed = tool_call("a", extra_content={"google": {"thought_signature": SIGNATURE}})
    message = assistant("I look.", signed, tool_call("b"), tool_call("c"), reasoning_details=details)
    document = written(user("?"), message, tool("a"), tool("b"), tool("c"), model="gemini-3-pro-preview")
    parts = document["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["of-thought", "of-text", SIGNATURE, "of-b", None]
    assert parts[0] == {"text": "Hm.", "thought": True, "thoughtSignature": "of-thought"}


def test_signature_without_text_gets_an_empty_one() -> None:
    extra = {"google": {"thought_signature": SIGNATURE}}
    document = written(user("?"), assistant(None, extra_content=extra), user("Well?"))
    assert document["contents"][1]["parts"] == [{"text": "", "thoughtSignature": SIGNATURE}]


@pytest.mark.parametrize(
    ("model", "is_marked"),
    [("gemini-3-flash", True), ("models/gemini-3.5-pro", True), ("gemini-2.5-pro", False), ("gemma-3", False)],
)
def test_calls_of_another_model_are_marked_where_signatures_are_needed(model: str, is_marked: bool) -> None:
    document = written(user("?"), assistant(None, tool_call("a"), tool_call("b")), tool("a"), tool("b"), model=model)
    marks = [part.get("thoughtSignature") for part in document["contents"][1]["parts"]]
    assert marks == (["skip_thought_signature_validator", None] if is_marked else [None, None])


def test_schema_goes_as_json_schema_whatever_is_in_it() -> None:
    """37."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {"n": {"type": "integer", "exclusiveMinimum": 0}, "s": {"type": "array", "uniqueItems": True}},
    }
    function = {"name": "f", "parameters": schema, "strict": True}
    document = written(
        tools=[{"type": "function", "function": function}],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    )
    assert document["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]
    assert document["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}


def test_function_without_arguments_has_no_schema() -> None:
    for parameters in (None, {}, {"type": "object", "properties": {}}):
        document = written(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
        assert document["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


def test_json_mode() -> None:
    assert written(response_format={"type": "json_object"})["generationConfig"] == {
        "responseMimeType": "application/json"
    }
    assert "generationConfig" not in written(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("none", {"mode": "NONE"}),
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["weather"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_tool_choice(choice: Any, config: Json) -> None:
    """15."""
    assert written(tools=[WEATHER], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize("choice", ["sometimes", 7, {"type": "function"}, {"type": "allowed_tools"}])
def test_tool_choice_that_is_none_is_refused(choice: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        written(tools=[WEATHER], tool_choice=choice)
    assert caught.value.param == "tool_choice"


def test_tool_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        written(tools=[WEATHER, {"type": "teleport"}])
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tools[1].type")


def test_custom_tool_is_a_function_of_one_text() -> None:
    custom = {"type": "custom", "custom": {"name": "patch", "description": "d"}}
    document = written(
        user("?"),
        assistant(None, {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}),
        tool("a", "done"),
        tools=[custom],
    )
    (declaration,) = document["tools"][0]["functionDeclarations"]
    assert declaration["parametersJsonSchema"]["required"] == ["input"]
    assert document["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "*** x"}


def test_search_and_other_tools_of_the_vendor() -> None:
    tools = [{"type": "code_execution"}, {"type": "url_context", "url_context": {}}]
    document = written(tools=tools, web_search_options={})
    assert document["tools"] == [{"codeExecution": {}}, {"urlContext": {}}, {"googleSearch": {}}]
    assert "toolConfig" not in document


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("publishers/google/models/gemini-3-pro", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-flash-latest", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
    ],
)
def test_reasoning_effort_in_each_generations_words(model: str, effort: str, thinking: Json) -> None:
    assert written(model=model, reasoning_effort=effort)["generationConfig"]["thinkingConfig"] == thinking


def test_thinking_as_anthropic_and_googles_own_layer_say_it() -> None:
    def config(**fields: Any) -> Any:
        return written(**fields)["generationConfig"]["thinkingConfig"]

    enabled = {"type": "enabled", "budget_tokens": 5000}
    assert config(thinking=enabled) == {"thinkingBudget": 5000, "includeThoughts": True}
    assert config(thinking=enabled, model="gemini-3-pro") == {"thinkingLevel": "MEDIUM", "includeThoughts": True}
    assert config(thinking={"type": "adaptive"}) == {"thinkingBudget": -1, "includeThoughts": True}
    assert config(thinking={"type": "disabled"}) == {"thinkingBudget": 0}
    google = {"google": {"thinking_config": {"thinking_budget": 77, "include_thoughts": True}, "cached_content": "c/1"}}
    document = written(extra_body=google, reasoning_effort="high")
    assert document["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 77, "includeThoughts": True}
    assert document["cachedContent"] == "c/1"


def test_service_tiers_modalities_and_voice() -> None:
    document = written(service_tier="flex", modalities=["text", "audio"], audio={"voice": "Kore", "format": "wav"})
    assert document["serviceTier"] == "flex"
    assert document["generationConfig"]["responseModalities"] == ["TEXT", "AUDIO"]
    voice = document["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]
    assert voice == "Kore"


def test_fields_without_a_place_are_dropped_and_told() -> None:
    call = call_of(
        model="gemini-2.0-flash",
        user="u",
        metadata={"a": "b"},
        logit_bias={"1": 1},
        store=None,
        parallel_tool_calls=False,
        service_tier="scale",
        reasoning_effort="high",
        x_unknown=1,
        temperature=1,
    )
    prepared = prepare(call, "*")
    told = ["logit_bias", "metadata", "parallel_tool_calls", "reasoning_effort", "service_tier", "user", "x_unknown"]
    assert dropped_fields(call, prepared) == told
    assert orjson.loads(GeminiVendor().write_call(prepared))["generationConfig"] == {"temperature": 1}


@pytest.mark.parametrize("name", ["functions", "function_call"])
def test_deprecated_functions_are_refused(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        written(**{name: [{"name": "f"}]})
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", name)


@pytest.mark.parametrize("name", ["a" * 65, "1st", "größe", "a b"])
def test_names_that_gemini_refuses_are_others_that_stay_the_same(name: str) -> None:
    """9."""
    changed = write_name(name)
    assert changed == write_name(name) != name
    assert len(changed) <= 64
    assert changed.isascii()
    assert write_name(name + "x") != changed
    assert write_name("get.weather-now:1") == "get.weather-now:1"


def test_addresses_of_a_model() -> None:
    assert model_path("gemini-2.5-flash") == model_path("models/gemini-2.5-flash") == "models/gemini-2.5-flash"
    assert model_path("tunedModels/my one") == "tunedModels/my%20one"
    assert model_path("a/../b?c#d") == "models/a%2F..%2Fb%3Fc%23d"
    assert method_of(call_of()) == "generateContent"
    assert method_of(call_of(stream=True)) == "streamGenerateContent?alt=sse"


def test_callers_own_document_goes_as_it_came_with_the_budgets_cap() -> None:
    call = call_of()
    call.dialect, call.native = "gemini", {"contents": [{"parts": [{"hologram": 1}]}], "model": "models/other"}
    prepared = prepare(call, "gemini-x")
    assert prepared.native is call.native
    assert orjson.loads(GeminiVendor().write_call(prepared)) == {"contents": [{"parts": [{"hologram": 1}]}]}
    prepared.applied_cap = 9
    assert orjson.loads(GeminiVendor().write_call(prepared))["generationConfig"] == {"maxOutputTokens": 9}
    prepared.native = {"generationConfig": {"maxOutputTokens": 30, "seed": 1}}
    sent = orjson.loads(GeminiVendor().write_call(prepared))
    assert sent == {"generationConfig": {"seed": 1, "maxOutputTokens": 9}}


RICH: Json = {
    "model": "gemini-3-pro",
    "messages": [
        {"role": "system", "content": "s"},
        user(
            [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, {"type": "text", "text": "a"}]
        ),
        {
            **assistant("b", tool_call("a", extra_content={"google": {"thought_signature": "x"}})),
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "d", "format": "gemini", "id": "a"}],
        },
        tool("a", [{"type": "text", "text": "t"}], is_error=False),
        user(
            [
                {"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}},
                {"type": "file", "file": {"file_data": "A"}},
            ]
        ),
    ],
    "tools": [WEATHER, {"type": "custom", "custom": {"name": "c"}}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "extra_body": {"google": {"thinking_config": {"thinking_budget": 1}}},
    "thinking": {"type": "enabled", "budget_tokens": 1},
    "modalities": ["text", "audio"],
    "audio": {"voice": "v"},
    "stop": ["a"],
    "service_tier": "flex",
}
ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "null",
        "data:,",
        "https://[",
        [],
        [1],
        [None],
        [[]],
        {},
        {"type": []},
        {"a": {"b": []}},
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


@settings(max_examples=800, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(places(RICH))), ODD), min_size=1, max_size=2))
def test_whatever_openais_dialect_lets_through_is_written_or_refused(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    document = copy.deepcopy(RICH)
    for path, value in changes:
        place: Any = document
        try:
            for name in path[:-1]:
                place = place[name]
            # A list in place of an object, by an earlier change, has no such key.
            if isinstance(place, dict) == isinstance(path[-1], str):
                place[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    with suppress(BadRequest):
        call = OpenAIChat().read_call(orjson.dumps(document), {}, "")
        orjson.loads(GeminiVendor().write_call(prepare(call, "*")))
        ToolNames(call.body)


def test_arguments_that_nest_too_deep_are_refused() -> None:
    deep = '{"a":' * 400 + "1" + "}" * 400
    for messages in (
        [user("?"), assistant(None, tool_call("a", arguments=deep)), tool("a")],
        [user("?"), assistant(None, tool_call("a")), tool("a", deep)],
    ):
        with pytest.raises(BadRequest) as caught:
            written(*messages)
        assert caught.value.code == "json_too_deep"


def test_long_histories_cost_no_more_than_their_length() -> None:
    """A quadratic search would take minutes."""
    many = 20_000
    details = [{"type": "reasoning.encrypted", "data": "s", "format": "gemini"}] * many
    turns: list[Json] = [user("?"), assistant("a", reasoning_details=details), user("b")]
    for number in range(many):
        turns += [assistant(None, tool_call(f"c{number}", arguments="{}")), tool(f"c{number}", "x")]
    turns += [tool("c0", "y")] * many
    began = time.process_time()
    written(*turns)
    assert time.process_time() - began < 10
