"""Keeps a database that is away from costing every call its deadline: after a few failures in a row one look-up at a
time tries again, the others are refused at once. Pure: the time is passed in.
"""

from typing import Final

FAILURES: Final = 3
PAUSE_SECONDS: Final = 0.25


class Breaker:
    def __init__(self) -> None:
        self._failures = 0
        self._retry_at = 0.0

    def admits(self, now: float) -> bool:
        """Whether to try. Past the pause the first who asks is let through, and the pause begins anew for the rest."""
        if self._failures < FAILURES:
            return True
        if now < self._retry_at:
            return False
        self._retry_at = now + PAUSE_SECONDS
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now: float) -> None:
        self._failures += 1
        self._retry_at = now + PAUSE_SECONDS
