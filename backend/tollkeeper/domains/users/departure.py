"""How members leave: an account is erased by the tenant that manages it, a guest is removed from a tenant.

Keys are revoked and sessions ended in the same transaction. Where an erased account was a guest it is refused at once,
because the account is disabled; `subscribers` clears those memberships afterwards, tenant by tenant.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Member
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys.service import revoke_all_of
from tollkeeper.domains.users import repository
from tollkeeper.domains.users.repository import Membership
from tollkeeper.web.caller import Caller


async def erase(session: AsyncSession, caller: Caller | audit.Actor, whom: Membership, now: datetime) -> None:
    """Forget the person; the rows stay for what names their id."""
    user = whom.user
    await _leave(session, caller, whom.member, now, "its owner was deleted")
    user.email = f"{user.id.hex}{repository.DELETED_DOMAIN}"
    user.name, user.password_hash, user.preferences, user.is_active = "Deleted user", None, {}, False
    user.email_verified_at = None
    user.session_epoch += 1
    await session.flush()
    await repository.end_sessions(session, user.id, now)
    await repository.remove_proofs(session, user)
    await audit.record(
        session, caller, "users.delete", "user", format_id("usr", user.id), None, None, tenant_id=user.tenant_id
    )
    await events.emit(session, user.tenant_id, events.UserDeleted(user.id))
    await announce(session, Topic.USER, user.id)


async def remove_guest(session: AsyncSession, caller: Caller | audit.Actor, member: Member, now: datetime) -> None:
    """The account goes on in its own tenant."""
    before = {"role": member.role}
    await _leave(session, caller, member, now, "its owner left the tenant")
    await session.flush()
    user = format_id("usr", member.user_id)
    await audit.record(session, caller, "users.remove", "user", user, before, None, tenant_id=member.tenant_id)
    await events.emit(session, member.tenant_id, events.MemberRemoved(member.user_id))
    await announce(session, Topic.USER, member.user_id)


async def _leave(
    session: AsyncSession, caller: Caller | audit.Actor, member: Member, now: datetime, reason: str
) -> None:
    await revoke_all_of(session, caller, member.tenant_id, member.user_id, reason, now)
    await repository.end_sessions(session, member.user_id, now, tenant_id=member.tenant_id)
    await repository.remove_from_tenant(session, member.tenant_id, member.user_id)
    # A role of the tenant's own may be removed later: who has left does not hold on to it.
    member.removed_at, member.role, member.role_id, member.is_active = now, Role.VIEWER.value, None, False
