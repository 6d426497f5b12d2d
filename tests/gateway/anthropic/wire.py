"""What Anthropic's API answers, as its reference shows it ("Messages", "Streaming messages", "Errors", 2026-11)."""

import json
from collections.abc import AsyncIterator
from typing import Any

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 5,
    "service_tier": "standard",
}


def message(*content: dict[str, Any], stop_reason: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
        **fields,
    }


def text(value: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **fields}


def tool(name: str, call_id: str = "toolu_1", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def event(kind: str, **fields: Any) -> bytes:
    document = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {document}\n\n".encode()


PING = event("ping")
STOP = event("message_stop")


def start(**usage: Any) -> bytes:
    begun = message(stop_reason=None, usage={**USAGE, "output_tokens": 1, **usage})
    return event("message_start", message=begun)


def finish(stop_reason: str = "end_turn", output_tokens: int = 5, **fields: Any) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None, **fields}
    return event("message_delta", delta=delta, usage={"output_tokens": output_tokens})


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    return b"".join(
        [
            event("content_block_start", index=index, content_block=content),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        ]
    )


def text_block(index: int, *texts: str) -> bytes:
    return block(index, text(""), *({"type": "text_delta", "text": value} for value in texts))


def tool_block(index: int, name: str, *pieces: str, call_id: str = "toolu_1") -> bytes:
    return block(index, tool(name, call_id), *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def thinking_block(index: int, *thoughts: str, signature: str = "c2ln") -> bytes:
    return block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        *({"type": "thinking_delta", "thinking": thought} for thought in thoughts),
        {"type": "signature_delta", "signature": signature},
    )


def stream(*parts: bytes, stop_reason: str = "end_turn") -> bytes:
    return b"".join([start(), PING, *parts, finish(stop_reason), STOP])


def error(kind: str, said: str = "It went wrong.") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_011"}


def pieces(data: bytes, size: int = 17) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def in_pieces(data: bytes, size: int = 17) -> AsyncIterator[bytes]:
    for piece in pieces(data, size):
        yield piece
