"""One place's breaker: a state machine that counts failures and says who may call. Pure: clock and chance come in.

Closed lets everybody through. It opens after failures in a row, or when too large a share of the calls of its window
failed. Once the open time is over it is half-open: one trial at a time, and the floor's share of the calls beside it.
Enough trials in a row close it; one that fails opens it for twice as long. What began before it last changed its state
no longer counts. Callers whose own patience ended are a weak sign: many in a row without one answer open it as well, but
keep nobody out who has nowhere else to go.
"""

from enum import IntEnum, StrEnum
from typing import Final

from tollkeeper.contracts.routing import BreakerRule
from tollkeeper.gateway.routing.tally import Tally

# At once, in half-open, however many calls the floor would let through.
MOST_TRIALS: Final = 10
# Open times are shortened by up to this share, so that the workers of a fleet do not come back together.
JITTER: Final = 0.25
# The longest window a rule may have, in seconds.
LONGEST_WINDOW: Final = 60.0
# Callers in a row that waited in vain weigh as much as one failure each of half as many.
_WEAK: Final = 2
_WEAK_SECONDS: Final = 60.0
_MOST_LEVELS: Final = 16
_MILLION: Final = 1_000_000


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Pass(IntEnum):
    """How a call was let through; what its end means depends on it."""

    REFUSED = 0
    CALL = 1
    TRIAL = 2
    # Of a target that nothing can stand in for: it is called though the breaker is open, until it seems dead.
    RESORT = 3


class Breaker:
    __slots__ = (
        "_closed_at",
        "_level",
        "_successes",
        "_suspect_until",
        "_tally",
        "_trial_at",
        "_trials",
        "generation",
        "in_a_row",
        "is_hearsay",
        "silences",
        "silent_at",
        "since",
        "state",
        "until",
        "why",
    )

    def __init__(self, now: float) -> None:
        self.state = State.CLOSED
        self.since = now
        # When the open time ends; 0 unless open.
        self.until = 0.0
        self.why: str | None = None
        # It opened because others had trouble: no news for them.
        self.is_hearsay = False
        # Counts changes of state: what began in an earlier one is not counted in this one.
        self.generation = 0
        self.in_a_row = 0
        # Callers that waited in vain since it last said anything, and when the last of them gave up.
        self.silences = 0
        self.silent_at = now
        self._tally = Tally(1.0, LONGEST_WINDOW)
        self._level = 0
        self._closed_at: float | None = None
        self._trials = 0
        self._trial_at = 0.0
        self._successes = 0
        self._suspect_until = 0.0

    def admit(self, rule: BreakerRule, now: float, chance: float, *, last_resort: bool = False) -> Pass:
        """`chance` in [0, 1) decides about the floor's share."""
        if self.state is State.CLOSED:
            return Pass.CALL
        if self.state is State.OPEN and now >= self.until:
            self._become(State.HALF_OPEN, now)
        if self.state is State.HALF_OPEN and self._has_room(rule, now, chance):
            self._trials += 1
            self._trial_at = now
            return Pass.TRIAL
        if last_resort and self.in_a_row < 2 * rule.failures:
            return Pass.RESORT
        return Pass.REFUSED

    def succeeded(self, rule: BreakerRule, how: Pass, generation: int, now: float) -> None:
        if how is Pass.RESORT:
            self.in_a_row = 0
        if generation != self.generation:
            return
        if how is Pass.TRIAL:
            self._trials -= 1
            self._successes += 1
            if self._successes >= rule.successes:
                self._close(now)
        elif how is Pass.CALL:
            self.in_a_row = self.silences = 0
            self._tally.add(now)

    def failed(self, rule: BreakerRule, how: Pass, generation: int, now: float, chance: float) -> None:
        """`chance` in [0, 1) spreads the end of the open time."""
        if how is Pass.RESORT:
            self.in_a_row += 1
        if generation != self.generation:
            return
        if how is Pass.TRIAL:
            self.in_a_row += 1
            self._level = min(self._level + 1, _MOST_LEVELS)
            self._open(rule, now, chance, self.why or "a trial failed")
        elif how is Pass.CALL:
            self.in_a_row += 1
            self._tally.add(now, 1)
            why = self._reason(rule, now)
            self.is_hearsay = why is None and now < self._suspect_until
            if self.is_hearsay:
                why = "a failure here, and trouble of other workers"
            if why is not None:
                self._open_again(rule, now, chance, why)

    def silent(self, rule: BreakerRule, how: Pass, generation: int, now: float, chance: float) -> None:
        """A caller's own patience ended, long after there should have been an answer.

        Not a failure: `in_a_row` stays as it is, so that whoever has no other target is let through all the same.
        """
        if generation != self.generation:
            return
        if how is Pass.TRIAL:
            self._level = min(self._level + 1, _MOST_LEVELS)
            self._open(rule, now, chance, self.why or "a trial was never answered")
        elif how is Pass.CALL:
            if now - self.silent_at > _WEAK_SECONDS:
                self.silences = 0
            self.silences += 1
            self.silent_at = now
            if self.silences >= _WEAK * rule.failures:
                self.is_hearsay = False
                self._open_again(rule, now, chance, f"{self.silences} callers in a row waited in vain")

    def left(self, how: Pass, generation: int) -> None:
        """Ended without a word on the target: a trial makes room for another."""
        if how is Pass.TRIAL and generation == self.generation:
            self._trials -= 1

    def suspect(self, until: float) -> None:
        """Others had trouble there: up to then the first failure of a call opens it."""
        self._suspect_until = max(self._suspect_until, until)

    def take_over(self, until: float, now: float) -> bool:
        """Open as another worker's is, where none of our own calls has said anything yet; nobody is told of it."""
        if self.generation or self.in_a_row or self.window(LONGEST_WINDOW, now) != (0, 0):
            return False
        self.why = "trouble of other workers"
        self.is_hearsay = True
        self._become(State.OPEN, now)
        self.until = until
        return True

    def hearten(self, now: float) -> None:
        """Somebody else was answered there: a trial may find out now."""
        if self.state is State.OPEN:
            self.until = min(self.until, now)

    def is_suspect(self, now: float) -> bool:
        return self.state is State.CLOSED and now < self._suspect_until

    def reset(self, now: float) -> None:
        self._level = 0
        self._suspect_until = 0.0
        self._close(now)
        self._closed_at = None

    def window(self, seconds: float, now: float) -> tuple[int, int]:
        """Calls and failures of the last seconds, the current one included."""
        return self._tally.sums(seconds, now)

    def retry_at(self, now: float) -> float:
        """When a call may be let through again; half-open, the end of the trials that run is not known."""
        if self.state is State.CLOSED:
            return 0.0
        return self.until if self.state is State.OPEN and now < self.until else now + 1.0

    def _has_room(self, rule: BreakerRule, now: float, chance: float) -> bool:
        if self._trials <= 0 or now - self._trial_at >= rule.most_open_seconds:
            # A trial whose end nobody tells does not hold the place forever.
            return True
        return self._trials < MOST_TRIALS and chance * _MILLION < rule.floor_millionths

    def _reason(self, rule: BreakerRule, now: float) -> str | None:
        if self.in_a_row >= rule.failures:
            return f"{self.in_a_row} failures in a row"
        calls, failures = self.window(rule.window_seconds, now)
        if calls >= rule.least_calls and failures * _MILLION > calls * rule.most_errors_millionths:
            return f"{failures} of {calls} calls failed"
        return None

    def _open_again(self, rule: BreakerRule, now: float, chance: float, why: str) -> None:
        is_again = self._closed_at is not None and now - self._closed_at <= rule.most_open_seconds
        self._level = min(self._level + 1, _MOST_LEVELS) if is_again else 0
        self._open(rule, now, chance, why)

    def _open(self, rule: BreakerRule, now: float, chance: float, why: str) -> None:
        seconds = min(rule.open_seconds * 2**self._level, rule.most_open_seconds)
        self.why = why
        self._become(State.OPEN, now)
        self.until = now + seconds * (1 - JITTER * chance)

    def _close(self, now: float) -> None:
        self.why = None
        self.in_a_row = self.silences = 0
        self._tally.clear()
        self._closed_at = now
        self._become(State.CLOSED, now)

    def _become(self, state: State, now: float) -> None:
        self.state = state
        self.since = now
        self.until = 0.0
        self.generation += 1
        self._trials = self._successes = 0
