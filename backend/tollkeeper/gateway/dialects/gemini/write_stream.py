"""Streams to a Gemini client: as server-sent events, or as one JSON array whose elements come one by one.

A client of Google's takes no comments, so none are written; a function call leaves whole, and why a candidate ended with
the usage, which comes last.
"""

from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.dialects.gemini.write_answer import (
    head_of,
    usage_of,
    write_ending,
    write_logprobs,
    write_sources,
    write_usage,
)
from tollkeeper.gateway.dialects.gemini.write_errors import write_error_body
from tollkeeper.gateway.dialects.gemini.write_parts import (
    Details,
    Part,
    Unreadable,
    merge_details,
    shows_thoughts,
    sign,
    write_call,
    write_media,
    write_text,
    write_thought,
)

Json = dict[str, Any]

_FRAME: Final = b"data: "
_END: Final = b"\r\n\r\n"


class _Candidate:
    """What one choice has begun."""

    __slots__ = ("calls", "details", "text", "unreadable")

    def __init__(self) -> None:
        self.calls: dict[int, Json] = {}
        self.details: Details = {}
        self.text: list[str] = []
        self.unreadable: str | None = None

    def take(self, fragments: Any) -> None:
        """Pieces of function calls, put together by their index."""
        for piece in fragments if isinstance(fragments, list) else ():
            if not isinstance(piece, dict):
                continue
            index = piece.get("index")
            call = self.calls.setdefault(index if type(index) is int else 0, {})
            for name, value in piece.items():
                if name in {"function", "custom"} and isinstance(value, dict):
                    _join(call.setdefault(name, {}), value)
                elif value is not None:
                    call[name] = value

    def flush(self) -> list[Part]:
        parts: list[Part] = []
        for index in sorted(self.calls):
            try:
                parts.append(write_call(self.calls[index]))
            except Unreadable as error:
                self.unreadable = str(error)
        self.calls = {}
        return parts


class AnswerWriter(Writer):
    """Server-sent events, framed as Google frames them."""

    # No comment: Google's SDK for Python takes one for a part of an answer. An empty line is none.
    keep_alive = _END

    def __init__(self, call: Call) -> None:
        self._call = call
        self._shows = shows_thoughts(call)
        self._keeps_text = call.body.get("web_search_options") is not None
        self._candidates: dict[int, _Candidate] = {}
        self._ended: dict[int, Json] = {}
        self._head: Json = {}

    def batch(self, batch: Batch) -> bytes:
        written: list[bytes] = []
        for chunk in batch:
            if chunk.native is not None:
                if chunk.native:
                    written.append(self._relay(chunk.native))
            elif not chunk.is_hidden and (document := self._document(chunk)) is not None:
                written.append(self._frame(orjson.dumps(document)))
        return b"".join(written)

    def end(self, comment: str | None) -> bytes:  # noqa: ARG002 - clients take none
        if not self._ended:
            return b""
        return self._frame(orjson.dumps({"candidates": self._endings(), **self._head}))

    def error(self, error: TollkeeperError, request_id: str) -> bytes:
        return self._frame(write_error_body(error, request_id))

    def _frame(self, document: bytes) -> bytes:
        return _FRAME + document + _END

    def _relay(self, native: bytes) -> bytes:
        return native

    def _document(self, chunk: Chunk) -> Json | None:
        data = chunk.data
        if data.get("id") or not self._head:
            self._head = head_of(data)
        candidates = [self._candidate(choice) for choice in data.get("choices") or ()]
        found = [candidate for candidate in candidates if candidate is not None]
        usage = usage_of(chunk)
        if usage is not None:
            found += self._endings()
        if not found and usage is None:
            return None
        document: Json = {"candidates": found} if found else {}
        if usage is not None:
            document["usageMetadata"] = write_usage(usage)
        return document | self._head

    def _candidate(self, choice: Json) -> Json | None:
        """What can be shown of it now; the ending waits."""
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        state = self._candidates.get(index)
        if state is None:
            state = self._candidates[index] = _Candidate()
        parts: list[Part] = []
        if self._shows and (thought := write_thought(delta)):
            parts.append({"text": thought, "thought": True})
        if text := write_text(delta):
            parts += state.flush()
            parts.append({"text": text})
            if self._keeps_text:
                state.text.append(text)
        parts += write_media(delta)
        state.take(delta.get("tool_calls"))
        if delta.get("reasoning_details"):
            merge_details(state.details, delta["reasoning_details"])
        more: Json = {}
        if delta.get("annotations") or choice.get("logprobs"):
            more = _beside(choice, delta, state)
        if choice.get("finish_reason") is not None:
            self._end_candidate(choice, index, state, parts, more)
            return None
        if not parts and not more:
            return None
        return {"content": {"parts": parts, "role": "model"}, "index": index, **more}

    def _end_candidate(self, choice: Json, index: int, state: _Candidate, parts: list[Part], more: Json) -> None:
        parts += state.flush()
        sign(parts, state.details.values())
        content = {"parts": parts or [{"text": ""}], "role": "model"}
        ending = write_ending(choice, state.unreadable)
        self._ended[index] = {"content": content, **ending, "index": index, **more}

    def _endings(self) -> list[Json]:
        found = [self._ended[index] for index in sorted(self._ended)]
        self._ended = {}
        return found


class ArrayWriter(AnswerWriter):
    """Without `alt=sse`: one JSON document, written as it grows."""

    content_type = "application/json; charset=UTF-8"
    keep_alive = b"\n"

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._is_open = False

    def end(self, comment: str | None) -> bytes:
        last = super().end(comment)
        return last + (b"]\n" if self._is_open else b"[]\n")

    def error(self, error: TollkeeperError, request_id: str) -> bytes:
        return super().error(error, request_id) + b"]\n"

    def _frame(self, document: bytes) -> bytes:
        before = b",\r\n" if self._is_open else b"["
        self._is_open = True
        return before + document

    def _relay(self, native: bytes) -> bytes:
        # One event of ours, framed by the vendor's end.
        return self._frame(native.removeprefix(_FRAME).removesuffix(_END))


def _beside(choice: Json, delta: Json, state: _Candidate) -> Json:
    """What an answer rests on, and how likely its tokens were."""
    found: Json = {}
    if (sources := write_sources(delta.get("annotations"), "".join(state.text))) is not None:
        found["groundingMetadata"] = sources
    if (logprobs := write_logprobs(choice.get("logprobs"))) is not None:
        found["logprobsResult"] = logprobs
    return found


def _join(known: Json, more: Json) -> None:
    """Names come once, arguments in pieces."""
    for name, value in more.items():
        if name in {"arguments", "input"} and isinstance(value, str):
            known[name] = known.get(name, "") + value
        elif value is not None:
            known[name] = value
