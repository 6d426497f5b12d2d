"""AWS' event-stream frames, read as they arrive ("Event stream encoding", Smithy's AWS protocols).

Big-endian: total length, length of the headers, CRC-32 of both; headers; payload; CRC-32 of all before. A frame whose
sums are wrong is garbage, never half an answer.
"""

import binascii
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tollkeeper.core.errors import UpstreamError

MAX_FRAME_BYTES: Final = 25 * 1024 * 1024
_MAX_HEADER_BYTES: Final = 131_072
_PRELUDE: Final = struct.Struct(">III")
_SUM: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_STRING: Final = 7
_BYTES: Final = 6
# How long values of the other types are: true, false, byte, short, int, long, timestamp, UUID.
_FIXED: Final[Mapping[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


@dataclass(slots=True)
class Frame:
    headers: Mapping[str, str]
    payload: bytes


class FrameReader:
    """Collects bytes split anywhere and gives back every frame they complete. Raises `UpstreamError` for garbage."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def is_empty(self) -> bool:
        return not self._data

    def feed(self, data: bytes) -> Iterator[Frame]:
        """In their order. Read it to its end before feeding more."""
        held = self._data
        held += data
        at = 0
        try:
            while len(held) - at >= _PRELUDE.size:
                total, header_length, told = _PRELUDE.unpack_from(held, at)
                if binascii.crc32(held[at : at + 8]) != told:
                    raise _garbage()
                if not header_length + 16 <= total <= MAX_FRAME_BYTES or header_length > _MAX_HEADER_BYTES:
                    raise _garbage()
                if len(held) - at < total:
                    return
                frame = bytes(held[at : at + total])
                at += total
                yield _read_frame(frame, header_length)
        finally:
            if at:
                del held[:at]


def _read_frame(frame: bytes, header_length: int) -> Frame:
    end = len(frame) - 4
    if binascii.crc32(memoryview(frame)[:end]) != _SUM.unpack_from(frame, end)[0]:
        raise _garbage()
    payload_at = 12 + header_length
    try:
        headers = _read_headers(frame[12:payload_at])
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _garbage() from None
    return Frame(headers, frame[payload_at:end])


def _read_headers(data: bytes) -> dict[str, str]:
    """Those that hold text; of the others only how long they are matters."""
    headers: dict[str, str] = {}
    at, end = 0, len(data)
    while at < end:
        name_end = at + 1 + data[at]
        name, kind = data[at + 1 : name_end].decode(), data[name_end]
        at = name_end + 1
        if kind in {_STRING, _BYTES}:
            length = _LENGTH.unpack_from(data, at)[0]
            at += 2
            if at + length > end:
                raise IndexError
            if kind == _STRING:
                headers[name] = data[at : at + length].decode()
            at += length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise IndexError
    return headers


def _garbage() -> UpstreamError:
    return UpstreamError("The provider sent a frame that is broken.", code="upstream_garbage")
