"""How fast calls end while others wait for that: what a refused caller is told is computed from it."""

from collections import deque
from typing import Final

_MARK_SECONDS: Final = 0.25
_WINDOW_SECONDS: Final = 10.0
# Fewer ends are chance, not a rate.
_LEAST_ENDS: Final = 10


class DrainRate:
    """Pure: whoever asks says the time and how many calls have ended so far.

    It is measured from the moment somebody waits. Before that calls end as slowly as they come, which says nothing.
    """

    __slots__ = ("_last", "_marks")

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._last: float | None = None

    def begin(self, now: float, ended: int) -> None:
        """The first one waits."""
        self._marks.clear()
        self._marks.append((now, ended))

    def measured(self, now: float, ended: int) -> float | None:
        """Calls per second since the present wait began, or in its last seconds; None: too early to say."""
        marks = self._marks
        if not marks:
            return None
        if now - marks[-1][0] >= _MARK_SECONDS:
            marks.append((now, ended))
        while len(marks) > 1 and now - marks[1][0] >= _WINDOW_SECONDS:
            marks.popleft()
        since, count = marks[0]
        if ended - count < _LEAST_ENDS or now - since < _MARK_SECONDS:
            return None
        self._last = (ended - count) / (now - since)
        return self._last

    @property
    def last(self) -> float | None:
        """The latest that was measured, however long ago."""
        return self._last
