"""Telephone numbers: international ones by their country's code and length, national ones by their form or their name."""

from typing import Final

from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.guardrail import Accept, Shape, Start
from tollkeeper.gateway.tails import digits

# Calling code: fewest and most digits after it (ITU-T E.164 and the countries' numbering plans).
_COUNTRIES: Final = {
    "1": (10, 10), "7": (10, 10), "20": (8, 10), "27": (9, 9), "30": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9),
    "34": (9, 9), "36": (8, 9), "39": (6, 11), "40": (9, 9), "41": (9, 9), "43": (4, 13), "44": (9, 10), "45": (8, 8),
    "46": (7, 10), "47": (8, 8), "48": (9, 9), "49": (6, 12), "51": (8, 9), "52": (10, 11), "53": (6, 8), "54": (10, 11),
    "55": (10, 11), "56": (9, 9), "57": (10, 10), "58": (10, 10), "60": (8, 10), "61": (9, 9), "62": (8, 12), "63": (8, 10),
    "64": (8, 10), "65": (8, 8), "66": (8, 9), "81": (9, 10), "82": (8, 10), "84": (9, 10), "86": (10, 11), "90": (10, 10),
    "91": (10, 10), "92": (9, 10), "93": (9, 9), "94": (9, 9), "95": (7, 10), "98": (10, 10), "211": (9, 9), "212": (9, 9),
    "213": (8, 9), "216": (8, 8), "218": (8, 9), "220": (7, 7), "221": (9, 9), "225": (10, 10), "233": (9, 9), "234": (8, 10),
    "237": (9, 9), "243": (9, 9), "251": (9, 9), "254": (9, 9), "255": (9, 9), "256": (9, 9), "260": (9, 9), "263": (9, 9),
    "351": (9, 9), "352": (6, 9), "353": (7, 9), "354": (7, 9), "355": (8, 9), "356": (8, 8), "357": (8, 8), "358": (6, 11),
    "359": (8, 9), "370": (8, 8), "371": (8, 8), "372": (7, 8), "373": (8, 8), "374": (8, 8), "375": (9, 9), "377": (8, 9),
    "380": (9, 9), "381": (8, 9), "382": (8, 8), "385": (8, 9), "386": (8, 8), "387": (8, 9), "389": (8, 8), "420": (9, 9),
    "421": (9, 9), "423": (7, 9), "502": (8, 8), "503": (8, 8), "504": (8, 8), "505": (8, 8), "506": (8, 8), "507": (7, 8),
    "591": (8, 8), "593": (8, 9), "595": (9, 9), "598": (8, 8), "852": (8, 8), "853": (8, 8), "855": (8, 9), "856": (8, 10),
    "880": (10, 10), "886": (8, 9), "960": (7, 7), "961": (7, 8), "962": (8, 9), "963": (8, 9), "964": (10, 10),
    "965": (8, 8), "966": (8, 9), "967": (7, 9), "968": (8, 8), "970": (9, 9), "971": (8, 9), "972": (8, 9), "973": (8, 8),
    "974": (8, 8), "975": (8, 8), "976": (8, 8), "977": (8, 10), "992": (9, 9), "993": (8, 8), "994": (9, 9), "995": (9, 9),
    "996": (9, 9), "998": (9, 9),
}  # fmt: skip
_WORDS: Final = Words(
    "phone", "phones", "mobile", "mobil*", "mob.", "cell*", "call", "call me", "tel*", "fax*", "whatsapp", "ring", "text me", "sms", "dial",
    "reach me", "handy*", "rufnummer", "nummer ist", "anrufen", "móvil", "teléfono*", "téléphone*", "llám*", "portable", "appel*", "joindre",
    "chiama*", "ligue", "contact*", "bel", "numer", "電話", "电话", "手机", "전화", "тел*", "telefon*",
)  # fmt: skip
_OTHERS: Final = Words(
    "order*", "invoice*", "ticket*", "tracking", "serial*", "isbn*", "part no", "sku", "ref", "ref.", "reference", "id", "#",
    "account*", "timestamp", "version",
)  # fmt: skip
_NEAR: Final = 24


def _only_digits(text: str, start: int, end: int) -> str:
    return "".join(filter(str.isdigit, text[start:end]))


def _international(text: str, start: int, end: int) -> float:
    digits = _only_digits(text, start, end)
    if text[start : start + 2] == "00":
        digits = digits[2:]
    for length in (1, 2, 3):
        bounds = _COUNTRIES.get(digits[:length])
        if bounds is not None:
            # A trunk prefix in brackets is dialled only from within.
            rest = len(digits) - length - ("(0)" in text[start:end])
            return 1.0 if bounds[0] <= rest <= bounds[1] and len(set(digits)) > 2 else 0.0
    return 0.0


def _is_north_american(digits: str) -> bool:
    digits = digits[-10:]
    return not (digits[0] in "01" or digits[3] in "01" or digits[1:3] == "11" or len(set(digits)) <= 2)


def _north_american(text: str, start: int, end: int) -> float:
    """(415) 555-2671, 415-555-2671 and 415.555.2671 are written for nothing else."""
    if not _is_north_american(_only_digits(text, start, end)):
        return 0.0
    if _WORDS.stand_before(text, start):
        return 1.0
    return 0.0 if _OTHERS.stand_before(text, start, _NEAR) else 0.9


def _plain_north_american(text: str, start: int, end: int) -> float:
    """Ten plain digits are anything: only behind a name."""
    return 0.9 if _is_north_american(_only_digits(text, start, end)) else 0.0


def _national(text: str, start: int, end: int) -> float:
    """A trunk prefix and groups, or any form of it, behind its name."""
    digits = _only_digits(text, start, end)
    if not 8 <= len(digits) <= 12 or len(set(digits)) <= 2 or _OTHERS.stand_before(text, start, _NEAR):
        return 0.0
    return 0.9


def _shape(pattern: str, accept: Accept, needs: Words | None = None) -> Shape:
    return Shape("phone", pattern, digits, accept, needs=needs, start=Start.NUMBER)


def shapes() -> list[Shape]:
    return [
        _shape(r"(?:\+|00)[1-9](?:[ .\-/]?\(?[0-9]\)?){6,14}", _international),
        _shape(
            r"(?:\+?1[ .\-])?(?:\([0-9]{3}\) ?[0-9]{3}[ .\-]?[0-9]{4}|[0-9]{3}-[0-9]{3}-[0-9]{4}|[0-9]{3}\.[0-9]{3}\.[0-9]{4})",
            _north_american,
        ),
        _shape(r"(?:1[ .\-])?[0-9]{3}[ .\-]?[0-9]{3}[ .\-]?[0-9]{4}", _plain_north_american, _WORDS),
        _shape(r"\(?0[1-9][0-9]{0,4}\)?(?:[ .\-/]{0,2}[0-9]{2,8}){1,5}", _national, _WORDS),
        _shape(r"[1-9][0-9]{1,3}(?:[ .\-][0-9]{2,4}){2,4}", _national, _WORDS),
    ]
