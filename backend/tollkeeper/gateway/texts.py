"""Every text of a document that somebody wrote or a model reads, in any dialect: found by what it is not.

All strings count but those whose key says that they are none (ids, types, data in base64). So a field that nobody here
has heard of is looked at too. Texts that stand side by side in one message are one text: what is split between them is
found. Arguments of tools are JSON in a string, and are looked at value by value; what a caller or a model put into them
has names of its own, so there no key says that a string is none, and keys and large numbers are looked at too.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.encoded_texts import (
    DEEPEST,
    file_text,
    parsed,
    put,
    put_base64,
    put_json,
    put_quoted,
    rename,
)
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.tool_names import called, offered

# Of no language: names of things, enumerations, what is encoded.
_OPAQUE: Final = frozenset(
    {
        "model", "type", "id", "role", "object", "tool_call_id", "tool_use_id", "call_id", "file_id", "fileId", "format",
        "media_type", "mediaType", "mime_type", "mimeType", "encoding_format", "response_format", "data", "file_data",
        "fileData", "b64_json", "encrypted_content", "encryptedContent", "signature", "thoughtSignature", "thought_signature",
        "finish_reason", "finishReason", "stop_reason", "service_tier", "system_fingerprint", "reasoning_effort",
        "previous_response_id", "item_id", "response_id", "logprobs", "bytes", "token", "tokens", "embedding",
        "cache_control", "cacheControl", "timestamp_granularities", "created_at",
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
_CALLS: Final = frozenset(
    {"tool_use", "functionCall", "function_call", "server_tool_use", "mcp_tool_use", "mcp_call", "custom_tool_call"}
)
# Of an answer, what is said to the caller.
_SAID: Final = frozenset({"text", "output_text"})
_OF_TOOLS: Final = frozenset({PartKind.TOOL_ARGUMENTS, PartKind.TOOL_RESULT})
# Their value is JSON in a string.
_JSON: Final = frozenset({"arguments", "partial_json"})
# Of answers: long lists that say once more, in pieces, what stands beside them.
_SPELT: Final = frozenset({"logprobs", "bytes", "tokens", "token", "embedding"})
# Under these, names are of whoever wrote the document, not of a dialect.
_FREE: Final = frozenset(
    {
        "metadata", "labels", "variables", "parameters", "parametersJsonSchema", "input_schema", "inputSchema", "schema",
        "responseSchema", "responseJsonSchema", "properties", "documents",
    }
)  # fmt: skip
# Of a tool's call or result, what it was given and what it gave back.
_GIVEN: Final = frozenset({"input", "args", "response", "output"})
_DATA_URL: Final = re.compile(r"data:[A-Za-z0-9.+/\-]*(?:;[^,;\s]*)*,", re.IGNORECASE)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\s-]*")
# Shorter data may be no data at all.
_SHORT_FILE: Final = 1024
# Smaller than any card's or account's number.
_SMALL_NUMBER: Final = 10**8
# What rules look at in another way than at words: the same text elsewhere says nothing of it.
_OTHERWISE: Final = frozenset({PartKind.ANSWER, PartKind.TOOL_OFFER, PartKind.TOOL_CALL})
_TRUSTED: Final = frozenset({"system", "developer"})
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

    @property
    def sign(self) -> Any:
        """The same for texts in which the same is found."""
        part = self.part
        if part.kind in _OTHERWISE or part.role in _TRUSTED:
            return (part.kind, part.role in _TRUSTED, part.text, *(length for _, _, length in self.pieces))
        return part.text if len(self.pieces) == 1 else (part.text, *(length for _, _, length in self.pieces))


@dataclass(frozen=True, slots=True)
class Nested:
    """Texts within something: JSON in a string, a file in base64, names of an object, a number. `close` writes what
    became of them back.
    """

    texts: tuple["Text | Nested", ...]
    close: Callable[[], None]


def read_texts(document: Any, direction: Direction, operation: Operation) -> Iterator[Text | Nested]:
    role = "user" if direction is Direction.INPUT else "assistant"
    kind = PartKind.TEXT
    if operation in {Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS}:
        kind = PartKind.TRANSCRIPT
    elif operation is Operation.RERANK:
        kind = PartKind.DOCUMENT
    yield from _Reader(direction).read(document, role, kind, 0, is_free=operation is Operation.PASSTHROUGH)


def flat(texts: Iterable[Text | Nested]) -> Iterator[Text]:
    for text in texts:
        if isinstance(text, Nested):
            yield from flat(text.texts)
        else:
            yield text


class _Reader:
    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def read(self, value: Any, role: str, kind: PartKind, depth: int, *, is_free: bool) -> Iterator[Text | Nested]:
        if depth > DEEPEST:
            return
        if isinstance(value, dict):
            yield from self._read_object(value, role, kind, depth, is_free=is_free)
        elif isinstance(value, list):
            yield from self._read_list(value, role, kind, depth, is_free=is_free)

    def _read_object(
        self, value: dict[str, Any], role: str, kind: PartKind, depth: int, *, is_free: bool
    ) -> Iterator[Text | Nested]:
        own_role, own_type = value.get("role"), value.get("type")
        if isinstance(own_role, str) and not is_free:
            role = own_role
            kind = PartKind.TOOL_RESULT if role in {"tool", "function"} else kind
        if isinstance(own_type, str) and not is_free:
            kind = _kind_of(own_type, kind)
            if kind is PartKind.ANSWER and own_type not in _SAID:
                kind = PartKind.TEXT
        if not is_free:
            yield from self._read_tools(value, role, kind)
        for key, inner in value.items():
            yield from self._read_value(value, key, inner, role, kind, depth, is_free=is_free)
        # After the values, which are found by them.
        names = [key for key in value if len(key) >= _SHORTEST and (is_free or _is_no_field(key))]
        if names:
            yield self._names(value, names, role, kind)

    def _read_value(
        self, value: dict[str, Any], key: str, inner: Any, role: str, kind: PartKind, depth: int, *, is_free: bool
    ) -> Iterator[Text | Nested]:
        if self._direction is Direction.OUTPUT and not is_free and _is_said(value, key):
            kind = PartKind.ANSWER
            if isinstance(inner, str) and inner and (len(inner) < _SHORTEST or _is_escaped(inner)):
                # Whatever stands in it, it is what was said.
                yield self._text(inner, role, kind, ((value, key, len(inner)),))
        if isinstance(inner, str):
            if key in _JSON or _is_escaped(inner):
                within = PartKind.TOOL_ARGUMENTS if key in _JSON else kind
                yield from self._read_json(value, key, inner, role, within, depth)
            elif key in _FILES or _DATA_URL.match(inner) is not None:
                yield from self._read_file(value, key, inner, role, kind)
            elif len(inner) >= _SHORTEST and (is_free or key not in _OPAQUE or _is_no_name(key, inner)):
                yield self._text(inner, role, kind, ((value, key, len(inner)),))
        elif isinstance(inner, dict | list):
            if key in _SPELT and self._direction is Direction.OUTPUT and not is_free:
                return
            is_given = key in _GIVEN and isinstance(inner, dict) and kind in _OF_TOOLS
            inner_role = "system" if key in {"system", "systemInstruction", "system_instruction"} else role
            inner_kind = kind if is_free else _kind_of(key, kind)
            yield from self.read(inner, inner_role, inner_kind, depth + 1, is_free=is_free or is_given or key in _FREE)
        elif is_free and _is_large(inner):
            yield self._number(value, key, inner, role, kind)

    def _read_tools(self, value: dict[str, Any], role: str, kind: PartKind) -> Iterator[Text | Nested]:
        """The names of tools beside all other texts, among which they are read once more."""
        if self._direction is Direction.INPUT:
            named = offered(value)
            kind = PartKind.TOOL_OFFER
        else:
            named = called(value, is_call=kind is PartKind.TOOL_ARGUMENTS)
            kind = PartKind.TOOL_CALL
        for container, key, name in named:
            yield self._text(name, role, kind, ((container, key, len(name)),))

    def _read_list(
        self, values: list[Any], role: str, kind: PartKind, depth: int, *, is_free: bool
    ) -> Iterator[Text | Nested]:
        """Neighbouring `{"type": "text", "text": …}` as one; bare strings each by itself."""
        run: list[tuple[Any, Any, int]] = []
        texts: list[str] = []
        run_kind = kind
        for index, value in enumerate(values):
            text = _plain_text(value)
            if text is not None:
                run.append((value, "text", len(text)))
                texts.append(text)
                run_kind = kind if is_free else _kind_of(str(value.get("type", "")), kind)
                if kind is PartKind.ANSWER and (value.get("type", "text") not in _SAID or value.get("thought")):
                    run_kind = PartKind.TEXT
                if len(value) > (2 if "type" in value else 1):
                    yield from self._read_rest(value, role, run_kind, depth, is_free=is_free)
                continue
            if run:
                yield self._text("".join(texts), role, run_kind, run)
                run, texts = [], []
            yield from self._read_item(values, index, role, kind, depth, is_free=is_free)
        if run:
            yield self._text("".join(texts), role, run_kind, run)

    def _read_item(
        self, values: list[Any], index: int, role: str, kind: PartKind, depth: int, *, is_free: bool
    ) -> Iterator[Text | Nested]:
        value = values[index]
        if isinstance(value, str):
            if _is_escaped(value):
                yield from self._read_json(values, index, value, role, kind, depth)
            elif _DATA_URL.match(value) is not None:
                yield from self._read_file(values, index, value, role, kind)
            elif len(value) >= _SHORTEST:
                yield self._text(value, role, kind, ((values, index, len(value)),))
        elif is_free and _is_large(value):
            yield self._number(values, index, value, role, kind)
        else:
            yield from self.read(value, role, kind, depth + 1, is_free=is_free)

    def _read_rest(
        self, value: dict[str, Any], role: str, kind: PartKind, depth: int, *, is_free: bool
    ) -> Iterator[Text | Nested]:
        for key, inner in value.items():
            if key != "text":
                yield from self._read_value(value, key, inner, role, kind, depth, is_free=is_free)

    def _read_json(
        self, container: Any, key: Any, text: str, role: str, kind: PartKind, depth: int
    ) -> Iterator[Text | Nested]:
        value = parsed(text, DEEPEST - depth - 1)
        if not isinstance(value, dict | list):
            # Not JSON yet, or never, or of a depth that nobody reads: a text like any other.
            if len(text) >= _SHORTEST:
                yield self._text(text, role, kind, ((container, key, len(text)),))
            return
        inner = tuple(self.read(value, role, kind, depth + 1, is_free=True))
        if inner:
            yield Nested(inner, partial(put_json, container, key, value))

    def _read_file(self, container: Any, key: Any, data: str, role: str, kind: PartKind) -> Iterator[Text | Nested]:
        """Of a file that is text, what it says, whatever it is called. Others (pictures, sound, PDF) are not looked into."""
        raw = self._text(data, role, kind, ((container, key, len(data)),))
        if isinstance(container, dict) and container.get("type") == "text":
            yield self._text(data, role, PartKind.DOCUMENT, raw.pieces)
            return
        url = _DATA_URL.match(data)
        head = "" if url is None else url.group()
        body = data[len(head) :]
        is_base64 = _BASE64.fullmatch(body) is not None if url is None else head.lower().endswith(";base64,")
        if not is_base64:
            if url is None or "%" not in body:
                yield raw
                return
            holder = [unquote(body)]
            yield self._file(holder, role, partial(put_quoted, container, key, head, holder))
            return
        if len(data) <= _SHORT_FILE:
            # Or only looks like base64.
            yield raw
        text = file_text(body, is_declared=head.lower().startswith("data:text/"))
        if text is not None:
            holder = [text]
            yield self._file(holder, role, partial(put_base64, container, key, head, holder))

    def _file(self, holder: list[str], role: str, close: Callable[[], None]) -> Nested:
        return Nested((self._text(holder[0], role, PartKind.DOCUMENT, ((holder, 0, len(holder[0])),)),), close)

    def _names(self, container: dict[str, Any], names: list[str], role: str, kind: PartKind) -> Nested:
        now = list(names)
        texts = tuple(self._text(name, role, kind, ((now, place, len(name)),)) for place, name in enumerate(names))
        return Nested(texts, partial(rename, container, names, now))

    def _number(self, container: Any, key: Any, number: int, role: str, kind: PartKind) -> Nested:
        holder = [str(number)]
        text = self._text(holder[0], role, kind, ((holder, 0, len(holder[0])),))
        return Nested((text,), partial(put, container, key, holder))

    def _text(self, text: str, role: str, kind: PartKind, pieces: Sequence[tuple[Any, Any, int]]) -> Text:
        return Text(Part(text, kind, role, self._direction), tuple(pieces))


def _is_said(value: dict[str, Any], key: str) -> bool:
    """Of an answer: the place of what a model says to its caller, in any dialect."""
    if key in {"content", "parts"}:
        return value.get("role") in {"assistant", "model"}
    return key == "text" and "finish_reason" in value


def _is_no_name(key: str, text: str) -> bool:
    return len(text) > _LONGEST_NAME and key not in _ENCODED


def _is_no_field(key: str) -> bool:
    """Fields of dialects are words of letters; `b64_json` is the longest with a digit."""
    return not key.isascii() or (len(key) > len("b64_json") and not key.replace("_", "").isalpha())


def _is_escaped(text: str) -> bool:
    """JSON in a string, with letters that only its reader sees."""
    return "\\u" in text and text.lstrip()[:1] in {"{", "["}


def _is_large(value: Any) -> bool:
    return type(value) is int and value >= _SMALL_NUMBER


def _plain_text(value: Any) -> str | None:
    if isinstance(value, dict) and "role" not in value:
        text = value.get("text")
        if isinstance(text, str) and not _is_escaped(text):
            return text
    return None


def _kind_of(word: str, kind: PartKind) -> PartKind:
    if word in _RESULTS:
        return PartKind.TOOL_RESULT
    if word in _DOCUMENTS:
        return PartKind.DOCUMENT
    if word in _CALLS:
        return PartKind.TOOL_ARGUMENTS
    return kind
