"""What the canonical chat form holds beyond OpenAI's fields, so that other dialects lose nothing on their way through it.

OpenAI's own shape is the canonical one; these stand beside it, by the names that the field's own tools use for them:

- `messages[].reasoning_content`: thinking as text; `messages[].reasoning_details`: the same in its parts, each
  `{"type": "reasoning.text" | "reasoning.encrypted" | "reasoning.summary", "text"|"data"|"summary", "signature"?,
  "id"?, "format": "anthropic" | "gemini" | "openai", "index"}`: signatures come back byte for byte to who made them.
- `cache_control` on content parts, tools and messages: Anthropic's prompt-cache marks.
- `messages[].tool_calls[].extra_content.google.thought_signature`: Gemini's signature of a call.
- `messages[role=tool].is_error`, and content of a tool's answer that may hold `image_url` and `file` parts.
- `file` parts with `file_data` (data URI), `file_id` or `file_url`, `filename`, `title`, `citations`.

Callers may send them in a chat call as well, and then they travel as they came. A call that was translated from another
dialect sheds them before a vendor that speaks OpenAI's plain form: strict ones refuse what they do not know.
"""

from collections.abc import Mapping
from typing import Any, Final

_OF_MESSAGES: Final = frozenset({"reasoning_details", "cache_control", "is_error"})
_OF_PARTS: Final = frozenset({"cache_control", "title", "citations", "context"})


def plain_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the extensions, for a vendor that knows OpenAI's fields alone."""
    plain = dict(body)
    plain["messages"] = [_plain_message(message) for message in body["messages"]]
    if body.get("tools"):
        plain["tools"] = [_without(tool, _OF_PARTS) for tool in body["tools"]]
    return plain


def _plain_message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    message = _without(message, _OF_MESSAGES)
    content = message.get("content")
    changed: dict[str, Any] = {}
    if isinstance(content, list):
        changed["content"] = [_without(part, _OF_PARTS) for part in content]
    calls = message.get("tool_calls")
    if calls and any("extra_content" in call for call in calls):
        changed["tool_calls"] = [_without(call, frozenset({"extra_content"})) for call in calls]
    return {**message, **changed} if changed else message


def _without(value: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    return value if names.isdisjoint(value) else {key: item for key, item in value.items() if key not in names}
