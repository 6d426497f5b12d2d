"""Gives an entry again: as a stream or whole, as this caller asked, under an id of its own."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.chat import Call, Chunk, Operation, Reply
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.openai_usage import write_usage

_OBJECTS: Final = {Operation.CHAT: "chat.completion.chunk", Operation.COMPLETIONS: "text_completion"}
_HEAD: Final = ("id", "created", "model", "system_fingerprint", "service_tier")
# Where a vendor's id is shorter, it may be anything.
_SHORTEST_ID: Final = 8


def replay(entry: Entry, call: Call, request_id: UUID) -> Reply:
    chunks: Sequence[Chunk] = entry.chunks
    if entry.is_stream and not call.is_stream:
        chunks = (assemble(chunks, call),)
    elif call.is_stream and not entry.is_stream:
        chunks = _as_stream(chunks[0], call)
    own = Renaming(request_id)
    return Reply(call.is_stream, [own(shown(chunk, call)) for chunk in chunks])


def shown(chunk: Chunk, call: Call) -> Chunk:
    """The closing usage of a canonical stream is seen by those who asked for it."""
    if chunk.usage is None or chunk.is_final or call.native is not None or call.operation not in _OBJECTS:
        return chunk
    is_hidden = not call.wants_usage
    if not call.is_stream or chunk.is_hidden == is_hidden or chunk.data.get("choices"):
        return chunk
    return _copy(chunk, chunk.data, chunk.raw, chunk.native, is_hidden=is_hidden)


class Renaming:
    """The answer's id becomes this call's own, wherever the documents of its chunks have it; their texts stay as they are."""

    __slots__ = ("_ids", "_request_id")

    def __init__(self, request_id: UUID) -> None:
        self._request_id = request_id.hex
        # What stands in the bytes, and what takes its place.
        self._ids: tuple[str, str, bytes, bytes] | None = None

    def __call__(self, chunk: Chunk) -> Chunk:
        old = chunk.data.get("id")
        ids = self._ids
        if ids is None:
            if not isinstance(old, str) or len(old) < _SHORTEST_ID or not old.isascii() or not old.isprintable():
                return chunk
            head = next((old[: old.index(mark) + 1] for mark in "-_" if mark in old[:16]), "")
            new = head + self._request_id
            ids = self._ids = (old, new, b'"%b"' % old.encode(), b'"%b"' % new.encode())
        if old is not None and old != ids[0]:
            return chunk
        data = chunk.data if old is None else {**chunk.data, "id": ids[1]}
        raw, native = chunk.raw, chunk.native
        if raw is not None:
            raw = _renamed(raw, ids[2], ids[3]) if old is not None else raw
        if native:
            native = _renamed(native, ids[2], ids[3]) or native
        if data is chunk.data and native is chunk.native:
            return chunk
        return _copy(chunk, data, raw, native, is_hidden=chunk.is_hidden)


def _renamed(document: bytes, old: bytes, new: bytes) -> bytes | None:
    """With the member `id` that has this value; inside a string both quotes of it would be escaped. None: it has none."""
    for key in (b'"id":', b'"id": '):
        if key + old in document:
            return document.replace(key + old, key + new)
    return None


def _as_stream(whole: Chunk, call: Call) -> list[Chunk]:
    data = whole.data
    head: dict[str, Any] = {
        name: data[name] for name in ("id", "created", "model", "system_fingerprint", "service_tier") if name in data
    }
    head["object"] = _OBJECTS[call.operation]
    choices = [_as_piece(choice, call.operation) for choice in data["choices"]]
    chunks = [Chunk({**head, "choices": choices}, is_content=True, text_length=whole.text_length)]
    usage = data.get("usage") or (None if whole.usage is None else write_usage(whole.usage))
    if usage is not None:
        closing = {**head, "choices": [], "usage": usage}
        chunks.append(Chunk(closing, is_hidden=not call.wants_usage, usage=whole.usage))
    chunks.append(Chunk({}, is_hidden=True, is_final=True))
    return chunks


def _as_piece(choice: dict[str, Any], operation: Operation) -> dict[str, Any]:
    if operation is Operation.COMPLETIONS:
        return choice
    message = choice["message"]
    calls = message.get("tool_calls")
    if calls:
        message = {**message, "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": message}


def _copy(chunk: Chunk, data: dict[str, Any], raw: bytes | None, native: bytes | None, *, is_hidden: bool) -> Chunk:
    return Chunk(
        data,
        raw,
        is_content=chunk.is_content,
        is_hidden=is_hidden,
        is_final=chunk.is_final,
        usage=chunk.usage,
        text_length=chunk.text_length,
        error=chunk.error,
        native=native,
        input_usage=chunk.input_usage,
        amounts=chunk.amounts,
        content_type=chunk.content_type,
    )
