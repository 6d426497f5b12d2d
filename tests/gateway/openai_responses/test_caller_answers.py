"""Answers for callers of the Responses API: the whole object and every event, as OpenAI's own SDK types read them."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.gateway.openai_responses.responses_payloads import function_call, message, numbered, response, text_events
from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.openai_responses import ResponsesCaller

CALLER = ResponsesCaller()
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = Usage(input=3, cache_read=7, output=4, reasoning=2)
# COMPATIBILITY section 6: what strict readers want to be there.
NEEDED = {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
}


def asked(**fields: Any) -> Call:
    return CALLER.read_call(orjson.dumps({"model": "m", "input": "Hi", **fields}), {}, "")


def delta(content: dict[str, Any], finish: str | None = None, **fields: Any) -> Chunk:
    choice = {"index": 0, "delta": content, "finish_reason": finish, **fields}
    return Chunk({"id": "c", "model": "m-1", "choices": [choice]}, is_content=True)


def closing(usage: Usage | None = USAGE) -> list[Chunk]:
    final = Chunk({}, is_hidden=True, is_final=True)
    return [final] if usage is None else [Chunk({"choices": [], "usage": {}}, usage=usage), final]


def fragment(index: int, call_id: str | None = None, name: str | None = None, arguments: str = "", **more: Any) -> Any:
    head = {} if call_id is None else {"id": call_id, "type": "function"}
    inner = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, **head, "function": inner, **more}


def events_of(data: bytes) -> list[dict[str, Any]]:
    """Every event's data; each is named as its type says, numbered from 0 without gaps, and what the SDK knows."""
    found = []
    for block in data.decode().split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, _, raw = block.partition("\n")
        event = json.loads(raw.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        # Its type lists OpenAI's own codes; ours are others.
        if event["type"] != "response.failed":
            EVENTS.validate_json(raw.removeprefix("data: "))
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def stream(chunks: Sequence[Chunk], call: Call | None = None) -> list[dict[str, Any]]:
    writer = CALLER.writer(call or asked(stream=True))
    data = b"".join(writer.batch([chunk]) for chunk in chunks)
    return events_of(data + writer.end("a comment"))


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def whole(answer: dict[str, Any], finish: str = "stop", call: Call | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **answer}, "finish_reason": finish, **fields}
    chunk = Chunk({"id": "c", "model": "m-1", "choices": [choice]}, usage=USAGE)
    document = CALLER.write_whole(chunk, call or asked())
    Response.model_validate_json(document)
    found: dict[str, Any] = json.loads(document)
    assert found.keys() >= NEEDED
    return found


TEXT = ["created", "in_progress", "output_item.added", "content_part.added"]
TEXT_END = ["output_text.done", "content_part.done", "output_item.done", "completed"]


def test_a_streamed_text_has_every_event_in_order() -> None:
    chunks = [delta({"role": "assistant", "content": ""}), delta({"content": "Hel"}), delta({"content": "lo"})]
    events = stream([*chunks, delta({}, "stop"), *closing()])
    assert kinds(events) == [*TEXT, "output_text.delta", "output_text.delta", *TEXT_END]
    first, last = events[0]["response"], events[-1]["response"]
    assert first.keys() >= NEEDED
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert last["id"] == first["id"]
    assert last["output"][0]["content"][0]["text"] == "Hello"
    assert last["output"][0]["id"] == events[2]["item"]["id"] == events[4]["item_id"]
    assert last["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }


def test_whole_answer_says_what_was_asked() -> None:
    call = asked(
        instructions="Be brief.",
        tools=[{"type": "function", "name": "f"}],
        metadata={"a": "b"},
        temperature=0.5,
        text={"format": {"type": "json_schema", "name": "n", "schema": {}}},
        store=False,
    )
    found = whole({"content": "Hello"}, call=call)
    assert found["instructions"] == "Be brief."
    assert found["tools"][0] == {
        "type": "function",
        "name": "f",
        "description": None,
        "parameters": None,
        "strict": None,
    }
    assert (found["metadata"], found["temperature"], found["store"]) == ({"a": "b"}, 0.5, False)
    assert found["text"]["format"]["name"] == "n"
    assert found["status"] == "completed"
    assert found["completed_at"] >= found["created_at"]
    assert found["id"].startswith("resp_")


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(finish: str, reason: str) -> None:
    found = whole({"content": "Hel"}, finish)
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert found["output"][0]["status"] == "incomplete"
    assert found["completed_at"] is None
    events = stream([delta({"content": "Hel"}), delta({}, finish), *closing()])
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": reason}


# Case 56 (litellm#27144, #40069): arguments may come in one piece with the name, and empty pieces say nothing
def test_arguments_that_come_at_once_are_all_there_and_empty_pieces_are_none() -> None:
    calls = [fragment(0, "call_1", "f", '{"a":1}'), fragment(0, arguments=""), fragment(1, "call_2", "g")]
    events = stream([delta({"tool_calls": [call]}) for call in calls] + [delta({}, "tool_calls"), *closing()])
    assert kinds(events).count("function_call_arguments.delta") == 1
    done = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert [event["arguments"] for event in done] == ['{"a":1}', "{}"]
    assert [item["call_id"] for item in events[-1]["response"]["output"]] == ["call_1", "call_2"]


def test_parallel_calls_are_items_of_their_own() -> None:
    pieces = [fragment(0, "call_1", "f"), fragment(0, arguments='{"a"'), fragment(1, "call_2", "g", "{}")]
    events = stream([delta({"tool_calls": [p]}) for p in [*pieces, fragment(0, arguments=":1}")]] + closing())
    output = events[-1]["response"]["output"]
    assert [(item["name"], item["arguments"], item["status"]) for item in output] == [
        ("f", '{"a":1}', "completed"),
        ("g", "{}", "completed"),
    ]
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["item"]["id"] for event in added] == [item["id"] for item in output]
    assert [event["output_index"] for event in added] == [0, 1]


# Case 58 (litellm#37852, #17246)
def test_a_tool_call_without_text_opens_no_message_and_with_text_both_are_there() -> None:
    silent = [delta({"role": "assistant", "content": None}), delta({"tool_calls": [fragment(0, "c", "f")]})]
    events = stream([*silent, delta({}, "tool_calls"), *closing()])
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["function_call"]
    spoken = [delta({"content": "Let me see."}), delta({"tool_calls": [fragment(0, "c", "f")]})]
    events = stream([*spoken, delta({}, "tool_calls"), *closing()])
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]
    assert [item["type"] for item in whole({"content": None, "tool_calls": [fragment(0, "c", "f")]})["output"]] == [
        "function_call"
    ]


def test_custom_tools_have_events_of_their_own() -> None:
    call = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": "l"}}
    events = stream(
        [delta({"tool_calls": [call]}), delta({"tool_calls": [{"index": 0, "custom": {"input": "s"}}]}), *closing()]
    )
    assert kinds(events)[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert events[-1]["response"]["output"][0]["input"] == "ls"


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = stream([delta({"refusal": "I can"}), delta({"refusal": "not."}), delta({}, "stop"), *closing()])
    assert kinds(events)[3:-1] == [
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


def test_thinking_is_reasoning_text_and_a_summary_for_who_asks_for_one() -> None:
    chunks = [
        delta({"reasoning_content": "Hm"}),
        delta({"reasoning_content": "m."}),
        delta({"content": "4"}),
        *closing(),
    ]
    events = stream(chunks)
    assert kinds(events)[2:8] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
    ]
    item = events[-1]["response"]["output"][0]
    assert (item["type"], item["summary"]) == ("reasoning", [])
    assert item["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    events = stream(chunks, asked(stream=True, reasoning={"summary": "auto"}))
    assert kinds(events)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    assert events[-1]["response"]["output"][0]["summary"] == [{"type": "summary_text", "text": "Hmm."}]


def test_signatures_of_other_vendors_come_back_byte_for_byte() -> None:
    thought = {"type": "reasoning.text", "text": "Hmm.", "format": "anthropic", "index": 0}
    call = asked(include=["reasoning.encrypted_content"], stream=True)
    events = stream(
        [
            delta({"reasoning_content": "Hmm.", "reasoning_details": [thought]}),
            delta({"reasoning_details": [{"type": "reasoning.text", "signature": "sig", "index": 0}]}),
            delta({"tool_calls": [fragment(0, "c", "f", extra_content={"google": {"thought_signature": "s"}})]}),
            *closing(),
        ],
        call,
    )
    output = events[-1]["response"]["output"]
    again = asked(input=[{"role": "user", "content": "Hi"}, *output]).body["messages"][1]
    assert again["reasoning_details"] == [{**thought, "signature": "sig"}]
    assert again["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}


def test_encrypted_reasoning_is_shown_to_who_asks_for_it_or_keeps_it_alone() -> None:
    details = [{"type": "reasoning.encrypted", "data": "gAAA", "format": "openai", "id": "rs_1"}]
    answer = {"content": "4", "reasoning_details": details}
    assert "encrypted_content" not in whole(answer)["output"][0]
    for call in (asked(store=False), asked(include=["reasoning.encrypted_content"])):
        assert whole(answer, call=call)["output"][0]["encrypted_content"] == "gAAA"
    call = asked()
    whole(answer, call=call)
    assert call.turn is not None
    assert call.turn.answer is not None
    assert call.turn.answer["output"][0]["encrypted_content"] == "gAAA"


def test_citations_and_probabilities_are_told() -> None:
    citation = {"url": "https://e.com", "title": "E", "start_index": 0, "end_index": 2}
    token = {
        "token": "4",
        "logprob": -0.1,
        "bytes": [52],
        "top_logprobs": [{"token": "4", "logprob": -0.1, "bytes": [52]}],
    }
    chunks = [
        delta({"content": "4"}, logprobs={"content": [token], "refusal": None}),
        delta({"annotations": [{"type": "url_citation", "url_citation": citation}]}),
    ]
    part = stream([*chunks, *closing()])[-1]["response"]["output"][0]["content"][0]
    assert part["annotations"] == [{"type": "url_citation", **citation}]
    assert part["logprobs"] == [token]


def test_a_picture_that_was_made_is_an_item_and_comes_back_as_a_part() -> None:
    url = "data:image/webp;base64,AAAA"
    picture = {"images": [{"type": "image_url", "image_url": {"url": url}}]}
    events = stream([delta({"content": "Here:"}), delta(picture), *closing()])
    assert kinds(events)[-5:-1] == [
        "output_item.added",
        "image_generation_call.in_progress",
        "image_generation_call.completed",
        "output_item.done",
    ]
    output = events[-1]["response"]["output"]
    assert (output[1]["type"], output[1]["result"], output[1]["output_format"]) == (
        "image_generation_call",
        "AAAA",
        "webp",
    )
    [again] = asked(input=output).body["messages"][1:]
    assert again["content"] == [{"type": "image_url", "image_url": {"url": url}}]


def test_an_answer_that_says_nothing_has_its_message() -> None:
    for output in (whole({"content": ""})["output"], stream([delta({}, "stop"), *closing()])[-1]["response"]["output"]):
        assert output[0]["content"][0]["text"] == ""


def test_a_stream_without_usage_ends_all_the_same() -> None:
    events = stream([delta({"content": "Hi"}), delta({}, "stop"), *closing(None)])
    assert events[-1]["response"]["usage"] is None


def test_a_broken_stream_fails_in_both_ways_that_clients_look_for() -> None:
    writer = CALLER.writer(asked(stream=True))
    data = writer.batch([delta({"content": "Hel"})])
    events = events_of(data + (writer.error(UpstreamError("Gone.", code="upstream_cut"), "req_1") or b""))
    assert kinds(events)[-2:] == ["failed", "error"]
    assert events[-2]["response"]["status"] == "failed"
    assert events[-2]["response"]["error"] == {"code": "upstream_cut", "message": "Gone."}
    assert (events[-1]["code"], events[-1]["message"], events[-1]["param"]) == ("upstream_cut", "Gone.", None)
    assert events[-1]["error"]["request_id"] == "req_1"


def test_a_stream_that_fails_before_anything_begins_and_fails() -> None:
    writer = CALLER.writer(asked(stream=True))
    events = events_of(writer.error(UpstreamError("Gone."), "req_1") or b"")
    assert kinds(events) == ["created", "in_progress", "failed", "error"]


# A vendor of the same dialect


def native(frames: Sequence[bytes], text: str = "", finish: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return Chunk({"choices": [choice]}, native=b"".join(frames))


def relayed(frames: Sequence[bytes], call: Call) -> bytes:
    writer = CALLER.writer(call)
    data = b"".join(writer.batch([native([piece])]) for piece in frames)
    ends = [Chunk({}, usage=USAGE, native=b""), Chunk({}, is_hidden=True, is_final=True, native=b"")]
    return data + writer.batch(ends) + writer.end(None)


def test_a_vendors_own_events_are_handed_on_with_our_id() -> None:
    call = asked(stream=True, metadata={"a": "b"})
    frames = numbered(text_events("Hel", "lo"))
    data = relayed(frames, call)
    assert call.turn is not None
    ours = f"resp_{call.turn.response_id.hex}"
    events = [json.loads(block.partition("\ndata: ")[2]) for block in data.decode().split("\n\n") if block]
    assert [event["type"] for event in events] == [event["type"] for event in text_events("Hel", "lo")]
    assert {event["response"]["id"] for event in events if "response" in event} == {ours}
    assert events[-1]["response"]["store"] is True
    assert events[-1]["response"].keys() >= NEEDED
    assert call.turn.answer == events[-1]["response"]
    # What carries no response has not been touched.
    untouched = [piece for piece in frames if b'"response":' not in piece]
    assert untouched
    assert all(piece in data for piece in untouched)


# Case 59 (CLIProxyAPI#3798)
def test_an_event_nobody_knows_is_handed_on() -> None:
    odd = b'event: codex.rate_limits\ndata: {"type":"codex.rate_limits","plan":"pro"}\n\n'
    frames = [odd, *numbered(text_events("Hi"))]
    assert relayed(frames, asked(stream=True)).startswith(odd)


def test_a_whole_answer_of_a_vendor_is_handed_on_with_our_id() -> None:
    call = asked(tools=[{"type": "web_search"}])
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    body = orjson.dumps(response([search, message("Hi")], vendor_field=1))
    found = json.loads(CALLER.write_whole(Chunk({}, usage=USAGE, native=body), call))
    assert call.turn is not None
    assert found["id"] == f"resp_{call.turn.response_id.hex}"
    assert found["vendor_field"] == 1
    assert found["output"] == [search, message("Hi")]
    assert found["usage"]["input_tokens_details"] == {"cached_tokens": 7, "cache_write_tokens": 0}
    assert found.keys() >= NEEDED


def test_a_vendors_stream_that_is_cut_here_ends_incomplete() -> None:
    call = asked(stream=True)
    writer = CALLER.writer(call)
    data = b""
    for piece in numbered(text_events("Hel", "lo"))[:6]:
        event = json.loads(piece.partition(b"data: ")[2])
        data += writer.batch([native([piece], event.get("delta") or "")])
    end = [delta({}, "length"), Chunk({"choices": []}, usage=USAGE), Chunk({}, is_hidden=True, is_final=True)]
    data += writer.batch(end) + writer.end(None)
    last = json.loads(data.decode().rstrip("\n").rpartition("\ndata: ")[2])
    assert last["type"] == "response.incomplete"
    assert last["sequence_number"] == 6
    assert last["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["usage"]["total_tokens"] == 16


def test_a_vendors_stream_that_breaks_goes_on_counting() -> None:
    writer = CALLER.writer(asked(stream=True))
    frames = numbered(text_events("Hi"))[:3]
    data = b"".join(writer.batch([native([piece])]) for piece in frames)
    data += writer.error(UpstreamError("Gone.", code="upstream_cut"), "req_1") or b""
    numbers = [json.loads(b.partition("\ndata: ")[2])["sequence_number"] for b in data.decode().split("\n\n") if b]
    assert numbers == list(range(5))


def test_function_calls_of_a_vendor_are_kept_for_the_next_turn() -> None:
    call = asked()
    CALLER.write_whole(Chunk({}, native=orjson.dumps(response([function_call()]))), call)
    assert call.turn is not None
    assert call.turn.answer is not None
    assert call.turn.answer["output"] == [function_call()]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "function", "name", "arguments", "index", "url"]), inner)
    ),
    max_leaves=6,
)
NAMES = ["content", "refusal", "reasoning_content", "reasoning_details", "tool_calls", "annotations", "images", "role"]


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, min_size=1), max_size=4), JSON)
def test_whatever_a_vendor_puts_into_an_answer_it_is_written(answers: list[dict[str, Any]], logprobs: Any) -> None:
    writer = CALLER.writer(asked(stream=True))
    data = b"".join(writer.batch([delta(answer, logprobs=logprobs)]) for answer in answers)
    assert b"response.completed" in data + writer.end(None)
    for answer in answers:
        choice = {"index": 0, "message": answer, "logprobs": logprobs, "finish_reason": "stop"}
        assert CALLER.write_whole(Chunk({"choices": [choice]}), asked())
