"""OpenAI's legacy `completions`: a prompt in, text out, streamed as `text_completion` objects again."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Batch, Call, Chunk, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_fields import check_count, missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_repair import FINISH_REASONS, new_id, raise_error, repair_finish_reason
from tollkeeper.gateway.openai_stream import read_events
from tollkeeper.gateway.openai_usage import read_usage

_OBJECT: Final = "text_completion"


class OpenAICompletions(OpenAIEdge):
    NAME: ClassVar[str] = "openai_completions"

    def __init__(self, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        data = read_object(body, self._max_json_depth)
        call = read_common(data, Operation.COMPLETIONS)
        prompt = data.get("prompt")
        if prompt is None:
            raise missing("prompt")
        if not is_text_or_tokens(prompt):
            raise wrong_type("prompt", "a string, an array of strings or of tokens", prompt)
        if "logprobs" in data:
            check_count("logprobs", data["logprobs"], least=0)
        call.raw = body
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider's answer is not JSON.", code="upstream_garbage") from error
        if not isinstance(data, dict):
            raise UpstreamError("The provider's answer is no completion.", code="upstream_garbage")
        raise_error(data)
        state = _Stream(call)
        chunk = state.chunk(data, body)
        if chunk is None:
            raise UpstreamError("The provider's answer has no choices.", code="upstream_garbage")
        chunk.usage = read_usage(data.get("usage"))
        chunk.is_content = chunk.is_final = True
        return chunk

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return read_events(reads, _Stream(call), lambda body: self._as_chunk(body, call))

    def _as_chunk(self, body: bytes, call: Call) -> Chunk:
        """A whole answer has the shape of a chunk already."""
        chunk = self.read_whole(body, call)
        chunk.raw, chunk.is_final = None, False
        return chunk

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)


class _Stream:
    """The same repairs as for chat, where they apply to text: one head, an index and a known end per choice."""

    __slots__ = ("_call", "_finished", "_head", "_usage")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._head: dict[str, Any] | None = None
        self._usage: Chunk | None = None
        self._finished: dict[int, bool] = {}

    @property
    def has_begun(self) -> bool:
        return bool(self._finished)

    @property
    def is_finished(self) -> bool:
        return self.has_begun and all(self._finished.values())

    def read_run(self, events: Sequence[bytes]) -> tuple[Chunk, int] | None:  # noqa: ARG002 - one by one here
        return None

    def read(self, raw: bytes) -> Chunk | None:
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UpstreamError("The provider sent an event that is not JSON.", code="upstream_garbage") from error
        if not isinstance(data, dict):
            raise UpstreamError("The provider sent an event that is no chunk.", code="upstream_garbage")
        raise_error(data)
        usage = read_usage(data.get("usage"))
        if usage is not None:
            closing = {**data, "choices": []}
            is_same = data.get("choices") == [] and b"\n" not in raw
            self._usage = Chunk(closing, raw if is_same else None, is_hidden=not self._call.wants_usage, usage=usage)
            if not data.get("choices"):
                return None
            data = {name: value for name, value in data.items() if name != "usage"}
            return self.chunk(data, None)
        return self.chunk(data, None if b"\n" in raw else raw)

    def chunk(self, data: dict[str, Any], raw: bytes | None) -> Chunk | None:
        choices = data.get("choices")
        if not choices:
            return None
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise UpstreamError("The provider sent an event that is no chunk.", code="upstream_garbage")
        repaired = [self._repair_choice(choice, position) for position, choice in enumerate(choices)]
        if any(ours is not theirs for ours, theirs in zip(repaired, choices, strict=True)):
            data, raw = {**data, "choices": repaired}, None
        if self._head is None:
            created = data.get("created")
            self._head = {
                "id": data.get("id") or new_id("cmpl-"),
                "object": _OBJECT,
                "created": created if isinstance(created, int) and created else int(time.time()),
                "model": data.get("model") or self._call.model,
            }
        if any(data.get(name) != value for name, value in self._head.items()):
            data, raw = {**self._head, **data, **self._head}, None
        length = sum(len(choice["text"]) for choice in repaired)
        is_content = bool(length) or any(choice["finish_reason"] is not None for choice in repaired)
        return Chunk(data, raw, is_content, text_length=length)

    def end(self) -> list[Chunk]:
        final = Chunk(data={}, is_hidden=True, is_final=True)
        return [final] if self._usage is None else [self._usage, final]

    def _repair_choice(self, choice: dict[str, Any], position: int) -> dict[str, Any]:
        index, text = choice.get("index"), choice.get("text")
        reason = choice.get("finish_reason", "")
        if type(index) is not int or not isinstance(text, str) or (reason is not None and reason not in FINISH_REASONS):
            index = index if type(index) is int else position
            reason = repair_finish_reason(reason)
            text = text if isinstance(text, str) else ""
            choice = {"text": text, "logprobs": None, **choice, "index": index, "finish_reason": reason}
            choice["text"] = text
        self._finished[index] = self._finished.get(index, False) or reason is not None
        return choice


def is_text_or_tokens(value: object) -> bool:
    """A string, strings, tokens, or arrays of tokens; not empty."""
    if isinstance(value, str):
        return True
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if isinstance(first, list):
        return all(isinstance(row, list) and row and all(type(token) is int for token in row) for row in value)
    kind = type(first)
    return kind in {str, int} and all(type(entry) is kind for entry in value)
