"""Canonical messages, whole or in deltas, as the parts of a Gemini content."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.dialects.gemini import foreign

Part = dict[str, Any]

_DEEP: Final = 128
_JOINED: Final = ("text", "summary", "data", "signature")


class Unreadable(Exception):
    """A function call whose arguments are no object; its text is the message."""


def shows_thoughts(call: Call) -> bool:
    """Whether the caller asked to see them; who asked for thinking in another way gets them as well."""
    native = call.native
    if native is None:
        return call.body.get("thinking") is not None or call.body.get("reasoning_effort") is not None
    config = native.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or config.get("thinking_config") or {}
    return (thinking.get("includeThoughts") or thinking.get("include_thoughts")) is True


def write_text(value: Mapping[str, Any]) -> str:
    """What is said in a message or delta, a refusal too."""
    content = value.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(text for text in texts if isinstance(text, str))
    refusal = value.get("refusal")
    return (content if isinstance(content, str) else "") + (refusal if isinstance(refusal, str) else "")


def write_thought(value: Mapping[str, Any]) -> str:
    thought = value.get("reasoning_content") or value.get("reasoning")
    return thought if isinstance(thought, str) else ""


def write_media(value: Mapping[str, Any]) -> list[Part]:
    """Pictures and sound that a model made."""
    parts: list[Part] = []
    images = value.get("images")
    for image in images if isinstance(images, list) else ():
        inner = image.get("image_url") if isinstance(image, dict) else None
        url = inner.get("url") if isinstance(inner, dict) else None
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
            media_type, _, data = url[5:].partition(";base64,")
            parts.append({"inlineData": {"mimeType": media_type, "data": data}})
    audio = value.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("data"), str):
        kind = audio.get("format")
        media_type = kind if isinstance(kind, str) and "/" in kind else f"audio/{kind or 'wav'}"
        parts.append({"inlineData": {"mimeType": media_type, "data": audio["data"]}})
    return parts


def write_call(call: Mapping[str, Any]) -> Part:
    """A whole call of a function. Raises `Unreadable` where its arguments are none."""
    kind = "custom" if call.get("type") == "custom" else "function"
    inner = call.get(kind)
    inner = inner if isinstance(inner, dict) else {}
    name = str(inner.get("name") or "")
    if kind == "custom":
        args: Any = {"input": inner.get("input") or ""}
    else:
        text = inner.get("arguments") or "{}"
        args = text if isinstance(text, dict) else _parse(text)
        if not isinstance(args, dict):
            raise Unreadable(f"Malformed function call: {name}({text})"[:2000])
    made: Part = {"functionCall": {"name": name, "args": args}}
    if isinstance(call.get("id"), str):
        made["functionCall"]["id"] = call["id"]
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    if isinstance(google, dict) and isinstance(google.get("thought_signature"), str):
        made["thoughtSignature"] = google["thought_signature"]
    return made


def _parse(text: Any) -> Any:
    """None for what is no JSON, and for what is too deep to be written again."""
    try:
        found = orjson.loads(text)
        if len(text) > _DEEP and text.count("{") + text.count("[") > _DEEP:
            orjson.dumps([[[[[[[[[[found]]]]]]]]]])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return found


Details = dict[object, dict[str, Any]]


def merge_details(known: Details, more: Any) -> None:
    """Put the pieces of a stream together: those of one kind and index are one."""
    for piece in more if isinstance(more, list) else ():
        if not isinstance(piece, dict):
            continue
        index = piece.get("index")
        place = (index, str(piece.get("type"))) if type(index) is int else len(known)
        same = known.get(place)
        if same is None:
            known[place] = dict(piece)
            continue
        for name, value in piece.items():
            before = same.get(name)
            joins = name in _JOINED and isinstance(before, str) and isinstance(value, str)
            same[name] = before + value if joins else value


def sign(parts: list[Part], details: Iterable[Mapping[str, Any]]) -> None:
    """Put the signatures of a finished turn on its parts: Gemini's own as they are, others' wrapped, on the first call or
    the last text.
    """
    unsigned = [part for part in parts if "thoughtSignature" not in part]
    texts = [part for part in unsigned if "text" in part and not part.get("thought")]
    thoughts = [part for part in reversed(unsigned) if part.get("thought")]
    theirs: list[dict[str, Any]] = []
    for detail in details:
        if "gemini" not in str(detail.get("format")):
            theirs.append(dict(detail))
        elif isinstance(data := detail.get("data"), str):
            _sign_text(parts, texts, data)
        elif isinstance(signature := detail.get("signature"), str) and thoughts:
            thoughts.pop()["thoughtSignature"] = signature
    if any(one.get("signature") or one.get("data") for one in theirs):
        wrapped = foreign.wrap(theirs)
        call = next((part for part in unsigned if "functionCall" in part), None)
        if call is not None:
            call["thoughtSignature"] = wrapped
        else:
            _sign_text(parts, texts, wrapped)


def _sign_text(parts: list[Part], texts: list[Part], signature: str) -> None:
    """The last text of those that have none; an empty one where there is none."""
    if texts:
        texts.pop()["thoughtSignature"] = signature
    else:
        parts.append({"text": "", "thoughtSignature": signature})
