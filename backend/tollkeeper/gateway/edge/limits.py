"""What is taken in of a request: its type, its size, its time. Nothing is read before the caller is known."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from tollkeeper.core.errors import BadRequest, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from tollkeeper.gateway.multipart import FORM_TYPE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Upload of a body of the largest size on a slow line; the protocol holds every body to a pace besides.
READ_SECONDS: Final = 60.0
# How much of a refused body is thrown away before the connection is closed (RULING 17).
DISCARD_BYTES: Final = 256 * 1024
DISCARD_SECONDS: Final = 1.0
_JSON_TYPE: Final = b"application/json"
# A header that is decided on may come once; a second, different one is two readings of one request.
SINGLE_HEADERS: Final = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"x-tollkeeper-key-id",
        b"x-tollkeeper-timeout-ms",
        b"x-tollkeeper-priority",
    }
)


class ClientGone(Exception):
    """The caller left before its request was complete."""


def single_headers(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """ASGI's pairs as a mapping. Raises `BadRequest` when a header that is decided on came twice with two values."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        for name, value in pairs:
            if name in SINGLE_HEADERS and headers[name] != value:
                raise BadRequest(
                    f"The header '{name.decode('ascii')}' came twice with different values; send one.",
                    code="duplicate_header",
                )
    return headers


class Body:
    """The request's body, read at most once."""

    __slots__ = ("_headers", "_max_bytes", "_receive", "_take", "_takes_any", "_takes_form", "is_complete")

    def __init__(
        self,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        max_bytes: int,
        take: Callable[[], bytes | None] | None = None,
        *,
        takes_form: bool = False,
        takes_any: bool = False,
    ) -> None:
        """`takes_any`: whatever it is, and none at all; somebody else reads it."""
        # Our own HTTP protocol hands over a body that is whole already, and holds bodies to their deadlines itself: a timer
        # beside it would only cost.
        self._take = take
        self._takes_form = takes_form
        self._takes_any = takes_any
        self._receive = receive
        self._headers = headers
        self._max_bytes = max_bytes
        self.is_complete = headers.get(b"content-length", b"") == b"0" or not (
            b"content-length" in headers or b"transfer-encoding" in headers
        )

    async def read(self) -> bytes:
        """The whole body. Raises for a type that is not taken, an encoding, too many bytes, too much time."""
        body = self.get()
        return body if isinstance(body, bytes) else await body

    def get(self) -> Awaitable[bytes] | bytes:
        """As `read`; the bytes themselves where they are there already."""
        self._check_headers()
        if self._take is None:
            return self._read_in_time()
        body = self._take()
        if body is None:
            return self._read()
        self.is_complete = True
        if len(body) > self._max_bytes:
            raise self._too_large()
        return body

    async def _read_in_time(self) -> bytes:
        async with asyncio.timeout(READ_SECONDS) as limit:
            try:
                return await self._read()
            except asyncio.CancelledError:
                if limit.expired():
                    raise RequestTimeout("The request body did not arrive in time.") from None
                raise

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives, for whoever keeps none of it; its type and its size are for them to judge."""
        while not self.is_complete:
            yield await self._part()

    async def discard(self) -> None:
        """Throw away what a refused caller still sends, within bounds, so that it can read the refusal."""
        size = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.is_complete and size < DISCARD_BYTES:
                    size += len(await self._part())
        except (TimeoutError, ClientGone):
            pass

    @property
    def expects_continue(self) -> bool:
        return self._headers.get(b"expect", b"").lower() == b"100-continue"

    def _check_headers(self) -> None:
        headers = self._headers
        content_type = headers.get(b"content-type", b"")
        if content_type != _JSON_TYPE and not self._takes_any:
            kind, _, parameters = content_type.partition(b";")
            kind = kind.strip().lower()
            # What a form says beside its type is for whoever reads it.
            is_form = self._takes_form and kind == FORM_TYPE
            if not is_form and (kind != _JSON_TYPE or not _is_utf8(parameters)):
                raise UnsupportedMediaType(
                    "Send JSON in UTF-8 with the header 'content-type: application/json'"
                    + (", or a form with 'content-type: multipart/form-data'." if self._takes_form else "."),
                    param="content-type",
                )
        if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            raise UnsupportedMediaType("Compressed request bodies are not accepted.", param="content-encoding")
        declared = headers.get(b"content-length")
        if declared is not None and (len(declared) > 12 or not declared.isdigit() or int(declared) > self._max_bytes):
            raise self._too_large()

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            part = await self._part()
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            if self.is_complete:
                return part if len(parts) == 1 else b"".join(parts)

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.is_complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The request body is larger than {self._max_bytes} bytes.")


def _is_utf8(parameters: bytes) -> bool:
    for parameter in parameters.split(b";"):
        name, _, value = parameter.strip().lower().partition(b"=")
        if name == b"charset" and value.strip(b'" ') not in {b"utf-8", b"utf8", b"us-ascii"}:
            return False
    return True
