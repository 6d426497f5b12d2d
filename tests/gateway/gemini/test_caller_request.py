"""Gemini's requests as canonical calls: every field in its place, told by name where there is none, refused where it is wrong."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.gemini.wire import PNG, SIGNATURE
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.canonical import effort_of
from tollkeeper.gateway.dialects.gemini import (
    GeminiCaller,
    GeminiEmbed,
    GeminiEmbedBatch,
    GeminiStream,
    GeminiTokenCount,
    GeminiVendor,
    foreign,
    prepare,
)

Json = dict[str, Any]
PATH = "/v1beta/models/gemini-2.5-flash:generateContent"


def read(document: Any, dialect: GeminiCaller | None = None, path: str = PATH) -> Call:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return (dialect or GeminiCaller()).read_call(body, {}, path)


def user(*parts: Any) -> Json:
    return {"role": "user", "parts": list(parts) or [{"text": "Hi."}]}


def model(*parts: Any) -> Json:
    return {"role": "model", "parts": list(parts)}


def asked(*contents: Any, **fields: Any) -> Json:
    return {"contents": list(contents) or [user()], **fields}


def messages(*contents: Any, **fields: Any) -> list[Json]:
    found: list[Json] = read(asked(*contents, **fields)).body["messages"]
    return found


def config(**fields: Any) -> Json:
    body = read(asked(generationConfig=fields)).body
    return {name: value for name, value in body.items() if name not in {"model", "messages"}}


def test_plain_call() -> None:
    document = asked(user(), model({"text": "Hello."}), user({"text": "a"}, {"text": "b"}))
    document["systemInstruction"] = {"parts": [{"text": "Be brief."}, {"text": "And kind."}]}
    call = read(document)
    assert call.body == {
        "model": "gemini-2.5-flash",
        "messages": [
            {"role": "system", "content": "Be brief.\n\nAnd kind."},
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
    }
    assert (call.operation, call.is_stream, call.wants_usage) == (Operation.CHAT, False, False)
    assert (call.dialect, call.native, call.unexpressed, call.needs_native) == ("gemini", document, (), None)


def test_caller_is_told_of_its_fields_by_their_own_names() -> None:
    names = read(asked()).names or {}
    assert names["top_k"] == "generationConfig.topK"
    assert names["web_search_options"] == "tools.googleSearch"
    assert names["max_completion_tokens"] == "generationConfig.maxOutputTokens"


def test_stream_always_shows_its_usage() -> None:
    call = read(asked(), GeminiStream())
    assert (call.is_stream, call.wants_usage) == (True, True)
    assert call.body["stream"] is True
    assert call.body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/api/v1beta/models/openai/gpt-4o:generateContent", "openai/gpt-4o"),
        ("/v1/models/llama3:8b:generateContent", "llama3:8b"),
        ("/v1beta/models/models/x:generateContent", "x"),
        ("/v1beta/models/a/models/b:generateContent", "a/models/b"),
    ],
)
def test_model_stands_in_the_path(path: str, name: str) -> None:
    assert read(asked(), path=path).model == name


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 257, "models/"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(asked(), path=f"/v1beta/models/{name}:generateContent")
    assert caught.value.param == "model"


def test_snake_case_and_one_in_the_place_of_a_list_are_taken() -> None:
    document = {
        "system_instruction": {"parts": {"text": "Be brief."}},
        "contents": {"parts": [{"inline_data": {"mime_type": "image/png", "data": PNG}}]},
        "generation_config": {"max_output_tokens": 9, "stop_sequences": ["x"]},
        "tools": {"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]},
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
    }
    body = read(document).body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["max_completion_tokens"] == 9
    assert body["stop"] == ["x"]
    native = read(document).native
    assert native is not None
    assert native["generationConfig"] == {"maxOutputTokens": 9, "stopSequences": ["x"]}
    assert native.keys() == {*document, "generationConfig"} - {"generation_config"}
    assert body["tools"][0]["function"] == {"name": "f", "parameters": {"type": "object"}}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}


def test_media_of_every_kind() -> None:
    (message,) = messages(
        user(
            {"text": "Look."},
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
            {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/ogg;codecs=opus", "data": "AAAA"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0=", "displayName": "a.pdf"}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a"}},
            {"fileData": {"fileUri": "https://example.com/b.pdf"}},
        )
    )
    assert message["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
        {"type": "file", "file": {"file_url": "https://example.com/b.pdf"}},
    ]


def test_calls_and_answers_find_one_another_without_ids() -> None:
    found = messages(
        user(),
        model({"functionCall": {"name": "f", "args": {"a": 1}}}, {"functionCall": {"name": "g"}}),
        user(
            {"functionResponse": {"name": "g", "response": {"result": "of g"}}},
            {"functionResponse": {"name": "f", "response": {"a": [1]}}},
            {"text": "Go on."},
        ),
        model({"functionCall": {"name": "f", "args": {}, "id": "own"}}),
        user({"functionResponse": {"name": "f", "id": "own", "response": {"error": "no"}}}),
    )
    first, second = found[1]["tool_calls"]
    assert (first["id"], first["function"]) == ("call_1", {"name": "f", "arguments": '{"a":1}'})
    assert (second["id"], second["function"]) == ("call_2", {"name": "g", "arguments": "{}"})
    assert found[1]["content"] is None
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "call_2", "content": "of g"},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"a":[1]}'},
        {"role": "user", "content": "Go on."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "own", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "own", "content": "no", "is_error": True},
    ]


def test_picture_in_a_functions_answer_is_kept() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    found = messages(
        user(), model({"functionCall": {"name": "f"}}), user({"functionResponse": {"name": "f", "parts": [part]}})
    )
    assert [one["type"] for one in found[2]["content"]] == ["text", "image_url"]


def test_signatures_and_thoughts_are_carried() -> None:
    found = messages(
        user(),
        model(
            {"text": "Hm.", "thought": True, "thoughtSignature": "of-thought"},
            {"text": "I look.", "thoughtSignature": "of-text"},
            {"functionCall": {"name": "f"}, "thoughtSignature": SIGNATURE},
        ),
        user({"functionResponse": {"name": "f", "response": {}}}),
    )
    assert found[1]["content"] == "I look."
    assert found[1]["reasoning_content"] == "Hm."
    assert found[1]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "of-thought", "format": "gemini", "index": 0},
        {"type": "reasoning.encrypted", "data": "of-text", "format": "gemini", "index": 1},
    ]
    assert found[1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": SIGNATURE}}


def test_another_vendors_thoughts_come_back_as_they_were_and_not_to_gemini() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s+/=", "format": "anthropic", "index": 0}]
    for signature in (foreign.wrap(details), foreign.wrap(details).replace("+", "-").replace("/", "_").rstrip("=")):
        document = asked(user(), model({"functionCall": {"name": "f"}, "thoughtSignature": signature}), user())
        call = read(document)
        message = call.body["messages"][1]
        assert message["reasoning_details"] == details
        assert message["reasoning_content"] == "Hm."
        assert "extra_content" not in message["tool_calls"][0]
        assert call.native is None


def test_changed_wrapping_is_nothing() -> None:
    for damage in ("!", "AAAA", foreign.wrap([])[16:] + "x"):
        broken = foreign.wrap([])[:16] + damage
        assert messages(user(), model({"text": "a", "thoughtSignature": broken}), user())[1]["content"] == "a"


def test_code_that_gemini_ran_is_text() -> None:
    found = messages(
        user(),
        model(
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        ),
        user(),
    )
    assert found[1]["content"] == "```python\nprint(1)\n```\n```\n1\n```\n"


def test_generation_config() -> None:
    assert config(
        temperature=0,
        topP=0.5,
        topK=40,
        candidateCount=2,
        maxOutputTokens="100",
        stopSequences=["a"],
        seed=-7,
        presencePenalty=-1,
        frequencyPenalty=1.5,
        responseLogprobs=True,
        logprobs=3.0,
        responseModalities=["TEXT", "IMAGE"],
    ) == {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 40,
        "n": 2,
        "max_completion_tokens": 100,
        "stop": ["a"],
        "seed": -7,
        "presence_penalty": -1,
        "frequency_penalty": 1.5,
        "logprobs": True,
        "top_logprobs": 3,
        "modalities": ["text", "image"],
    }
    assert config(logprobs=3, responseModalities=["TEXT"], responseMimeType="text/plain", stopSequences=[]) == {}


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"thinkingLevel": "LOW"}, "low"),
        ({"thinkingLevel": "HIGH", "includeThoughts": True}, "high"),
        ({"thinkingBudget": 1024}, "low"),
        ({"thinkingBudget": 8192}, "medium"),
        ({"thinkingBudget": 24576}, "high"),
        ({"thinkingBudget": -1}, None),
        ({"includeThoughts": True}, None),
    ],
)
def test_thinking(thinking: Json, effort: str | None) -> None:
    assert effort_of(config(thinkingConfig=thinking)) == effort


def test_thinking_that_is_turned_off() -> None:
    assert config(thinkingConfig={"thinkingBudget": 0}) == {"thinking": {"type": "disabled"}}


def test_structured_output() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "nullable": True, "enum": ["a"], "format": "enum"},
            "items": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1", "max_items": 3, "example": [1]},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        },
        "required": ["type"],
        "propertyOrdering": ["type", "items"],
    }
    (found,) = config(responseMimeType="application/json", responseSchema=schema).values()
    assert found == {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": ["string", "null"], "enum": ["a", None]},
                    "items": {
                        "type": "array",
                        "items": {"type": "integer"},
                        "minItems": 1,
                        "maxItems": 3,
                        "examples": [[1]],
                    },
                    "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
                },
                "required": ["type"],
            },
        },
    }
    plain = {"type": "object", "additionalProperties": False}
    (found,) = config(responseMimeType="application/json", responseJsonSchema=plain).values()
    assert found["json_schema"]["schema"] == plain
    assert config(responseMimeType="application/json") == {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, "auto"),
        ({"mode": "ANY"}, "required"),
        ({"mode": "NONE"}, "none"),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, {"type": "function", "function": {"name": "f"}}),
        (
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        ),
    ],
)
def test_tool_choice(calling: Json, choice: Any) -> None:
    tools = [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT"}}]}]
    body = read(asked(tools=tools, toolConfig={"functionCallingConfig": calling})).body
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ]
    assert body["tool_choice"] == choice
    assert "tool_choice" not in read(asked(toolConfig={"functionCallingConfig": calling})).body


def test_what_only_gemini_has_is_told_or_needed() -> None:
    call = read(
        asked(
            user({"text": "a"}, {"videoMetadata": {"fps": 1}, "fileData": {"fileUri": "https://youtu.be/x"}}),
            safetySettings=[{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
            labels={"a": "b"},
            toolConfig={"retrievalConfig": {"languageCode": "de"}},
            generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW", "responseMimeType": "text/x.enum"},
            tools=[{"googleSearch": {"excludeDomains": ["x"]}}],
        )
    )
    assert set(call.unexpressed) == {
        "contents.parts.videoMetadata",
        "safetySettings",
        "labels",
        "toolConfig.retrievalConfig",
        "generationConfig.mediaResolution",
        "generationConfig.responseMimeType",
        "tools[0].googleSearch.excludeDomains",
    }
    assert call.body["web_search_options"] == {}
    assert call.needs_native is None


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"tools": [{"codeExecution": {}}]}, "tools[0].codeExecution"),
        ({"contents": [user({"hologram": {}})]}, "contents[0].parts[0].hologram"),
    ],
)
def test_what_nobody_else_can_do_without_is_needed(fields: Json, name: str) -> None:
    contents = fields.pop("contents", [user()])
    if name.startswith("contents"):
        contents = [user(), *contents]
        name = name.replace("[0]", "[1]", 1)
    call = read({"contents": contents, **fields})
    assert call.needs_native == name


def test_tools_of_googles_own_stay_visible_to_who_reckons_the_cost() -> None:
    assert read(asked(tools=[{"codeExecution": {}}])).body["tools"] == [{"type": "code_execution"}]
    assert read(asked(cachedContent="c/1")).body["cached_content"] == "c/1"


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({}, "contents"),
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 7}, "contents"),
        ({"contents": [7]}, "contents[0]"),
        ({"contents": [{"role": "wizard", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": 7, "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": "user", "parts": 7}]}, "contents[0].parts"),
        ({"contents": [{"role": "user", "parts": [7]}]}, "contents[0].parts[0]"),
        ({"contents": [{"role": "user", "parts": []}]}, "contents[0].parts"),
        (asked(user({"text": 7})), "contents[0].parts[0].text"),
        (asked(user({"inlineData": {"mimeType": 7, "data": "x"}})), "contents[0].parts[0].inlineData.mimeType"),
        (asked(user({"inlineData": {"mimeType": "image/png"}})), "contents[0].parts[0].inlineData.data"),
        (asked(user({"fileData": {}})), "contents[0].parts[0].fileData.fileUri"),
        (asked(user({"functionResponse": {}})), "contents[0].parts[0].functionResponse.name"),
        (
            asked(user({"functionResponse": {"name": "f", "response": 7}})),
            "contents[0].parts[0].functionResponse.response",
        ),
        (asked(model({"functionCall": {"name": 7}})), "contents[0].parts[0].functionCall.name"),
        (asked(model({"functionCall": {"name": "f", "args": "x"}})), "contents[0].parts[0].functionCall.args"),
        (asked(model({"functionCall": {"name": "f", "id": 7}})), "contents[0].parts[0].functionCall.id"),
        (asked(model({"text": "a", "thought": "yes"})), "contents[0].parts[0].thought"),
        (asked(model({"text": "a", "thoughtSignature": 7})), "contents[0].parts[0].thoughtSignature"),
        (asked(systemInstruction="x"), "systemInstruction"),
        (asked(systemInstruction={"parts": [{"text": 7}]}), "systemInstruction.parts[0].text"),
        (asked(tools=7), "tools"),
        (asked(tools=[7]), "tools[0]"),
        (asked(tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
        (
            asked(tools=[{"functionDeclarations": [{"name": "f", "parameters": {"type": "MATRIX"}}]}]),
            "tools[0].functionDeclarations[0].parameters.type",
        ),
        (asked(toolConfig=7), "toolConfig"),
        (asked(toolConfig={"functionCallingConfig": {"mode": "MAYBE"}}), "toolConfig.functionCallingConfig.mode"),
        (asked(generationConfig=7), "generationConfig"),
        (asked(generationConfig={"temperature": "hot"}), "generationConfig.temperature"),
        (asked(generationConfig={"temperature": -1}), "generationConfig.temperature"),
        (asked(generationConfig={"maxOutputTokens": 0}), "generationConfig.maxOutputTokens"),
        (asked(generationConfig={"maxOutputTokens": 1.5}), "generationConfig.maxOutputTokens"),
        (asked(generationConfig={"candidateCount": 129}), "generationConfig.candidateCount"),
        (asked(generationConfig={"stopSequences": [7]}), "generationConfig.stopSequences[0]"),
        (asked(generationConfig={"responseLogprobs": 1}), "generationConfig.responseLogprobs"),
        (asked(generationConfig={"thinkingConfig": 7}), "generationConfig.thinkingConfig"),
        (
            asked(generationConfig={"thinkingConfig": {"thinkingBudget": "x"}}),
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (asked(generationConfig={"responseSchema": 7}), "generationConfig.responseSchema"),
        (asked(cachedContent=7), "cachedContent"),
        (asked(serviceTier=7), "serviceTier"),
    ],
)
def test_wrong_type_is_told_by_its_place(document: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(document)
    assert caught.value.param is not None
    assert caught.value.param.removesuffix(".parts") == param.removesuffix(".parts")


def test_tokens_are_counted_of_contents_or_of_a_whole_request() -> None:
    for document in (asked(), {"generateContentRequest": {"model": "models/x", **asked()}}):
        call = read(document, GeminiTokenCount(), "/v1beta/models/m:countTokens")
        assert (call.model, call.body["messages"]) == ("m", [{"role": "user", "content": "Hi."}])
    with pytest.raises(BadRequest):
        read({"generateContentRequest": 7}, GeminiTokenCount())


def test_embedding_calls() -> None:
    content = {"parts": [{"text": "a"}, {"text": "b"}]}
    one = read({"content": content, "outputDimensionality": 8, "taskType": "X"}, GeminiEmbed())
    assert one.body == {"model": one.model, "input": "a\nb", "encoding_format": "float", "dimensions": 8}
    assert (one.operation, one.unexpressed) == (Operation.EMBEDDINGS, ("taskType",))
    several = read({"requests": [{"content": content}, {"content": content}]}, GeminiEmbedBatch())
    assert several.body["input"] == ["a\nb", "a\nb"]


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({}, "requests"),
        ({"requests": [{"content": {"parts": [{"text": "a"}]}}], "content": {"parts": [{"text": "b"}]}}, "content"),
        ({"requests": [7]}, "requests[0]"),
        ({"requests": [{}]}, "requests[0].content"),
        ({"requests": [{"content": {"parts": [{"text": 7}]}}]}, "requests[0].content.parts[0].text"),
        ({"requests": [{"content": {"parts": []}}]}, "requests[0].content.parts"),
        (
            {
                "requests": [
                    {"content": {"parts": [{"text": "a"}]}},
                    {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8},
                ]
            },
            "requests",
        ),
        ({"requests": [{"content": {"parts": [{"text": "a"}]}}] * 2049}, "requests"),
    ],
)
def test_bad_embedding_calls(document: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(document, GeminiEmbedBatch())
    assert caught.value.param == param


def test_one_embedding_is_not_several() -> None:
    with pytest.raises(BadRequest) as caught:
        read({"content": {"parts": [{"text": "a"}]}, "requests": 7}, GeminiEmbed())
    assert (caught.value.param, caught.value.code) == ("requests", "unsupported_parameter")


GOOD: Json = {
    "systemInstruction": {"parts": [{"text": "s"}]},
    "contents": [
        user({"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        model(
            {"text": "t", "thought": True, "thoughtSignature": "x"},
            {"functionCall": {"name": "f", "args": {"a": 1}, "id": "i"}, "thoughtSignature": "y"},
        ),
        user({"functionResponse": {"name": "f", "id": "i", "response": {"output": "o"}, "parts": []}}),
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}
            ]
        },
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "safetySettings": [],
    "generationConfig": {
        "temperature": 1,
        "candidateCount": 1,
        "maxOutputTokens": 5,
        "stopSequences": ["x"],
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "anyOf": [{"type": "STRING"}], "nullable": True},
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 7},
    },
    "cachedContent": "c/1",
    "serviceTier": "flex",
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["models/", "TYPE", "dG9sbGtlZXBlcjE6", "\x00", "1" * 30]),
    st.lists(st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=3), st.just({})), max_size=3),
    st.dictionaries(
        st.sampled_from(["text", "parts", "name", "type", "a_b", "_", "functionCall", "mode"]),
        st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=3), st.just([]), st.just({})),
        max_size=3,
    ),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*path, name))


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(places(GOOD))), ODD), min_size=1, max_size=3))
def test_changed_documents_are_calls_or_bad_requests(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = copy.deepcopy(GOOD)
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
    for dialect in (GeminiCaller(), GeminiTokenCount()):
        with suppress(BadRequest):
            call = read(document, dialect)
            orjson.dumps(call.body)
            assert dialect.writer(call).end(None) == b""
            call.native = None
            assert GeminiVendor().write_call(prepare(call, "gemini-3-pro"))


def test_field_in_both_spellings_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        read({**asked(), "generationConfig": {}, "generation_config": 7})
    assert caught.value.code == "duplicate_key"


def test_whole_document_of_any_shape_is_refused() -> None:
    for body in (b"", b"[]", b"7", b"{", b"\xff", b'{"contents":[],"contents":[]}', b"[" * 5000):
        with pytest.raises(BadRequest):
            read(body)
