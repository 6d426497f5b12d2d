import struct
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.money.families import family_of
from tollkeeper.gateway.money.media import ImageRule, picture_size, sound_ms

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1024, 768) + b"\x08\x06\0\0\0"
GIF = b"GIF89a" + struct.pack("<HH", 320, 200) + b"\0\0\0"
WEBP_LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480)
WEBP_LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", (800 - 1) | (600 - 1) << 14)
WEBP_EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (3_000 - 1).to_bytes(3, "little") + (9).to_bytes(3, "little")


def jpeg(width: int, height: int, before: int = 0) -> bytes:
    segment = b"\xff\xe1" + struct.pack(">H", before + 2) + b"\xff\xc0" * (before // 2) if before else b""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\0" * 9
    return b"\xff\xd8" + segment + b"\xff\xdb\0\x04\0\0" + frame


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data + bytes(500)).decode()}"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (PNG, (1024, 768)),
        (GIF, (320, 200)),
        (WEBP_LOSSY, (640, 480)),
        (WEBP_LOSSLESS, (800, 600)),
        (WEBP_EXTENDED, (3_000, 10)),
        (jpeg(4_000, 3_000), (4_000, 3_000)),
        # A thumbnail's frame inside another segment is not the picture's.
        (jpeg(4_000, 3_000, before=60_000), (4_000, 3_000)),
    ],
)
def test_a_picture_s_size_is_read_from_its_first_bytes(data: bytes, size: tuple[int, int]) -> None:
    assert picture_size(url(data)) == size


@pytest.mark.parametrize(
    "text",
    ["https://a.example/b.png", "data:image/png;base64,", "data:image/png;base64,!!!!", "", "data:", "x" * 1_000],
)
def test_what_is_no_picture_has_no_size(text: str) -> None:
    assert picture_size(text) is None


@settings(deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", PNG[:8], PNG[:16], GIF[:6], WEBP_LOSSY[:12], b"\xff\xd8", b"RIFF"])
)
def test_no_bytes_do_any_harm(data: bytes, head: bytes) -> None:
    picture_size(f"data:image/png;base64,{b64encode(head + data).decode()}")
    picture_size("data:image/png;base64," + data.decode("latin-1"))
    sound_ms(b64encode(head + data).decode())


def images_of(model: str) -> ImageRule:
    return family_of(model).images


@pytest.mark.parametrize(
    ("model", "width", "height", "detail", "tokens"),
    [
        # OpenAI, "Images and vision": the examples of the page.
        ("gpt-4o", 1024, 1024, "high", 765),
        ("gpt-4o", 2048, 4096, "high", 1_105),
        ("gpt-4o", 4096, 8192, "low", 85),
        ("gpt-4o", 1024, 1024, "auto", 765),
        ("gpt-4o-mini", 512, 512, "high", 8_500),
        ("gpt-4.1-mini", 1024, 1024, "high", 1_659),
        # Seen to be billed: 18 × 24 patches at 1.2 (community.openai.com 1377015).
        ("gpt-5.4-mini", 576, 768, "high", 519),
        # Anthropic, "Vision": about width × height / 750, and not more than the largest it looks at.
        ("claude-opus-4-6", 1_000, 1_000, "auto", 1_334),
        ("claude-opus-4-6", 8_000, 8_000, "auto", 1_640),
        ("claude-opus-4-7", 8_000, 8_000, "auto", 4_784),
        # Gemini, "Understand and count tokens": 258 up to 384 pixels, else 258 a tile.
        ("gemini-2.5-pro", 384, 384, "auto", 258),
        ("gemini-2.5-pro", 960, 540, "auto", 1_548),
    ],
)
def test_pictures_cost_what_vendors_publish(model: str, width: int, height: int, detail: str, tokens: int) -> None:
    assert images_of(model).tokens(width, height, detail) == tokens


@settings(deadline=None)
@given(
    st.sampled_from(
        ["gpt-4o", "gpt-4.1-nano", "gpt-6", "o1", "claude-3", "claude-opus-5", "gemini-2", "gemini-3", "other"]
    ),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.sampled_from(["low", "high", "auto", "original", "?"]),
)
def test_a_picture_nobody_can_see_counts_as_the_largest(model: str, width: int, height: int, detail: str) -> None:
    assert 0 < images_of(model).tokens(width, height, detail) <= images_of(model).most(detail)


def test_a_sound_lasts_as_long_as_its_wave_says_and_else_as_the_poorest_speech() -> None:
    fields = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 99, 2, 16)
    wave = b"RIFF\0\0\0\0WAVEfmt " + fields + b"data\0\0\0\0" + bytes(320_000)

    assert sound_ms(b64encode(wave).decode()) == pytest.approx((10_000, 10_000), abs=10)
    usual, most = sound_ms(b64encode(bytes(80_000)).decode())
    assert usual == pytest.approx(10_000, abs=1)
    assert most > 100_000
