"""Watches an answer as it leaves, and says at its end whether it is one that may be given again.

Only what the caller saw in full: never an error, an answer that was cut or stopped, or one that is larger than its rule
allows.
"""

from collections.abc import Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Chunk, Operation

# Ends that the model came to by itself.
_WHOLE_ENDS: Final = frozenset({"stop", "tool_calls", "function_call"})
_CHOICES: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})


class Keeping:
    """A tap."""

    __slots__ = ("_chunks", "_most_bytes", "_size")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._chunks: list[Chunk] = []
        self._size = 0

    def __call__(self, chunk: Chunk) -> None:
        self._size += _size(chunk)
        if self._size <= self._most_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def answer(self, operation: Operation) -> tuple[Chunk, ...] | None:
        """None: it may not be kept."""
        chunks = self._chunks
        if not chunks or self._size > self._most_bytes or not chunks[-1].is_final or chunks[-1].error is not None:
            return None
        if operation in _CHOICES and not _is_whole(chunks):
            return None
        return tuple(chunks)


def _size(chunk: Chunk) -> int:
    size = len(chunk.native or b"") + chunk.text_length
    return size + (len(chunk.raw) if chunk.raw is not None else _weight(chunk.data))


def _weight(value: Any) -> int:
    """About how long its JSON is, without writing it."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, dict):
        return sum(len(key) + 4 + _weight(inner) for key, inner in value.items())
    if isinstance(value, list):
        if value and isinstance(value[0], float):
            return 12 * len(value)
        return sum(1 + _weight(inner) for inner in value)
    return 8


def _is_whole(chunks: Sequence[Chunk]) -> bool:
    """Whether every choice that began has ended by itself."""
    ends: dict[Any, Any] = {}
    for chunk in chunks:
        for choice in chunk.data.get("choices") or ():
            index = choice.get("index")
            ends[index] = choice.get("finish_reason") or ends.get(index)
    return bool(ends) and all(end in _WHOLE_ENDS for end in ends.values())
