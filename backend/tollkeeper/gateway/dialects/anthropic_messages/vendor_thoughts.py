"""Thinking of Anthropic's inside canonical messages and back: signatures return byte for byte, empty thoughts included."""

from collections.abc import Sequence
from typing import Any, Final

# What we write, and what others write for the same.
FORMAT: Final = "anthropic"

Block = dict[str, Any]


def to_detail(block: Block, index: int) -> dict[str, Any] | None:
    """A block of thinking → its entry in `reasoning_details`; None for every other block."""
    if block.get("type") == "thinking":
        thought = block.get("thinking")
        text = thought if isinstance(thought, str) else ""
        detail = {"type": "reasoning.text", "text": text, "format": FORMAT, "index": index}
        if isinstance(block.get("signature"), str):
            detail["signature"] = block["signature"]
        return detail
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block.get("data"), "format": FORMAT, "index": index}
    return None


def with_thoughts(details: object, others: Sequence[Block]) -> list[Block]:
    """The blocks of an assistant's turn: its thinking at the places it had, everything else around it."""
    found = _blocks(details)
    if not found:
        return list(others)
    rest = iter(others)
    blocks: list[Block] = []
    for index, block in sorted(found, key=lambda pair: pair[0]):
        while len(blocks) < index and (other := next(rest, None)) is not None:
            blocks.append(other)
        blocks.append(block)
    return [*blocks, *rest]


def _blocks(details: object) -> list[tuple[int, Block]]:
    """Entries of Anthropic's with a signature; several of one number are pieces of a stream that nobody put together."""
    merged: dict[object, dict[str, Any]] = {}
    for position, detail in enumerate(details if isinstance(details, list) else ()):
        if not isinstance(detail, dict) or not isinstance(detail.get("type"), str):
            continue
        index = detail.get("index")
        key = (detail["type"], index) if type(index) is int else (None, -1 - position)
        known = merged.setdefault(key, {"index": index if type(index) is int else 0})
        for name in ("text", "data"):
            if isinstance(detail.get(name), str):
                known.setdefault(name, []).append(detail[name])
        for name in ("type", "signature", "format"):
            if isinstance(detail.get(name), str):
                known[name] = detail[name]
    for detail in merged.values():
        detail |= {name: "".join(detail[name]) for name in ("text", "data") if name in detail}
    return [(detail["index"], block) for detail in merged.values() if (block := _block(detail)) is not None]


def _block(detail: dict[str, Any]) -> Block | None:
    # What another vendor has thought would be refused.
    if not detail.get("format", FORMAT).startswith(FORMAT):
        return None
    if detail.get("type") == "reasoning.text" and "signature" in detail:
        return {"type": "thinking", "thinking": detail.get("text", ""), "signature": detail["signature"]}
    if detail.get("type") == "reasoning.encrypted" and detail.get("data") and "format" in detail:
        return {"type": "redacted_thinking", "data": detail["data"]}
    return None
