"""Reasoning items ↔ `reasoning_details`: what other vendors sign their thinking with travels inside `encrypted_content`.

OpenAI's own encrypted text is one string and stays as it is. Anthropic's and Gemini's details have parts and signatures;
they are packed into one string of ours, which comes back byte for byte when the caller sends its items again.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.core.errors import BadRequest

Detail = Mapping[str, Any]

_PACKED: Final = "tkr1."
_OPENAI: Final = "openai"
_TEXTS: Final = {"reasoning.text": "text", "reasoning.summary": "summary"}
_KINDS: Final = frozenset({*_TEXTS, "reasoning.encrypted"})
_MOST_DETAILS: Final = 1_000


def pack(details: Sequence[Detail]) -> str | None:
    """The `encrypted_content` of an item; None where nothing is signed, so that nothing needs to come back."""
    for detail in details:
        if detail.get("type") == "reasoning.encrypted" and detail.get("format", _OPENAI) == _OPENAI:
            data = detail.get("data")
            return data if isinstance(data, str) else None
    if any(detail.get("signature") or detail.get("type") == "reasoning.encrypted" for detail in details):
        return _PACKED + base64.b64encode(orjson.dumps(list(details))).decode()
    return None


def is_packed(item: object) -> bool:
    """Whether an item holds what another vendor signed, which OpenAI's would refuse."""
    encrypted = item.get("encrypted_content") if isinstance(item, dict) else None
    return isinstance(encrypted, str) and encrypted.startswith(_PACKED)


def texts_of(details: Sequence[Detail]) -> tuple[list[str], list[str]]:
    """What can be read: (thinking as it was, summaries of it)."""
    found: dict[str, list[str]] = {"reasoning.text": [], "reasoning.summary": []}
    for detail in details:
        kind = detail.get("type")
        if kind in found:
            text = detail.get(_TEXTS[kind])
            if isinstance(text, str) and text:
                found[kind].append(text)
    return found["reasoning.text"], found["reasoning.summary"]


def unpack(item: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The details of a reasoning item that a caller sent. Raises `BadRequest`."""
    encrypted = item.get("encrypted_content")
    if isinstance(encrypted, str) and encrypted.startswith(_PACKED):
        return _unpacked(encrypted, f"{name}.encrypted_content")
    known = item.get("id")
    head: dict[str, Any] = {"format": _OPENAI}
    if isinstance(known, str):
        head["id"] = known
    details: list[dict[str, Any]] = [
        {"type": "reasoning.summary", "summary": text, **head} for text in _texts(item.get("summary"))
    ]
    details += [{"type": "reasoning.text", "text": text, **head} for text in _texts(item.get("content"))]
    if isinstance(encrypted, str) and encrypted:
        details.append({"type": "reasoning.encrypted", "data": encrypted, **head})
    return details


def _texts(parts: object) -> list[str]:
    if not isinstance(parts, list):
        return []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _unpacked(packed: str, name: str) -> list[dict[str, Any]]:
    """It was ours once; what comes back may be anybody's."""
    try:
        details = orjson.loads(base64.b64decode(packed.removeprefix(_PACKED), validate=True))
    except (binascii.Error, ValueError) as error:
        raise _damaged(name) from error
    if not isinstance(details, list) or len(details) > _MOST_DETAILS or not all(map(_is_detail, details)):
        raise _damaged(name)
    return details


def _is_detail(detail: object) -> bool:
    return (
        isinstance(detail, dict)
        and detail.get("type") in _KINDS
        and all(isinstance(value, str | int) or value is None for value in detail.values())
    )


def _damaged(name: str) -> BadRequest:
    return BadRequest(
        f"Invalid value for '{name}': send it back as it was answered, or leave it out.",
        code="invalid_value",
        param=name,
    )
