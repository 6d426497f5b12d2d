"""The bytes the mock upstream answers with, built once per shape and kept.

Everything here is OpenAI's wire format: a whole chat answer of about 0.6 kB, stream chunks, embeddings, the list of models.
"""

import base64
import functools
import re
import struct
from dataclasses import dataclass

import orjson

PROMPT_TOKENS = 24
WHOLE_COMPLETION_TOKENS = 48
CREATED = 1_760_000_000
DEFAULT_STREAM_CHUNKS = 20
DEFAULT_DIMENSIONS = 1536

_TEXT = (
    "A gateway stands between your applications and every model provider. It checks who is calling, what they may spend "
    "and where the call should go, and it writes down what happened. The application changes one line and nothing else."
)
_WORDS = tuple(" " + word for word in _TEXT.split())
_PACE = re.compile(r"-(\d{1,6})x(\d{1,6})")
_WAIT = re.compile(r"-wait(\d{1,6})")


@dataclass(frozen=True)
class Pace:
    """How a model name asks to be served: `mock-20x5-wait100` is 20 chunks, 5 ms apart, the first after 100 ms."""

    chunks: int
    gap_seconds: float
    wait_seconds: float


@functools.lru_cache(maxsize=256)
def pace_of(model: str) -> Pace:
    pace = _PACE.search(model)
    wait = _WAIT.search(model)
    return Pace(
        chunks=int(pace[1]) if pace else DEFAULT_STREAM_CHUNKS,
        gap_seconds=int(pace[2]) / 1000 if pace else 0.0,
        wait_seconds=int(wait[1]) / 1000 if wait else 0.0,
    )


def usage(completion_tokens: int, prompt_tokens: int = PROMPT_TOKENS) -> dict[str, object]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def http_answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@functools.lru_cache(maxsize=256)
def chat_whole(model: str) -> bytes:
    message = {"role": "assistant", "content": _TEXT, "refusal": None}
    return http_answer(
        orjson.dumps(
            {
                "id": "chatcmpl-mock0000000000000000000000",
                "object": "chat.completion",
                "created": CREATED,
                "model": model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": usage(WHOLE_COMPLETION_TOKENS),
                "system_fingerprint": "fp_mock",
            }
        )
    )


@dataclass(frozen=True)
class ChatStream:
    """One streamed answer as HTTP chunks: `head` opens it, each of `parts` carries one token, `tail` ends it."""

    head: bytes
    parts: tuple[bytes, ...]
    tail: bytes


@functools.lru_cache(maxsize=64)
def chat_stream(model: str, *, include_usage: bool) -> ChatStream:
    pace = pace_of(model)
    parts = []
    for position in range(pace.chunks):
        delta = {"content": _WORDS[position % len(_WORDS)]}
        if position == 0:
            delta = {"role": "assistant"} | delta
        parts.append(_http_chunk(_event(model, [_choice(delta, None)], include_usage=include_usage)))
    tail = _event(model, [_choice({}, "stop")], include_usage=include_usage)
    if include_usage:
        tail += _event(model, [], include_usage=True, final_usage=usage(pace.chunks))
    tail += b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
    return ChatStream(head=head, parts=tuple(parts), tail=_http_chunk(tail) + b"0\r\n\r\n")


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(
    model: str, choices: list[dict[str, object]], *, include_usage: bool, final_usage: dict[str, object] | None = None
) -> bytes:
    event: dict[str, object] = {
        "id": "chatcmpl-mock0000000000000000000000",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "system_fingerprint": "fp_mock",
        "choices": choices,
    }
    if include_usage:
        event["usage"] = final_usage
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _http_chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@functools.lru_cache(maxsize=64)
def embeddings(model: str, inputs: int, dimensions: int, *, as_base64: bool) -> bytes:
    vector = [((position * 37) % 101 - 50) / 1000 for position in range(dimensions)]
    packed = struct.pack(f"<{dimensions}f", *vector)
    shown = base64.b64encode(packed).decode() if as_base64 else vector
    return http_answer(
        orjson.dumps(
            {
                "object": "list",
                "data": [{"object": "embedding", "index": index, "embedding": shown} for index in range(inputs)],
                "model": model,
                "usage": {"prompt_tokens": PROMPT_TOKENS * inputs, "total_tokens": PROMPT_TOKENS * inputs},
            }
        )
    )


def models() -> bytes:
    names = ("mock", "mock-20x0", "mock-100x20", "mock-embedding")
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "mock"} for name in names]
    return http_answer(orjson.dumps({"object": "list", "data": listed}))


def error(message: str, status: str) -> bytes:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return http_answer(orjson.dumps(body), status)
