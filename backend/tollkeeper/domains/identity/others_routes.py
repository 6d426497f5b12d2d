"""`/api/v1/users/{user_id}/…`: what an administrator does for a person who cannot help themselves."""

from typing import Annotated

from fastapi import Depends

from tollkeeper.core.ids import UserId, format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity.help_for_others import HelpForOthers
from tollkeeper.domains.identity.routes import Own
from tollkeeper.domains.identity.schemas import ResetLink
from tollkeeper.domains.users.service import Users
from tollkeeper.web.deps import CurrentCaller, MemberSession, control_router, requires, withhold_answer

router = control_router("users")


def _help(services: Own) -> HelpForOthers:
    users = Users(services.passwords, services.clock)
    return HelpForOthers(users, services.mail, services.clock, services.settings.origin)


Helping = Annotated[HelpForOthers, Depends(_help)]


@router.post("/{user_id}/password-reset", status_code=201, dependencies=[requires(Permission.USERS_UPDATE, fresh=True)])
async def make_reset_link(user_id: UserId, caller: CurrentCaller, member: MemberSession, helping: Helping) -> ResetLink:
    """A link that sets a new password, shown once: hand it to the person. It leaves the second factor alone."""
    session, tenant_id = member
    link, expires_at = await helping.make_reset_link(session, caller, user_id, tenant_id)
    withhold_answer(session, format_id("usr", user_id))
    return ResetLink(link=link, expires_at=expires_at)


@router.delete(
    "/{user_id}/second-factor", status_code=204, dependencies=[requires(Permission.USERS_UPDATE, fresh=True)]
)
async def remove_lost_factor(user_id: UserId, caller: CurrentCaller, member: MemberSession, helping: Helping) -> None:
    """Remove a second factor that was lost. Every session of the person ends."""
    session, tenant_id = member
    await helping.remove_second_factor(session, caller, user_id, tenant_id)


@router.delete("/{user_id}/sessions", status_code=204, dependencies=[requires(Permission.USERS_UPDATE)])
async def end_users_sessions(user_id: UserId, caller: CurrentCaller, member: MemberSession, helping: Helping) -> None:
    """End the person's sessions at once: all of an own account, of a guest those in this tenant."""
    session, tenant_id = member
    await helping.end_sessions(session, caller, user_id, tenant_id)
