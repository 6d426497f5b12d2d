"""What a vendor's Responses API is sent: the caller's own document, or a chat call put into its form."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.openai_responses.responses_payloads import function_call, message, numbered, response, text_events
from tests.gateway.serving import chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json, stream
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.dialects.openai_responses import OpenAIResponsesVendor
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.providers import PROVIDERS

USER = {"role": "user", "content": "Hi"}


def asked(**fields: Any) -> Call:
    body = {"model": "o3-pro", "messages": [USER], **fields}
    return Call(Operation.CHAT, "o3-pro", is_stream=bool(body.get("stream")), body=body)


def written(call: Call, *, reasons: bool = False) -> Any:
    return json.loads(OpenAIResponsesVendor(lambda _: reasons).write_call(call))


def native(document: dict[str, Any], **fields: Any) -> Call:
    body = {"model": "ours", "messages": [USER]}
    return Call(
        Operation.CHAT, "theirs", is_stream=False, body=body, dialect="openai_responses", native=document, **fields
    )


# The caller's own document


def test_own_document_goes_out_as_it_came_but_for_the_model_and_what_would_be_kept() -> None:
    document = {
        "model": "ours",
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "web_search", "vendor_field": 1}],
        "new_field": {"a": [1]},
        "previous_response_id": "resp_1",
        "background": False,
    }
    assert written(native(document)) == {
        "model": "theirs",
        "input": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "web_search", "vendor_field": 1}],
        "new_field": {"a": [1]},
        "store": False,
    }
    assert document["model"] == "ours"


def test_reasoning_is_asked_for_in_its_encrypted_form_where_the_model_reasons() -> None:
    assert written(native({"input": "Hi"}), reasons=True)["include"] == ["reasoning.encrypted_content"]
    told = {"input": "Hi", "include": ["file_search_call.results", "reasoning.encrypted_content"]}
    assert written(native(told), reasons=True)["include"] == told["include"]
    assert "include" not in written(native({"input": "Hi"}))
    assert PROVIDERS["openai"].vendor.hands_out_reasoning("gpt-5-mini")  # type: ignore[attr-defined]
    assert not PROVIDERS["openai"].vendor.hands_out_reasoning("gpt-5-chat-latest")  # type: ignore[attr-defined]
    assert not PROVIDERS["openai"].vendor.hands_out_reasoning("gpt-4o")  # type: ignore[attr-defined]


def test_reasoning_that_the_vendor_would_look_for_in_its_store_stays_here() -> None:
    """It keeps nothing of ours, and answers 404 for the id of an item that came without its encrypted form."""
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    text = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}
    lost = {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "Hm"}]}
    call = native({"input": [kept, text, lost, USER, "odd"]})
    assert written(call)["input"] == [kept, USER, "odd"]
    own_server = OpenAIResponsesVendor(takes_reasoning_text=True)
    assert json.loads(own_server.write_call(call))["input"] == [kept, text, USER, "odd"]


def test_cap_that_a_budget_gave_is_sent() -> None:
    assert written(native({"input": "Hi"}, applied_cap=77))["max_output_tokens"] == 77


# A chat call in its form


def test_fields_of_a_chat_call_have_their_place() -> None:
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    sent = written(
        asked(
            max_completion_tokens=50,
            temperature=0.5,
            reasoning_effort="high",
            verbosity="low",
            response_format={"type": "json_schema", "json_schema": schema},
            logprobs=True,
            top_logprobs=3,
            parallel_tool_calls=False,
            service_tier="flex",
            metadata={"a": "b"},
            safety_identifier="u1",
            unknown_field=[1],
            tools=[
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "g", "strict": True}},
                {
                    "type": "custom",
                    "custom": {
                        "name": "c",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
                    },
                },
            ],
            tool_choice={"type": "function", "function": {"name": "f"}},
        )
    )
    assert sent == {
        "model": "o3-pro",
        "input": [USER],
        "store": False,
        "max_output_tokens": 50,
        "temperature": 0.5,
        "reasoning": {"effort": "high"},
        "text": {"format": {"type": "json_schema", **schema}, "verbosity": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
        "parallel_tool_calls": False,
        "service_tier": "flex",
        "metadata": {"a": "b"},
        "safety_identifier": "u1",
        "unknown_field": [1],
        "tools": [
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
            {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": True},
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        ],
        "tool_choice": {"type": "function", "name": "f"},
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "custom", "name": "c"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_every_tool_choice_has_its_flat_form(choice: Any, sent: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert written(asked(tools=tools, tool_choice=choice))["tool_choice"] == sent


def test_messages_become_items_in_their_order() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
                {"id": "call_2", "type": "custom", "custom": {"name": "c", "input": "ls"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "2"}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "developer", "content": "Go on."},
    ]
    assert written(asked(messages=messages))["input"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
            ],
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Looking.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "ls"},
        {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "developer", "content": "Go on."},
    ]


def test_thoughts_of_other_vendors_models_are_not_sent() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic", "index": 0},
        {"type": "reasoning.encrypted", "data": "x", "format": "gemini", "index": 1},
        {"type": "reasoning.summary", "summary": "no content", "id": "rs_9", "format": "openai", "index": 2},
    ]
    said = {"role": "assistant", "content": "A", "reasoning_details": details, "reasoning_content": "Hm"}
    kinds = [item.get("type") for item in written(asked(messages=[USER, said, USER]))["input"]]
    assert kinds == [None, "message", None]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, "audio"),
        ({"messages": [USER, {"role": "function", "name": "f", "content": "1"}]}, "messages[1].role"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        written(asked(**fields))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


# Which calls go there


@pytest.mark.parametrize(
    ("kind", "model", "options", "dialect", "path"),
    [
        ("openai", "gpt-4o", {}, "", "/chat/completions"),
        ("openai", "gpt-4o", {}, "openai_responses", "/responses"),
        ("openai", "gpt-4o", {}, "anthropic_messages", "/chat/completions"),
        ("openai", "o3-pro-2025-06-10", {}, "", "/responses"),
        ("openai", "o3-pro", {"api": "chat"}, "openai_responses", "/chat/completions"),
        ("openai", "gpt-4o-audio-preview", {}, "openai_responses", "/chat/completions"),
        ("xai", "grok-4", {}, "openai_responses", "/responses"),
        ("groq", "llama", {}, "openai_responses", "/chat/completions"),
        ("vllm", "m", {}, "openai_responses", "/chat/completions"),
        ("vllm", "m", {"api": "both"}, "openai_responses", "/responses"),
        ("vllm", "m", {"api": "both"}, "", "/chat/completions"),
        ("openai_compatible", "m", {"api": "responses"}, "", "/responses"),
    ],
)
def test_calls_go_over_the_api_that_vendor_model_and_option_say(
    kind: str, model: str, options: dict[str, Any], dialect: str, path: str
) -> None:
    entry = PROVIDERS[kind]
    config = provider("p", "http://127.0.0.1/v1", kind=kind, options=options)
    call = asked()
    call.model, call.dialect, call.body["model"] = model, dialect, model
    for target in (Target("p", "*"), Target("p", model)):
        assert entry.url(config, entry.prepare(config, call, target), target) == f"http://127.0.0.1/v1{path}"
        assert (entry.dialect(config, call, target).NAME == "openai_responses") == (path == "/responses")


def test_thinking_of_another_dialect_is_asked_for_as_an_effort() -> None:
    entry, config = PROVIDERS["openai"], provider("p", "http://127.0.0.1/v1", kind="openai")
    call = asked(thinking={"type": "enabled", "budget_tokens": 1024})
    call.dialect = "anthropic_messages"
    ready = entry.prepare(config, call, Target("p", "o3-pro"))
    assert written(ready)["reasoning"] == {"effort": "low"}
    assert dropped_fields(call, ready) == []


def test_unknown_api_is_the_operators_mistake() -> None:
    config = provider("p", "http://127.0.0.1/v1", options={"api": "soap"})
    with pytest.raises(UpstreamError) as caught:
        PROVIDERS["openai_compatible"].dialect(config, asked(), Target("p", "*"))
    assert caught.value.code == "upstream_configuration"


async def test_chat_caller_is_served_by_a_model_that_has_the_responses_api_only(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    config = provider("one", vendor.base_url, kind="openai")
    snap = snapshot([config], [route("pro", ("one", "o3-pro"))])
    async with serving(tmp_path, snap) as gateway:
        vendor.script = answer_json(response([message("Hello!"), function_call()]))
        answer = await gateway.post(body=chat(model="pro", max_tokens=9, seed=1, stop="x"))
        assert answer.status_code == 200
        assert answer.headers["x-tollkeeper-dropped"] == "seed,stop"
        assert answer.json()["choices"][0]["message"]["content"] == "Hello!"
        assert answer.json()["usage"]["completion_tokens"] == 11
        seen = vendor.seen[0]
        assert seen.path == "/v1/responses"
        assert seen.json() == {
            "model": "o3-pro",
            "input": [{"role": "user", "content": "Say hello."}],
            "store": False,
            "max_output_tokens": 9,
            "include": ["reasoning.encrypted_content"],
        }
        vendor.script = stream(*numbered(text_events("Hel", "lo")))
        streamed = await gateway.post(body=chat(model="pro", stream=True, stream_options={"include_usage": True}))
        chunks = [json.loads(data) for data in events_of(streamed.text)[:-1]]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]) == "Hello"
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["usage"]["total_tokens"] == 48
        assert vendor.seen[1].json()["stream"] is True
        settled = await gateway.settled(2)
        assert [(one.usage.prompt_tokens, one.usage.completion_tokens) for one in settled] == [(37, 11)] * 2


async def test_stream_that_breaks_before_its_text_is_another_targets(tmp_path: Path, vendor: FakeUpstream) -> None:
    config = provider("one", vendor.base_url, options={"api": "responses"})
    other = provider("two", vendor.base_url, options={"api": "responses"})
    snap = snapshot([config, other], [route("m", ("one", "a"), ("two", "b"))])
    failed = {"type": "response.failed", "response": response(status="failed", error={"message": "x", "code": "y"})}
    async with serving(tmp_path, snap) as gateway:
        good, bad = numbered(text_events("Hi")), numbered([*text_events("Hi")[:2], failed])

        async def script(seen: Any, writer: Any) -> bool | None:
            return await stream(*(bad if seen.json()["model"] == "a" else good))(seen, writer)

        vendor.script = script
        answer = await gateway.post(body=chat(model="m", stream=True))
        assert answer.status_code == 200
        assert "Hi" in answer.text
        assert [seen.json()["model"] for seen in vendor.seen] == ["a", "b"]
