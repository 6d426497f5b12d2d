"""OpenAI's published byte-pair encodings, compiled in and offline. Loaded when first asked for, then kept for ever.

An encoding takes 30 to 70 MB of memory and cannot be given back, so a process counts with one of them unless it is told
otherwise: `families` says how the others are told from it. Counting takes time linear in the text, whatever it says, and
lets other threads run meanwhile.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Final

# No wheel of rs-bpe for Python 3.14 yet; the other is built from the same algorithm and takes twice its memory.
if sys.version_info < (3, 14):
    from rs_bpe.bpe import openai
else:
    from bpe_openai import _bindings

O200K: Final = "o200k_base"
CL100K: Final = "cl100k_base"
# One call into the encoder at a time: about 3 ms.
SLICE: Final = 32_768
# How far back from the end of a slice a place is looked for where cutting changes nothing.
_LOOK_BACK: Final = 512

Counter = Callable[[str], int]


@cache
def counter(encoding: str) -> Counter:
    """Tokens of a text that has no lone surrogates. The first call for an encoding takes about 0.2 s."""
    made: Counter
    if sys.version_info < (3, 14):
        made = (openai.o200k_base() if encoding == O200K else openai.cl100k_base()).count
    else:
        made = _bindings.tokenizer_for_encoding(encoding).count
    return made


def is_loaded() -> bool:
    """Whether counting begins at once; if not, the first count belongs into a thread."""
    return counter.cache_info().currsize > 0


def count(text: str, encoding: str = O200K) -> int:
    """Special tokens are text here, as they are in what callers send."""
    tokens_of = counter(encoding)
    if not text.isascii():
        # JSON can carry half a character; vendors put U+FFFD in its place.
        text = text.encode("utf-8", "replace").decode()
    if len(text) <= SLICE:
        return tokens_of(text)
    total = start = 0
    while start < len(text):
        end = _cut(text, start)
        total += tokens_of(text[start:end])
        start = end
    return total


def _cut(text: str, start: int) -> int:
    """The end of the slice that begins at `start`: before a blank between two letters, where no token goes across.

    Text without such a place is cut where the slice ends, which adds a token or two.
    """
    end = start + SLICE
    if end >= len(text):
        return len(text)
    blank = end
    while (blank := text.rfind(" ", end - _LOOK_BACK, blank)) > 0:
        if text[blank - 1].isalpha() and text[blank + 1].isalpha():
            return blank
    return end
