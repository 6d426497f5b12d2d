"""Tokens before a provider says how many: a bound that is never too low and an estimate that is near. Pure, no tokenizer.

Byte-pair encodings never make more tokens than there are bytes, so the length of a body bounds its text. Text runs at
about four bytes per token in the published encodings; a picture, a sound or a file inside a body is taken out of that
sum and counted at a fixed figure, because the length of its base64 says nothing about its tokens.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Usage

BYTES_PER_TOKEN: Final = 4
# OpenAI, "Images and vision", 2026-08: 85 tokens + 170 for each of up to six tiles at high detail = 1,105.
IMAGE_TOKENS: Final = 1_105
# A minute of speech at ten tokens a second (OpenAI, "Managing costs" of the realtime guide, 2026-08).
AUDIO_TOKENS: Final = 600
# A text of a few pages.
FILE_TOKENS: Final = 4_000


def bound_input_tokens(call: Call) -> int:
    """Never less than the text of the call has, one token per byte. Media passed by reference add their figure."""
    _, media_tokens = _media(call.body)
    return _body_bytes(call) + media_tokens


def estimate_input_tokens(call: Call) -> int:
    """About what the provider will count: the `estimated_input_tokens` of an `Intent`."""
    media_bytes, media_tokens = _media(call.body)
    text_bytes = max(0, _body_bytes(call) - media_bytes)
    return -(-text_bytes // BYTES_PER_TOKEN) + media_tokens


def estimate_output_tokens(text_length: int) -> int:
    """From the characters relayed so far (the sum of `Chunk.text_length`)."""
    return -(-text_length // BYTES_PER_TOKEN)


def estimate_usage(input_tokens: int, text_length: int) -> Usage:
    """The usage of an attempt whose provider did not report any."""
    return Usage(input=input_tokens, output=estimate_output_tokens(text_length), is_estimated=True)


def _body_bytes(call: Call) -> int:
    return len(call.raw if call.raw is not None else orjson.dumps(call.body))


def _media(body: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes that are not text and the tokens to count for them. Looks at the shape only, never at the content."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return 0, 0
    size = tokens = 0
    for message in messages:
        parts = message.get("content") if isinstance(message, dict) else None
        if not isinstance(parts, list):
            continue
        for part in parts:
            if isinstance(part, dict):
                part_size, part_tokens = _part(part)
                size += part_size
                tokens += part_tokens
    return size, tokens


def _part(part: Mapping[str, Any]) -> tuple[int, int]:
    match part.get("type"):
        case "image_url":
            return _length(part, "image_url", "url"), IMAGE_TOKENS
        case "input_audio":
            return _length(part, "input_audio", "data"), AUDIO_TOKENS
        case "file":
            return _length(part, "file", "file_data"), FILE_TOKENS
        case _:
            return 0, 0


def _length(part: Mapping[str, Any], name: str, field: str) -> int:
    value = part.get(name)
    if isinstance(value, dict):
        value = value.get(field)
    return len(value) if isinstance(value, str) else 0
