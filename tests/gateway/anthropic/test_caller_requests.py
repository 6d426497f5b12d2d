"""Anthropic's requests in the canonical form: numbers of cases are those of COMPATIBILITY section 10."""

import json
from typing import Any

import pytest

from tests.gateway.anthropic.callers import (
    TOOL,
    assistant,
    message,
    messages_of,
    read,
    talk,
    text,
    tool_result,
    tool_use,
    user,
)
from tollkeeper.core.errors import BadRequest

MARK = {"type": "ephemeral", "ttl": "1h"}


def test_plain_call_has_what_openai_calls_them() -> None:
    call = read(
        message(
            system="Be brief.",
            stream=True,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            stop_sequences=["END"],
            metadata={"user_id": "u-1"},
            service_tier="standard_only",
        )
    )
    assert call.body == {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["END"],
        "user": "u-1",
        "service_tier": "default",
    }
    assert (call.dialect, call.model, call.is_stream, call.wants_usage) == (
        "anthropic_messages",
        "gpt-4o-mini",
        True,
        True,
    )
    assert call.end_user == "u-1"
    assert call.unexpressed == ()
    assert call.needs_native is None


def test_the_callers_own_document_is_kept_until_somebody_changes_what_it_says() -> None:
    document = message(betas=["x"], system=[text("a")])
    call = read(document)
    assert call.native == document
    assert call.replace(model="other", stream=True).native == document
    assert call.replace(messages=[]).native is None


# 23
def test_results_of_tools_come_before_what_else_the_user_says() -> None:
    found = messages_of(
        talk(
            user(text("Weather?")),
            assistant(tool_use("a", city="Rome"), tool_use("b", city="Oslo")),
            user(text("Thanks."), tool_result("b", "rain"), text("Go on."), tool_result("a", "sun")),
        )
    )
    assert [entry["role"] for entry in found] == ["user", "assistant", "tool", "tool", "user"]
    assert [(entry["tool_call_id"], entry["content"]) for entry in found[2:4]] == [("b", "rain"), ("a", "sun")]
    assert [part["text"] for part in found[4]["content"]] == ["Thanks.", "Go on."]


def test_results_of_tools_are_gathered_from_a_whole_run_of_user_messages() -> None:
    found = messages_of(
        talk(
            user(text("Weather?")),
            assistant(tool_use("a", city="Rome")),
            assistant(tool_use("b", city="Oslo")),
            user(tool_result("a"), text("One.")),
            user(tool_result("b")),
        )
    )
    assert [entry["role"] for entry in found] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in found[1]["tool_calls"]] == ["a", "b"]


# 24
def test_texts_between_calls_of_tools_leave_no_call_without_its_turn() -> None:
    found = messages_of(
        talk(
            user(text("Go.")),
            assistant(text("First. "), tool_use("a", x=1), text("Second."), tool_use("b", y=[2])),
            user(tool_result("b"), tool_result("a")),
        )
    )
    assert found[1] == {
        "role": "assistant",
        "content": "First. Second.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": '{"y":[2]}'}},
        ],
    }
    assert [entry["role"] for entry in found[2:]] == ["tool", "tool"]


def test_turn_of_tools_alone_has_no_text() -> None:
    assert messages_of(talk(user(text("Go.")), assistant(tool_use()), user(tool_result())))[1]["content"] is None


# 33
@pytest.mark.parametrize("media_type", ["image/png", "image/webp", "image/gif"])
def test_pictures_keep_their_media_type(media_type: str) -> None:
    source = {"type": "base64", "media_type": media_type, "data": "AAAA"}
    found = messages_of(talk(user({"type": "image", "source": source}, text("What?"))))
    assert found[0]["content"][0] == {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,AAAA"}}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
            [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
        ),
        (
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            [{"type": "file", "file": {"file_id": "file_1"}}],
        ),
        (
            {
                "type": "document",
                "title": "Terms",
                "citations": {"enabled": True},
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            },
            [
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "Terms"},
                    "title": "Terms",
                    "citations": {"enabled": True},
                }
            ],
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
            [{"type": "file", "file": {"file_url": "https://x.test/a.pdf"}}],
        ),
        (
            {
                "type": "document",
                "title": "T",
                "context": "C",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            },
            [{"type": "text", "text": "words", "title": "T", "context": "C"}],
        ),
        (
            {"type": "document", "title": "T", "source": {"type": "content", "content": [text("a"), text("b")]}},
            [{"type": "text", "text": "a", "title": "T"}, {"type": "text", "text": "b"}],
        ),
        (
            {"type": "search_result", "source": "https://x.test", "title": "T", "content": [text("a"), text("b")]},
            [{"type": "text", "text": "a\n\nb", "title": "T", "context": "https://x.test"}],
        ),
    ],
)
def test_documents_and_pictures_become_parts(block: Any, parts: Any) -> None:
    assert messages_of(talk(user(block, text("?"))))[0]["content"] == [*parts, text("?")]


def test_cache_marks_stay_where_they_were() -> None:
    call = read(
        talk(
            user(text("a", cache_control=MARK)),
            assistant(text("b", cache_control=MARK), {**tool_use(), "cache_control": MARK}),
            user(tool_result(cache_control=MARK)),
            system=[text("s"), text("t", cache_control=MARK)],
            tools=[{**TOOL, "cache_control": MARK}],
            cache_control=MARK,
        )
    )
    system, first, turn, result = call.body["messages"]
    assert [part.get("cache_control") for part in system["content"]] == [None, MARK]
    assert first["content"] == [text("a", cache_control=MARK)]
    assert turn["content"] == [text("b", cache_control=MARK)]
    assert (turn["cache_control"], result["cache_control"]) == (MARK, MARK)
    assert (call.body["tools"][0]["cache_control"], call.body["cache_control"]) == (MARK, MARK)


def test_instructions_in_the_middle_keep_their_place() -> None:
    found = messages_of(
        talk(user(text("a")), assistant(text("b")), {"role": "system", "content": "Now in French."}, user(text("c")))
    )
    assert [entry["role"] for entry in found] == ["user", "assistant", "system", "user"]
    assert found[2] == {"role": "system", "content": "Now in French."}


def test_thoughts_and_their_signatures_are_kept_byte_for_byte_with_their_place() -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl+/=="}
    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    turn = messages_of(
        talk(user(text("a")), assistant(thinking, redacted, text("b"), tool_use()), user(tool_result()))
    )[1]
    assert turn["reasoning_details"] == [
        {"type": "reasoning.text", "text": "", "index": 0, "signature": "c2lnbmF0dXJl+/==", "format": "anthropic"},
        {"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "anthropic", "index": 1},
    ]
    assert "reasoning_content" not in turn


def test_thought_in_words_is_there_for_those_who_read_it() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    turn = messages_of(talk(user(text("a")), assistant(thinking, text("b")), user(text("c"))))[1]
    assert turn["reasoning_content"] == "Hm."


def test_results_hold_pictures_and_errors() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    found = messages_of(
        talk(user(text("a")), assistant(tool_use()), user(tool_result(content=[text("x"), picture], is_error=True)))
    )
    assert found[2]["is_error"] is True
    assert [part["type"] for part in found[2]["content"]] == ["text", "image_url"]


def test_result_without_content_is_an_empty_one() -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_1"}
    assert messages_of(talk(user(text("a")), assistant(tool_use()), user(block)))[2]["content"] == ""


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "get_weather"},
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        ),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ],
)
def test_choices_among_tools(choice: Any, fields: Any) -> None:
    body = read(message(tools=[TOOL], tool_choice=choice)).body
    assert {name: body[name] for name in ("tool_choice", "parallel_tool_calls") if name in body} == fields
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather of a place.",
                "parameters": TOOL["input_schema"],
            },
        }
    ]


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"speed": "fast"}, {"speed": "fast", "service_tier": "fast"}),
        ({"inference_geo": "eu"}, {"inference_geo": "eu"}),
    ],
)
def test_how_an_answer_is_made(fields: Any, canonical: Any) -> None:
    body = read(message(**fields)).body
    assert {name: body.get(name) for name in canonical} == canonical


def test_schema_of_an_answer_is_strict_where_strict_mode_takes_it() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    for field in (
        {"output_config": {"format": {"type": "json_schema", "schema": closed}}},
        {"output_format": {"type": "json_schema", "schema": closed}},
    ):
        shape = read(message(**field)).body["response_format"]
        assert shape == {"type": "json_schema", "json_schema": {"name": "answer", "schema": closed, "strict": True}}
    for opening in ({"required": []}, {"additionalProperties": True}):
        shape = read(message(output_config={"format": {"type": "json_schema", "schema": {**closed, **opening}}})).body
        assert "strict" not in shape["response_format"]["json_schema"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"fallbacks": [1], "diagnostics": {}}, {"fallbacks", "diagnostics"}),
        ({"stop_sequences": ["a", "b", "c", "d", "e"]}, {"stop_sequences"}),
        (
            {"tools": [{**TOOL, "input_examples": [], "defer_loading": True}]},
            {"tools.input_examples", "tools.defer_loading"},
        ),
        ({"output_config": {"task_budget": {}}}, {"output_config.task_budget"}),
        ({"messages": [user(text("a")), assistant(text("b"))]}, {"prefill"}),
    ],
)
def test_what_others_will_not_hear_of_is_named(fields: Any, names: set[str]) -> None:
    assert set(read(message(**fields)).unexpressed) == names


def test_names_that_a_caller_made_up_do_not_fill_a_header() -> None:
    names = read(message(**{f"{number:03}" + "x" * 1000: 1 for number in range(100)})).unexpressed
    assert len(",".join(names)) < 2_200


def test_history_of_the_vendors_own_tools_is_kept_and_named() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    call = read(talk(user(text("a")), assistant(text("b"), block), user(text("c"))))
    assert call.body["messages"][1]["content"] == [text("b"), block]
    assert call.unexpressed == ("server_tool_use",)
    assert call.needs_native is None


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"tools": [TOOL, {"type": "web_search_20260318", "name": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"mcp_servers": [{"type": "url", "url": "https://x.test"}]}, "mcp_servers"),
        ({"container": "c_1"}, "container"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [user({"type": "container_upload", "file_id": "f"})]}, "messages[0].content[0].type"),
    ],
)
def test_what_nobody_else_can_do_is_known_before_anybody_is_asked(fields: Any, path: str) -> None:
    assert read(message(**fields)).needs_native == path


def test_field_of_ours_in_a_tool_of_theirs_means_nothing() -> None:
    call = read(message(tools=[{"type": "web_search_20260318", "name": "a", "full_name": "b"}]))
    assert call.body["tools"] == [{"type": "web_search_20260318", "name": "a"}]


def test_schemas_and_arguments_are_as_sent() -> None:
    arguments = {"ü": [1, 2.5, None, {"a": "\n"}]}
    found = messages_of(talk(user(text("a")), assistant({**tool_use(), "input": arguments}), user(tool_result())))
    assert json.loads(found[1]["tool_calls"][0]["function"]["arguments"]) == arguments


def test_empty_texts_are_left_out() -> None:
    assert messages_of(talk(user(text(""), text("a"))))[0]["content"] == "a"


def test_counting_needs_no_max_tokens_and_a_message_does() -> None:
    with pytest.raises(BadRequest) as refusal:
        read({"model": "m", "messages": [{"role": "user", "content": "a"}]})
    assert (refusal.value.param, refusal.value.code) == ("max_tokens", "missing_required_parameter")
