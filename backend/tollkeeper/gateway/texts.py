"""Every text of a document that somebody wrote or a model reads, in any dialect: found by what it is not.

All strings count but those whose key says that they are none (ids, types, data in base64). So a field that nobody here
has heard of is looked at too. Texts that stand side by side in one message are one text: what is split between them is
found. Arguments of tools are JSON in a string, and are looked at value by value.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.guardrail import Part, PartKind

# Of no language: names of things, enumerations, what is encoded. `user` is the caller's own name for an end user.
_OPAQUE: Final = frozenset(
    {
        "model", "type", "id", "role", "object", "tool_call_id", "tool_use_id", "call_id", "file_id", "fileId", "format",
        "media_type", "mediaType", "mime_type", "mimeType", "detail", "encoding_format", "response_format", "data", "file_data",
        "fileData", "b64_json", "encrypted_content", "encryptedContent", "signature", "thoughtSignature", "thought_signature",
        "finish_reason", "finishReason", "stop_reason", "status", "service_tier", "system_fingerprint", "reasoning_effort",
        "user", "safety_identifier", "prompt_cache_key", "previous_response_id", "item_id", "response_id", "voice", "quality",
        "size", "language", "style", "background", "moderation", "logprobs", "bytes", "token", "tokens", "embedding",
        "cache_control", "cacheControl", "effort", "container", "timestamp_granularities", "created_at", "uri", "fileUri",
    }
)  # fmt: skip
# Long by nature; of the others only what is as short as a name is left out.
_ENCODED: Final = frozenset(
    {
        "b64_json", "encrypted_content", "encryptedContent", "signature", "thoughtSignature", "thought_signature", "logprobs",
        "bytes", "tokens", "embedding", "id", "call_id", "item_id", "tool_call_id",
    }
)  # fmt: skip
_FILES: Final = frozenset({"data", "file_data", "fileData"})
_LONGEST_NAME: Final = 64
_DOCUMENTS: Final = frozenset({"document", "documents", "search_result", "file", "input_file", "citations", "context"})
_RESULTS: Final = frozenset(
    {"tool_result", "function_call_output", "functionResponse", "custom_tool_call_output", "tool"}
)
_CALLS: Final = frozenset({"tool_use", "functionCall", "function_call", "server_tool_use"})
# Their value is JSON in a string.
_JSON: Final = frozenset({"arguments", "partial_json"})
_DEEPEST: Final = 200
_TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/x-ndjson", "application/yaml")
# What cannot be anything that a rule looks for.
_SHORTEST: Final = 3


@dataclass(frozen=True, slots=True)
class Text:
    """One part and where its pieces stand: `(container, key, length)`, side by side."""

    part: Part
    pieces: tuple[tuple[Any, Any, int], ...]

    def write(self, text_of: Callable[[int, int], str]) -> None:
        """Put what `text_of(start, end)` makes of each piece in its place. The document must be the caller's own copy."""
        at = 0
        for container, key, length in self.pieces:
            container[key] = text_of(at, at + length)
            at += length


@dataclass(frozen=True, slots=True)
class Nested:
    """Texts within a string: of JSON, of a file in base64. `close` writes what became of them back into the string."""

    texts: tuple[Text, ...]
    container: Any
    key: Any
    value: Any
    encode: Callable[[Any], str]

    def close(self) -> None:
        self.container[self.key] = self.encode(self.value)


def read_texts(document: Any, direction: Direction, operation: Operation) -> Iterator[Text | Nested]:
    role = "user" if direction is Direction.INPUT else "assistant"
    kind = PartKind.TEXT
    if operation in {Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}:
        kind = PartKind.TRANSCRIPT
    elif operation is Operation.RERANK:
        kind = PartKind.DOCUMENT
    yield from _Reader(direction).read(document, role, kind, 0)


class _Reader:
    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def read(self, value: Any, role: str, kind: PartKind, depth: int) -> Iterator[Text | Nested]:
        if depth > _DEEPEST:
            return
        if isinstance(value, dict):
            yield from self._read_object(value, role, kind, depth)
        elif isinstance(value, list):
            yield from self._read_list(value, role, kind, depth)

    def _read_object(self, value: dict[str, Any], role: str, kind: PartKind, depth: int) -> Iterator[Text | Nested]:
        own_role, own_type = value.get("role"), value.get("type")
        if isinstance(own_role, str):
            role = own_role
            kind = PartKind.TOOL_RESULT if role in {"tool", "function"} else kind
        if isinstance(own_type, str):
            kind = _kind_of(own_type, kind)
        for key, inner in value.items():
            if isinstance(inner, str):
                if key in _JSON:
                    yield from self._read_json(value, key, inner, role, depth)
                elif key in _FILES or inner.startswith("data:"):
                    yield from self._read_file(value, key, inner, role)
                elif len(inner) >= _SHORTEST and (key not in _OPAQUE or _is_no_name(key, inner)):
                    yield self._text(inner, role, kind, ((value, key, len(inner)),))
            elif isinstance(inner, dict | list) and key not in _OPAQUE:
                inner_role = "system" if key in {"system", "systemInstruction", "system_instruction"} else role
                yield from self.read(inner, inner_role, _kind_of(key, kind), depth + 1)
            elif isinstance(inner, dict | list) and key in {"data", "file_data", "format", "response_format"}:
                yield from self.read(inner, role, kind, depth + 1)

    def _read_list(self, values: list[Any], role: str, kind: PartKind, depth: int) -> Iterator[Text | Nested]:
        """Neighbouring texts as one; `{"type": "text", "text": …}` and bare strings alike."""
        run: list[tuple[Any, Any, int]] = []
        texts: list[str] = []
        run_kind = kind
        for index, value in enumerate(values):
            place = _plain_text(value, values, index)
            if place is not None:
                text = place[0][place[1]]
                run.append((*place, len(text)))
                texts.append(text)
                run_kind = _kind_of(value.get("type", ""), kind) if isinstance(value, dict) else kind
                if isinstance(value, dict) and len(value) > 2:
                    yield from self._read_rest(value, role, run_kind, depth)
                continue
            if run:
                yield self._text("".join(texts), role, run_kind, tuple(run))
                run, texts = [], []
            yield from self.read(value, role, kind, depth + 1)
        if run:
            yield self._text("".join(texts), role, run_kind, tuple(run))

    def _read_rest(self, value: dict[str, Any], role: str, kind: PartKind, depth: int) -> Iterator[Text | Nested]:
        for key, inner in value.items():
            if isinstance(inner, dict | list) and key not in _OPAQUE:
                yield from self.read(inner, role, _kind_of(key, kind), depth + 1)

    def _read_json(self, container: Any, key: str, text: str, role: str, depth: int) -> Iterator[Text | Nested]:
        try:
            value = [orjson.loads(text)]
        except ValueError:
            value = []
        if not value or not isinstance(value[0], dict | list):
            # Not JSON yet, or never: a text like any other.
            if len(text) >= _SHORTEST:
                yield self._text(text, role, PartKind.TOOL_ARGUMENTS, ((container, key, len(text)),))
            return
        inner = [one for one in self.read(value, role, PartKind.TOOL_ARGUMENTS, depth + 1) if isinstance(one, Text)]
        if inner:
            yield Nested(tuple(inner), container, key, value[0], _to_json)

    def _read_file(self, container: Any, key: str, data: str, role: str) -> Iterator[Text | Nested]:
        """Of a file that is text, what it says. Others (pictures, sound, PDF) are not looked into."""
        head, body = "", data
        media = (
            container.get("media_type")
            or container.get("mediaType")
            or container.get("mime_type")
            or container.get("mimeType")
        )
        if data.startswith("data:"):
            head, _, body = data.partition(",")
            media = head[5:]
        elif container.get("type") == "text":
            yield self._text(data, role, PartKind.DOCUMENT, ((container, key, len(data)),))
            return
        if not isinstance(media, str) or not media.startswith(_TEXT_TYPES):
            return
        try:
            text = base64.b64decode(body, validate=False).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return
        holder = [text]
        inner = self._text(text, role, PartKind.DOCUMENT, ((holder, 0, len(text)),))
        yield Nested((inner,), container, key, holder, partial(_to_base64, f"{head}," if head else ""))

    def _text(self, text: str, role: str, kind: PartKind, pieces: Sequence[tuple[Any, Any, int]]) -> Text:
        return Text(Part(text, kind, role, self._direction), tuple(pieces))


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _to_base64(head: str, holder: list[str]) -> str:
    return head + base64.b64encode(holder[0].encode()).decode()


def _is_no_name(key: str, text: str) -> bool:
    return len(text) > _LONGEST_NAME and key not in _ENCODED


def _plain_text(value: Any, values: list[Any], index: int) -> tuple[Any, Any] | None:
    if isinstance(value, str):
        return values, index
    if isinstance(value, dict):
        text = value.get("text")
        if isinstance(text, str) and "role" not in value:
            return value, "text"
    return None


def _kind_of(word: str, kind: PartKind) -> PartKind:
    if word in _RESULTS:
        return PartKind.TOOL_RESULT
    if word in _DOCUMENTS:
        return PartKind.DOCUMENT
    if word in _CALLS:
        return PartKind.TOOL_ARGUMENTS
    return kind
