"""Writes AWS event-stream frames ("Event stream encoding", Smithy's AWS protocols): prelude, headers, payload, checksums."""

import binascii
import struct
from collections.abc import Mapping
from typing import Final

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_STRING: Final = 7


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Big-endian: total length, headers' length, CRC-32 of both; headers; payload; CRC-32 of all before."""
    packed = b"".join(
        struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name, _STRING, len(value), value)
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", binascii.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", binascii.crc32(message))


def event(kind: str, payload: bytes) -> bytes:
    return frame({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, payload: bytes) -> bytes:
    return frame({":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, payload)
