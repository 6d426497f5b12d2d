"""Frames of AWS' event stream: read by the published layout, split anywhere, refused when a sum is wrong."""

import struct
from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.bedrock_converse.event_stream import Frame, FrameReader
from tollkeeper.gateway.simulator.vendors.event_stream import event

# AWS' own test vectors, as its SDKs carry them.
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
NO_HEADERS = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")
INT32_HEADER = bytes.fromhex(
    "0000002d0000001041c424b80a6576656e742d74797065040000a00c7b27666f6f273a27626172277d36f480a0"
)


def read(*pieces: bytes) -> list[Frame]:
    reader = FrameReader()
    found = [frame for piece in pieces for frame in reader.feed(piece)]
    assert reader.is_empty
    return found


def test_published_vectors_are_read() -> None:
    assert [(frame.headers, frame.payload) for frame in read(EMPTY + NO_HEADERS + INT32_HEADER)] == [
        ({}, b""),
        ({}, b"{'foo':'bar'}"),
        ({}, b"{'foo':'bar'}"),
    ]


def test_headers_of_every_type_are_passed_over() -> None:
    """Only texts matter; the others have to be as long as they are."""
    values = [(0, b""), (1, b""), (2, b"x"), (3, b"xx"), (4, b"x" * 4), (5, b"x" * 8), (8, b"x" * 8), (9, b"x" * 16)]
    headers = b"".join(b"\x01h" + bytes([kind]) + value for kind, value in values)
    headers += b"\x01b\x06\x00\x02xx" + b"\x05:name\x07\x00\x05value"
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers
    [frame] = read(message + struct.pack(">I", crc32(message)))
    assert frame.headers == {":name": "value"}


@given(st.integers(1, 40), st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_frames_may_be_split_anywhere(size: int, payloads: list[bytes]) -> None:
    data = b"".join(event("kind", payload) for payload in payloads)
    found = read(*(data[at : at + size] for at in range(0, len(data), size)))
    assert [frame.payload for frame in found] == payloads
    assert all(frame.headers[":event-type"] == "kind" for frame in found)


@given(st.data())
def test_no_byte_can_be_changed_unseen(data: st.DataObject) -> None:
    frame = bytearray(event("contentBlockDelta", b'{"a":1}'))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    frames = FrameReader().feed(bytes(frame) + b"\0" * 64)
    # The very first, not what follows it.
    with pytest.raises(UpstreamError) as told:
        next(frames)
    assert told.value.code == "upstream_garbage"


@given(st.binary(min_size=12, max_size=200))
def test_garbage_is_a_named_error(data: bytes) -> None:
    with pytest.raises(UpstreamError):
        list(FrameReader().feed(data))


def test_frame_that_would_fill_the_memory_is_refused_at_its_first_bytes() -> None:
    prelude = struct.pack(">II", 2**31, 0)
    with pytest.raises(UpstreamError):
        list(FrameReader().feed(prelude + struct.pack(">I", crc32(prelude))))


def test_what_is_left_of_a_frame_is_known() -> None:
    reader = FrameReader()
    assert list(reader.feed(EMPTY[:7])) == []
    assert not reader.is_empty
