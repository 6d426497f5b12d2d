"""What Anthropic is asked and says when it counts a call that is not made."""

import orjson

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import request_of
from tollkeeper.gateway.usage_counts import read_count as read_number

# The fields of its counting; it refuses those that only matter once an answer is made.
_COUNTED = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "cache_control",
        "context_management",
        "mcp_servers",
        "speed",
    }
)


def write_count(call: Call) -> bytes:
    return orjson.dumps({name: value for name, value in request_of(call).items() if name in _COUNTED})


def read_count(body: bytes) -> int | None:
    """None for what is no count."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return read_number(document.get("input_tokens")) if isinstance(document, dict) else None
