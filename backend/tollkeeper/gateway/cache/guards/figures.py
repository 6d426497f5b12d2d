"""Numbers, amounts, dates and times in one form each, so that `2 hours` equals `120 Minuten` and nothing else does."""

import re
from fractions import Fraction

from tollkeeper.gateway.cache.guards.lexicon import units

_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?$")
_GROUPED_POINTS = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?$")
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?$")
_ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th", "er", "ère", "ème", "e", "re", "º", "ª", "o"})
_TIMES = {"k": 1_000, "m": None, "mio": 1_000_000, "bn": 1_000_000_000, "mrd": 1_000_000_000}
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s?([ap])?")


def value(text: str, language: str) -> Fraction | None:
    """What a number says; None where it cannot be read in one way only (then it stands as it is written)."""
    text = text.replace("−", "-").lstrip("+")
    if language == "en":
        if _GROUPED.match(text):
            text = text.replace(",", "")
    elif _GROUPED_POINTS.match(text):
        text = text.replace(".", "").replace(",", ".")
    else:
        text = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    # A number of four hundred digits would cost what it is long, squared.
    return Fraction(text) if len(text) <= 40 and _PLAIN.match(text) else None


def amount(number: Fraction, unit: str) -> str | None:
    """`#120 s`: the number in the base of its unit; None where the word is no unit."""
    known = units().get(unit)
    if known is None:
        return None
    base, factor = known
    return f"#{written(number * factor)} {base}"


def written(number: Fraction) -> str:
    return str(number)


def suffixed(number: Fraction, suffix: str) -> str | None:
    """`5km`, `3rd`, `10k`; None where the letters after the number make it a name (`5G`, `3D`)."""
    if not suffix:
        return f"#{written(number)}"
    folded = suffix.casefold()
    if folded in _ORDINAL_ENDINGS and folded not in {"e", "o"}:
        return f"#{written(number)}."
    if times := _TIMES.get(folded):
        return f"#{written(number * times)}"
    if suffix in {"M", "G"}:
        return None
    return amount(number, folded)


def date(text: str) -> str:
    """An ISO date as year, month, day; any other order stands as it is written: 03/04 is March or April."""
    parts = re.split(r"[./-]", text)
    if len(parts[0]) == 4:
        return f"@{int(parts[0])}-{int(parts[1])}-{int(parts[2])}"
    return "@" + "/".join(str(int(part)) for part in parts)


def clock(text: str) -> str:
    """Minutes and seconds of the day: `5pm`, `5:00 p.m.` and `17:00` are one."""
    match = _CLOCK.match(text.casefold())
    if match is None:
        return "@" + text
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "p" else 0)
    return f"@{hour}:{minute}:{second}"
