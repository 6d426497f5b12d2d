"""What the gateway writes to people about their account. Plain text; a link carries its token behind `#`, which no
server and no log gets to see.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import User
from tollkeeper.domains.mail.service import Mailing

_IF_NOT_YOU: Final = "If it was not you, reset your password and tell your administrator."


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened to the account; nothing to click."""

    subject: str
    text: str


PASSWORD_CHANGED: Final = Notice(
    "Your password was changed", f"The password of your Tollkeeper account was changed.\n\n{_IF_NOT_YOU}\n"
)
SECOND_FACTOR_ENABLED: Final = Notice(
    "A second factor was set up", f"Signing in to your Tollkeeper account now asks for a code.\n\n{_IF_NOT_YOU}\n"
)
SECOND_FACTOR_REMOVED: Final = Notice(
    "The second factor was removed",
    f"Signing in to your Tollkeeper account asks for no code any more.\n\n{_IF_NOT_YOU}\n",
)
RECOVERY_CODES_RENEWED: Final = Notice(
    "New recovery codes", f"New recovery codes were made; those before count no more.\n\n{_IF_NOT_YOU}\n"
)
RECOVERY_CODE_USED: Final = Notice(
    "A recovery code was used",
    f"Somebody signed in to your Tollkeeper account with a recovery code.\n\n{_IF_NOT_YOU}\n",
)
ALREADY_REGISTERED: Final = Notice(
    "You have an account already",
    "Somebody asked for a Tollkeeper account with your address. You have one already, so nothing was changed.\n\n"
    "If it was you: sign in, or reset your password.\n",
)
SIGNS_IN_ELSEWHERE: Final = Notice(
    "Your account has no password",
    "You asked for a new Tollkeeper password. Your account has none: sign in through your organisation, or ask your "
    "administrator.\n",
)


def reset_link(origin: str, token: str) -> str:
    return f"{origin}/console/reset-password#token={token}"


def verification_link(origin: str, token: str) -> str:
    return f"{origin}/console/verify-email#token={token}"


def reset(origin: str, token: str) -> Notice:
    return Notice(
        "Reset your password",
        f"To choose a new password for your Tollkeeper account, open this link within an hour:\n\n"
        f"{reset_link(origin, token)}\n\nIf you did not ask for it, do nothing: your password stays.\n",
    )


def verification(origin: str, token: str) -> Notice:
    return Notice(
        "Confirm your address",
        f"To open your Tollkeeper account, confirm this address within a week:\n\n"
        f"{verification_link(origin, token)}\n\nIf you did not ask for an account, do nothing.\n",
    )


async def tell(session: AsyncSession, mail: Mailing, user: User, notice: Notice) -> None:
    await tell_of(session, mail, user.email, user.tenant_id, notice)


async def tell_of(session: AsyncSession, mail: Mailing, email: str, tenant_id: UUID, notice: Notice) -> None:
    """With the change, or not at all; nothing is said where no mail is configured."""
    if mail.is_configured:
        await mail.enqueue(session, email, notice.subject, notice.text, tenant_id=tenant_id)
