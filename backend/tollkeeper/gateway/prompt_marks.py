"""Puts prompt-cache marks into a call that has none, for vendors that keep a prompt only where they are told to.

On what comes again in the next call: the tools, the instructions, and the conversation up to the last turn. A call that has
a mark of its own is its caller's affair.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Call, Operation

_FIELD: Final = "cache_control"
_MARK: Final[Mapping[str, str]] = {"type": "ephemeral"}
_INSTRUCTIONS: Final = frozenset({"system", "developer"})
# Blocks of a document that take no mark.
_UNMARKED: Final = frozenset({"thinking", "redacted_thinking"})


def with_marks(call: Call, dialect: str) -> Call:
    """`dialect`: the vendor's; the caller's own document is marked too where it goes out in it."""
    if call.operation is not Operation.CHAT or _is_marked(call.body) or (call.native and _is_marked(call.native)):
        return call
    changes: dict[str, Any] = {}
    if tools := call.body.get("tools"):
        changes["tools"] = [*tools[:-1], {**tools[-1], _FIELD: dict(_MARK)}]
    messages = list(call.body["messages"])
    places = {place for place, message in enumerate(messages) if message.get("role") in _INSTRUCTIONS}
    marked = {max(places)} if places else set()
    # What stands before the last turn, where that is more than the instructions.
    if len(messages) >= 2 and len(messages) - 2 not in places:
        marked.add(len(messages) - 2)
    for place in marked:
        messages[place] = {**messages[place], _FIELD: dict(_MARK)}
    changes["messages"] = messages
    made = call.replace(**changes)
    if call.native is not None:
        made.native = _native(call.native) if call.dialect == dialect else call.native
    return made


def _native(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same in Anthropic's own form."""
    made = dict(document)
    if tools := document.get("tools"):
        made["tools"] = [*tools[:-1], {**tools[-1], _FIELD: dict(_MARK)}]
    if system := document.get("system"):
        made["system"] = _blocks(system)
    messages = document.get("messages") or []
    if len(messages) >= 2:
        before = messages[-2]
        made["messages"] = [*messages[:-2], {**before, "content": _blocks(before.get("content"))}, messages[-1]]
    return made


def _blocks(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content, _FIELD: dict(_MARK)}] if content else content
    blocks = list(content or ())
    for place in range(len(blocks) - 1, -1, -1):
        if isinstance(blocks[place], dict) and blocks[place].get("type") not in _UNMARKED:
            blocks[place] = {**blocks[place], _FIELD: dict(_MARK)}
            break
    return blocks


def _is_marked(document: Mapping[str, Any]) -> bool:
    if document.get(_FIELD) is not None:
        return True
    holders = [*(document.get("tools") or ()), *(document.get("messages") or ())]
    if isinstance(document.get("system"), list):
        holders += document["system"]
    for holder in holders:
        if not isinstance(holder, dict):
            continue
        content = holder.get("content")
        parts = content if isinstance(content, list) else ()
        if _FIELD in holder or any(isinstance(part, dict) and _FIELD in part for part in parts):
            return True
    return False
