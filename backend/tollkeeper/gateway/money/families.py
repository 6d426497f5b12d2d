"""What is known of each family of models: how its tokenizer compares with the one at hand, and what it makes of pictures.

Factors were measured (2026-11, decision 0022) with each family's own vocabulary on English, code,
JSON, numbers, base64 and 26 languages; families without a vocabulary to measure say so. Tokens of a text are told from
our own count of it, its bytes beyond ASCII, and its digits where the family gives each digit a token.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tollkeeper.gateway.money.encodings import CL100K, O200K
from tollkeeper.gateway.money.media import Crops, Fidelity, Fixed, ImageRule, Patches, Tiles

# Of the vendors that publish a rule the one that makes most of a large picture (Qwen2-VL: 28 pixels, 16,384 patches).
_ANY_IMAGES: Final = Patches(28, 16_384)


@dataclass(frozen=True, slots=True)
class Shares:
    """Hundredths of a token for each token of `O200K`, each byte beyond ASCII, each digit."""

    tokens: int
    beyond_ascii: int = 0
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """`mean` is the middle of what was measured, `upper` a tenth above the worst. `encoding`: counted with it exactly.

    `added` and `added_for_tools`: tokens that the vendor puts in front, at most (its own instructions, its template).
    """

    name: str
    mean: Shares
    upper: Shares
    encoding: str | None = None
    images: ImageRule = _ANY_IMAGES
    added: int = 100
    added_for_tools: int = 400
    # OpenAI cookbook, "How to count tokens", 2026-08: three for each message, one for a name, three for the answer.
    per_message: int = 4
    audio_per_second: int = 32
    is_measured: bool = True


_SAME: Final = Shares(100)

# "Images and vision", 2026-08, and what OpenAI was seen to bill where the page is silent (community.openai.com 1377015).
_OLD_IMAGES: Final = Tiles(85, 170)
_NEW_IMAGES: Final = Patches(32, 2_500, percent=120, largest_patches=10_000)

# The worst of all that was measured.
OTHER: Final = Family("other", Shares(110, 5, 50), Shares(281, 60, 100), is_measured=False)


def _openai(images: ImageRule, *, added: int = 20) -> Family:
    return Family("openai", _SAME, _SAME, O200K, images, added=added, added_for_tools=100, audio_per_second=10)


_OPENAI: Final = _openai(_NEW_IMAGES)
_LEGACY: Final = Family(
    "openai, cl100k", Shares(99, 23), Shares(145, 58), CL100K, _OLD_IMAGES, added=20, added_for_tools=100
)
# Claude: 28-pixel patches or width × height / 750, and at most 1,600 tokens until 4.6, about 4,784 since ("Vision", 2026-10).
# Tools: 346 tokens of instructions for Claude 4, 530 for Claude 3 Opus ("Tool use"), held with a margin.
_CLAUDE: Final = Family(
    "claude, since 4.7",
    Shares(152, 8),
    Shares(281),
    images=Patches(28, 4_784, area=750),
    added=50,
    added_for_tools=1_000,
)
_OLD_CLAUDE: Final = Family(
    "claude, until 4.6",
    Shares(118, 14),
    Shares(162, 15),
    images=Patches(28, 1_640, area=750),
    added=50,
    added_for_tools=1_000,
)
_MISTRAL_IMAGES: Final = Patches(16, 4_224)
_MISTRAL: Final = Family("mistral", Shares(102, 2, 67), Shares(140, 0, 100), images=_MISTRAL_IMAGES)
# 32 thousand pieces with bytes for the rest; Llama 2 is of the same make.
_SMALL: Final = Family("mistral and llama, 32k", Shares(119, 26, 67), Shares(205, 22, 100), images=_MISTRAL_IMAGES)
_LLAMA: Final = Family("llama", Shares(99, 3), Shares(133, 60), images=Fixed(1_601, 6_404))
_QWEN: Final = Family("qwen", Shares(100, 3, 67), Shares(144, 26, 100))
_DEEPSEEK: Final = Family("deepseek", Shares(104, 4), Shares(148, 11))
# No vocabulary to measure: as the middle and the worst of the families of the same make.
_GEMINI: Final = Family(
    "gemini", Shares(105, 3, 67), Shares(185, 26, 100), images=Crops(), audio_per_second=32, is_measured=False
)
# "Media resolution", 2026-08: 1,120 tokens a picture, 2,240 at the highest.
_NEW_GEMINI: Final = Family(
    "gemini", Shares(105, 3, 67), Shares(185, 26, 100), images=Fixed(1_120, 2_240), is_measured=False
)
# Was seen to put about 700 tokens of its own in front. Pictures: at most six tiles and one more of 256 ("Image understanding", 2026-07).
_GROK: Final = Family(
    "grok", Shares(110, 5, 67), Shares(185, 26, 100), images=Fixed(1_792, 1_792), added=1_000, is_measured=False
)

# The first of these that a model's name begins with decides.
_FAMILIES: Final[tuple[tuple[str, Family], ...]] = (
    # "Image generation", OpenAI's guide, 2026-10.
    ("gpt-image", _openai(Fidelity(Tiles(65, 129), 6_240))),
    ("chatgpt-image", _openai(Fidelity(Tiles(65, 129), 6_240))),
    ("gpt-oss", _openai(_NEW_IMAGES, added=200)),
    ("gpt-4o-mini", _openai(Tiles(2_833, 5_667))),
    ("gpt-4o", _openai(_OLD_IMAGES)),
    ("chatgpt-4o", _openai(_OLD_IMAGES)),
    ("gpt-4.1-mini", _openai(Patches(32, 1_536, percent=162))),
    ("gpt-4.1-nano", _openai(Patches(32, 1_536, percent=246))),
    ("gpt-4.1", _openai(_OLD_IMAGES)),
    ("gpt-4.5", _openai(_OLD_IMAGES)),
    ("gpt-5-mini", _openai(Patches(32, 1_536, percent=162))),
    ("gpt-5-nano", _openai(Patches(32, 1_536, percent=246))),
    ("gpt-5.", _OPENAI),
    ("gpt-5", _openai(Tiles(70, 140))),
    ("gpt-4", _LEGACY),
    ("gpt-3", _LEGACY),
    ("gpt-", _OPENAI),
    ("codex-", _openai(Patches(32, 1_536, percent=172))),
    ("o4-mini", _openai(Patches(32, 1_536, percent=172))),
    ("o1", _openai(Tiles(75, 150))),
    ("o3", _openai(Tiles(75, 150))),
    ("o4", _OPENAI),
    ("text-embedding-", _LEGACY),
    ("claude-2", _OLD_CLAUDE),
    ("claude-3", _OLD_CLAUDE),
    ("claude-instant", _OLD_CLAUDE),
    # 4.7 and 4.8 have the new one, and everything from 5 on.
    ("claude-opus-4-7", _CLAUDE),
    ("claude-opus-4-8", _CLAUDE),
    ("claude-opus-4", _OLD_CLAUDE),
    ("claude-sonnet-4", _OLD_CLAUDE),
    ("claude-haiku-4", _OLD_CLAUDE),
    ("claude", _CLAUDE),
    ("gemini-1", _GEMINI),
    ("gemini-2", _GEMINI),
    ("gemini", _NEW_GEMINI),
    ("gemma", _GEMINI),
    ("mistral-embed", _SMALL),
    ("mistral-7b", _SMALL),
    ("mixtral", _SMALL),
    ("open-mi", _SMALL),
    ("mistral", _MISTRAL),
    ("ministral", _MISTRAL),
    ("codestral", _MISTRAL),
    ("devstral", _MISTRAL),
    ("magistral", _MISTRAL),
    ("pixtral", _MISTRAL),
    ("llama-2", _SMALL),
    ("llama2", _SMALL),
    ("llama", _LLAMA),
    ("meta-llama", _LLAMA),
    ("qwen", _QWEN),
    ("qwq", _QWEN),
    ("deepseek", _DEEPSEEK),
    ("grok", _GROK),
)


@lru_cache(maxsize=2_048)
def family_of(model: str) -> Family:
    """By the vendor's name of the model, whatever stands before it (`anthropic.claude-…`, `openai/gpt-4o`)."""
    name = model.lower().rpartition("/")[2]
    for prefix in ("us.", "eu.", "apac.", "global.", "ft:"):
        name = name.removeprefix(prefix)
    for vendor in ("anthropic.", "meta.", "mistral.", "deepseek.", "qwen.", "openai."):
        name = name.removeprefix(vendor)
    for prefix, family in _FAMILIES:
        if name.startswith(prefix):
            return family
    return OTHER
