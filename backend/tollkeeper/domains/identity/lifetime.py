"""How long a session lasts when nobody ends it."""

from datetime import datetime, timedelta
from typing import Final

from tollkeeper.db.models import RefreshSession

# An unused session ends; a person who comes back the next morning is still signed in.
IDLE: Final = timedelta(hours=24)
# Requests that were under way when the cookie was rotated still carry the one before.
ROTATION_GRACE: Final = timedelta(seconds=10)


def is_in_force(row: RefreshSession, now: datetime) -> bool:
    """Neither ended, nor expired, nor idle for too long; whether it was replaced is the caller's to judge."""
    last_used = row.last_used_at or row.created_at
    return row.revoked_at is None and row.expires_at > now and now - last_used <= IDLE
