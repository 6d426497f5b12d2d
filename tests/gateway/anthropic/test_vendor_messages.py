"""Canonical messages as Anthropic's turns: order, merging, tools and their results, pictures, thinking.

Numbers in comments are those of the regression cases in the wire contract.
"""

from base64 import b64encode
from typing import Any

import pytest

from tests.gateway.anthropic.vendor_calls import calling, function, request, result, turns, user
from tollkeeper.core.errors import BadRequest

JPEG = b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
PNG = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
WEBP = b64encode(b"RIFF\x00\x00\x00\x00WEBP" + bytes(40)).decode()
GIF = b64encode(b"GIF89a" + bytes(40)).decode()
PDF = b64encode(b"%PDF-1.7" + bytes(40)).decode()


def tool_use(number: int, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"call_{number}", "name": name, "input": given or {"n": 1}}


def tool_result(number: int, content: Any = "done") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"call_{number}", "content": content}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


# 1
def test_results_of_parallel_calls_are_one_user_turn_right_after_them() -> None:
    said = turns([user(), calling("a", "b"), result("call_0"), result("call_1"), user("and now?")])
    assert said == [
        ("user", "go on"),
        ("assistant", [tool_use(0, "a"), tool_use(1, "b")]),
        ("user", [tool_result(0), tool_result(1), {"type": "text", "text": "and now?"}]),
    ]


def test_results_stand_before_what_the_user_said_in_between() -> None:
    said = turns([user(), calling("a", "b"), result("call_1"), user("hurry"), result("call_0")])
    assert said[2] == ("user", [tool_result(1), tool_result(0), {"type": "text", "text": "hurry"}])


# 2
def test_result_given_twice_is_sent_once_as_it_was_said_last() -> None:
    said = turns([user(), calling("a"), result("call_0", "first"), result("call_0", "second")])
    assert said[2] == ("user", [tool_result(0, "second")])


# 3
def test_history_in_blocks_of_anthropic_is_kept() -> None:
    history = [
        user([{"type": "text", "text": "look it up"}]),
        {"role": "assistant", "content": [{"type": "text", "text": "I will"}, tool_use(0, "a")]},
        user([{"type": "text", "text": "and?"}, tool_result(0, [{"type": "text", "text": "42"}])]),
    ]
    assert turns(history) == [
        ("user", "look it up"),
        ("assistant", [{"type": "text", "text": "I will"}, tool_use(0, "a")]),
        ("user", [tool_result(0, [{"type": "text", "text": "42"}]), {"type": "text", "text": "and?"}]),
    ]


# 5
@pytest.mark.parametrize("arguments", ["", "{}", None, "null"])
def test_call_without_arguments_is_an_empty_object(arguments: str | None) -> None:
    message = calling("a")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    assert turns([user(), message, result("call_0")])[1][1][0]["input"] == {}


@pytest.mark.parametrize("arguments", ['{"n": 1', "[1]", "1", 7, "text"])
def test_arguments_that_are_no_object_are_refused_by_their_place(arguments: Any) -> None:
    message = calling("a")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    with pytest.raises(BadRequest) as refused:
        turns([user(), message, result("call_0")])
    assert refused.value.param == "messages[1].tool_calls[0].function.arguments"


# 9
def test_long_and_dotted_names_are_shortened_the_same_everywhere() -> None:
    long, dotted = "n" * 65, "files.read"
    sent = request(
        messages=[user(), calling(long, dotted), result("call_0"), result("call_1")],
        tools=[function(long), function(dotted), function("fits")],
        tool_choice={"type": "function", "function": {"name": dotted}},
    )
    names = [tool["name"] for tool in sent["tools"]]
    assert [block["name"] for block in sent["messages"][1]["content"]] == names[:2]
    assert sent["tool_choice"] == {"type": "tool", "name": names[1]}
    assert names[2] == "fits"
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
    assert names == [
        tool["name"] for tool in request(tools=[function(long), function(dotted), function("fits")])["tools"]
    ]


def test_ids_that_anthropic_refuses_are_mapped_on_both_sides() -> None:
    message = calling("a")
    message["tool_calls"][0]["id"] = "call.1|x/y"
    said = turns([user(), message, result("call.1|x/y")])
    sent = said[1][1][0]["id"]
    assert sent == said[2][1][0]["tool_use_id"]
    assert sent.replace("_", "").replace("-", "").isalnum()


def test_id_that_comes_again_in_a_later_turn_gets_another_one() -> None:
    """Vendors that number the calls of each turn anew."""
    said = turns([user(), calling("a"), result("call_0", "1"), calling("b"), result("call_0", "2")])
    first, second = said[1][1][0]["id"], said[3][1][0]["id"]
    assert first == "call_0" != second
    assert said[2][1][0]["tool_use_id"] == first
    assert said[4][1][0]["tool_use_id"] == second


# 10
@pytest.mark.parametrize("blank", ["", " \n", [{"type": "text", "text": ""}], [], None])
def test_blank_texts_are_left_out(blank: Any) -> None:
    said = turns([user(), calling("a", content=blank), result("call_0"), user(blank or "")])
    assert said[1] == ("assistant", [tool_use(0, "a")])
    assert said[2] == ("user", [tool_result(0)])


def test_nothing_but_blanks_is_refused_in_words() -> None:
    with pytest.raises(BadRequest) as refused:
        request(messages=[user("")])
    assert refused.value.param == "messages"


# 11
def test_instructions_alone_become_what_the_user_says() -> None:
    sent = request(messages=[{"role": "system", "content": "Write a haiku."}])
    assert sent["messages"] == [{"role": "user", "content": "Write a haiku."}]
    assert "system" not in sent


# 12
def test_leading_instructions_are_one_system_prompt() -> None:
    leading = [
        {"role": role, "content": text} for role, text in (("system", "A"), ("developer", "B"), ("developer", "C"))
    ]
    sent = request(messages=[*leading, user()])
    assert sent["system"] == "A\n\nB\n\nC"
    assert [turn["role"] for turn in sent["messages"]] == ["user"]


def test_marked_instructions_keep_their_blocks() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    parts = [{"type": "text", "text": "A", "cache_control": mark}, {"type": "text", "text": "B"}]
    assert request(messages=[{"role": "system", "content": parts}, user()])["system"] == parts


def test_later_instructions_have_a_turn_of_their_own_where_the_model_knows_such() -> None:
    history = [user("1"), {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "2"}, user("3")]
    assert turns(history, "claude-opus-4-8")[1] == ("system", "Be brief.")
    noted = turns(history, "claude-sonnet-4-5")
    assert noted[0][1][1] == {"type": "text", "text": "<system>\nBe brief.\n</system>"}
    assert [role for role, _ in noted] == ["user", "assistant", "user"]


def test_later_instructions_before_a_user_are_a_note_in_order() -> None:
    """Anthropic takes a system turn before the model's own, not between two of the user's."""
    history = [user("1"), {"role": "system", "content": "Be brief."}, user("3")]
    texts = [block["text"] for block in turns(history, "claude-opus-5-5")[0][1]]
    assert texts == ["1", "<system>\nBe brief.\n</system>", "3"]


def test_instructions_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        request(messages=[{"role": "system", "content": [image(f"data:image/png;base64,{PNG}")]}, user()])
    assert refused.value.code == "unsupported_input"


def test_runs_of_one_role_are_one_turn() -> None:
    said = turns([user("1"), user("2"), {"role": "assistant", "content": "3"}, {"role": "assistant", "content": "4"}])
    assert [role for role, _ in said] == ["user", "assistant"]
    assert [block["text"] for block in said[0][1]] == ["1", "2"]


# 18
def test_address_of_a_picture_is_passed_on() -> None:
    said = turns([user([image("https://example.com/a.png")])])
    assert said[0][1] == [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]


# 18
@pytest.mark.parametrize(
    ("said", "data", "media_type"),
    [
        ("image/png", JPEG, "image/jpeg"),
        ("image/jpeg", PNG, "image/png"),
        ("image/jpeg", WEBP, "image/webp"),
        ("application/octet-stream", GIF, "image/gif"),
        ("image/webp", "AAAA", "image/webp"),
    ],
)
def test_picture_is_what_its_bytes_say(said: str, data: str, media_type: str) -> None:
    block = turns([user([image(f"data:{said};base64,{data}")])])[0][1][0]
    assert block["source"] == {"type": "base64", "media_type": media_type, "data": data}


@pytest.mark.parametrize(
    "url", ["", 7, None, "data:image/png;base64,", "data:nonsense", "data:image/svg+xml;base64,AAAA"]
)
def test_picture_that_cannot_be_sent_is_refused_by_its_place(url: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        turns([user(["look", image(url)])])
    assert refused.value.code == "unsupported_input"
    assert refused.value.param == "messages[0].content[1].image_url"


@pytest.mark.parametrize("data", ["éé", "!!!!", "data:;base64,éé", "data:text/plain;base64,é"])
def test_file_that_is_no_base64_is_refused(data: str) -> None:
    with pytest.raises(BadRequest) as refused:
        turns([user([{"type": "file", "file": {"file_data": data}}])])
    assert refused.value.code == "unsupported_input"


def test_files_are_documents() -> None:
    said = turns(
        [
            user(
                [
                    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
                    {"type": "file", "file": {"file_data": "data:text/plain;base64,aGVsbG8="}},
                    {"type": "file", "file": {"file_id": "file_1"}},
                    {"type": "file", "file": {"file_url": "https://example.com/b.pdf"}, "citations": {"enabled": True}},
                    {"type": "text", "text": "words", "title": "T", "context": "C"},
                ]
            )
        ]
    )
    assert said[0][1] == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "source": {"type": "url", "url": "https://example.com/b.pdf"},
            "citations": {"enabled": True},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            "title": "T",
            "context": "C",
        },
    ]


def test_sound_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        turns([user([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}])])
    assert (refused.value.code, refused.value.param) == ("unsupported_input", "messages[0].content[0]")


def test_result_may_hold_pictures_and_be_an_error() -> None:
    shown = [{"type": "text", "text": "see"}, image(f"data:image/png;base64,{PNG}")]
    said = turns([user(), calling("a"), result("call_0", shown, is_error=True)])
    block = said[2][1][0]
    assert block["is_error"] is True
    assert [part["type"] for part in block["content"]] == ["text", "image"]


def test_marks_for_the_cache_stand_where_they_were_put() -> None:
    mark = {"type": "ephemeral", "scope": "global"}
    said = turns(
        [
            user([{"type": "text", "text": "a", "cache_control": mark}, {"type": "text", "text": "b"}]),
            {"role": "assistant", "content": "c", "cache_control": mark},
            user([{"type": "text", "text": "d", "prompt_cache_breakpoint": {"mode": "explicit"}}]),
        ]
    )
    assert said[0][1][0]["cache_control"] == mark
    assert "cache_control" not in said[0][1][1]
    assert said[1][1][0]["cache_control"] == mark
    assert said[2][1][0]["cache_control"] == {"type": "ephemeral"}


def thought(text: str, signature: str, index: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "reasoning.text",
        "text": text,
        "signature": signature,
        "format": "anthropic",
        "index": index,
        **fields,
    }


def test_thinking_comes_back_byte_for_byte_empty_thoughts_included() -> None:
    details = [
        thought("first\u2028 é", "c2lnbmF0dXJl+/==", 0),
        {"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "anthropic", "index": 1},
        thought("", "ZW1wdHk=", 2),
    ]
    said = turns([user(), calling("a", content="text", reasoning_details=details), result("call_0")])
    assert said[1][1] == [
        {"type": "thinking", "thinking": "first\u2028 é", "signature": "c2lnbmF0dXJl+/=="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="},
        {"type": "text", "text": "text"},
        tool_use(0, "a"),
    ]


def test_thinking_stands_where_it_was_between_the_other_blocks() -> None:
    details = [thought("1", "s1", 0), thought("2", "s2", 2)]
    said = turns([user(), calling("a", content="text", reasoning_details=details), result("call_0")])
    assert [block["type"] for block in said[1][1]] == ["thinking", "text", "thinking", "tool_use"]


def test_pieces_of_a_streamed_thought_are_put_together() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "", "format": "anthropic", "index": 0},
        {"type": "reasoning.text", "text": "so ", "index": 0},
        {"type": "reasoning.text", "text": "far", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "index": 0},
    ]
    said = turns([user(), {"role": "assistant", "content": "x", "reasoning_details": pieces}, user()])
    assert said[1][1][0] == {"type": "thinking", "thinking": "so far", "signature": "sig"}


@pytest.mark.parametrize(
    "detail",
    [
        {"type": "reasoning.text", "text": "unsigned", "format": "anthropic"},
        {"type": "reasoning.text", "text": "t", "signature": "s", "format": "gemini"},
        {"type": "reasoning.encrypted", "data": "x", "format": "openai", "id": "rs_1"},
        {"type": "reasoning.summary", "summary": "x"},
        "nonsense",
    ],
)
def test_thoughts_of_others_stay_behind(detail: Any) -> None:
    message = {"role": "assistant", "content": "x", "reasoning_content": "hm", "reasoning_details": [detail]}
    assert turns([user(), message, user()])[1] == ("assistant", "x")


def test_beginning_of_an_answer_ends_without_white_space() -> None:
    assert turns([user(), {"role": "assistant", "content": "Once upon a time \n"}])[1] == (
        "assistant",
        "Once upon a time",
    )


def test_unknown_role_is_refused_by_its_place() -> None:
    with pytest.raises(BadRequest) as refused:
        turns([user(), {"role": "function", "name": "f", "content": "1"}])
    assert refused.value.param == "messages[1].role"


def test_conversation_that_the_assistant_begins_has_somebody_before_it() -> None:
    said = turns([{"role": "assistant", "content": "How can I help?"}, user("Tell me.")])
    assert said == [("user", "."), ("assistant", "How can I help?"), ("user", "Tell me.")]
