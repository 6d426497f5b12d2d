"""What a call asks for that a model may lack, by the names of `CAPABILITIES`, and where in the call it says so."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_PICTURES: Final = frozenset({"image_url", "input_image", "image"})
_SOUNDS: Final = frozenset({"input_audio"})


def _pictures(body: Mapping[str, Any]) -> str | None:
    return _find_part(body, _PICTURES)


def _sound(body: Mapping[str, Any]) -> str | None:
    if body.get("audio") is not None:
        return "audio"
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        return "modalities"
    return _find_part(body, _SOUNDS)


def _tools(body: Mapping[str, Any]) -> str | None:
    return next((name for name in ("tools", "functions") if body.get(name)), None)


def _schema(body: Mapping[str, Any]) -> str | None:
    form = body.get("response_format")
    return "response_format" if isinstance(form, dict) and form.get("type") == "json_schema" else None


def _reasoning(body: Mapping[str, Any]) -> str | None:
    return None if body.get("reasoning_effort") in (None, "none") else "reasoning_effort"


# Each gives the first place that asks for it, None where nothing does.
ASKED: Final[Mapping[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "vision": _pictures,
    "audio": _sound,
    "tools": _tools,
    "json_schema": _schema,
    "reasoning": _reasoning,
}


def asked_of_chat(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name, find in ASKED.items() if find(body) is not None)


def _find_part(body: Mapping[str, Any], kinds: frozenset[str]) -> str | None:
    """Where the first part of these kinds stands."""
    for position, message in enumerate(body.get("messages") or ()):
        content = message.get("content")
        if type(content) is list:
            for index, part in enumerate(content):
                # A caller's type may be no text at all.
                if type(part) is dict and type(kind := part.get("type")) is str and kind in kinds:
                    return f"messages[{position}].content[{index}]"
    return None
