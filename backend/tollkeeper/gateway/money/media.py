"""What pictures, sounds and files in a call come to, by the vendors' published rules. Pure; nothing is decoded.

The size of a picture is read from the first bytes of its data URL. One that cannot be seen (an address, an unknown
format) counts as the largest that the vendor makes of any picture.
"""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

# Enough for the headers of PNG, GIF, WebP and WAV; a JPEG's size may stand behind its thumbnail and colour profile.
_HEAD_CHARACTERS: Final = 128
_JPEG_CHARACTERS: Final = 524_288
# The poorest speech that is sent as MP3 or Opus, and the usual: bytes a second.
_LEAST_BYTES: Final = 750
_USUAL_BYTES: Final = 8_000
# SOF0…SOF15 but DHT, JPG and DAC (ITU T.81, table B.1).
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset(range(0xD0, 0xD8)) | {0x01}


class ImageRule(Protocol):
    """How a vendor counts pictures."""

    def tokens(self, width: int, height: int, detail: str) -> int: ...

    def most(self, detail: str) -> int:
        """For a picture whose size nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class Tiles:
    """OpenAI's rule of its older models: fit into 2048 × 2048, shortest side to 768, then tiles of 512."""

    base: int
    per_tile: int

    def tokens(self, width: int, height: int, detail: str) -> int:
        if detail == "low":
            return self.base
        scale = min(1.0, 2048 / max(width, height))
        scale = min(scale, 768 / max(min(width, height), 1))
        tiles = -(-_scaled(width, scale) // 512) * -(-_scaled(height, scale) // 512)
        return self.base + self.per_tile * tiles

    def most(self, detail: str) -> int:
        return self.base if detail == "low" else self.base + self.per_tile * 8


@dataclass(frozen=True, slots=True)
class Fidelity:
    """OpenAI's rule of the models that make pictures: tiles, and with `input_fidelity: high` what a picture is made of."""

    tiles: Tiles
    added: int

    def tokens(self, width: int, height: int, detail: str) -> int:
        return self.tokens_of(detail) + self.tiles.tokens(width, height, "auto")

    def most(self, detail: str) -> int:
        return self.tokens_of(detail) + self.tiles.most("auto")

    def tokens_of(self, detail: str) -> int:
        return self.added if detail == "high" else 0


@dataclass(frozen=True, slots=True)
class Patches:
    """Squares of `side` pixels, `most_patches` at most because larger pictures are made smaller; times a factor.

    `area`: not less than so many pixels a token either. `largest_patches`: with `detail` "original" or left to the model.
    """

    side: int
    most_patches: int
    percent: int = 100
    area: int | None = None
    largest_patches: int | None = None

    def tokens(self, width: int, height: int, detail: str) -> int:
        patches = -(-width // self.side) * -(-height // self.side)
        if self.area is not None:
            patches = max(patches, -(-width * height // self.area))
        return -(-min(patches, self._limit(detail)) * self.percent // 100)

    def most(self, detail: str) -> int:
        return -(-self._limit(detail) * self.percent // 100)

    def _limit(self, detail: str) -> int:
        if self.largest_patches is None or detail in {"low", "high"}:
            return self.most_patches
        return self.largest_patches


@dataclass(frozen=True, slots=True)
class Crops:
    """Gemini's rule: 258 tokens up to 384 × 384, else as many for each crop of 256 to 768 pixels."""

    per_tile: int = 258

    def tokens(self, width: int, height: int, detail: str) -> int:  # noqa: ARG002 - the interface
        if width <= 384 and height <= 384:
            return self.per_tile
        scale = min(1.0, 3072 / max(width, height))
        width, height = _scaled(width, scale), _scaled(height, scale)
        side = min(768, max(256, min(width, height) * 2 // 3))
        return min(24, -(-width // side) * -(-height // side)) * self.per_tile

    def most(self, detail: str) -> int:  # noqa: ARG002 - the interface
        return 24 * self.per_tile


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same for every picture, or not more than `largest`."""

    usual: int
    largest: int

    def tokens(self, width: int, height: int, detail: str) -> int:  # noqa: ARG002 - the interface
        return self.usual

    def most(self, detail: str) -> int:  # noqa: ARG002 - the interface
        return self.largest


def _scaled(pixels: int, scale: float) -> int:
    # A little less first, so that 768.0000001 stays 768.
    return max(1, -int(-(pixels * scale - 1e-6) // 1))


def picture_size(url: str) -> tuple[int, int] | None:
    """Width and height of a base64 data URL's picture: PNG, JPEG, GIF or WebP. None for everything else."""
    comma = url.find(",", 0, 200)
    if comma < 0 or not url.startswith("data:"):
        return None
    head = _decode(url[comma + 1 : comma + 1 + _HEAD_CHARACTERS])
    return _size_of(head, lambda: _decode(url[comma + 1 : comma + 1 + _JPEG_CHARACTERS]))


def raw_picture_size(data: memoryview) -> tuple[int, int] | None:
    """The same of a file."""
    return _size_of(bytes(data[:_HEAD_CHARACTERS]), lambda: bytes(data[:_JPEG_CHARACTERS]))


def _size_of(head: bytes, more: Callable[[], bytes]) -> tuple[int, int] | None:
    size = None
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        size = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    elif head[:6] in {b"GIF87a", b"GIF89a"}:
        size = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        size = _webp_size(head)
    elif head[:2] == b"\xff\xd8":
        size = _jpeg_size(more())
    return size if size is not None and min(size) > 0 else None


def sound_ms(data: str) -> tuple[int, int]:
    """About how long a base64 sound lasts, and at most, in milliseconds; a WAV says it exactly."""
    size = len(data) * 3 // 4
    head = _decode(data[:_HEAD_CHARACTERS])
    if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " and len(head) >= 36:
        channels, bits = int.from_bytes(head[22:24], "little"), int.from_bytes(head[34:36], "little")
        bytes_a_second = int.from_bytes(head[24:28], "little") * channels * bits // 8
        if bytes_a_second >= _LEAST_BYTES:
            exact = size * 1000 // bytes_a_second + 1
            return exact, exact
    return size * 1000 // _USUAL_BYTES, size * 1000 // _LEAST_BYTES + 1


def _decode(text: str) -> bytes:
    """The bytes of base64 cut off anywhere; b"" for what is none."""
    text = text[: len(text) // 4 * 4]
    try:
        return b64decode(text)
    except ValueError:
        return b""


def _webp_size(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8L" if head[20] == 0x2F:
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case _:
            return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walks from segment to segment until the first frame."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in _BARE:
            place += 2
        elif marker in _FRAMES:
            return int.from_bytes(data[place + 7 : place + 9]), int.from_bytes(data[place + 5 : place + 7])
        else:
            place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4]))
    return None
