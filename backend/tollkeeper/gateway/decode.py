"""Undoes a vendor's content encoding within bounds. We never ask for one; some servers compress all the same."""

import zlib
from typing import Final

from tollkeeper.core.errors import UpstreamError

# JSON full of repetition reaches about 1:100; a bomb needs 1:1000.
MAX_RATIO: Final = 200
_FREE_BYTES: Final = 1_048_576


class Decoder:
    """Incremental gzip or deflate; raises `UpstreamError` for other encodings, garbage and bombs."""

    __slots__ = ("_inflate", "_max_bytes", "_read", "_written")

    def __init__(self, encoding: str, max_bytes: int) -> None:
        if encoding not in {"gzip", "x-gzip", "deflate"}:
            raise UpstreamError("The provider's answer has an encoding nobody asked for.", code="upstream_garbage")
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32 if encoding != "deflate" else zlib.MAX_WBITS)
        self._max_bytes = max_bytes
        self._read = 0
        self._written = 0

    def feed(self, data: bytes) -> bytes:
        self._read += len(data)
        limit = min(self._max_bytes, max(_FREE_BYTES, self._read * MAX_RATIO))
        try:
            out = self._inflate.decompress(data, max(limit - self._written, 0) + 1)
        except zlib.error as error:
            raise UpstreamError("The provider's answer cannot be decompressed.", code="upstream_garbage") from error
        self._written += len(out)
        if self._written > limit:
            raise UpstreamError("The provider's answer is too large.", code="upstream_too_large")
        return out
