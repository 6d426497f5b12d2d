"""What the canonical chat form holds beyond OpenAI's fields, so that other dialects lose nothing on their way through it.

OpenAI's own shape is the canonical one; these stand beside it, by the names that the field's own tools use for them:

- `messages[].reasoning_content`: thinking as text; `messages[].reasoning_details`: the same in its parts, each
  `{"type": "reasoning.text" | "reasoning.encrypted" | "reasoning.summary", "text"|"data"|"summary", "signature"?,
  "id"?, "format": "anthropic" | "gemini" | "openai", "index"}`: signatures come back byte for byte to who made them.
- `cache_control` on content parts, tools and messages: Anthropic's prompt-cache marks.
- `messages[].tool_calls[].extra_content.google.thought_signature`: Gemini's signature of a call.
- `messages[role=tool].is_error`, and content of a tool's answer that may hold `image_url` and `file` parts.
- `file` parts with `file_data` (data URI), `file_id` or `file_url`, `filename`, `title`, `citations`.

- `tools[].full_name`, where `function.name` is a shorter one.
- text parts with `title` and `context`: documents in words.
- at the top: `thinking`, `top_k`, `cache_control` and the other `EXTENSIONS`, as Anthropic has them.

Callers may send them in a chat call as well, and then they travel as they came. A call that was translated from another
dialect sheds them (`plain_chat`) before a vendor that speaks OpenAI's plain form: strict ones refuse what they do not
know.
"""

from collections.abc import Mapping
from typing import Any, Final

# Of a tool whose name is longer than most vendors take: the caller's own, for the answer.
FULL_NAME: Final = "full_name"
# Top-level fields.
EXTENSIONS: Final = frozenset(
    {
        "thinking",
        "top_k",
        "cache_control",
        "container",
        "context_management",
        "mcp_servers",
        "inference_geo",
        "speed",
        "output_config",
    }
)
OF_MESSAGES: Final = frozenset({"reasoning_details", "cache_control", "is_error"})
# Of content parts, and of tools.
OF_PARTS: Final = frozenset({"cache_control", "title", "citations", "context", FULL_NAME})
# The budgets of thinking, in tokens, up to which an effort is called low and medium.
_LOW: Final = 4_096
_MEDIUM: Final = 16_384


def effort_of(body: Mapping[str, Any]) -> str | None:
    """How hard a call asks to think, in OpenAI's words: as it says, else by its budget; None: as the model likes."""
    told = body.get("reasoning_effort")
    if told is not None:
        return told if isinstance(told, str) else None
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if type(budget) is not int:
        return None
    if budget <= _LOW:
        return "low"
    return "medium" if budget <= _MEDIUM else "high"
