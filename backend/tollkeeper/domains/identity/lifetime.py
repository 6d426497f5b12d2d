"""How long a session lasts when nobody ends it."""

from datetime import datetime, timedelta
from typing import Final

from tollkeeper.db.models import RefreshSession

# Of `session_idle_minutes`: an unused session ends; a person who comes back the next morning is still signed in.
IDLE: Final = timedelta(hours=24)
# Requests that were under way when the cookie was rotated still carry the one before.
ROTATION_GRACE: Final = timedelta(seconds=10)
# A use is not written to the database each time; this is how exact the last one is.
TOUCH_EVERY: Final = timedelta(minutes=1)


def is_in_force(row: RefreshSession, now: datetime, idle: timedelta) -> bool:
    """Neither ended, nor expired, nor idle for too long; whether it was replaced is the caller's to judge."""
    return row.revoked_at is None and row.expires_at > now and now - last_use(row) <= idle


def last_use(row: RefreshSession) -> datetime:
    return row.last_used_at or row.created_at
