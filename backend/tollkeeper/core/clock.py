"""Time as a collaborator: code that waits or expires takes a `Clock`, so that tests advance it instead of sleeping."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def unix(self) -> float:
        """The wall clock in seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; for deadlines and durations."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    # The functions themselves: a call looks at the clock some fifteen times, and a method around it would triple that.
    unix = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
