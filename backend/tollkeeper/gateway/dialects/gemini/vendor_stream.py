"""Gemini's stream as canonical chunks: one state per stream.

Some models say why they end in every chunk, some before their last call, so the ending is told when the stream is over;
usage is a running total, so its last word counts. A stream has no mark of its end but that every candidate gave a reason.
"""

import time
from collections.abc import Sequence
from typing import Any

import orjson

from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.dialects.gemini.name import is_native
from tollkeeper.gateway.dialects.gemini.vendor_endings import is_blocked, read_ending, read_logprobs, read_sources
from tollkeeper.gateway.dialects.gemini.vendor_failures import raise_error
from tollkeeper.gateway.dialects.gemini.vendor_names import ToolNames
from tollkeeper.gateway.dialects.gemini.vendor_parts import Seen, read_parts
from tollkeeper.gateway.openai_repair import new_id
from tollkeeper.gateway.openai_usage import write_usage
from tollkeeper.gateway.vendor_usage import read_gemini_usage

_OBJECT = "chat.completion.chunk"
_SOURCES = frozenset({"groundingMetadata", "citationMetadata"})
# A tuple: a union written with | would be built anew at every check.
_PLAIN_VALUE = (str, int, float, bool)
# Of a candidate that is one piece of text.
_PLAIN = frozenset({"content", "index", "finishReason", "safetyRatings", "tokenCount"})


class _Candidate:
    """What has been seen of one candidate."""

    __slots__ = ("has_role", "message", "reason", "seen", "texts")

    def __init__(self) -> None:
        self.has_role = False
        self.reason: object = None
        self.message: object = None
        self.seen = Seen()
        self.texts: list[str] = []


class GeminiChunks:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._names = ToolNames(call.body)
        self._relays = is_native(call)
        # To count places in it, where sources are told.
        self._keeps_text = call.body.get("web_search_options") is not None or bool(call.body.get("tools"))
        self._head: dict[str, Any] | None = None
        self._candidates: dict[int, _Candidate] = {}
        self._is_blocked = False
        self._usage: object = None
        # What the first count says of the input, until a chunk has told it.
        self._input: Usage | None = None

    @property
    def has_begun(self) -> bool:
        return bool(self._candidates) or self._is_blocked

    @property
    def is_finished(self) -> bool:
        return self.has_begun and all(one.reason is not None for one in self._candidates.values())

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:  # noqa: ARG002 - the interface
        return None

    def read(self, raw: bytes) -> Chunk | None:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
        raise_error(data)
        if not isinstance(data, dict):
            raise UpstreamError("The provider sent an event that is no answer.", code="upstream_garbage")
        native = None
        if self._relays:
            native = b"data: %b\r\n\r\n" % (orjson.dumps(data) if b"\n" in raw else raw)
        return self._read(data, native)

    def read_document(self, body: bytes) -> Chunk:
        """A body that is no stream: one answer, or an array of them."""
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
        raise_error(data)
        self._relays = False
        found: Chunk | None = None
        for one in data if isinstance(data, list) else [data]:
            if not isinstance(one, dict):
                raise UpstreamError("The provider's answer is no answer.", code="upstream_garbage")
            chunk = self._read(one, None)
            if found is None or chunk is None:
                found = found or chunk
                continue
            found.data["choices"] += chunk.data["choices"]
            found.text_length += chunk.text_length
        if not self.is_finished:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut")
        return found or Chunk({**self._shown_head({}), "choices": []})

    def end(self) -> list[Chunk]:
        """The endings, the usage, and the mark of the end. A relayed stream has told all that already."""
        native = b"" if self._relays else None
        head = self._shown_head({})
        chunks = [
            Chunk({**head, "choices": [self._ending(index)]}, is_content=True, native=native)
            for index in sorted(self._candidates or (0,))
        ]
        usage = read_gemini_usage(self._usage)
        final = Chunk({}, is_hidden=True, is_final=True, native=native)
        if usage is not None:
            shown = {**head, "choices": [], "usage": write_usage(usage)}
            chunks.append(Chunk(shown, is_hidden=not self._call.wants_usage, usage=usage, native=native))
        elif self._usage:
            final.data["usage"] = unreadable(self._usage)
        return [*chunks, final]

    def _read(self, data: dict[str, Any], native: bytes | None) -> Chunk | None:
        head = self._shown_head(data)
        if (usage := data.get("usageMetadata")) is not None:
            if self._usage is None:
                self._input = read_gemini_usage(usage)
            self._usage = usage
        if is_blocked(data):
            self._is_blocked = True
        choices: list[dict[str, Any]] = []
        length = 0
        candidates = data.get("candidates")
        if candidates is not None and not isinstance(candidates, list):
            raise UpstreamError("The provider sent an event that is no answer.", code="upstream_garbage")
        for position, candidate in enumerate(candidates or ()):
            if not isinstance(candidate, dict):
                raise UpstreamError("The provider sent an event that is no answer.", code="upstream_garbage")
            index = candidate.get("index")
            choice, more = self._choice(candidate, index if type(index) is int else position)
            length += more
            if choice is not None:
                choices.append(choice)
        if not choices and native is None:
            return None
        chunk = Chunk({**head, "choices": choices}, is_content=bool(choices), text_length=length, native=native)
        if self._input is not None:
            chunk.input_usage, self._input = self._input, None
        return chunk

    def _choice(self, candidate: dict[str, Any], index: int) -> tuple[dict[str, Any] | None, int]:
        state = self._candidates.get(index)
        if state is None:
            state = self._candidates[index] = _Candidate()
        if (reason := candidate.get("finishReason")) is not None and reason != "FINISH_REASON_UNSPECIFIED":
            state.reason, state.message = reason, candidate.get("finishMessage")
        logprobs = None
        text = _only_text(candidate)
        if text is not None:
            # The usual piece.
            delta: dict[str, Any] = {"content": text}
            length = len(text)
            if self._keeps_text:
                state.texts.append(text)
        else:
            delta, length = self._delta(candidate, state)
            logprobs = read_logprobs(candidate)
            if not delta and logprobs is None:
                return None, 0
        if not state.has_role:
            state.has_role = True
            delta = {"role": "assistant", "content": None if "tool_calls" in delta else "", **delta}
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}, length

    def _delta(self, candidate: dict[str, Any], state: _Candidate) -> tuple[dict[str, Any], int]:
        parts = read_parts(candidate.get("content"), state.seen, self._names)
        delta = parts.fields()
        if self._keeps_text:
            state.texts.append(parts.text)
        if parts.text:
            delta["content"] = parts.text
        if not _SOURCES.isdisjoint(candidate) and (sources := read_sources(candidate, "".join(state.texts))):
            delta["annotations"] = sources
        return delta, parts.length

    def _ending(self, index: int) -> dict[str, Any]:
        state = self._candidates.get(index)
        delta: dict[str, Any] = {} if state is not None and state.has_role else {"role": "assistant", "content": ""}
        if self._is_blocked or state is None:
            ending: dict[str, Any] = {"finish_reason": "content_filter"}
        else:
            ending = read_ending(state.reason, state.message, has_calls=state.seen.calls > 0)
        return {"index": index, "delta": delta, "logprobs": None, **ending}

    def _shown_head(self, data: dict[str, Any]) -> dict[str, Any]:
        """One id, time and model for all chunks."""
        if self._head is None:
            self._head = head_of(data, self._call, _OBJECT)
        return self._head


def _only_text(candidate: dict[str, Any]) -> str | None:
    """The text of a candidate that holds nothing else; None where it has to be looked at in full."""
    if not candidate.keys() <= _PLAIN:
        return None
    content = candidate.get("content")
    parts = content.get("parts") if type(content) is dict else None
    if type(parts) is not list or len(parts) != 1 or type(parts[0]) is not dict or len(parts[0]) != 1:
        return None
    text = parts[0].get("text")
    return text if type(text) is str and text else None


def unreadable(usage: object) -> dict[str, Any]:
    """A count that is none, for whoever raises the alarm: what of it is plain."""
    plain = usage.items() if isinstance(usage, dict) else ()
    return {name: value for name, value in plain if isinstance(value, _PLAIN_VALUE)} or {"usageMetadata": None}


def head_of(data: dict[str, Any], call: Call, kind: str) -> dict[str, Any]:
    """What an answer of the canonical form begins with."""
    answer_id, model = data.get("responseId"), data.get("modelVersion")
    return {
        "id": answer_id if isinstance(answer_id, str) and answer_id else new_id("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": model if isinstance(model, str) and model else call.model,
    }
