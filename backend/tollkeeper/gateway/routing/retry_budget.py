"""How many repeats a provider's live traffic pays for, so that a storm of failures cannot feed itself (RULING 25).

A bucket of tokens: every first send earns a part of one, every repeat takes a whole one. With little traffic a few
repeats a while are free. Pure: the clock comes in.
"""

from typing import Final

_MILLION: Final = 1_000_000
# What a bucket holds at most, in repeats: idle hours do not save up for a storm.
MOST_SAVED: Final = 10
# What a quiet provider may repeat all the same: so many, and one more with each while.
FREE_REPEATS: Final = 3
FREE_EVERY_SECONDS: Final = 10.0


class RetryBudget:
    """Of one provider. Over any time: repeats ≤ share x sends + `FREE_REPEATS` + seconds / `FREE_EVERY_SECONDS`."""

    __slots__ = ("_free", "_free_at", "_saved", "refused", "repeats", "sends")

    def __init__(self, now: float) -> None:
        # In millionths of a repeat.
        self._saved = 0
        self._free = float(FREE_REPEATS)
        self._free_at = now
        self.sends = self.repeats = self.refused = 0

    def sent(self, budget_millionths: int) -> None:
        """A call went to the provider for the first time."""
        self.sends += 1
        saved = self._saved + budget_millionths
        self._saved = min(saved, MOST_SAVED * _MILLION)

    def may_repeat(self, now: float) -> bool:
        """Takes what the repeat costs; False, and nothing taken, when there is nothing to pay with."""
        if self._saved >= _MILLION:
            self._saved -= _MILLION
            self.repeats += 1
            return True
        self._refill(now)
        if self._free >= 1.0:
            self._free -= 1.0
            self.repeats += 1
            return True
        self.refused += 1
        return False

    def left(self, now: float) -> float:
        """How many repeats there are now."""
        self._refill(now)
        return self._saved / _MILLION + self._free

    def _refill(self, now: float) -> None:
        earned = max(0.0, now - self._free_at) / FREE_EVERY_SECONDS
        self._free = min(self._free + earned, float(FREE_REPEATS))
        self._free_at = max(self._free_at, now)
