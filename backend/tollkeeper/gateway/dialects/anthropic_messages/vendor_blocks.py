"""The content of one canonical message as blocks of Anthropic's.

Parts that are Anthropic's own already (`tool_use`, `document`, `thinking` …) are carried as they are: callers of the chat
API replay such histories. Blank texts are left out, because Anthropic refuses them.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.gateway.dialects.anthropic_messages.vendor_media import file_block, image_block, unsupported
from tollkeeper.gateway.openai_fields import wrong_type

Block = dict[str, Any]

# Anthropic's own kinds of content.
_OWN: Final = frozenset(
    {
        "browser_state",
        "compaction",
        "container_upload",
        "document",
        "fallback",
        "image",
        "mcp_tool_result",
        "mcp_tool_use",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "thinking",
        "tool_reference",
        "tool_result",
        "tool_use",
    }
)
_PLAIN_TEXT: Final = frozenset({"type", "text"})
# Of a canonical text that is a document.
_DOCUMENTARY: Final = frozenset({"title", "context"})


def blocks_of(content: object, where: str, *, takes_documents: bool = False) -> list[Block]:
    """`where` names the content in errors: `messages[3].content`. `takes_documents`: texts with a title become such."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if _says_something(content) else []
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array of parts", content)
    blocks: list[Block] = []
    for position, part in enumerate(content):
        place = f"{where}[{position}]"
        if isinstance(part, str):
            part = {"type": "text", "text": part}  # noqa: PLW2901 - some clients send bare texts
        if not isinstance(part, dict):
            raise wrong_type(place, "an object", part)
        block = _block(part, place)
        if block is not None:
            is_document = takes_documents and part.get("type") == "text" and not _DOCUMENTARY.isdisjoint(part)
            blocks.append(_document(part, block) if is_document else block)
    return blocks


def text_blocks(content: object, where: str) -> list[Block]:
    """Of a message that can hold nothing but text."""
    blocks = blocks_of(content, where)
    if any(block["type"] != "text" for block in blocks):
        raise unsupported(where, "instructions to Anthropic are text")
    return blocks


def _block(part: Block, where: str) -> Block | None:
    kind = part.get("type")
    if kind == "text":
        return _text(part, where)
    if not isinstance(kind, str):
        raise wrong_type(f"{where}.type", "a string", kind)
    if kind == "image_url":
        inner = part.get("image_url")
        block = image_block(inner.get("url") if isinstance(inner, dict) else inner, f"{where}.image_url")
    elif kind == "file":
        block = file_block(part, f"{where}.file")
    elif kind == "refusal":
        text = part.get("refusal")
        return {"type": "text", "text": text} if isinstance(text, str) and _says_something(text) else None
    elif kind in _OWN or kind.endswith("_tool_result"):
        return part
    else:
        raise unsupported(where, f"Anthropic takes no content of the type '{kind[:64]}'")
    mark = cache_mark(part)
    if mark is not None:
        block["cache_control"] = mark
    return block


def _text(part: Block, where: str) -> Block | None:
    text = part.get("text")
    if not isinstance(text, str):
        raise wrong_type(f"{where}.text", "a string", text)
    if not _says_something(text):
        return None
    if part.keys() == _PLAIN_TEXT:
        return part
    block: Block = {"type": "text", "text": text}
    mark = cache_mark(part)
    if mark is not None:
        block["cache_control"] = mark
    if isinstance(part.get("citations"), list):
        block["citations"] = part["citations"]
    return block


def _document(part: Block, text: Block) -> Block:
    source = {"type": "text", "media_type": "text/plain", "data": text["text"]}
    block: Block = {"type": "document", "source": source}
    for name in ("title", "context", "citations"):
        if part.get(name) is not None and (name != "citations" or isinstance(part[name], dict)):
            block[name] = part[name]
    if "cache_control" in text:
        block["cache_control"] = text["cache_control"]
    return block


def cache_mark(part: Mapping[str, Any]) -> Any:
    """Anthropic's own mark as it came, its scope and lifetime included; OpenAI's as the ordinary one."""
    mark = part.get("cache_control")
    if mark is None and part.get("prompt_cache_breakpoint") is not None:
        return {"type": "ephemeral"}
    return mark


def _says_something(text: str) -> bool:
    return bool(text) and not text.isspace()
