"""What a vendor does with one call, as data, and the bytes it comes to: a good answer, and everything done to it.

Written as words in a model's name (`up-wait300-stream20x50-torn40`), or made by a test. `upstream` plays it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

PROMPT_TOKENS: Final = 10
WHOLE_TOKENS: Final = 5
_WORD: Final = re.compile(
    r"(wait|stream|mixed|cut|status|retry|torn|stall|drip)(\d+)(?:x(\d+))?"
    r"|(closes|resets|hangs|hang|garbage|nonsense|reset|short|long|endless|okerror)"
)
_ENDINGS: Final = {"closes": "close", "resets": "reset", "hangs": "hang"}
_PIECE: Final = b"data: "


@dataclass(frozen=True)
class Part:
    """Bytes that leave together. `tokens` of output in them; `gap_seconds` is waited after them."""

    data: bytes
    tokens: int = 0
    gap_seconds: float = 0.0


@dataclass(frozen=True)
class Script:
    """`oddity`: hang (never a byte), reset (instead of an answer), garbage (no HTTP), nonsense (no JSON), okerror (an error
    under status 200), short and long (a content-length that is), endless (a stream without an end).

    `torn_at` and `stall_at` are shares of the whole answer's bytes, head included: there it ends as `ending` says, or
    pauses. `cut_after` ends a stream cleanly torn between two events, and a whole answer inside its body.
    """

    wait_seconds: float = 0.0
    chunks: int = 3
    gap_seconds: float = 0.0
    cut_after: int | None = None
    status: int = 200
    retry_after: int | None = None
    oddity: str | None = None
    torn_at: float | None = None
    ending: str = "close"
    stall_at: float | None = None
    stall_seconds: float = 0.0
    bytes_per_second: int | None = None
    # The chunks were drawn by the `user`: a whole answer has as many tokens, and takes as long.
    is_mixed: bool = False

    @classmethod
    def of(cls, model: str, user: str) -> "Script":
        fields: dict[str, Any] = {}
        for found in _WORD.finditer(model):
            number = int(found[2] or 0)
            match found[1]:
                case "wait":
                    fields["wait_seconds"] = number / 1000
                case "stream":
                    fields |= {"chunks": number, "gap_seconds": int(found[3] or 0) / 1000}
                case "mixed":
                    chunks = number // 3 + crc32(user.encode()) % (number - number // 3 + 1)
                    fields |= {"chunks": chunks, "gap_seconds": int(found[3] or 0) / 1000, "is_mixed": True}
                case "cut":
                    fields["cut_after"] = number
                case "status":
                    fields["status"] = number
                case "retry":
                    fields["retry_after"] = number
                case "torn":
                    fields["torn_at"] = number / 100
                case "stall":
                    fields |= {"stall_at": number / 100, "stall_seconds": int(found[3] or 0) / 1000}
                case "drip":
                    fields["bytes_per_second"] = number
                case _ if found[4] in _ENDINGS:
                    fields["ending"] = _ENDINGS[found[4]]
                case _:
                    fields["oddity"] = found[4]
        return cls(**fields)

    def is_cut(self, *, is_stream: bool) -> bool:
        return self.cut_after is not None and (not is_stream or self.cut_after < self.chunks)

    @property
    def is_refusal(self) -> bool:
        return self.status >= 300 or self.oddity in {"garbage", "reset"}


def parts_of(script: Script, call: dict[str, Any]) -> Iterator[Part]:
    """The answer in the order in which it leaves; for `endless` without an end."""
    model, is_stream = call["model"], bool(call.get("stream"))
    if script.oddity == "garbage":
        yield Part(b"\x00\xffSSH-2.0-garbage\r\n\r\n")
    elif script.oddity == "nonsense":
        yield Part(_head(200, b"<html>not json"))
    elif script.status != 200:
        error = {"error": {"message": "no", "type": "server_error", "code": None}}
        yield Part(_head(script.status, json.dumps(error).encode(), retry_after=script.retry_after))
    elif script.oddity == "okerror":
        error = {"error": {"message": "it failed all the same", "type": "server_error", "code": None}}
        yield from _stream([_event(error)]) if is_stream else [Part(_head(200, json.dumps(error).encode()))]
    elif is_stream:
        yield from _stream_of(script, call)
    else:
        tokens = script.chunks if script.is_mixed else WHOLE_TOKENS
        body = json.dumps(completion(model, tokens)).encode()
        length = len(body) + {"short": -7, "long": 7}.get(script.oddity or "", 0)
        whole = _head(200, body, length=length)
        if script.cut_after is not None:
            whole = whole[:-20]
        yield Part(whole, tokens=tokens)


def text_of(chunks: int) -> str:
    return "".join(f"word{number} " for number in range(chunks))


def completion(model: str, tokens: int = WHOLE_TOKENS) -> dict[str, Any]:
    message = {"role": "assistant", "content": "five words of an answer", "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(tokens),
    }


def _stream_of(script: Script, call: dict[str, Any]) -> Iterator[Part]:
    model = call["model"]
    yield Part(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    number = 0
    while script.oddity == "endless" or number < script.chunks:
        if number == script.cut_after:
            return
        delta = {"content": f"word{number} "} | ({"role": "assistant"} if number == 0 else {})
        yield Part(_event(_chunk(model, delta)), tokens=1, gap_seconds=script.gap_seconds)
        number += 1
    data = _event(_chunk(model, {}, finish="stop"))
    if (call.get("stream_options") or {}).get("include_usage"):
        data += _event(_chunk(model, None) | {"usage": _usage(script.chunks)})
    yield Part(data + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _stream(events: list[bytes]) -> Iterator[Part]:
    yield Part(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    yield Part(b"".join(events) + b"0\r\n\r\n")


def _usage(tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
    }


def _chunk(model: str, delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}


def _event(document: dict[str, Any]) -> bytes:
    return _framed(_PIECE + json.dumps(document).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(status: int, body: bytes, *, length: int | None = None, retry_after: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", "content-type: application/json"]
    lines.append(f"content-length: {len(body) if length is None else length}")
    if retry_after is not None:
        lines.append(f"retry-after: {retry_after}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def document(value: Any) -> bytes:
    """A good JSON answer about the vendor itself."""
    return _head(200, json.dumps(value).encode())
