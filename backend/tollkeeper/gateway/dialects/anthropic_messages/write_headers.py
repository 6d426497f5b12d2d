"""The headers that Anthropic's clients look for, out of those that a call has anyway."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

_KINDS: Final = ("requests", "tokens")
_UNITS: Final[Mapping[str, float]] = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def headers_of(request_id: str, shown: Mapping[str, str], unix: Callable[[], float] = time.time) -> dict[str, str]:
    """`x-ratelimit-*` as `anthropic-ratelimit-*`: a time to come is a moment there, not a duration."""
    headers = {"request-id": request_id}
    for kind in _KINDS:
        limit = shown.get(f"x-ratelimit-limit-{kind}")
        if limit is None:
            continue
        headers[f"anthropic-ratelimit-{kind}-limit"] = limit
        headers[f"anthropic-ratelimit-{kind}-remaining"] = shown.get(f"x-ratelimit-remaining-{kind}", "0")
        seconds = read_duration(shown.get(f"x-ratelimit-reset-{kind}", "0s"))
        moment = datetime.fromtimestamp(unix() + seconds, UTC)
        headers[f"anthropic-ratelimit-{kind}-reset"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers


def read_duration(text: str) -> float:
    """Seconds of a duration as we write it: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    total, number = 0.0, ""
    at = 0
    while at < len(text):
        if text[at].isdigit() or text[at] == ".":
            number += text[at]
            at += 1
            continue
        unit = "ms" if text.startswith("ms", at) else text[at]
        total += float(number or 0) * _UNITS.get(unit, 0.0)
        number = ""
        at += len(unit)
    return total
