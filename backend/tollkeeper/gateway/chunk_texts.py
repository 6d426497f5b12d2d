"""The texts of a chunk, in the canonical form and in a vendor's own frames: found by what is none, as those of documents."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Direction
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.texts import flat, read_texts

# Of the frame, and of no language. Tokens spell out what stands beside them, and go where that is changed.
_NO_TEXTS: Final = frozenset(
    {
        "id", "object", "model", "system_fingerprint", "service_tier", "usage", "obfuscation", "role", "type", "finish_reason",
        "native_finish_reason", "logprobs", "signature", "encrypted_content", "data", "format", "index",
    }
)  # fmt: skip

_CALLS: Final = frozenset({"function", "function_call", "custom"})
_SAID: Final = frozenset({("delta", "content"), ("text",)})


def texts_of(data: dict[str, Any]) -> list[tuple[tuple[Any, ...], Any, Any, PartKind]]:
    """Of a chunk in the canonical form: which run, where its text stands, and of what kind it is."""
    texts: list[tuple[tuple[Any, ...], Any, Any, PartKind]] = []
    for key, value in data.items():
        if key == "choices" and isinstance(value, list):
            for choice in value:
                if isinstance(choice, dict):
                    _add_texts(texts, choice, (choice.get("index", 0),), PartKind.TEXT)
        elif isinstance(value, dict | list) and key not in _NO_TEXTS:
            _add_texts(texts, value, ("", key), PartKind.TEXT)
        elif isinstance(value, str) and value and key not in _NO_TEXTS:
            # Transcripts, as they are made, are a `delta` of their own.
            texts.append((("", key), data, key, PartKind.TRANSCRIPT if key == "delta" else PartKind.TEXT))
    return texts


def _add_texts(
    texts: list[tuple[tuple[Any, ...], Any, Any, PartKind]], value: Any, name: tuple[Any, ...], kind: PartKind
) -> None:
    """A run is known by its place; what a list holds, by the index that it says it has."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if not inner or key in _NO_TEXTS:
            continue
        if isinstance(inner, str):
            place = (*name, key)
            texts.append((place, value, key, _kind_of(place, kind)))
        elif isinstance(inner, dict | list):
            index = inner.get("index", key) if isinstance(inner, dict) else key
            _add_texts(texts, inner, (*name, index), kind)


def _kind_of(name: tuple[Any, ...], kind: PartKind) -> PartKind:
    last = name[-1]
    if last == "content" or last == "text":  # noqa: PLR1714 - for every chunk: a set takes longer
        # What is said to the caller, of chat and of completions.
        return PartKind.ANSWER if name[1:] in _SAID else kind
    if last == "arguments" or (last == "input" and name[-2] == "custom"):
        return PartKind.TOOL_ARGUMENTS
    return PartKind.TOOL_CALL if last == "name" and name[-2] in _CALLS else kind


def native_texts(frames: bytes, known: Callable[[str], bool]) -> list[Part]:
    """Of a vendor's own frames, relayed as they came: the texts that the canonical chunk beside them does not have."""
    parts = []
    for line in frames.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        try:
            document = orjson.loads(line[5:])
        except ValueError:
            continue
        texts = flat(read_texts(document, Direction.OUTPUT, Operation.CHAT))
        parts += [text.part for text in texts if not known(text.part.text)]
    return parts


def forget_tokens(data: dict[str, Any]) -> None:
    """Log probabilities spell the text out once more."""
    for choice in data.get("choices") or ():
        if isinstance(choice, dict) and choice.get("logprobs"):
            choice["logprobs"] = None
