"""How fast a batch calls: as many at a time as it may, fewer where a limit says so, one alone near the end of a budget.

Pure: times are told. All lines of a batch name one model, so what refuses one of them refuses the others as well.
"""

import random
from enum import Enum
from typing import Final

from tollkeeper.contracts.batches import Answered

# A provider that fails is asked so often for one item before that is its answer.
MOST_TRIES: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
# Refusals that pass: a limit, a full line, a store or a counter that is away.
_PASSING_CODES: Final = frozenset(
    {"overloaded", "budget_unavailable", "dependency_unavailable", "no_target_available", "gateway_stopping"}
)
_NO_MONEY: Final = "insufficient_quota"


class Verdict(Enum):
    """What becomes of an item after a try."""

    DONE = "done"
    FAILED = "failed"
    # What refused it passes, and is no fault of its own.
    LATER = "later"
    AGAIN = "again"


class Pace:
    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._refusals = 0
        self._is_alone = False
        self.paused_until = 0.0

    def width(self, now: float) -> int:
        """How many calls may be under way."""
        if now < self.paused_until:
            return 0
        return 1 if self._is_alone else int(self._width)

    def judge(self, answered: Answered, tries: int, under_way: int, now: float) -> tuple[Verdict, float]:
        """The verdict, and for `LATER` and `AGAIN` the seconds until then. `under_way`: calls beside this one."""
        if 200 <= answered.status < 300:
            self._refusals = 0
            self._width = min(self._most, self._width + 1 / self._width)
            return Verdict.DONE, 0.0
        error = answered.error
        code = None if error is None else error.code
        if code == _NO_MONEY:
            # The others hold more than they will spend: what fits is known when none is under way.
            if self._is_alone and not under_way:
                return Verdict.FAILED, 0.0
            self._is_alone = True
            return Verdict.LATER, 0.0
        retry_after = None if error is None else error.retry_after_seconds
        if answered.status == 429 or code in _PASSING_CODES:
            seconds = self._pause(retry_after)
            self.paused_until = max(self.paused_until, now + seconds)
            return Verdict.LATER, seconds
        if answered.status >= 500 and tries < MOST_TRIES:
            return Verdict.AGAIN, max(retry_after or 0.0, _jittered(_FIRST_PAUSE * 2.0 ** (tries - 1)))
        return Verdict.FAILED, 0.0

    def _pause(self, retry_after: float | None) -> float:
        self._width = max(1.0, self._width / 2)
        self._refusals += 1
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._refusals - 1, 10))
        return min(_LONGEST_PAUSE, retry_after) if retry_after is not None else _jittered(longest)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads repeats, guards nothing
