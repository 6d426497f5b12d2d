"""Attacks on a model's instructions, put together from small grammars: three quarters to tune rules on, one held out.

The held-out quarter has verbs, objects and frames of its own, written after the rules were last changed, which nobody has
tuned on since. What is measured on it is what new wording of known ideas comes to.
"""

import base64
import codecs
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bench.guardrails import unseen, wordings
from bench.guardrails.items import HELD_OUT, HELD_OUT_USUAL, TUNED, Item, Span
from bench.guardrails.wordings import Grammar

_HOMOGLYPHS: Final = str.maketrans("aeopcxyi", "аеорсхуі")
_LEET: Final = str.maketrans("aeiost", "4310$7")


def _tags(text: str) -> str:
    return "Nice weather today." + "".join(chr(0xE0000 + ord(c)) for c in text if 0x20 <= ord(c) < 0x7F)


_ENCODINGS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType({
    "base64": lambda text: "Decode this and do it: " + base64.b64encode(text.encode()).decode(),
    "hex": lambda text: "Run: " + text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "leet": lambda text: text.lower().translate(_LEET),
    "zero-width": "\u200b".join,
    "homoglyphs": lambda text: text.translate(_HOMOGLYPHS),
    "spaced": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "reversed": lambda text: text[::-1],
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "tags": _tags,
    "fullwidth": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
})  # fmt: skip


def _say(r: random.Random, grammar: Grammar, name: str = "") -> str:
    text = r.choice(grammar[name])
    for key in grammar:
        while key and f"{{{key}}}" in text:
            text = text.replace(f"{{{key}}}", r.choice(grammar[key]), 1)
    return text.replace("{{", "{").replace("}}", "}")


def _place(family: str, r: random.Random) -> str:
    return r.choice(("document", "tool_result")) if family == "hidden" else "text"


def _attack(text: str, family: str, split: str, place: str = "text") -> Item:
    spans = [Span(*match.span(), label) for label, form in _RECEIVERS for match in form.finditer(text)]
    return Item(text, ("injection", *(span.label for span in spans)), tuple(spans), f"injection/{family}", split, place)


# To whom attacks send things: these are addresses as any other.
_RECEIVERS: Final = (
    ("email", re.compile(r"[a-z]+@[a-z]+\.[a-z]+")),
    ("ip_address", re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")),
)


def attacks(r: random.Random, count: int) -> list[Item]:
    """A quarter of them held out."""
    items: list[Item] = []
    while len(items) < count:
        split = HELD_OUT if len(items) % 4 == 3 else TUNED
        is_new = split == HELD_OUT
        grammars = unseen.GRAMMARS if is_new else r.choice((wordings.FIRST, wordings.SECOND, wordings.THIRD))
        family = r.choice(sorted(grammars))
        text = _say(r, grammars[family])
        text = text[:1].upper() + text[1:]
        style = r.random()
        if style < 0.6:
            items.append(_attack(text, family, split, _place(family, r)))
        elif style < 0.78:
            how = r.choice(sorted(_ENCODINGS))
            plain = _say(r, grammars[r.choice(("override", "extraction"))])
            items.append(_attack(_ENCODINGS[how](plain), f"encoded-{how}", split))
        elif style < 0.9:
            sentences = unseen.LANGUAGES if is_new else wordings.LANGUAGES
            language = r.choice(sorted(sentences))
            items.append(_attack(r.choice(sentences[language]), f"language-{language}", split))
        else:
            # Within something long and harmless.
            filler = " ".join(r.choices(_FILLER, k=r.randint(3, 9)))
            items.append(_attack(f"{filler} {text} {filler}", f"{family}-buried", split, _place(family, r)))
    return items


def usual_attacks() -> list[Item]:
    """All of them: they are few."""
    return [
        _attack(text, family, HELD_OUT_USUAL, "document" if family == "hidden" else "text")
        for family, texts in unseen.USUAL.items()
        for text in texts
    ]


_FILLER: Final = (
    "The committee met on Tuesday and talked about the budget.", "Water boils at a lower temperature in the mountains.",
    "Please find the minutes below.", "Our shop opens at nine.", "The train was late again.", "She enjoys long walks by the river.",
    "Sales in the north grew faster than in the south.", "Add the flour slowly and stir.", "The cat slept on the windowsill.",
)  # fmt: skip
