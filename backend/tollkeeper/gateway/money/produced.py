"""Counts the tokens of an answer while it comes: never fewer than a vendor bills, wherever that was measured."""

from typing import Final

from tollkeeper.contracts.chat import Chunk
from tollkeeper.gateway.money.families import Family
from tollkeeper.gateway.money.tokens import count_upper

# Counted for good in pieces of about this length; the text after the last of them is counted anew with each chunk.
_PIECE: Final = 256
# Of a tool call beside its name and arguments.
_CALL_TOKENS: Final = 16
_BETWEEN: Final = b"\n\ndata: "


class Produced:
    """Each choice has its own text: a token does not reach from one into another."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._counted = 0
        # Of each choice: the text after what is counted, and its tokens.
        self._tails: dict[int, tuple[str, int]] = {}
        self._events = 0
        self.tokens = 0

    def add(self, chunk: Chunk) -> int:
        """The tokens of everything so far."""
        for choice in chunk.data.get("choices") or ():
            texts: list[str] = []
            self._counted += _CALL_TOKENS * _gather(choice.get("delta") or choice.get("text"), texts)
            if text := "".join(texts):
                self._add(choice.get("index", 0), text)
                # An event with text is one token at least, whatever our tokenizer makes of them together.
                self._events += 1 if chunk.raw is None else chunk.raw.count(_BETWEEN) + 1
        self.tokens = max(self._counted + sum(tokens for _, tokens in self._tails.values()), self._events)
        return self.tokens

    def _add(self, index: int, more: str) -> None:
        text = self._tails.get(index, ("", 0))[0] + more
        tokens = count_upper(text, self._family)
        if len(text) < _PIECE:
            self._tails[index] = (text, tokens)
        else:
            self._counted += tokens
            self._tails[index] = ("", 0)


def _gather(value: object, texts: list[str]) -> int:
    """Every text of a delta, and how many tool calls begin in it."""
    if isinstance(value, str):
        texts.append(value)
        return 0
    if isinstance(value, dict):
        calls = 1 if "id" in value and ("function" in value or "custom" in value) else 0
        return calls + sum(_gather(inner, texts) for name, inner in value.items() if name not in {"role", "id", "type"})
    return sum(_gather(inner, texts) for inner in value) if isinstance(value, list) else 0
