"""The short way of reading an event says exactly what the long way says, or nothing."""

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.upstream import chunk
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.openai_chunks import ChatChunks
from tollkeeper.gateway.openai_text_pattern import TextPattern, learn_pattern


def begun() -> ChatChunks:
    """A stream whose first event, with the role, has gone by."""
    chunks = ChatChunks(Call(Operation.CHAT, "asked", is_stream=True, body={}))
    chunks.read(orjson.dumps(chunk({"role": "assistant", "content": ""})))
    return chunks


def pattern() -> TextPattern:
    raw = orjson.dumps(chunk({"content": "word"}))
    learned = learn_pattern(orjson.loads(raw), raw)
    assert learned is not None
    return learned


@given(st.text(min_size=1))
def test_a_learned_pattern_reads_texts_as_the_parser_does(text: str) -> None:
    try:
        raw = orjson.dumps(chunk({"content": text}))
    except orjson.JSONEncodeError:  # a lone surrogate
        return
    short = pattern().read(raw)
    if short is not None:
        long = begun().read(raw)
        assert long is not None
        assert dataclasses.asdict(short) == dataclasses.asdict(long)
        assert short.raw == raw


def test_plain_text_goes_the_short_way_and_keeps_its_bytes() -> None:
    chunks = begun()
    for text in ("one", " two", "drei und 漢字"):
        raw = orjson.dumps(chunk({"content": text}))
        read = chunks.read(raw)
        assert read is not None
        assert (read.raw, read.text_length, read.is_content) == (raw, len(text), True)
        assert read.data["choices"][0]["delta"] == {"content": text}
    assert pattern().read(orjson.dumps(chunk({"content": "漢字"}))) is not None


@pytest.mark.parametrize(
    "content",
    [
        b'a","finish_reason":"stop","x":"b',
        b"a\\nb",
        b"a\nb",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"",
    ],
    ids=["quote", "escape", "newline", "nul", "not-utf8", "surrogate", "empty"],
)
def test_anything_but_plain_characters_is_left_to_the_parser(content: bytes) -> None:
    head, tail = orjson.dumps(chunk({"content": "word"})).split(b"word")
    assert pattern().read(head + content + tail) is None


def test_garbage_after_a_good_event_is_still_refused() -> None:
    chunks = begun()
    raw = orjson.dumps(chunk({"content": "word"}))
    chunks.read(raw)
    with pytest.raises(UpstreamError):
        chunks.read(raw.replace(b"word", b"wo\x01rd"))


@pytest.mark.parametrize(
    "event",
    [
        chunk({"role": "assistant", "content": "a"}),
        chunk({"content": "a", "refusal": None}),
        chunk({"content": "line\nline"}),
        chunk({"content": "a"}, "stop"),
        chunk({"content": ""}),
        {**chunk({"content": "a"}), "extra": {"content": "b"}},
    ],
    ids=["role", "more", "escaped", "finished", "empty", "two"],
)
def test_only_an_event_of_plain_text_alone_is_a_pattern(event: dict[str, object]) -> None:
    raw = orjson.dumps(event)
    assert learn_pattern(orjson.loads(raw), raw) is None


def whole(text: str) -> bytes:
    return orjson.dumps(chunk({"content": text}))


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_run_says_what_its_events_say_one_by_one(texts: list[str]) -> None:
    try:
        events = [whole(text) for text in texts]
    except orjson.JSONEncodeError:  # a lone surrogate
        return
    known = pattern()
    run = known.read_run(events)
    if run is None:
        assert known.read(events[0]) is None
        return
    together, count = run
    singles = [known.read(event) for event in events[:count]]
    assert all(single is not None for single in singles)
    assert together.raw == b"\n\ndata: ".join(events[:count])
    assert together.data["choices"][0]["delta"]["content"] == "".join(texts[:count])
    assert together.text_length == sum(map(len, texts[:count]))


def test_a_run_ends_before_what_is_of_another_kind() -> None:
    events = [whole("one"), whole(" two"), orjson.dumps(chunk({"content": "x"}, finish_reason="stop")), whole("three")]
    run = pattern().read_run(events)
    assert run is not None
    assert run[1] == 2
    assert pattern().read_run(events[2:]) is None


def test_an_event_that_is_not_plain_does_not_spoil_the_first_of_a_run() -> None:
    run = pattern().read_run([whole("one"), whole('"quoted"')])
    assert run is not None
    assert run[1] == 1


def test_no_character_reaches_from_one_event_into_the_next() -> None:
    whole_bytes = whole("ä")
    first = whole_bytes.replace("ä".encode(), "ä".encode()[:1])
    second = whole_bytes.replace("ä".encode(), "ä".encode()[1:])
    assert pattern().read_run([first, second]) is None
