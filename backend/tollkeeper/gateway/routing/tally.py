"""Calls and failures of the last while, in slots of a fixed width. Pure: the clock comes in."""

from collections import deque


class Tally:
    """`longest` seconds are kept; a slot is `width` seconds wide, so that a window is right but for that."""

    __slots__ = ("_kept", "_slots", "_width")

    def __init__(self, width: float, longest: float) -> None:
        self._width = width
        self._kept = int(longest / width) + 1
        # Of each slot with calls: its number, calls, failures. The last is the newest.
        self._slots: deque[list[int]] = deque()

    def add(self, now: float, failures: int = 0) -> None:
        slots, number = self._slots, int(now / self._width)
        if not slots or slots[-1][0] < number:
            slots.append([number, 0, 0])
            while slots[0][0] <= number - self._kept:
                slots.popleft()
        last = slots[-1]
        last[1] += 1
        last[2] += failures

    def sums(self, seconds: float, now: float) -> tuple[int, int]:
        """Calls and failures, the current slot included."""
        oldest = int(now / self._width) - max(int(seconds / self._width), 1)
        calls = failures = 0
        for number, made, failed in reversed(self._slots):
            if number <= oldest:
                break
            calls += made
            failures += failed
        return calls, failures

    def clear(self) -> None:
        self._slots.clear()
