"""A question cut into tokens: words, numbers with their units, dates, times, quoted strings, code and symbols.

One regular expression of our own without nested repetition, over a text of bounded length; what a token means is
decided in `reading`. Other scripts' digits and widths are folded before; letters that nobody sees are dropped.
"""

import re
import unicodedata
from dataclasses import dataclass

MOST_CHARACTERS = 1_000
MOST_TOKENS = 160
"""Longer questions say too much for two of them to be told apart word by word."""

_TOKEN = re.compile(
    r"""
      (?P<plain>[A-Za-zß-ÿ][a-zß-ÿ]*(?=[ ,?]|$))  # most words, before all that looks closer
    | (?P<code>`[^`\n]{1,400}`)
    | (?P<quoted>"[^"\n]{1,300}"|«[^»\n]{1,300}»|„[^“”"\n]{1,300}[“”"]|“[^”\n]{1,300}”|(?<!\w)'[^'\n]{2,100}'(?!\w))
    | (?P<url>(?:https?://|www\.)[^\s<>"']{1,500}|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4})
    | (?P<path>(?<![\w/])(?:[A-Za-z]:\\|\.{1,2}/|~/|/)[\w.\-\\/]{1,300})
    | (?P<date>(?<![\w.])\d{4}-\d{1,2}-\d{1,2}(?!\w)|(?<![\w.])\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\w))
    | (?P<time>(?<![\w.:])\d{1,2}:\d{2}(?::\d{2})?(?:\ ?[ap]\.?m\b\.?)?|(?<![\w.:])\d{1,2}\ ?[ap]\.?m\b\.?)
    | (?P<sign>(?<=\d)\ ?[-−–/]\ ?(?=\d)|!(?=[\w=]))
    | (?P<flag>(?<![\w-])--?[A-Za-z][\w-]{0,60}(?:=[^\s]{1,80})?)
    | (?P<number>(?<![\w.])[-+−]?\d+(?:[.,]\d+)*(?P<suffix>%|°[CcFf]?|[^\W\d_]{1,5}(?![\w]))?(?!\w))
    | (?P<name>[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*)+(?:\(\))?|[^\W\d]\w*\(\)|[^\W_]+_\w+|_\w+|[a-z]+[A-Z]\w*)
    | (?P<mixed>[^\W\d_]{1,40}\d\w{0,40}(?:[-.]\w{1,20})*|[^\W\d_]{1,10}-\d[\w.]{0,20}|\d+[\w-]*[^\W\d_]\w*|[A-Za-z](?:\+\+|\#))
    | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)
    | (?P<end>[.!?;:\n]+)
    | (?P<pause>[,()–—\[\]]+)
    | (?P<symbol>[^\s\-/"'“”„«»¿¡…])
    """,
    re.VERBOSE,
)
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "`", "\u00a0": " ", "\u202f": " "})


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    folded: str
    suffix: str
    is_first: bool
    """Whether it begins a sentence, where a capital letter says nothing."""


def clean(text: str) -> str:
    """The text in one form: compatibility letters and digits folded, quotes straight, invisible letters gone."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        if not text.isprintable():
            text = "".join(
                letter for letter in text if unicodedata.category(letter) not in {"Cf", "Cc"} or letter == "\n"
            )
    return text.translate(_QUOTES)


def cut(text: str) -> list[Token]:
    """The tokens of a cleaned text; of one that is too long, one more than `MOST_TOKENS`."""
    found: list[Token] = []
    is_first = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "symbol"
        kind = "word" if kind == "plain" else kind
        if kind == "end":
            is_first = True
            if found and found[-1].kind != "pause":
                found.append(Token("pause", match[0], match[0], "", is_first=False))
            continue
        token = match[0]
        found.append(Token(kind, token, token.casefold(), match["suffix"] or "" if kind == "number" else "", is_first))
        is_first = False
        if len(found) > MOST_TOKENS:
            break
    return found
