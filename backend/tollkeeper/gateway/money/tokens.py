"""Offline token counts: exact for OpenAI's models, by published factors for the others, with an upper figure for holds.

`count` is the likeliest figure; `count_upper` is one that was not exceeded wherever it was measured, and never more than
the bytes of the text and one. Nothing here asks a network; `families` has the factors and says where they come from.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson

from tollkeeper.gateway.money import encodings
from tollkeeper.gateway.money.encodings import O200K
from tollkeeper.gateway.money.families import Family, Shares

# Encodings that a process may have in memory; the other families are told from these.
RESIDENT: Final = frozenset({O200K})
# Longer texts are counted in a thread; the encoder lets the event loop run meanwhile.
OFF_LOOP_BYTES: Final = 65_536
Counter = Callable[[str, Family, frozenset[str]], int]
_DIGITS: Final = "0123456789"
# Of very short texts a factor says nothing.
_SPARE: Final = 8


def count(text: str, family: Family, resident: frozenset[str] = RESIDENT) -> int:
    """About what the vendor counts."""
    if family.encoding in resident:
        return encodings.count(text, family.encoding)
    return _by_shares(text, family.mean, encodings.count(text))


def count_upper(text: str, family: Family, resident: frozenset[str] = RESIDENT) -> int:
    """What the vendor hardly counts more than."""
    if family.encoding in resident:
        return encodings.count(text, family.encoding)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    # Some families put a token of their own before each text.
    return min(size + 1, _by_shares(text, family.upper, encodings.count(text)) + _SPARE)


async def count_off_loop(text: str, family: Family, resident: frozenset[str] = RESIDENT) -> tuple[int, int]:
    """`count` and `count_upper` without holding up the event loop for a long text."""
    if len(text) <= OFF_LOOP_BYTES and encodings.is_loaded():
        return count(text, family, resident), count_upper(text, family, resident)
    return await asyncio.to_thread(lambda: (count(text, family, resident), count_upper(text, family, resident)))


def _by_shares(text: str, shares: Shares, tokens: int) -> int:
    hundredths = tokens * shares.tokens
    if shares.beyond_ascii and not text.isascii():
        # A character beyond ASCII has two bytes or more, each of which is one.
        ascii_only = len(text.encode("ascii", "ignore"))
        hundredths += (len(text.encode("utf-8", "replace")) - ascii_only) * shares.beyond_ascii
    if shares.digits:
        hundredths += sum(map(text.count, _DIGITS)) * shares.digits
    return -(-hundredths // 100)


def count_chat(
    body: dict[str, Any], family: Family, resident: frozenset[str] = RESIDENT, counter: Counter = count
) -> int:
    """Texts of a chat call and what frames them; pictures, sounds and files are `estimate`'s."""
    tokens = 3
    for message in body["messages"]:
        tokens += family.per_message
        tokens += sum(counter(text, family, resident) for text in message_texts(message))
    for name in ("tools", "functions", "response_format", "prediction"):
        if value := body.get(name):
            # Vendors rewrite definitions in a form of their own; their JSON is near it.
            tokens += counter(orjson.dumps(value).decode(), family, resident)
    return tokens


def message_texts(message: Any) -> list[str]:
    """Content, name, refusal, reasoning and tool calls of a message, tool results among them."""
    texts: list[str] = []
    if not isinstance(message, dict):
        return texts
    for name in ("content", "name", "refusal", "reasoning_content"):
        value = message.get(name)
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            _part_texts(value, texts)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        inner = call.get("function") or call.get("custom") if isinstance(call, dict) else None
        if isinstance(inner, dict):
            texts += (value for value in inner.values() if isinstance(value, str))
    return texts


def _part_texts(parts: list[Any], texts: list[str]) -> None:
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            for name in ("text", "refusal", "thinking", "content"):
                value = part.get(name)
                if isinstance(value, str):
                    texts.append(value)
                elif isinstance(value, list):
                    # The nesting was bounded when the body was read.
                    _part_texts(value, texts)
