"""Accepting an invitation: a new account for who has none, a guest's membership for who signed in as the invited address.

The inviter's authority is looked at again, because it may be gone since. A token that does not work, for whatever reason,
has one answer. Who accepts is nobody yet, so this works across tenants in transactions of its own.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Forbidden, MalformedPayload, NotFound, Unauthenticated
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.passwords import Passwords, refuse_weak
from tollkeeper.core.permissions import Permission
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import Invitation, Tenant, User
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.invitations import repository
from tollkeeper.domains.invitations.repository import Listed
from tollkeeper.domains.invitations.schemas import InvitationAccept, InvitationAccepted
from tollkeeper.domains.invitations.service import AlreadyMember, status_of
from tollkeeper.domains.users import service as users
from tollkeeper.domains.users.service import Membership, Users
from tollkeeper.web.caller import Caller

_HOW: Final = "Sign in as the invited address, then accept again."


class InvitationInvalid(NotFound):
    """Unknown, used, taken back, expired, or of an inviter who may not invite any more; nobody is told which."""

    code = "invitation_invalid"


class PasswordRequired(MalformedPayload):
    """There is no account of this address yet."""

    code = "password_required"


class SignInRequired(Unauthenticated):
    """There is an account of this address, and nobody is signed in."""

    code = "sign_in_required"


class OtherAccount(Forbidden):
    """Somebody else is signed in."""

    code = "other_account"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who accepts, as far as is known: `caller` when they are signed in."""

    caller: Caller | None
    address: str | None
    request_id: UUID


class Acceptance:
    def __init__(self, database: Database, passwords: Passwords, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock
        self._users = Users(passwords, clock)

    async def accept(self, wanted: InvitationAccept, visitor: Visitor) -> InvitationAccepted:
        digest = digest_opaque(wanted.token.get_secret_value())
        password_hash = await self._prepare(digest, wanted, visitor)
        async with self._database.platform() as session:
            listed = await repository.find_by_digest_locked(session, digest)
            tenant = await self._check(session, None if listed is None else listed.row)
            assert listed is not None, "checked"
            await self._check_inviter(session, listed)
            account = await users.find_by_email(session, listed.row.email)
            if account is None:
                whom = await self._make_account(session, listed, wanted, password_hash, visitor)
            else:
                whom = await self._join(session, listed, account, visitor)
            if listed.row.team_id is not None:
                await repository.join_team(session, tenant.id, listed.row.team_id, whom.user_id)
            await self._close(session, listed, whom, visitor)
            return InvitationAccepted(
                user_id=whom.user_id,
                tenant_id=tenant.id,
                tenant_name=tenant.name,
                email=whom.user.email,
                role=listed.role.name,
                is_new=account is None,
            )

    async def _prepare(self, digest: bytes, wanted: InvitationAccept, visitor: Visitor) -> str | None:
        """Refuse what is refused anyway, and compute the hash while nothing is locked."""
        async with self._database.platform() as session:
            row = await repository.find_by_digest(session, digest)
            tenant = await self._check(session, row)
            assert row is not None, "checked"
            account = await users.find_by_email(session, row.email)
        if account is not None:
            _check_is(account, visitor)
            return None
        if wanted.password is None:
            raise PasswordRequired("Choose a password for your new account.", param="password")
        password = wanted.password.get_secret_value()
        refuse_weak(password, row.email, wanted.name or "", tenant.name)
        return await self._passwords.hash(password)

    async def _check(self, session: AsyncSession, row: Invitation | None) -> Tenant:
        tenant = None if row is None else await repository.find_tenant(session, row.tenant_id)
        if row is None or tenant is None or not tenant.is_active or status_of(row, self._clock.now()) != "open":
            raise _invalid()
        users.check_address(TenantSettings.read(tenant.settings), row.email)
        return tenant

    async def _check_inviter(self, session: AsyncSession, listed: Listed) -> None:
        held = await users.authority_of(session, listed.row.invited_by, listed.row.tenant_id)
        if not listed.role.permissions | {Permission.USERS_CREATE} <= held:
            raise _invalid()

    async def _make_account(
        self,
        session: AsyncSession,
        listed: Listed,
        wanted: InvitationAccept,
        password_hash: str | None,
        visitor: Visitor,
    ) -> Membership:
        if password_hash is None:
            # The account there was a moment ago is gone.
            raise _invalid()
        row = User(
            id=uuid7(),
            tenant_id=listed.row.tenant_id,
            email=listed.row.email,
            name=wanted.name or listed.row.email,
            password_hash=password_hash,
            password_changed_at=self._clock.now(),
        )
        return await users.add(session, _actor(row.id, row.email, visitor), row, listed.role)

    async def _join(self, session: AsyncSession, listed: Listed, account: User, visitor: Visitor) -> Membership:
        _check_is(account, visitor)
        if await users.find(session, account.id, listed.row.tenant_id) is not None:
            raise AlreadyMember("You are a member already.")
        actor = _actor(account.id, account.email, visitor)
        return await self._users.join_as_guest(session, actor, account, listed.row.tenant_id, listed.role)

    async def _close(self, session: AsyncSession, listed: Listed, whom: Membership, visitor: Visitor) -> None:
        row, user = listed.row, format_id("usr", whom.user_id)
        row.accepted_at, row.accepted_by = self._clock.now(), whom.user_id
        await session.flush()
        actor, invitation = _actor(whom.user_id, whom.user.email, visitor), format_id("inv", row.id)
        await audit.record(
            session,
            actor,
            "invitations.accept",
            "invitation",
            invitation,
            None,
            {"user_id": user},
            tenant_id=row.tenant_id,
        )
        await events.emit(session, row.tenant_id, events.InvitationAccepted(row.id, whom.user_id))


def _check_is(account: User, visitor: Visitor) -> None:
    """Raises InvitationInvalid, SignInRequired, OtherAccount. A key is not its owner's hand."""
    if account.kind != "person":
        raise _invalid()
    caller = visitor.caller
    if caller is None or caller.session_id is None:
        raise SignInRequired(f"There is an account of this address. {_HOW}")
    if caller.user_id != account.id:
        raise OtherAccount(f"The invitation is for another account. {_HOW}")


def _actor(user_id: UUID, email: str, visitor: Visitor) -> audit.Actor:
    return audit.Actor("user", format_id("usr", user_id), email, visitor.request_id, visitor.address)


def _invalid() -> InvitationInvalid:
    return InvitationInvalid("This invitation does not work, or does not any more. Ask for a new one.")
