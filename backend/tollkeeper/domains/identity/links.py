"""Links that prove an account once: their making, and the one answer to every link that proves nothing."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import NotFound
from tollkeeper.core.secrets import digest_opaque, new_opaque_token
from tollkeeper.db.models import OneTimeLink
from tollkeeper.domains.identity import credentials

Purpose = Literal["password_reset", "email_verification"]

MAILED_RESET_LIFE: Final = timedelta(hours=1)
# Handed over by an administrator, who may not meet the person at once.
GIVEN_RESET_LIFE: Final = timedelta(hours=24)
VERIFICATION_LIFE: Final = timedelta(days=7)


class LinkInvalid(NotFound):
    """Unknown, expired, used, or replaced by a newer one: nobody is told which."""

    code = "link_invalid"


async def make(
    session: AsyncSession,
    purpose: Purpose,
    user_id: UUID,
    tenant_id: UUID,
    expires_at: datetime,
    *,
    created_by: UUID | None = None,
) -> str:
    """The token; links of before that were not used go. `tenant_id` manages the account."""
    await credentials.delete_links(session, user_id, purpose)
    token = new_opaque_token()
    credentials.add(
        session,
        OneTimeLink(
            tenant_id=tenant_id,
            user_id=user_id,
            purpose=purpose,
            digest=digest_opaque(token),
            created_by=created_by,
            expires_at=expires_at,
        ),
    )
    await session.flush()
    return token


async def get(session: AsyncSession, purpose: Purpose, token: str, now: datetime) -> OneTimeLink:
    """Raises LinkInvalid."""
    link = await credentials.find_link(session, digest_opaque(token), purpose, now)
    if link is None:
        raise invalid()
    return link


def invalid() -> LinkInvalid:
    return LinkInvalid("The link does not count, or not any more. Ask for a new one.")
