"""Items of a Responses call → canonical messages.

What a model said in one go is several items there (reasoning, text, each tool call) and one assistant message here.
Instructions and the system's messages at the beginning become one leading system message, because models that are not
OpenAI's take no second one (litellm#26879).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.openai_responses import reasoning
from tollkeeper.gateway.dialects.openai_responses.read_parts import Content, read_content
from tollkeeper.gateway.openai_fields import missing, wrong_type
from tollkeeper.gateway.openai_repair import repair_arguments

Message = dict[str, Any]

_SYSTEM: Final = frozenset({"system", "developer"})
_ROLES: Final = frozenset({"user", "assistant", *_SYSTEM})
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


class Messages:
    """The messages of one call, built item by item.

    `needs_native`: the path of the first thing that only a vendor of this dialect has. `references`: ids that stand for
    items of earlier turns; they leave no message.
    """

    def __init__(self, instructions: object) -> None:
        self.needs_native: str | None = None
        self.references: list[str] = []
        self._found: list[Message] = []
        # The assistant's message that the next item of the assistant belongs to.
        self._open: Message | None = None
        # What a message says in several items, joined at the end.
        self._parts: list[tuple[Message, list[Content]]] = []
        self._system: list[Content] = []
        if instructions is not None:
            self._system.append(self._content(instructions, "instructions"))

    def read(self, items: object) -> list[Message]:
        """Raises `BadRequest` with the path of what is wrong."""
        if isinstance(items, str):
            self._found.append({"role": "user", "content": items})
        elif isinstance(items, list):
            for position, item in enumerate(items):
                self._item(item, f"input[{position}]")
        else:
            raise wrong_type("input", "a string or an array of objects", items)
        for message, contents in self._parts:
            message["content"] = _joined(contents)
        if self._system:
            return [{"role": "system", "content": _joined(self._system)}, *self._found]
        return self._found

    def _item(self, item: object, name: str) -> None:
        if not isinstance(item, dict):
            raise wrong_type(name, "an object", item)
        kind = item.get("type")
        if kind is None:
            # A message in its short form, or a reference in its own.
            kind = "message" if "role" in item else "item_reference"
        if not isinstance(kind, str):
            raise wrong_type(f"{name}.type", "a string", kind)
        if kind == "message":
            self._message(item, name)
        elif kind in _CALLS:
            self._call(item, kind, name)
        elif kind in _OUTPUTS:
            self._output(item, name)
        elif kind == "reasoning":
            self._reasoning(item, name)
        elif kind == "image_generation_call" and isinstance(item.get("result"), str):
            self._picture(item)
        elif kind == "item_reference":
            self._open = None
            self.references.append(_required(item, "id", name))
        else:
            self._open = None
            self.needs_native = self.needs_native or f"{name}.type"

    def _message(self, item: Mapping[str, Any], name: str) -> None:
        role = _required(item, "role", name)
        if role not in _ROLES:
            raise BadRequest(
                f"Invalid value for '{name}.role': expected 'user', 'assistant', 'system' or 'developer'.",
                code="invalid_value",
                param=f"{name}.role",
            )
        content = self._content(item.get("content"), f"{name}.content")
        if role == "assistant":
            self._said(content)
            return
        self._open = None
        if role == "user":
            self._found.append({"role": "user", "content": content})
        elif not self._found:
            self._system.append(content)
        else:
            # The only word for it that all models know.
            self._found.append({"role": "system", "content": content})

    def _said(self, content: Content) -> None:
        message = self._open
        if message is None or (message["content"] is not None and "tool_calls" not in message):
            message = self._assistant()
        if message["content"] is None:
            message["content"] = content
        elif self._parts and self._parts[-1][0] is message:
            self._parts[-1][1].append(content)
        else:
            self._parts.append((message, [message["content"], content]))

    def _call(self, item: Mapping[str, Any], kind: str, name: str) -> None:
        call_id, called = _required(item, "call_id", name), _required(item, "name", name)
        inner: dict[str, Any]
        if kind == "custom_tool_call":
            inner = {"name": called, "input": _required(item, "input", name)}
            call = {"id": call_id, "type": "custom", "custom": inner}
        else:
            arguments = _required(item, "arguments", name, may_be_empty=True)
            inner = {"name": called, "arguments": repair_arguments(arguments, empty="{}")}
            call = {"id": call_id, "type": "function", "function": inner}
        extra = item.get("extra_content")
        if isinstance(extra, dict):
            call["extra_content"] = extra
        message = self._open or self._assistant()
        message.setdefault("tool_calls", []).append(call)

    def _output(self, item: Mapping[str, Any], name: str) -> None:
        self._open = None
        call_id = _required(item, "call_id", name)
        content = self._content(item.get("output"), f"{name}.output")
        self._found.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _reasoning(self, item: Mapping[str, Any], name: str) -> None:
        details = reasoning.unpack(item, name)
        if not details:
            return
        message = self._open
        if message is None or message["content"] is not None or "tool_calls" in message:
            message = self._assistant()
        known = message.setdefault("reasoning_details", [])
        known += [
            detail if "index" in detail else {**detail, "index": len(known) + n} for n, detail in enumerate(details)
        ]
        texts, summaries = reasoning.texts_of(details)
        if text := "\n\n".join(texts or summaries):
            before = message.get("reasoning_content")
            message["reasoning_content"] = text if before is None else f"{before}\n\n{text}"

    def _picture(self, item: Mapping[str, Any]) -> None:
        """One that a model made in an earlier turn."""
        form, data = item.get("output_format"), item["result"]
        url = data if "://" in data[:16] else f"data:image/{form if isinstance(form, str) else 'png'};base64,{data}"
        self._said([{"type": "image_url", "image_url": {"url": url}}])

    def _assistant(self) -> Message:
        message = self._open = {"role": "assistant", "content": None}
        self._found.append(message)
        return message

    def _content(self, content: object, name: str) -> Content:
        read, needs = read_content(content, name)
        self.needs_native = self.needs_native or needs
        return read


def _joined(contents: Sequence[Content]) -> Content:
    """One content out of several: a text as long as all are, with a blank line between two."""
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(content for content in contents if content)  # type: ignore[misc]
    parts: list[dict[str, Any]] = []
    for content in contents:
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return parts


def _required(item: Mapping[str, Any], field: str, name: str, *, may_be_empty: bool = False) -> str:
    value = item.get(field)
    if value is None:
        if may_be_empty:
            return ""
        raise missing(f"{name}.{field}")
    if not isinstance(value, str):
        raise wrong_type(f"{name}.{field}", "a string", value)
    return value
