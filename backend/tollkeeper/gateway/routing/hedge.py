"""What second attempts may come to: so many by calls, and so much by what calls cost. Pure."""

from dataclasses import dataclass
from typing import Final

from tollkeeper.contracts.routing import HedgeRule

_MILLION: Final = 1_000_000
# Hedges that may be saved up: a quiet night pays for no storm in the morning.
MOST_SAVED: Final = 10


@dataclass(slots=True)
class HedgeAccount:
    """Of one model. Each call earns a part of a hedge, and of what one may cost; a hedge takes both.

    Costs are expected ones when a call begins, and are put right when it is over: over all, hedges cost no more than
    their share of what all calls cost, but for those still under way.
    """

    # In millionths of a hedge; in millionths of a nano-dollar.
    _calls: int = 0
    _spend: int = 0
    hedges: int = 0

    def called(self, rule: HedgeRule, expected_nano: int) -> None:
        self._calls = min(self._calls + rule.share_millionths, MOST_SAVED * _MILLION)
        self._spend += rule.spend_millionths * expected_nano

    def take(self, expected_nano: int) -> bool:
        """Whether there may be one now, which costs so much as far as is known (0: it has no price)."""
        if self._calls < _MILLION or self._spend < expected_nano * _MILLION:
            return False
        self._calls -= _MILLION
        self._spend -= expected_nano * _MILLION
        self.hedges += 1
        return True

    def give_back(self, expected_nano: int) -> None:
        """It was not made after all."""
        self._calls += _MILLION
        self._spend += expected_nano * _MILLION
        self.hedges -= 1

    def correct(self, rule: HedgeRule, call_nano: int, hedge_nano: int) -> None:
        """By how much the call, and its hedge in it, came to more than was expected."""
        self._spend += rule.spend_millionths * call_nano - hedge_nano * _MILLION
