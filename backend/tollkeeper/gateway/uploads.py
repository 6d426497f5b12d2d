"""Reads a form with one large file while it arrives: the file is handed on piece by piece, the texts are kept.

For uploads that stay here. Forms that go to a vendor are read by `multipart`, which keeps the bytes as they came; what
may stand in a form is the same for both.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tollkeeper.core.errors import BadRequest, UnsupportedMediaType
from tollkeeper.gateway.multipart import (
    MOST_HEAD_BYTES,
    MOST_PARTS,
    MOST_TEXT_BYTES,
    invalid_form,
    is_form,
    read_boundary,
    read_head,
)

FILE: Final = "file"


@dataclass(slots=True)
class Uploaded:
    """`filename` None: the form had no file."""

    filename: str | None = None
    texts: dict[str, str] = field(default_factory=dict)


async def read_upload(
    source: AsyncIterator[bytes], headers: Mapping[bytes, bytes], take: Callable[[bytes], Awaitable[None]]
) -> Uploaded:
    """`take` gets the bytes of the field `file`. Raises `BadRequest` for what is no such form."""
    if not is_form(headers):
        raise UnsupportedMediaType(
            "Send the file in a form with the header 'content-type: multipart/form-data; boundary=…'.",
            param="content-type",
        )
    delimiter = b"\r\n--" + read_boundary(headers[b"content-type"])
    reader = _Reader(source)
    uploaded = Uploaded()
    if await reader.until(delimiter, 0):
        raise invalid_form("it does not begin with its boundary")
    for _ in range(MOST_PARTS):
        ending = await reader.exactly(2)
        if ending == b"--":
            await reader.rest()
            return uploaded
        if ending != b"\r\n":
            raise invalid_form("a boundary is not followed by the end of its line")
        await _read_field(reader, delimiter, uploaded, take)
    raise invalid_form(f"it has more than {MOST_PARTS} fields")


async def _read_field(
    reader: "_Reader", delimiter: bytes, uploaded: Uploaded, take: Callable[[bytes], Awaitable[None]]
) -> None:
    part = read_head(await reader.until(b"\r\n\r\n", MOST_HEAD_BYTES), 0, 0, 0)
    if part.is_file:
        if part.key != FILE or uploaded.filename is not None:
            raise BadRequest("Send one file, in the field 'file'.", code="invalid_multipart", param=part.key[:100])
        uploaded.filename = part.filename
        async for piece in reader.pieces(delimiter):
            await take(piece)
        return
    value = await reader.until(delimiter, MOST_TEXT_BYTES)
    if part.key in uploaded.texts:
        raise BadRequest("The field came twice.", code="invalid_multipart", param=part.key[:100])
    try:
        uploaded.texts[part.key] = value.decode()
    except UnicodeDecodeError:
        raise BadRequest("The text is not UTF-8.", code="invalid_multipart", param=part.key[:100]) from None


class _Reader:
    """Bytes up to a mark, however they arrive."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        # The first delimiter has no line before it.
        self._held = bytearray(b"\r\n")

    async def exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        found = bytes(self._held[:count])
        del self._held[:count]
        return found

    async def until(self, mark: bytes, most: int) -> bytes:
        """What stands before the mark, which is passed over."""
        looked = 0
        while (place := self._held.find(mark, looked)) < 0:
            looked = max(0, len(self._held) - len(mark) + 1)
            if looked > most:
                raise invalid_form(f"a field, or its head, is longer than {most} bytes, or its boundary is missing")
            await self._more()
        found = bytes(self._held[:place])
        del self._held[: place + len(mark)]
        return found

    async def pieces(self, mark: bytes) -> AsyncIterator[bytes]:
        """The same without keeping it."""
        while (place := self._held.find(mark)) < 0:
            safe = len(self._held) - len(mark) + 1
            if safe > 0:
                piece = bytes(self._held[:safe])
                del self._held[:safe]
                yield piece
            await self._more()
        if place:
            yield bytes(self._held[:place])
        del self._held[: place + len(mark)]

    async def rest(self) -> None:
        """After the end nothing but the end of a line may come."""
        async for more in self._source:
            self._held += more
            if len(self._held) > 2:
                break
        if bytes(self._held) not in {b"", b"\r\n"}:
            raise invalid_form("something follows its end")

    async def _more(self) -> None:
        try:
            self._held += await anext(self._source)
        except StopAsyncIteration:
            raise invalid_form("it ends before its last boundary") from None
