"""Names of tools and ids of their calls as Anthropic takes them, and the way back.

What fits stays as it is. The rest is shortened and told apart by a hash of itself, so that the same name is the same in
every call of a conversation, on every worker.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

# Anthropic takes 128, its resellers 64.
LONGEST_NAME: Final = 64
_FIT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_HASH_LENGTH: Final = 8
_LONGEST_ID: Final = 256
# The tool that answers for models without schemas of their own.
ANSWER_TOOL: Final = "answer_in_json"


def fit_name(name: str) -> str:
    return name if 0 < len(name) <= LONGEST_NAME and _FIT.issuperset(name) else _hashed(name, LONGEST_NAME)


def fit_id(call_id: str) -> str:
    return call_id if 0 < len(call_id) <= _LONGEST_ID and _FIT.issuperset(call_id) else _hashed(call_id, LONGEST_NAME)


def _hashed(text: str, longest: int) -> str:
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    kept = "".join(letter if letter in _FIT else "_" for letter in text[: longest - _HASH_LENGTH - 1])
    return f"{kept}_{mark}"


def own_names(body: Mapping[str, Any]) -> Mapping[str, str]:
    """Of the tools of a canonical call: as Anthropic says it → as the caller said it; only those that differ."""
    return {fitted: name for name in _tool_names(body) if (fitted := fit_name(name)) != name}


def _tool_names(body: Mapping[str, Any]) -> Iterator[str]:
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            yield name
