"""How long a sound lasts: exact where its container tells, never too short where nothing does."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollkeeper.gateway.simulator import media
from tollkeeper.gateway.sounds import LEAST_BYTES, sound_length


def length(data: bytes) -> tuple[int, int, bool]:
    return sound_length(b"before" + data + b"after", 6, 6 + len(data))


def flac(samples: int, rate: int, size: int = 1_000) -> bytes:
    packed = rate << 44 | 0 << 41 | 15 << 36 | samples
    return b"fLaC\x80\x00\x00\x22" + bytes(10) + packed.to_bytes(8) + bytes(16) + bytes(size)


def ogg(position: int, head: bytes = b"OpusHead\x01\x01", size: int = 1_000) -> bytes:
    page = b"OggS\x00\x02" + struct.pack("<q", 0) + bytes(13) + head
    return page + bytes(size) + b"OggS\x00\x04" + struct.pack("<q", position) + bytes(13)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def mp4(duration: int, scale: int, size: int = 1_000, *, is_long: bool = False) -> bytes:
    times = struct.pack(">QQIQ", 0, 0, scale, duration) if is_long else struct.pack(">IIII", 0, 0, scale, duration)
    mvhd = box(b"mvhd", bytes([is_long, 0, 0, 0]) + times + bytes(80))
    return box(b"ftyp", b"M4A " + bytes(4)) + box(b"mdat", bytes(size)) + box(b"moov", box(b"trak", b"") + mvhd)


@pytest.mark.parametrize(
    "data", [b"RIFF\0\0\0\0WAVE" + bytes(20_000_000), box(b"ftyp", b"M4A ") + box(b"free", b"") * 2_500_000]
)
def test_millions_of_empty_parts_are_not_looked_at(data: bytes) -> None:
    begun = time.process_time()
    assert not length(data)[2]
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("data", "milliseconds"),
    [
        (media.wav(2.5), 2_500),
        (media.mp3(3.0), 114 * 26.122),
        (b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + media.mp3(3.0), 114 * 26.122),
        (flac(441_000, 44_100), 10_000),
        (ogg(96_000), 2_000),
        (ogg(88_200, b"\x01vorbis" + bytes(5) + struct.pack("<I", 44_100)), 2_000),
        (mp4(5_000, 1_000), 5_000),
        (mp4(240_000, 48_000, is_long=True), 5_000),
    ],
    ids=["wav", "mp3", "mp3 with a tag", "flac", "opus", "vorbis", "m4a", "m4a, long"],
)
def test_container_tells_the_length(data: bytes, milliseconds: float) -> None:
    usual, most, is_told = length(data)
    assert is_told
    assert usual == most
    assert abs(usual - milliseconds) <= 5


def test_header_of_a_wav_that_is_streamed_says_nothing_of_its_length() -> None:
    data = media.wav(2.0)
    streamed = data[:4] + b"\xff\xff\xff\xff" + data[8:40] + b"\x00\x00\x00\x00" + data[44:]
    assert length(streamed)[0] == length(data)[0]


@pytest.mark.parametrize(
    "data",
    [
        flac(441, 44_100, size=3_000_000),
        ogg(48, size=3_000_000),
        mp4(1, 1_000, size=3_000_000),
        flac(0, 44_100),
        mp4(0, 0),
        ogg(-1),
        b"\x1a\x45\xdf\xa3" + bytes(1_000),
        b"",
    ],
    ids=["flac", "ogg", "mp4", "flac unsaid", "mp4 unsaid", "ogg unsaid", "webm", "nothing"],
)
def test_length_too_short_for_the_size_or_unsaid_is_bounded_by_the_size(data: bytes) -> None:
    usual, most, is_told = length(data)
    assert not is_told
    assert most == len(data) * 1000 // LEAST_BYTES + 1
    assert usual < most


def test_rest_of_an_mp3_that_nobody_counted_is_in_the_most() -> None:
    usual, most, _ = length(media.mp3(10.0) + bytes(75_000))
    assert usual < 10_100
    assert most >= usual + 100_000


def test_one_frame_before_something_else_is_no_length() -> None:
    usual, most, is_told = length(media.mp3(0.0) + bytes(75_000))
    assert (usual, is_told) == (75_417 * 1000 // 8_000, False)
    assert most == 75_417 * 1000 // LEAST_BYTES + 1


def test_mp3_of_hours_is_told_from_its_beginning() -> None:
    usual, most, _ = length(media.mp3(70_000 / 38))
    assert abs(usual - 70_000 * 26.122) < 100
    assert most >= usual


@given(
    st.sampled_from(
        [media.wav(0.2), media.mp3(0.2), flac(4_410, 44_100, 64), ogg(4_800, size=64), mp4(100, 1_000, 64)]
    ),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(0, 400),
)
def test_damaged_files_have_a_length_all_the_same(data: bytes, edits: list[tuple[int, bytes]], cut: int) -> None:
    damaged = bytearray(data)
    for at, piece in edits:
        damaged[at : at + len(piece)] = piece
    for content in (bytes(damaged), bytes(damaged[:cut])):
        usual, most, _ = length(content)
        assert 0 <= usual <= most
