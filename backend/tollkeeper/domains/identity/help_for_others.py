"""What an administrator does for a person who cannot help themselves: a reset link, a lost second factor, open sessions.

The tenant that manages an account does so, and for nobody who may do more than the caller; a guest's sessions in the
own tenant are all that another one ends.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import credentials, links, messages, repository
from tollkeeper.domains.identity.second_factors import NoFactor
from tollkeeper.domains.mail.service import Mailing
from tollkeeper.domains.users.service import (
    IsServiceAccount,
    Membership,
    NotHomeAccount,
    OwnAccount,
    Users,
    check_may_touch,
)
from tollkeeper.web.caller import Caller


class HelpForOthers:
    def __init__(self, users: Users, mail: Mailing, clock: Clock, origin: str) -> None:
        self._users = users
        self._mail = mail
        self._clock = clock
        self._origin = origin

    async def make_reset_link(
        self, session: AsyncSession, caller: Caller, user_id: UUID, tenant_id: UUID
    ) -> tuple[str, datetime]:
        """The link, told once, and when it ends. Links of before do not count any more."""
        whom = await self._person(session, caller, user_id, tenant_id)
        expires_at = self._clock.now() + links.GIVEN_RESET_LIFE
        token = await links.make(
            session, "password_reset", user_id, whom.user.tenant_id, expires_at, created_by=caller.user_id
        )
        await _record(session, caller, "users.password_reset", whom)
        return messages.reset_link(self._origin, token), expires_at

    async def remove_second_factor(self, session: AsyncSession, caller: Caller, user_id: UUID, tenant_id: UUID) -> None:
        whom = await self._person(session, caller, user_id, tenant_id)
        if not await credentials.delete_factor(session, user_id):
            raise NoFactor("The user has no second factor.")
        await messages.tell(session, self._mail, whom.user, messages.SECOND_FACTOR_REMOVED)
        await self._end_sessions(session, whom, "second_factor")
        await _record(session, caller, "users.second_factor_removed", whom)

    async def end_sessions(self, session: AsyncSession, caller: Caller, user_id: UUID, tenant_id: UUID) -> None:
        """Of an own account everywhere, of a guest in this tenant."""
        whom = await self._find(session, caller, user_id, tenant_id)
        check_may_touch(caller, whom)
        await self._end_sessions(session, whom, "sessions")
        await _record(session, caller, "users.sessions_ended", whom)

    async def _person(self, session: AsyncSession, caller: Caller, user_id: UUID, tenant_id: UUID) -> Membership:
        whom = await self._find(session, caller, user_id, tenant_id)
        if whom.user.kind != "person":
            raise IsServiceAccount("A service account never signs in; it has nothing to reset.")
        if user_id == caller.user_id:
            raise OwnAccount("This is your own account: use /api/v1/auth/password or /api/v1/me/second-factor.")
        check_may_touch(caller, whom)
        if whom.is_guest:
            raise NotHomeAccount("Another tenant manages this account; that one's administrator can do it.")
        return whom

    async def _find(self, session: AsyncSession, caller: Caller, user_id: UUID, tenant_id: UUID) -> Membership:
        return await self._users.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)

    async def _end_sessions(self, session: AsyncSession, whom: Membership, changed: str) -> None:
        now = self._clock.now()
        if whom.is_guest:
            await repository.end_all_of(session, whom.user_id, now, tenant_id=whom.tenant_id)
        else:
            user = await repository.lock_user(session, whom.user_id)
            assert user is not None
            # Also of sessions in tenants that this transaction does not see.
            user.session_epoch += 1
            await session.flush()
            await repository.end_all_of(session, whom.user_id, now)
        await events.emit(session, whom.tenant_id, events.UserChanged(whom.user_id, [changed]))
        await announce(session, Topic.USER, whom.user_id)


async def _record(session: AsyncSession, caller: Caller, action: str, whom: Membership) -> None:
    user = format_id("usr", whom.user_id)
    await audit.record(session, caller, action, "user", user, tenant_id=whom.tenant_id)
