"""Inviting people: making, sending again and taking back invitations. How one is accepted stands in `acceptance`.

Nobody invites to a role that grants more than their own. The link carries its token in the fragment, which browsers send
to no server and no log; of the token only the digest is kept.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.secrets import digest_opaque, new_opaque_token
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import Invitation, Tenant
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.invitations import repository
from tollkeeper.domains.invitations.repository import Listed
from tollkeeper.domains.invitations.schemas import (
    InvitationCreate,
    InvitationSent,
    InvitationStatus,
    InvitationView,
)
from tollkeeper.domains.mail.service import Mailing
from tollkeeper.domains.roles.service import check_may_give, get_by_name
from tollkeeper.domains.teams import service as teams
from tollkeeper.domains.users import service as users
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

_LONGEST_TENANT_NAME: Final = 100


class InvitationNotFound(NotFound):
    """No invitation of that id in the tenant."""


class AlreadyMember(Conflict):
    """The person of this address is in the tenant."""

    code = "already_member"


class AlreadyInvited(Conflict):
    """An open invitation of this address; send that one again, or take it back."""

    code = "already_invited"


class InvitationClosed(Conflict):
    """It was accepted or taken back."""

    code = "invitation_closed"


class Invitations:
    def __init__(self, mail: Mailing, origin: str, clock: Clock) -> None:
        self._mail = mail
        self._origin = origin
        self._clock = clock

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: InvitationCreate
    ) -> InvitationSent:
        tenant = await repository.find_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        given = await get_by_name(session, tenant_id, wanted.role)
        check_may_give(caller, given)
        users.check_address(TenantSettings.read(tenant.settings), wanted.email)
        if wanted.team_id is not None:
            await teams.check_maintains(session, caller, await teams.get_in(session, tenant_id, wanted.team_id))
        await self._check_new(session, tenant_id, wanted.email)
        token = new_opaque_token()
        row = Invitation(
            tenant_id=tenant_id,
            email=wanted.email,
            role=given.role,
            role_id=given.role_id,
            team_id=wanted.team_id,
            digest=digest_opaque(token),
            invited_by=caller.user_id,
            expires_at=self._clock.now() + timedelta(days=wanted.expires_in_days),
        )
        repository.add(session, row)
        gone = NotFound("The role or the team was removed just now.")
        with refuse_on(fk_invitations_tenant_id_role_id=gone, fk_invitations_tenant_id_team_id=gone):
            await session.flush()
        listed = Listed(row, given)
        await _record(session, caller, "invitations.create", listed, None, _facts(listed))
        await events.emit(session, tenant_id, events.InvitationCreated(row.id, given.name))
        return await self._send(session, caller, tenant, listed, token)

    async def get(self, session: AsyncSession, invitation_id: UUID) -> Listed:
        return _found(await repository.find(session, invitation_id))

    async def list_page(
        self,
        session: AsyncSession,
        tenant_id: UUID,
        *,
        status: InvitationStatus | None,
        after: UUID | None,
        limit: int,
    ) -> Sequence[Listed]:
        now = self._clock.now()
        return await repository.list_page(session, tenant_id, status=status, now=now, after=after, limit=limit)

    async def resend(
        self,
        session: AsyncSession,
        caller: Caller,
        invitation_id: UUID,
        expires_in_days: int,
        if_match: frozenset[int] | None,
    ) -> InvitationSent:
        """With a new link; the one before works no longer. The caller vouches for it from now on."""
        listed = await self._for_change(session, caller, invitation_id)
        row = listed.row
        check_match(if_match, row)
        if row.accepted_at is not None or row.revoked_at is not None:
            raise InvitationClosed("The invitation was accepted or taken back; make a new one.")
        tenant = await repository.find_tenant(session, row.tenant_id)
        assert tenant is not None, "an invitation's tenant is bound by a foreign key"
        users.check_address(TenantSettings.read(tenant.settings), row.email)
        before = _facts(listed)
        token = new_opaque_token()
        row.digest, row.invited_by = digest_opaque(token), caller.user_id
        row.expires_at = self._clock.now() + timedelta(days=expires_in_days)
        await session.flush()
        await _record(session, caller, "invitations.resend", listed, *audit.changes(before, _facts(listed)))
        return await self._send(session, caller, tenant, listed, token)

    async def revoke(
        self, session: AsyncSession, caller: Caller, invitation_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        """Doing it twice changes nothing."""
        listed = await self._for_change(session, caller, invitation_id)
        check_match(if_match, listed.row)
        if listed.row.accepted_at is not None:
            raise InvitationClosed("The invitation was accepted; remove the user instead.")
        if listed.row.revoked_at is not None:
            return
        listed.row.revoked_at = self._clock.now()
        await session.flush()
        await _record(session, caller, "invitations.revoke", listed, None, None)
        await events.emit(session, listed.row.tenant_id, events.InvitationRevoked(listed.row.id))

    def view(self, listed: Listed) -> InvitationView:
        return InvitationView.model_validate(self._columns(listed))

    async def _send(
        self, session: AsyncSession, caller: Caller, tenant: Tenant, listed: Listed, token: str
    ) -> InvitationSent:
        link = f"{self._origin}/console/invitation#token={token}"
        if self._mail.is_configured:
            subject, text = _message(tenant.name, caller, listed.row, link)
            await self._mail.enqueue(session, listed.row.email, subject, text, tenant_id=tenant.id)
        shown = None if self._mail.is_configured else link
        return InvitationSent(**self._columns(listed), is_mailed=shown is None, link=shown)

    async def _check_new(self, session: AsyncSession, tenant_id: UUID, email: str) -> None:
        """The transaction sees the tenant's own accounts and its guests', so nothing is told of others."""
        known = await users.find_by_email(session, email)
        if known is not None and await users.find(session, known.id, tenant_id) is not None:
            raise AlreadyMember("The person of this address is a member already.", param="email")
        invited = await repository.find_open(session, tenant_id, email, self._clock.now())
        if invited is not None:
            invitation_id = format_id("inv", invited.id)
            raise AlreadyInvited(
                f"This address is invited already: send {invitation_id} again, or take it back.",
                param="email",
                details={"invitation_id": invitation_id},
            )

    async def _for_change(self, session: AsyncSession, caller: Caller, invitation_id: UUID) -> Listed:
        listed = _found(await repository.find_locked(session, invitation_id))
        check_may_give(caller, listed.role)
        return listed

    def _columns(self, listed: Listed) -> dict[str, Any]:
        row = listed.row
        columns = {name: getattr(row, name) for name in InvitationView.model_fields if name not in {"role", "status"}}
        return {**columns, "role": listed.role.name, "status": status_of(row, self._clock.now())}


def status_of(row: Invitation, now: datetime) -> InvitationStatus:
    if row.accepted_at is not None:
        return "accepted"
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at <= now else "open"


def _message(tenant_name: str, caller: Caller, row: Invitation, link: str) -> tuple[str, str]:
    """Subject and text. A name may hold any kind of space; a header may not."""
    name = " ".join(tenant_name.split())[:_LONGEST_TENANT_NAME]
    text = (
        f"{caller.email} invites you to {name} on Tollkeeper.\n\n"
        f"Open this link to accept:\n{link}\n\n"
        f"It works once, until {row.expires_at:%Y-%m-%d %H:%M} UTC. If you do not know why you got this, ignore it.\n"
    )
    return f"Invitation to {name}", text


async def _record(
    session: AsyncSession,
    caller: Caller,
    action: str,
    listed: Listed,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    row = listed.row
    await audit.record(
        session, caller, action, "invitation", format_id("inv", row.id), before, after, tenant_id=row.tenant_id
    )


def _found(listed: Listed | None) -> Listed:
    if listed is None:
        raise InvitationNotFound("There is no such invitation.")
    return listed


def _facts(listed: Listed) -> dict[str, Any]:
    row = listed.row
    return {
        "email": row.email,
        "role": listed.role.name,
        "team_id": None if row.team_id is None else format_id("team", row.team_id),
        "invited_by": format_id("usr", row.invited_by),
        "expires_at": row.expires_at,
    }
