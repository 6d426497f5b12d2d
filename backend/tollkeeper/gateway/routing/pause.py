"""How long a place or a credential is left alone after it was told so: a vendor's `Retry-After`, or a refused secret.

Pure: the clock comes in.
"""

from typing import Final

# A 429 without a word on when to come back; doubled with each that follows.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
# `Retry-After` is believed up to this many seconds.
MOST_BELIEVED: Final = 120.0
FIRST_QUARANTINE: Final = 5.0
LONGEST_QUARANTINE: Final = 300.0
# After its quarantine one call finds out; others wait for its end, but no longer than this.
TRIAL_SECONDS: Final = 10.0
_MOST_LEVELS: Final = 16


class Pause:
    """Of a place whose calls come too fast. Over, everybody may call again."""

    __slots__ = ("_level", "_since", "is_asked", "until")

    def __init__(self) -> None:
        self.until = 0.0
        # The vendor said for how long; else it is a guess of ours.
        self.is_asked = False
        self._level = 0
        self._since = 0.0

    def asked(self, now: float, began: float, retry_after_seconds: float | None) -> None:
        """`began`: when the call was sent that was refused. Those sent before the pause say nothing new."""
        if began >= self._since:
            self._level = min(self._level + 1, _MOST_LEVELS)
            self._since = now
        if retry_after_seconds is None:
            seconds = min(FIRST_PAUSE * 2.0 ** (self._level - 1), LONGEST_PAUSE)
        else:
            seconds = min(max(retry_after_seconds, 0.0), MOST_BELIEVED)
        if now + seconds > self.until:
            self.until = now + seconds
            self.is_asked = retry_after_seconds is not None

    def answered(self, began: float) -> None:
        """A call was served that was sent after the pause began."""
        if began >= self._since:
            self._level = 0

    def reset(self) -> None:
        self.until, self._level, self._since = 0.0, 0, 0.0


class Quarantine:
    """Of a refused credential: doubled with each refusal; after it one call finds out whether it is good again."""

    __slots__ = ("_level", "_since", "_trial_at", "code", "until")

    def __init__(self) -> None:
        self.until = 0.0
        # The code of the error it was last refused with.
        self.code: str | None = None
        self._level = 0
        self._since = 0.0
        self._trial_at = -1.0

    @property
    def is_on(self) -> bool:
        """From the first refusal to the first answer."""
        return self._level > 0

    def admit(self, now: float) -> bool:
        if self._level == 0:
            return True
        if now < self.until:
            return False
        self._trial_at = now
        self.until = now + TRIAL_SECONDS
        return True

    def refused(self, now: float, began: float, code: str | None = None) -> None:
        if began < self._since:
            return
        self.code = code
        self._level = min(self._level + 1, _MOST_LEVELS)
        self._since = now
        self._trial_at = -1.0
        self.until = now + min(FIRST_QUARANTINE * 2.0 ** (self._level - 1), LONGEST_QUARANTINE)

    def answered(self, began: float) -> None:
        if began >= self._since:
            self.reset()

    def left(self, began: float, now: float) -> None:
        """The call that was to find out ended without a word on it."""
        if began == self._trial_at:
            self.until = now

    def hearten(self, now: float) -> None:
        """Somebody else was let in with it: the next call may find out."""
        if self._trial_at < 0.0:
            self.until = min(self.until, now)

    def reset(self) -> None:
        self.until, self._level, self._since, self._trial_at, self.code = 0.0, 0, 0.0, -1.0, None
