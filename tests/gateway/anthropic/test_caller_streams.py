"""Streams in Anthropic's form: numbers of cases are those of COMPATIBILITY section 10."""

import json
from typing import Any

import pytest

from tests.gateway.anthropic.callers import (
    CALLER,
    END,
    Json,
    blocks_of,
    counted,
    delta,
    events_of,
    fragment,
    message,
    read,
    written,
)
from tollkeeper.contracts.chat import Chunk, Usage
from tollkeeper.core.errors import UpstreamError

FIRST = delta({"role": "assistant", "content": ""})
USED = counted(Usage(40, cache_read=2, output=9))


def test_text_is_one_block_between_its_events() -> None:
    data = written([FIRST, delta({"content": "Hel"}), delta({"content": 'lo "ü"\n'}), delta({}, "stop"), USED, END])
    events = events_of(data)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert blocks_of(events) == [{"type": "text", "text": 'Hello "ü"\n'}]
    start = events[0]["message"]
    assert (start["id"], start["model"], start["role"], start["content"]) == ("msg_1", "vendors-model", "assistant", [])
    assert (start["stop_reason"], start["stop_sequence"]) == (None, None)
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}


def test_batches_change_nothing_in_a_stream() -> None:
    chunks = [FIRST, delta({"reasoning_content": "h"}), delta({"content": "a"}), delta({}, "stop"), USED, END]
    assert written(chunks) == written(chunks, at_once=True)


# 26
def test_answer_of_tools_alone_has_no_empty_text() -> None:
    chunks = [
        delta({"role": "assistant", "content": None}),
        delta({"tool_calls": [fragment(0, call_id="call_a", name="f")]}),
        delta({"tool_calls": [fragment(0, '{"x":')]}),
        delta({"content": "", "tool_calls": [fragment(0, "1}")]}),
        delta({}, "tool_calls"),
        USED,
        END,
    ]
    events = events_of(written(chunks))
    assert blocks_of(events) == [{"type": "tool_use", "id": "call_a", "name": "f", "input": {"x": 1}}]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


# 27
def test_name_and_arguments_in_one_chunk_are_a_start_and_a_delta() -> None:
    chunks = [delta({"tool_calls": [fragment(0, '{"x":1}', call_id="call_a", name="f")]}), delta({}, "stop"), END]
    events = events_of(written(chunks))
    assert events[1]["content_block"] == {"type": "tool_use", "id": "call_a", "name": "f", "input": {}}
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": '{"x":1}'}
    assert events[-2]["delta"]["stop_reason"] == "tool_use", "whatever the vendor calls it"


def test_call_without_arguments_has_an_empty_object() -> None:
    chunks = [delta({"tool_calls": [fragment(0, call_id="call_a", name="f")]}), delta({}, "tool_calls"), END]
    events = events_of(written(chunks))
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": "{}"}


# 28
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_thinking_block(field: str) -> None:
    chunks = [FIRST, delta({field: "H"}), delta({field: "m."}), delta({"content": "a"}), delta({}, "stop"), USED, END]
    assert blocks_of(events_of(written(chunks))) == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "a"},
    ]


def test_signed_thoughts_are_told_apart_and_their_signatures_last() -> None:
    chunks = [
        delta({"reasoning_content": "A", "reasoning_details": [thought(0, text="A", format="anthropic")]}),
        delta({"reasoning_content": "B", "reasoning_details": [thought(0, text="B")]}),
        delta({"reasoning_details": [thought(0, signature="s1")]}),
        delta({"reasoning_details": [{"type": "reasoning.encrypted", "data": "d", "format": "anthropic", "index": 1}]}),
        delta({"reasoning_details": [thought(2, text="", signature="s2", format="anthropic")]}),
        delta({"content": "a"}),
        delta({}, "stop"),
        END,
    ]
    assert blocks_of(events_of(written(chunks))) == [
        {"type": "thinking", "thinking": "AB", "signature": "s1"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
        {"type": "text", "text": "a"},
    ]


def thought(index: int, **fields: Any) -> Json:
    return {"type": "reasoning.text", "index": index, **fields}


def test_signature_of_a_thought_that_was_told_in_plain_words_belongs_to_it() -> None:
    chunks = [
        delta({"reasoning_content": "Hm."}),
        delta({"reasoning_details": [thought(0, signature="g", format="gemini")]}),
        delta({"content": "a"}),
        delta({}, "stop"),
        END,
    ]
    blocks = blocks_of(events_of(written(chunks)))
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert blocks[0]["signature"].startswith("tk1.")


def test_signature_of_a_call_stands_before_it() -> None:
    entry = {**fragment(0, "{}", call_id="call_a", name="f"), "extra_content": {"google": {"thought_signature": "x"}}}
    blocks = blocks_of(events_of(written([delta({"tool_calls": [entry]}), delta({}, "tool_calls"), END])))
    assert [block["type"] for block in blocks] == ["redacted_thinking", "tool_use"]


# 29
def test_chunk_without_choices_is_no_content_and_its_usage_counts() -> None:
    first = Chunk({"id": "", "choices": [], "prompt_filter_results": []})
    events = events_of(written([first, FIRST, delta({"content": "a"}), delta({}, "stop"), USED, END]))
    assert len(blocks_of(events)) == 1
    usage = events[-2]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (40, 2, 9)


# 30
def test_input_is_counted_at_the_start_and_the_output_at_the_end() -> None:
    events = events_of(written([FIRST, delta({"content": "a" * 8}), delta({}, "stop"), END]))
    assert events[0]["message"]["usage"]["input_tokens"] == 7
    assert events[-2]["usage"]["output_tokens"] == 2, "estimated where no vendor tells"
    known = events_of(written([USED, FIRST, delta({"content": "a"}), delta({}, "stop"), END]))
    assert known[0]["message"]["usage"]["input_tokens"] == 40


def test_input_is_never_nothing_at_the_start() -> None:
    writer = CALLER.writer(read(message(stream=True)))
    events = events_of(writer.batch([FIRST]))
    assert events[0]["message"]["usage"]["input_tokens"] == 1


def test_stream_without_content_is_still_a_message() -> None:
    events = events_of(written([END]))
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]


def test_parallel_calls_follow_one_another() -> None:
    chunks = [
        FIRST,
        delta({"content": "Look."}),
        delta({"tool_calls": [fragment(0, "", call_id="a", name="f")]}),
        delta({"tool_calls": [fragment(0, '{"x":1}')]}),
        delta({"tool_calls": [fragment(1, "", call_id="b", name="g")]}),
        delta({"tool_calls": [fragment(1, '{"y":2}')]}),
        delta({}, "tool_calls"),
        END,
    ]
    blocks = blocks_of(events_of(written(chunks)))
    assert [(block["type"], block.get("input")) for block in blocks] == [
        ("text", None),
        ("tool_use", {"x": 1}),
        ("tool_use", {"y": 2}),
    ]


def test_calls_that_a_vendor_writes_by_turns_are_put_in_order() -> None:
    chunks = [
        delta({"tool_calls": [fragment(0, "", call_id="a", name="f"), fragment(1, "", call_id="b", name="g")]}),
        delta({"tool_calls": [fragment(0, '{"x":"}'), fragment(1, '{"y":')]}),
        delta({"content": "And."}),
        delta({"tool_calls": [fragment(1, "[2"), fragment(0, '1"}')]}),
        delta({"tool_calls": [fragment(1, "]}"), fragment(2, "{}", call_id="c", name="h")]}),
        delta({}, "tool_calls"),
        END,
    ]
    for at_once in (False, True):
        blocks = blocks_of(events_of(written(chunks, at_once=at_once)))
        assert {block["name"]: block["input"] for block in blocks if block["type"] == "tool_use"} == {
            "f": {"x": "}1"},
            "g": {"y": [2]},
            "h": {},
        }
        assert [block["text"] for block in blocks if block["type"] == "text"] == ["And."]


def test_call_whose_arguments_never_come_whole_keeps_nothing_back() -> None:
    chunks = [
        delta({"tool_calls": [fragment(0, '{"x":', call_id="a", name="f")]}),
        delta({"tool_calls": [fragment(1, '{"y":1}', call_id="b", name="g")]}),
        delta({"content": "Text."}),
        delta({}, "length"),
        END,
    ]
    events = events_of(written(chunks))
    starts = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert starts == ["tool_use", "tool_use", "text"]


def test_arguments_cut_by_the_length_are_said_to_be() -> None:
    chunks = [delta({"tool_calls": [fragment(0, '{"x":', call_id="a", name="f")]}), delta({}, "length"), END]
    assert events_of(written(chunks))[-2]["delta"]["stop_reason"] == "max_tokens"


def test_name_that_comes_late_is_waited_for() -> None:
    chunks = [
        delta({"tool_calls": [fragment(0, '{"x"', call_id="a")]}),
        delta({"tool_calls": [fragment(0, ":1}", name="f")]}),
        delta({}, "tool_calls"),
        END,
    ]
    assert blocks_of(events_of(written(chunks))) == [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]


def test_refusal_is_text_and_a_reason() -> None:
    events = events_of(written([FIRST, delta({"refusal": "I won't."}), delta({}, "stop"), END]))
    assert blocks_of(events) == [{"type": "text", "text": "I won't."}]
    assert events[-2]["delta"]["stop_reason"] == "refusal"


def test_sources_are_citations_of_the_text_before_them() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://x.test", "start_index": 0, "end_index": 3}}
    chunks = [FIRST, delta({"content": "abcd"}), delta({"annotations": [cited]}), delta({}, "stop"), END]
    block = blocks_of(events_of(written(chunks)))[0]
    assert (block["text"], block["citations"][0]["cited_text"]) == ("abcd", "abc")


def test_text_in_the_chunk_that_ends_it_is_not_lost() -> None:
    events = events_of(written([FIRST, delta({"content": "a"}, "stop"), END]))
    assert blocks_of(events) == [{"type": "text", "text": "a"}]


def test_error_is_an_event_with_our_code() -> None:
    writer = CALLER.writer(read(message(stream=True)))
    writer.batch([FIRST])
    data = writer.error(UpstreamError("It broke.", code="upstream_cut"), "req_1")
    assert data is not None
    assert events_of(data) == [
        {
            "type": "error",
            "error": {"type": "api_error", "message": "It broke.", "details": {"error_code": "upstream_cut"}},
            "request_id": "req_1",
        }
    ]


def test_comment_goes_before_the_end() -> None:
    writer = CALLER.writer(read(message(stream=True)))
    writer.batch([FIRST, delta({}, "stop")])
    assert writer.end("x-tollkeeper-cost-usd 1").startswith(b": x-tollkeeper-cost-usd 1\n\n")


# The same dialect at both ends


def frame(kind: str, **fields: Any) -> bytes:
    document = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {document}\n\n".encode()


def relayed(data: bytes, fields: Json | None = None, **others: Any) -> Chunk:
    chunk = Chunk({}, native=data, **others) if fields is None else delta(fields, **others)
    chunk.native = data
    return chunk


START = frame("message_start", message={"id": "msg_v", "type": "message", "usage": {"input_tokens": 3}})
OPEN = frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
SAY = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "event: content_block_stop\n"})
CLOSE = frame("content_block_stop", index=0)
PING = frame("ping")
STOP = frame("message_stop")


def test_relayed_events_are_byte_for_byte_the_vendors() -> None:
    events = [START, PING, OPEN, SAY, CLOSE, frame("message_delta", delta={}, usage={"output_tokens": 1})]
    chunks = [*(relayed(event) for event in events), relayed(STOP, is_final=True)]
    assert written(chunks) == b"".join([*events, STOP])
    assert written(chunks, at_once=True) == b"".join([*events, STOP])


def test_comment_of_a_relayed_stream_goes_before_its_last_event() -> None:
    writer = CALLER.writer(read(message(stream=True)))
    assert writer.batch([relayed(START), relayed(STOP, is_final=True)]) == START
    assert writer.end("a") == b": a\n\n" + STOP


def test_bytes_that_another_chunk_holds_are_not_written_twice() -> None:
    chunks = [relayed(START + OPEN + SAY), relayed(b"", {"content": "x"}), relayed(CLOSE + STOP), END]
    chunks[-1] = Chunk({}, native=b"", is_hidden=True, is_final=True)
    assert written(chunks) == START + OPEN + SAY + CLOSE + STOP


def test_stream_that_somebody_changes_in_the_middle_goes_on_where_it_was() -> None:
    for before, block in (
        ([START, OPEN, SAY], 0),
        ([START, OPEN, SAY, CLOSE], 1),
        ([START + OPEN + SAY + CLOSE + PING], 1),
    ):
        chunks = [*(relayed(event) for event in before), delta({"content": "changed"}), delta({}, "stop"), USED, END]
        events = events_of(written(chunks))
        said = next(e for e in events if e.get("delta", {}).get("text") == "changed")
        assert said["index"] == block
        assert [e["type"] for e in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
        assert sum(e["type"] == "message_start" for e in events) == 1


def test_call_of_a_tool_goes_on_where_it_was_relayed_to() -> None:
    opened = frame(
        "content_block_start", index=2, content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}}
    )
    begun = frame("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"x"'})
    chunks = [
        *(relayed(event) for event in (START, opened, begun)),
        delta({"tool_calls": [fragment(0, ":1}")]}),
        delta({"tool_calls": [fragment(1, "{}", call_id="b", name="g")]}),
        delta({}, "tool_calls"),
        END,
    ]
    events = events_of(written(chunks))
    assert "".join(e["delta"]["partial_json"] for e in events if e.get("index") == 2 and "delta" in e) == '{"x":1}'
    assert [e["index"] for e in events if e["type"] == "content_block_start"] == [2, 3]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
