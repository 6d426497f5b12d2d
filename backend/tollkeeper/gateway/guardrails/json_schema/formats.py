"""The formats of JSON Schema that are checked; all others are refused when a schema is read."""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

import re2

_DATE: Final = re2.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re2.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
_UUID: Final = re2.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EMAIL: Final = re2.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_URI: Final = re2.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_HOST: Final = re2.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*")


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _reads(date.fromisoformat, text)


def _is_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    hours, minutes, seconds = (int(part) for part in text[:8].split(":"))
    zone = text[-5:].split(":") if text[-6] in "+-" else ["0", "0"]
    # A leap second.
    is_of_day = hours < 24 and minutes < 60 and (seconds < 60 or (seconds == 60 and minutes == 59))
    return is_of_day and int(zone[0]) < 24 and int(zone[1]) < 60


def _is_date_time(text: str) -> bool:
    return text[10:11] in {"T", "t"} and _is_date(text[:10]) and _is_time(text[11:])


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _of(pattern: Any) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "date": _is_date,
        "time": _is_time,
        "date-time": _is_date_time,
        "uuid": _of(_UUID),
        "email": _of(_EMAIL),
        "uri": _of(_URI),
        "hostname": lambda text: len(text) < 254 and _HOST.fullmatch(text) is not None,
        "ipv4": lambda text: _reads(ipaddress.IPv4Address, text),
        "ipv6": lambda text: "%" not in text and _reads(ipaddress.IPv6Address, text),
    }
)
