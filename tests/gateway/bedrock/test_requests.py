"""Canonical calls as Converse's documents. Expected shapes follow Bedrock's runtime reference."""

import base64
import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.serving import provider
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.bedrock_converse.request import request_of
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.providers import PROVIDERS

BEDROCK = PROVIDERS["bedrock"]
CLAUDE_OLD = "anthropic.claude-3-5-sonnet-20241022-v2:0"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_4_6 = "global.anthropic.claude-opus-4-6-v1"
CLAUDE_NEW = "us.anthropic.claude-opus-5-2"
NOVA = "eu.amazon.nova-2-lite-v1:0"
OPEN = "openai.gpt-oss-120b-1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + b"0" * 20).decode()
PDF = base64.b64encode(b"%PDF-1.7 and so on").decode()
MARK = {"type": "ephemeral"}
TOOL = {"type": "function", "function": {"name": "get", "description": "Gets.", "parameters": {"type": "object"}}}
SPEC = {"toolSpec": {"name": "get", "description": "Gets.", "inputSchema": {"json": {"type": "object"}}}}


def prepared(body: dict[str, Any], model: str = CLAUDE, **options: Any) -> tuple[Call, Call]:
    body = {"model": "asked", "messages": [{"role": "user", "content": "Hi"}], **body}
    call = Call(Operation.CHAT, "asked", is_stream=bool(body.get("stream")), body=body)
    config = provider("p", "https://bedrock-runtime.us-east-1.amazonaws.com", kind="bedrock", options=options)
    return call, BEDROCK.prepare(config, call, Target("p", model))


def asked(body: dict[str, Any], model: str = CLAUDE, **options: Any) -> dict[str, Any]:
    return request_of(prepared(body, model, **options)[1])


def messages(*said: dict[str, Any], model: str = CLAUDE, **body: Any) -> Any:
    return asked({"messages": list(said), **body}, model)["messages"]


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def use(call_id: str, name: str = "get", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def refused(body: dict[str, Any], model: str = CLAUDE) -> BadRequest:
    with pytest.raises(BadRequest) as told:
        asked(body, model)
    return told.value


def dropped(body: dict[str, Any], model: str = CLAUDE) -> list[str]:
    return dropped_fields(*prepared(body, model))


def test_plain_call_has_the_least_that_converse_takes() -> None:
    assert asked({}) == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def test_numbers_stand_in_the_inference_config() -> None:
    body = {"max_completion_tokens": 9, "max_tokens": 5, "temperature": 1.5, "top_p": 0.5, "stop": ["END", "\n"]}
    assert asked(body, NOVA)["inferenceConfig"] == {
        "maxTokens": 9,
        "temperature": 1,
        "topP": 0.5,
        "stopSequences": ["END"],
    }
    assert "stopSequences" not in asked({"stop": "\n", "max_tokens": 1})["inferenceConfig"]


def test_system_messages_lead_and_later_ones_keep_their_place() -> None:
    """12."""
    said = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        user("Hi"),
        {"role": "assistant", "content": "Hello."},
        {"role": "system", "content": "Three."},
        user("Go on."),
    ]
    request = asked({"messages": said})
    assert request["system"] == [{"text": "One."}, {"text": "Two."}]
    assert request["messages"][-1] == {"role": "user", "content": [{"text": "Three."}, {"text": "Go on."}]}


@pytest.mark.parametrize(
    "said", [[{"role": "system", "content": "S"}], [{"role": "assistant", "content": "A"}], [user("")]]
)
def test_conversation_without_a_beginning_is_a_clear_refusal(said: list[Any]) -> None:
    """11."""
    error = refused({"messages": said})
    assert (error.status, error.param) == (400, "messages")


def test_consecutive_turns_of_one_role_are_one() -> None:
    assert messages(user("One."), user("Two."), {"role": "assistant", "content": "A"}, user("Three.")) == [
        {"role": "user", "content": [{"text": "One."}, {"text": "Two."}]},
        {"role": "assistant", "content": [{"text": "A"}]},
        {"role": "user", "content": [{"text": "Three."}]},
    ]


def test_blank_texts_are_left_out() -> None:
    """10."""
    said = [
        user([{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}]),
        {"role": "assistant", "content": "", "tool_calls": [use("a")]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
    ]
    assert messages(*said, tools=[TOOL]) == [
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "get", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "(empty)"}]}}]},
    ]


def test_results_of_tools_stand_first_in_one_turn_and_once_each() -> None:
    """1, 2."""
    said = [
        user("Go."),
        {"role": "assistant", "content": None, "tool_calls": [use("a"), use("b", arguments='{"x":1}')]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        user("And?"),
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}], "is_error": True},
        {"role": "tool", "tool_call_id": "b", "content": "again"},
    ]
    turns = messages(*said, tools=[TOOL])
    assert turns[1]["content"][1]["toolUse"]["input"] == {"x": 1}
    assert turns[2] == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "a", "content": [{"text": "one"}]}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "two"}], "status": "error"}},
            {"text": "And?"},
        ],
    }


@pytest.mark.parametrize(("arguments", "expected"), [("", {}), ("null", {}), (None, {}), ({"a": 1}, {"a": 1})])
def test_arguments_are_an_object(arguments: Any, expected: Any) -> None:
    """5, 55."""
    turns = messages(user("Go."), {"role": "assistant", "content": None, "tool_calls": [use("a", arguments=arguments)]})
    assert turns[1]["content"][0]["toolUse"]["input"] == expected


def test_arguments_that_are_none_are_refused() -> None:
    said = [user("Go."), {"role": "assistant", "content": None, "tool_calls": [use("a", arguments="{no")]}]
    assert refused({"messages": said}).param == "messages[1].tool_calls[0].function.arguments"


def test_names_and_ids_that_do_not_fit_are_shortened_by_a_stable_rule() -> None:
    """9."""
    name = "files.read/" + "x" * 70
    tool = {"type": "function", "function": {"name": name}}
    said = [user("Go."), {"role": "assistant", "content": None, "tool_calls": [use("call|1", name)]}]
    request = asked({"messages": said, "tools": [tool]})
    spec = request["toolConfig"]["tools"][0]["toolSpec"]
    called = request["messages"][1]["content"][0]["toolUse"]
    assert spec["name"] == called["name"]
    assert len(spec["name"]) <= 64
    assert set(spec["name"] + called["toolUseId"]) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    )
    assert spec["inputSchema"] == {"json": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "get"}}, {"tool": {"name": "get"}}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "get"}}]},
            },
            {"any": {}},
        ),
    ],
)
def test_choice_of_tools(choice: Any, expected: Any) -> None:
    config = asked({"tools": [TOOL], "tool_choice": choice})["toolConfig"]
    assert config == {"tools": [SPEC]} if expected is None else {"tools": [SPEC], "toolChoice": expected}


def test_no_tool_may_be_called() -> None:
    """15."""
    assert "toolConfig" not in asked({"tools": [TOOL], "tool_choice": "none"})
    said = [
        user("Go."),
        {"role": "assistant", "content": None, "tool_calls": [use("a")]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ]
    body = {"messages": said, "tools": [TOOL], "tool_choice": "none"}
    # Converse wants the tools and has no word for it: told rather than silent.
    assert asked(body)["toolConfig"] == {"tools": [SPEC]}
    assert dropped(body) == ["tool_choice"]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{JPEG}"}},  # 18
            {"image": {"format": "jpeg", "source": {"bytes": JPEG}}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "s3://bucket/a/b.webp"}},
            {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a/b.webp"}}}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "Q3: a_b.pdf"}},
            {"document": {"format": "pdf", "name": "Q3 a b pdf", "source": {"bytes": PDF}}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
            {"document": {"format": "pdf", "name": "document 1", "source": {"bytes": PDF}}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:x/y;base64,{PNG}"}},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
        ),
        (
            {"type": "file", "file": {"file_url": "s3://b/c.docx", "filename": "c.docx"}},
            {"document": {"format": "docx", "name": "c docx", "source": {"s3Location": {"uri": "s3://b/c.docx"}}}},
        ),
        (
            {"type": "text", "text": "words", "title": "A title", "context": "c", "citations": {"enabled": True}},
            {
                "document": {
                    "format": "txt",
                    "name": "A title",
                    "source": {"text": "words"},
                    "context": "c",
                    "citations": {"enabled": True},
                }
            },
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"audio": {"format": "wav", "source": {"bytes": "AAAA"}}},
        ),
    ],
)
def test_parts_of_content(part: Any, block: Any) -> None:
    assert messages(user([part, {"type": "text", "text": "?"}]))[0]["content"] == [block, {"text": "?"}]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "data:image/png"}},
        {"type": "image_url", "image_url": {}},
        {"type": "image_url"},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "AAAA"}},
        {"type": "file"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "exe"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "tool_use", "id": "x"},
    ],
)
def test_part_that_cannot_be_said_is_refused(part: Any) -> None:
    error = refused({"messages": [user([{"type": "text", "text": "Hi"}, part])]})
    assert (error.code, error.param) == ("unsupported_input", "messages[0].content[1]")


def test_picture_of_a_tools_answer_stays_with_it() -> None:
    said = [
        user("Go."),
        {"role": "assistant", "content": None, "tool_calls": [use("a")]},
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
        },
    ]
    [result] = messages(*said, tools=[TOOL])[2]["content"]
    assert result["toolResult"]["content"] == [{"image": {"format": "png", "source": {"bytes": PNG}}}]


def test_cache_marks_are_points_behind_what_they_stood_on() -> None:
    body = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Long.", "cache_control": MARK}]},
            user([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
        ],
        "tools": [{**TOOL, "cache_control": MARK}],
        "cache_control": MARK,
    }
    point = {"cachePoint": {"type": "default"}}
    request = asked(body)
    assert request["system"] == [{"text": "Long."}, point]
    assert request["toolConfig"]["tools"] == [SPEC, point]
    assert request["messages"][0]["content"] == [
        {"text": "Hi"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        point,
    ]
    # Models without a cache refuse them.
    assert "cachePoint" not in json.dumps(asked(body, LLAMA))


def test_thinking_goes_back_with_its_signature_to_where_it_stood() -> None:
    details = [
        {"type": "reasoning.text", "text": "first", "signature": "sig=1", "format": "anthropic", "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "sig=2", "format": "anthropic", "index": 2},
        {"type": "reasoning.encrypted", "data": "c2VjcmV0", "format": "bedrock", "index": 3},
        {"type": "reasoning.text", "text": "unsigned", "format": "anthropic", "index": 4},
        {"type": "reasoning.encrypted", "data": "theirs", "format": "openai", "index": 5},
    ]
    answer = {
        "role": "assistant",
        "content": "Well.",
        "reasoning_content": "first",
        "reasoning_details": details,
        "tool_calls": [use("a")],
    }
    assert messages(user("Go."), answer)[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "first", "signature": "sig=1"}}},
        {"text": "Well."},
        {"reasoningContent": {"reasoningText": {"text": "", "signature": "sig=2"}}},
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"toolUse": {"toolUseId": "a", "name": "get", "input": {}}},
    ]
    assert "reasoningContent" not in json.dumps(messages(user("Go."), answer, model=NOVA))


@pytest.mark.parametrize(
    ("model", "effort", "more", "output"),
    [
        (CLAUDE, "medium", {"thinking": {"type": "enabled", "budget_tokens": 8192}}, None),
        (CLAUDE, "none", None, None),
        (CLAUDE_4_6, "max", {"thinking": {"type": "adaptive"}}, {"effort": "max"}),
        (CLAUDE_4_6, "minimal", None, {"effort": "low"}),
        (CLAUDE_NEW, "high", None, {"effort": "high"}),
        (NOVA, "high", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        (OPEN, "low", {"reasoning_effort": "low"}, None),
        (LLAMA, "high", None, None),
    ],
)
def test_effort_in_each_family_s_words(model: str, effort: str, more: Any, output: Any) -> None:
    request = asked({"reasoning_effort": effort}, model)
    assert request.get("additionalModelRequestFields") == more
    assert request.get("outputConfig") == output
    assert dropped({"reasoning_effort": effort}, model) == (["reasoning_effort"] if model == LLAMA else [])


def test_budget_of_thinking_leaves_room_for_the_answer() -> None:
    body = {"reasoning_effort": "high", "max_tokens": 4000}
    assert asked(body)["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 3000
    assert "additionalModelRequestFields" not in asked({**body, "max_tokens": 900})


def test_cap_of_the_caller_is_worth_more_than_novas_highest_effort() -> None:
    request = asked({"reasoning_effort": "high", "max_tokens": 500}, NOVA)
    assert request["inferenceConfig"] == {"maxTokens": 500}
    assert request["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"


def test_budget_of_another_dialect_is_an_effort_where_models_know_that_alone() -> None:
    body = {"thinking": {"type": "enabled", "budget_tokens": 20_000}}
    assert asked(body, NOVA)["additionalModelRequestFields"] == {
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}
    }
    assert asked(body, OPEN)["additionalModelRequestFields"] == {"reasoning_effort": "high"}
    assert asked(body, LLAMA).keys() == {"messages"}


def test_thinking_and_sampling_do_not_meet() -> None:
    body = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "temperature": 0.2, "top_p": 0.5, "top_k": 5}
    request = asked(body)
    assert request["additionalModelRequestFields"] == {"thinking": body["thinking"]}
    assert "inferenceConfig" not in request
    assert dropped(body) == ["temperature", "top_k", "top_p"]
    assert dropped({"temperature": 0.2, "top_p": 0.5}) == ["top_p"]
    assert dropped({"temperature": 0.2}, CLAUDE_NEW) == ["temperature"]


def test_schema_is_the_vendors_own_where_it_has_one() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}}
    own = asked({"response_format": form})
    definition = own["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (definition["name"], json.loads(definition["schema"])) == ("out", schema)
    by_tool = asked({"response_format": form}, CLAUDE_OLD)
    assert by_tool["toolConfig"]["toolChoice"] == {"tool": {"name": "answer_in_json"}}
    assert by_tool["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": schema}
    beside = asked({"response_format": form, "tools": [TOOL]}, CLAUDE_OLD)["toolConfig"]
    assert (len(beside["tools"]), beside["toolChoice"]) == (2, {"any": {}})
    assert "JSON" in asked({"response_format": {"type": "json_object"}})["system"][0]["text"]


def test_tiers_and_bedrocks_own_fields() -> None:
    body = {"service_tier": "priority", "additionalModelRequestFields": {"x": 1}, "requestMetadata": {"a": "b"}}
    request = asked({**body, "top_k": 3})
    assert request["serviceTier"] == {"type": "priority"}
    assert request["additionalModelRequestFields"] == {"x": 1, "top_k": 3}
    assert request["requestMetadata"] == {"a": "b"}
    assert "serviceTier" not in asked({"service_tier": "auto"})
    assert dropped({"service_tier": "scale"}) == ["service_tier"]


def test_search_that_bedrock_does_not_have_is_told() -> None:
    assert dropped({"web_search_options": {}}) == ["web_search_options"]


def test_guardrail_is_the_operators_whatever_the_caller_says() -> None:
    own = {"guardrailIdentifier": "mine", "guardrailVersion": "1"}
    request = asked({"guardrailConfig": own}, guardrail={"id": "gr-1", "version": 7})
    assert request["guardrailConfig"] == {"guardrailIdentifier": "gr-1", "guardrailVersion": "7"}
    # Both are billed beside the tokens.
    body = {"guardrailConfig": own, "performanceConfig": {"latency": "optimized"}}
    assert asked(body).keys() == {"messages"}
    assert dropped(body) == ["guardrailConfig", "performanceConfig"]


def test_fields_that_have_no_place_are_reported() -> None:
    body = {"seed": 1, "logprobs": True, "user": "u", "presence_penalty": 0.5, "store": False, "metadata": {}, "n": 1}
    assert dropped(body) == ["logprobs", "presence_penalty", "seed", "user"]
    # 14: Converse has no word for it.
    assert dropped({"tools": [TOOL], "parallel_tool_calls": False}) == ["parallel_tool_calls"]
    assert dropped({"tools": [TOOL], "parallel_tool_calls": True}) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{}]}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": 7}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": "perhaps"}, "tool_choice"),
        ({"messages": [user("x"), {"role": "function", "content": "y"}]}, "messages[1].role"),
        ({"messages": [user("x"), {"role": "tool", "content": "y"}]}, "messages[1].tool_call_id"),
        ({"stop": 7}, "stop"),
        ({"reasoning_effort": 7}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_what_cannot_be_left_out_is_refused_with_its_place(body: dict[str, Any], param: str) -> None:
    error = refused(body)
    assert (error.status, error.param) == (400, param)


_WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just([7]),
)
_GOOD: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": MARK}]},
        user(
            [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, {"type": "text", "text": "?"}]
        ),
        {
            "role": "assistant",
            "content": "A",
            "tool_calls": [use("a", arguments='{"x":1}')],
            "reasoning_details": [
                {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic", "index": 0}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "x", "is_error": False},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "get"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "service_tier": "flex",
    "stop": ["a"],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low"},
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


# What the caller's dialect has refused before: messages are objects with a role, content a text or a list, tools objects.
_CHECKED = {(), ("messages",), ("tools",)} | {
    place for place in _places(_GOOD) if place[:1] in {("messages",), ("tools",)} and len(place) == 2
}
_MUTABLE = [
    place
    for place in _places(_GOOD)
    if place not in _CHECKED and not (place[0] == "messages" and len(place) == 3 and place[2] in {"role", "content"})
]


@settings(max_examples=300)
@given(
    st.sampled_from(_MUTABLE), _WRONG, st.sampled_from([CLAUDE, CLAUDE_OLD, CLAUDE_4_6, CLAUDE_NEW, NOVA, OPEN, ARN])
)
def test_wrong_value_anywhere_is_a_refusal_or_a_document(place: tuple[Any, ...], wrong: Any, model: str) -> None:
    body = orjson.loads(orjson.dumps(_GOOD))
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    with suppress(BadRequest):
        orjson.dumps(asked(body, model))
