"""A canonical chat body as OpenAI's plain form: for calls that came in another dialect, before a vendor that is strict.

What OpenAI's form has another place for is moved there, the rest of the extensions (`canonical`) goes; a part that
cannot be said at all is refused. Top-level fields that go are reported by `dispatch`. A call that was sent in OpenAI's
own form never comes here: what it holds travels as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import ABSENT
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.canonical import EXTENSIONS, OF_MESSAGES, OF_PARTS, effort_of

_OF_CALLS: Final = frozenset({"extra_content"})
# The parts of OpenAI's own form. Others are blocks of another dialect; those of the model its reader has reported.
_PARTS: Final = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
# Where OpenAI takes pictures and files, and strict vendors take more than one text.
_RICH_ROLE: Final = "user"
# Of a document in words: they stand above it.
_HEADINGS: Final = ("title", "context")
_NOTHING: Final[frozenset[str]] = frozenset()


def plain_changes(body: Mapping[str, Any], keeps: frozenset[str] = _NOTHING) -> dict[str, Any]:
    """What `Call.replace` takes to make the call plain. `keeps`: extensions that this vendor understands all the same.

    Raises `BadRequest` (`unsupported_input`) for a part that has no plain form.
    """
    changes: dict[str, Any] = {name: ABSENT for name in EXTENSIONS & body.keys() if name not in keeps}
    if "reasoning_effort" not in body and (effort := effort_of(body)) is not None:
        changes["reasoning_effort"] = effort
    changes["messages"] = _messages(body["messages"], keeps)
    if body.get("tools"):
        changes["tools"] = [_without(tool, OF_PARTS) for tool in body["tools"]]
    return changes


def _messages(messages: Sequence[Mapping[str, Any]], keeps: frozenset[str]) -> list[Mapping[str, Any]]:
    """Pictures of tools' answers follow the last of them that belong together: nothing may stand between those."""
    shed = OF_MESSAGES if "reasoning_content" in keeps else OF_MESSAGES | {"reasoning_content"}
    plain: list[Mapping[str, Any]] = []
    pictures: list[Any] = []
    for position, message in enumerate(messages):
        role = message.get("role")
        if pictures and role != "tool":
            plain.append({"role": _RICH_ROLE, "content": pictures})
            pictures = []
        content = message.get("content")
        if isinstance(content, list):
            content = _parts(content, f"messages[{position}].content", is_said=role == "assistant")
            if role == "tool":
                pictures += _pictures(content, message)
            if role != _RICH_ROLE:
                content = _text_of(content, str(role))
        if role == "tool" and message.get("is_error"):
            content = f"Error: {content or ''}"
        plain.append(_message(message, content, shed))
    if pictures:
        plain.append({"role": _RICH_ROLE, "content": pictures})
    return plain


def _message(message: Mapping[str, Any], content: Any, shed: frozenset[str]) -> Mapping[str, Any]:
    changed: dict[str, Any] = {}
    if content is not message.get("content"):
        changed["content"] = content
    calls = message.get("tool_calls")
    if calls and any("extra_content" in call for call in calls):
        changed["tool_calls"] = [_without(call, _OF_CALLS) for call in calls]
    message = _without(message, shed)
    return {**message, **changed} if changed else message


def _parts(parts: Sequence[Any], path: str, *, is_said: bool) -> list[Any]:
    """`is_said`: by the model, which can do without the traces of another vendor's tools. What it is told must be whole."""
    plain = []
    for part in parts:
        if isinstance(part, dict) and part.get("type") in _PARTS:
            plain.append(_part(part, path))
        elif not is_said:
            raise BadRequest(
                f"'{path}' has a part that the provider of this model has no form for.",
                code="unsupported_input",
                param=path,
            )
    return plain


def _part(part: Mapping[str, Any], path: str) -> Any:
    kind = part.get("type")
    if kind == "file" and isinstance(part.get("file"), dict) and part["file"].get("file_url"):
        raise BadRequest(
            "The provider of this model takes files by their content, not by their address. Send the file itself in "
            "base64, or use a model of another provider.",
            code="unsupported_input",
            param=path,
        )
    if kind == "text" and (heads := [str(part[name]) for name in _HEADINGS if part.get(name)]):
        return {"type": "text", "text": "\n\n".join([*heads, str(part.get("text", ""))])}
    return _without(part, OF_PARTS)


def _pictures(parts: Sequence[Mapping[str, Any]], message: Mapping[str, Any]) -> list[Any]:
    """What of a tool's answer is no text, after a line that says whose it is."""
    found = [part for part in parts if part["type"] != "text"]
    if not found:
        return []
    return [{"type": "text", "text": f"From the result of tool call {message.get('tool_call_id')}:"}, *found]


def _text_of(parts: Sequence[Mapping[str, Any]], role: str) -> str | list[Any]:
    """One text out of a list of them, because many servers take nothing else from anybody but the user."""
    texts = [part["text"] for part in parts if part["type"] == "text" and isinstance(part.get("text"), str)]
    if role == "tool":
        # The rest follows in a message of its own.
        if len(texts) < len(parts):
            texts.append("(What is no text of this result follows below.)")
        return "\n\n".join(texts)
    if len(texts) < len(parts):
        return list(parts)
    # What an assistant said in pieces was one text; instructions are apart.
    return ("" if role == "assistant" else "\n\n").join(texts)


def _without(value: Any, names: frozenset[str]) -> Any:
    if not isinstance(value, dict) or names.isdisjoint(value):
        return value
    return {key: item for key, item in value.items() if key not in names}
