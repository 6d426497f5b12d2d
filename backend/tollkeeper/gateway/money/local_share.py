"""Rates and parallel calls of one worker while Redis is away: its share of each limit, limit / live workers."""

from collections.abc import Callable
from typing import Final

from tollkeeper.core.clock import Clock
from tollkeeper.gateway.money import gcra
from tollkeeper.gateway.money.gcra import Rate
from tollkeeper.gateway.money.hold import Part
from tollkeeper.gateway.money.refusals import too_fast, write_headers
from tollkeeper.gateway.money.terms import SHADOW, Place, PlaceKind

MAX_REMEMBERED: Final = 20_000
_BUSY_US: Final = 1_000_000


class LocalShare:
    def __init__(self, clock: Clock, live_workers: Callable[[], int]) -> None:
        self._clock = clock
        self._live_workers = live_workers
        self._tats: dict[bytes, int] = {}
        # How many calls of a place were admitted here and are open.
        self._open: dict[bytes, int] = {}

    def admit(self, part: Part) -> dict[str, str]:
        """The headers. Raises `RateLimited`, and takes nothing then."""
        now_us = int(self._clock.monotonic() * 1_000_000)
        workers = self._live_workers()
        rates = [(place, _rate(place).share(workers), units) for place, units in part.pairs if _is_rate(place)]
        tats = [gcra.load(self._tats.get(place.key, 0), rate, now_us) for place, rate, _ in rates]
        refused, longest = None, 0
        for (place, rate, units), tat in zip(rates, tats, strict=True):
            wait_us = gcra.wait(tat, rate, units, now_us)
            if wait_us > longest and place.kind < SHADOW:
                refused, longest = place, wait_us
        for place in part.terms.slots:
            if place.kind < SHADOW and self._open.get(place.key, 0) >= max(1, place.one // workers) and not refused:
                refused, longest = place, _BUSY_US
        if refused is not None:
            raise too_fast(refused, longest, _headers(rates, tats, now_us))
        if len(self._tats) >= MAX_REMEMBERED:
            self._tats = {key: tat for key, tat in self._tats.items() if tat > now_us}
        for index, (place, rate, units) in enumerate(rates):
            tats[index] = self._tats[place.key] = tats[index] + gcra.cost(rate, units)
        for place in part.terms.slots:
            self._open[place.key] = self._open.get(place.key, 0) + 1
        return _headers(rates, tats, now_us)

    def give_back(self, part: Part) -> None:
        """The call was not made after all."""
        now_us = int(self._clock.monotonic() * 1_000_000)
        workers = self._live_workers()
        for place, units in part.pairs:
            if _is_rate(place) and place.key in self._tats:
                rate = _rate(place).share(workers)
                self._tats[place.key] = gcra.give_back(self._tats[place.key], rate, units, now_us)
        self.ended(part)

    def ended(self, part: Part) -> None:
        """A call that was admitted here is over."""
        for place in part.terms.slots:
            left = self._open.pop(place.key, 0) - 1
            if left > 0:
                self._open[place.key] = left


def _is_rate(place: Place) -> bool:
    return place.kind % SHADOW in {PlaceKind.REQUESTS, PlaceKind.TOKENS}


def _rate(place: Place) -> Rate:
    return Rate(place.one, place.two, place.three, is_whole=place.kind % SHADOW == PlaceKind.REQUESTS)


def _headers(rates: list[tuple[Place, Rate, int]], tats: list[int], now_us: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    for kind, what in ((PlaceKind.REQUESTS, "requests"), (PlaceKind.TOKENS, "tokens")):
        shown = [
            (gcra.remaining(tat, rate, now_us), place, tat)
            for (place, rate, _), tat in zip(rates, tats, strict=True)
            if place.kind == kind
        ]
        if shown:
            left, place, tat = min(shown, key=lambda entry: entry[0] / max(1, entry[1].three))
            write_headers(headers, what, place, left, tat - now_us)
    return headers
