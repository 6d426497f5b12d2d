"""This dialect's name, and names of tools and ids of their calls as Bedrock takes them.

What fits stays as it is; the rest is shortened and told apart by a hash of itself, so that it is the same in every call
of a conversation.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

NAME: Final = "bedrock_converse"
# The tool that answers for models without schemas of their own.
ANSWER_TOOL: Final = "answer_in_json"
# "ToolUseBlock" and "ToolSpecification", Bedrock runtime reference: both at most 64.
_LONGEST: Final = 64
_FIT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_HASH_LENGTH: Final = 8


def fit(text: str) -> str:
    """A tool's name, or a call's id."""
    if 0 < len(text) <= _LONGEST and _FIT.issuperset(text):
        return text
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    kept = "".join(letter if letter in _FIT else "_" for letter in text[: _LONGEST - _HASH_LENGTH - 1])
    return f"{kept}_{mark}"


def own_names(body: Mapping[str, Any]) -> Mapping[str, str]:
    """Of the tools of a canonical call: as Bedrock says it → as the caller said it; only those that differ."""
    return {fitted: name for name in _tool_names(body) if (fitted := fit(name)) != name}


def answers_by_tool(body: Mapping[str, Any]) -> bool:
    """Whether a call of `ANSWER_TOOL` in an answer is the answer: only calls with a schema are given that tool."""
    form = body.get("response_format")
    return isinstance(form, dict) and form.get("type") == "json_schema"


def _tool_names(body: Mapping[str, Any]) -> Iterator[str]:
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        inner = tool.get("function") if isinstance(tool, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            yield name
