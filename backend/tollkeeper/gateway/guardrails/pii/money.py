"""Payment cards and bank accounts: cards by their issuers' ranges and Luhn's digit, IBANs by length and check digits."""

import re
from typing import Final

from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.guardrail import Shape, Start
from tollkeeper.gateway.guardrails.pii.checksums import luhn, mod_97
from tollkeeper.gateway.tails import digits, groups, word

# The IBAN registry of SWIFT: characters in all.
_IBAN: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
_CARD_WORDS: Final = Words(
    "card*", "visa*", "mastercard", "amex", "american express", "credit*", "debit*", "cc", "pan", "karte*", "kredit*", "tarjeta*", "carte*",
    "carta*", "cartão", "pay*", "charge*", "maestro", "discover", "卡", "カード", "카드", "карт*", "kart*",
)  # fmt: skip
_OTHERS: Final = Words(
    "order*", "invoice*", "ticket*", "tracking*", "serial*", "imei", "shipment*", "parcel*", "part no", "sku", "build*", "commit*",
    "transaction*", "reference*", "ref", "ref.", "ref:", "bestell*", "sendung*", "pedido*", "commande*", "timestamp*", "id", "no.", "#",
    "isbn*", "barcode", "batch*", "ean", "gtin", "upc", "meter*", "zähler*", "colis", "suivi", "seguimiento", "hash*", "seed", "offset",
    "nonce", "counter", "ts", "epoch", "uuid", "guid", "trace*", "span*", "row", "rows", "件", "订单", "単号", "注文", "заказ*",
)  # fmt: skip
_NEAR: Final = 24
_BIC_WORDS: Final = Words("bic", "swift")
_US_WORDS: Final = Words("routing", "aba", "transit")
_GROUP_BEFORE: Final = re.compile(r"(?<![0-9])(?:[A-Za-z]{2}[0-9]{2}|[0-9]{4})[ ./\t-]$")
_GROUP_BEHIND: Final = re.compile(r"[ ./\t-][0-9]{4}(?![0-9])")
# As cards print them; the longest first.
_GROUPED: Final = ((4, 4, 4, 4, 3), (6, 13), (4, 4, 4, 4), (8, 8), (4, 6, 5), (4, 6, 4), (4, 4, 4, 1))


def _digits_of(text: str, start: int, end: int) -> str:
    return "".join(filter(str.isdigit, text[start:end]))


def _is_card(digits: str) -> bool:
    return _is_issued(digits) and luhn(digits) and len(set(digits)) > 1


def _grouped_card(text: str, start: int, end: int) -> float:
    """Nothing else is written so, but for the middle of an account and for columns of numbers."""
    if not _is_card(_digits_of(text, start, end)):
        return 0.0
    if _CARD_WORDS.stand_before(text, start):
        return 1.0
    before, behind = text[max(0, start - 6) : start], text[end : end + 6]
    return 0.0 if _GROUP_BEFORE.search(before) or _GROUP_BEHIND.match(behind) else 0.95


def _plain_card(text: str, start: int, end: int) -> float:
    if not _is_card(text[start:end]):
        return 0.0
    if _CARD_WORDS.stand_before(text, start):
        return 1.0
    # One in ten numbers of any kind passes Luhn's test.
    return 0.0 if _OTHERS.stand_before(text, start, _NEAR) else 0.8


def _odd_card(text: str, start: int, end: int) -> float:
    """Grouped as no card is: only behind its name."""
    return 0.6 if _is_card(_digits_of(text, start, end)) else 0.0


def _card_shapes() -> list[Shape]:
    grouped = [
        Shape(
            "card",
            "|".join(separator.join((first, *rest)) for separator in (" ", "-", r"\.", "/")),
            digits,
            _grouped_card,
            start=Start.NUMBER,
        )
        for first, rest in (
            (f"[2-68][0-9]{{{first - 1}}}", [f"[0-9]{{{count}}}" for count in rest]) for first, *rest in _GROUPED
        )
    ]
    return [
        *grouped,
        Shape("card", "[2-6][0-9]{12,18}|8[12][0-9]{14,17}", digits, _plain_card, start=Start.NUMBER),
        Shape("card", "[2-68](?:[ ./-]?[0-9]){12,18}", digits, _odd_card, needs=_CARD_WORDS, start=Start.NUMBER),
    ]


_LONG: Final = range(16, 20)
_RANGES: Final = (
    (4000, 4999, (13, 16, 19)), (5100, 5599, (16,)), (2221, 2720, (16,)), (3400, 3499, (15,)), (3700, 3799, (15,)),
    (3000, 3059, (14, 16, 19)), (3600, 3699, (14, 16, 19)), (3800, 3999, (14, 16, 19)), (3528, 3589, _LONG),
    (6200, 6299, _LONG), (6011, 6011, _LONG), (6440, 6599, _LONG), (5000, 5099, _LONG), (5600, 5899, _LONG),
    (6000, 6099, _LONG), (6300, 6399, _LONG), (6700, 6799, _LONG), (8100, 8299, _LONG), (2200, 2204, (16,)),
)  # fmt: skip


# By the first four digits: the lengths that are issued.
_LENGTHS: Final = {
    four: frozenset().union(*(lengths for first, last, lengths in _RANGES if first <= four <= last))
    for four in range(2200, 8300)
}


def _is_issued(digits: str) -> bool:
    """By the ranges of Visa, Mastercard, American Express, Diners, JCB, UnionPay, Discover, Maestro, RuPay, Elo and Mir."""
    return len(digits) in _LENGTHS.get(int(digits[:4]), ())


def _iban(text: str, start: int, end: int) -> float:
    compact = text[start:end].replace(" ", "").replace("-", "").upper()
    return 1.0 if _IBAN.get(compact[:2]) == len(compact) and mod_97(compact[4:] + compact[:4]) == 1 else 0.0


def _iban_shapes() -> list[Shape]:
    """One for each length: a greedy pattern would take the word behind a spaced IBAN along."""
    shapes = []
    for length in sorted(set(_IBAN.values())):
        countries = "|".join(country for country, of in _IBAN.items() if of == length)
        body = f"(?:[ -]?[A-Za-z0-9]){{{length - 4}}}"
        shapes.append(Shape("iban", rf"(?i:{countries})[0-9]{{2}}{body}", groups, _iban, start=Start.CODE))
    return shapes


def _routing(text: str, start: int, end: int) -> float:
    digits = [int(letter) for letter in text[start:end]]
    total = 3 * sum(digits[0::3]) + 7 * sum(digits[1::3]) + sum(digits[2::3])
    return 1.0 if total % 10 == 0 and total else 0.0


def _named(_text: str, _start: int, _end: int) -> float:
    return 0.9


def shapes() -> list[Shape]:
    return [
        *_card_shapes(),
        *_iban_shapes(),
        Shape("us_routing_number", r"[0-9]{9}", digits, _routing, needs=_US_WORDS, start=Start.NUMBER),
        Shape("bic", r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", word, _named, needs=_BIC_WORDS),
    ]
