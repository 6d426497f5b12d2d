"""Reads a batch's input out of the object store: all lines once to judge them, then single lines by their places."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from tollkeeper.domains.batches.validation import Line, Validation, split_lines
from tollkeeper.domains.files.service import PIECE_BYTES, Contents, Files, pieces_of

# Lines wait in order, so one piece serves many of them; two where some are repeated.
_KEPT_PIECES: Final = 2
_LINES: Final = 1_000


class Input:
    def __init__(self, files: Files, contents: Contents) -> None:
        self._files = files
        self._contents = contents
        self._kept: dict[int, bytes] = {}

    async def validate(self, validation: Validation) -> AsyncIterator[Sequence[Line]]:
        """Good lines, some at a time; nothing more once enough is wrong."""
        lines: list[Line] = []
        async for number, start, content in split_lines(self._pieces(), validation.longest):
            line = validation.look(number, start, content)
            if line is not None:
                lines.append(line)
            if validation.is_over:
                break
            if len(lines) >= _LINES:
                yield lines
                lines = []
        validation.end()
        if lines:
            yield lines

    async def line(self, start: int, length: int) -> bytes:
        parts: list[bytes] = []
        for number in range(start // PIECE_BYTES, (start + length - 1) // PIECE_BYTES + 1):
            piece = await self._piece(number)
            begin = max(0, start - number * PIECE_BYTES)
            parts.append(piece[begin : start + length - number * PIECE_BYTES])
        return b"".join(parts)

    async def _piece(self, number: int) -> bytes:
        piece = self._kept.get(number)
        if piece is None:
            piece = await self._files.piece(self._contents, number)
            while len(self._kept) >= _KEPT_PIECES:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = piece
        return piece

    async def _pieces(self) -> AsyncIterator[bytes]:
        for number in range(pieces_of(self._contents.size)):
            yield await self._files.piece(self._contents, number)
