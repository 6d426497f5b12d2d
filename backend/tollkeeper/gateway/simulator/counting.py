"""The simulator's tokens: a rule that anybody can recompute, not a tokenizer.

A token is the white space before a word and up to eight characters of it; text of nothing but white space is one token.
A prompt is 3 tokens, 4 for each message, the tokens of its texts, names, tool calls and tool definitions, and a fixed
number for each part that is no text.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

_PIECE: Final = re.compile(r"\s*\S{1,8}|\s+")
_PART_TOKENS: Final = {"image_url": 85, "input_audio": 50, "file": 100}
_PER_CALL = 3
_PER_MESSAGE = 4


def pieces(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    return len(_PIECE.findall(text))


def count_prompt(body: dict[str, Any]) -> int:
    """The prompt tokens of a chat call whose shape was checked."""
    tokens = _PER_CALL
    for message in body["messages"]:
        tokens += _PER_MESSAGE + sum(count(text) for text in texts(message.get("content")))
        tokens += sum(_part_tokens(part) for part in _parts(message.get("content")))
        tokens += count(message.get("name") or "")
        for call in message.get("tool_calls") or ():
            tokens += count(orjson.dumps(call.get("function") or call.get("custom")).decode())
    for name in ("tools", "functions"):
        for tool in body.get(name) or ():
            tokens += count(orjson.dumps(tool).decode())
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and "json_schema" in response_format:
        tokens += count(orjson.dumps(response_format["json_schema"]).decode())
    return tokens


def texts(content: object) -> list[str]:
    """The texts of a message's content, which is a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in _parts(content) if isinstance(part.get("text"), str)]


def _parts(content: object) -> Iterable[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else ()


def _part_tokens(part: dict[str, Any]) -> int:
    return _PART_TOKENS.get(str(part.get("type")), 0)
