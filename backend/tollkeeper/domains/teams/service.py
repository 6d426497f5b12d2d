"""Making, narrowing, archiving and removing teams, and who is in them.

Who holds `teams:update` manages every team. Others manage the name and the people of the teams they maintain; limits are
not theirs to set. A team that is archived refuses every key below it, on every worker within a second.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import Conflict, Forbidden, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Project, Team
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.teams import repository
from tollkeeper.domains.teams.repository import Filter, ListedMember
from tollkeeper.domains.teams.schemas import TeamCreate, TeamMemberView, TeamRole, TeamUpdate, TeamView
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on
from tollkeeper.web.tree import change_flags, shown_flags

__all__ = ["Filter", "ListedMember"]

_MAINTAINERS_FIELDS: Final = frozenset({"name", "description"})


class TeamNotFound(NotFound):
    """No team of that id in the tenant."""


class NameTaken(Conflict):
    """Names are unique in a tenant, whatever their case."""

    code = "name_taken"


class TeamInUse(Conflict):
    """Projects or keys are still in it."""

    code = "team_in_use"


class NotMaintainer(Forbidden):
    """The caller manages neither every team nor this one."""

    code = "not_maintainer"


class LimitsAreNotYours(Forbidden):
    """A maintainer asked for more than a maintainer may."""

    code = "beyond_authority"


async def create(session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: TeamCreate) -> Team:
    values = wanted.changes()
    row = Team(tenant_id=tenant_id, **{**values, "flags": change_flags({}, values.get("flags") or {})})
    repository.add(session, row)
    with refuse_on(uq_teams_tenant_id_name=_taken(), fk_teams_tenant_id=NotFound("There is no such tenant.")):
        await session.flush()
    await audit.record(session, caller, "teams.create", "team", _id(row), None, facts(row), tenant_id=tenant_id)
    await events.emit(session, tenant_id, events.TeamCreated(row.id, row.name))
    return row


async def get(session: AsyncSession, team_id: UUID) -> Team:
    return _found(await repository.find(session, team_id))


async def get_in(session: AsyncSession, tenant_id: UUID, team_id: UUID) -> Team:
    """A team that an object of the tenant is to be put into; another tenant's is not found."""
    return _found(await repository.find_in(session, tenant_id, team_id))


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[Team]:
    return await repository.list_page(session, tenant_id, wanted, after=after, limit=limit)


async def update(
    session: AsyncSession, caller: Caller, team_id: UUID, changed: TeamUpdate, if_match: frozenset[int] | None
) -> Team:
    row = _found(await repository.find_locked(session, team_id))
    await check_maintains(session, caller, row)
    check_match(if_match, row)
    before = facts(row)
    apply(row, changed.changes())
    old, new = audit.changes(before, facts(row))
    if not new:
        return row
    if not new.keys() <= _MAINTAINERS_FIELDS and not caller.may(Permission.TEAMS_UPDATE):
        names = ", ".join(sorted(new.keys() - _MAINTAINERS_FIELDS))
        raise LimitsAreNotYours(f"A maintainer changes a team's name and description; {names} needs 'teams:update'.")
    with refuse_on(uq_teams_tenant_id_name=_taken()):
        await session.flush()
    await audit.record(session, caller, "teams.update", "team", _id(row), old, new, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.TeamChanged(row.id, sorted(new)))
    await announce(session, Topic.TENANT, row.tenant_id)
    return row


async def delete(session: AsyncSession, caller: Caller, team_id: UUID, if_match: frozenset[int] | None) -> None:
    row = _found(await repository.find_locked(session, team_id))
    check_match(if_match, row)
    inside = await repository.contents(session, row)
    if inside.projects or inside.keys:
        raise TeamInUse(
            f"The team has {inside.projects} projects and {inside.keys} keys. Move or revoke them first, or archive the team.",
            details={"projects": inside.projects, "keys": inside.keys},
        )
    in_use = TeamInUse("Something was put into the team just now; look at it again.")
    with refuse_on(fk_projects_tenant_id_team_id=in_use, fk_api_keys_tenant_id_team_id=in_use):
        await repository.remove(session, row)
        await session.flush()
    await audit.record(session, caller, "teams.delete", "team", _id(row), facts(row), None, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.TeamDeleted(row.id))
    await announce(session, Topic.TENANT, row.tenant_id)


async def list_members(session: AsyncSession, row: Team, *, after: UUID | None, limit: int) -> Sequence[ListedMember]:
    return await repository.list_members(session, row, after=after, limit=limit)


async def put_member(
    session: AsyncSession, caller: Caller, team_id: UUID, user_id: UUID, role: TeamRole
) -> ListedMember:
    """Put a member of the tenant into the team, or give them another part in it."""
    row = _found(await repository.find_locked(session, team_id))
    await check_maintains(session, caller, row)
    if not await repository.is_in_tenant(session, row.tenant_id, user_id):
        raise NotFound("There is no such user.")
    before = await repository.role_of(session, row.tenant_id, row.id, user_id)
    if before != role:
        await repository.put_member(session, row, user_id, role)
        old = None if before is None else _membership(user_id, before)
        await audit.record(
            session,
            caller,
            "teams.members.set",
            "team",
            _id(row),
            old,
            _membership(user_id, role),
            tenant_id=row.tenant_id,
        )
        await events.emit(session, row.tenant_id, events.TeamMemberSet(row.id, user_id, role))
    found = await repository.find_member(session, row, user_id)
    assert found is not None, "it was written in this transaction"
    return found


async def remove_member(session: AsyncSession, caller: Caller, team_id: UUID, user_id: UUID) -> None:
    row = _found(await repository.find_locked(session, team_id))
    await check_maintains(session, caller, row)
    before = await repository.role_of(session, row.tenant_id, row.id, user_id)
    if before is None or not await repository.remove_member(session, row, user_id):
        raise NotFound("There is no such user in the team.")
    await audit.record(
        session, caller, "teams.members.remove", "team", _id(row), _membership(user_id, before), tenant_id=row.tenant_id
    )
    await events.emit(session, row.tenant_id, events.TeamMemberRemoved(row.id, user_id))


async def check_maintains(session: AsyncSession, caller: Caller, row: Team) -> None:
    """Raises NotMaintainer unless the caller manages every team, or this one."""
    if not await maintains(session, caller, row.tenant_id, row.id):
        raise NotMaintainer("This needs a maintainer of the team, or the permission 'teams:update'.")


async def maintains(session: AsyncSession, caller: Caller, tenant_id: UUID, team_id: UUID) -> bool:
    if caller.may(Permission.TEAMS_UPDATE):
        return True
    return await repository.role_of(session, tenant_id, team_id, caller.user_id) == "maintainer"


async def is_member(session: AsyncSession, tenant_id: UUID, team_id: UUID, user_id: UUID) -> bool:
    return await repository.role_of(session, tenant_id, team_id, user_id) is not None


def apply(row: Team | Project, values: dict[str, Any]) -> None:
    """Write what was sent to the row; a flag that is not named stays as it is."""
    for name, value in values.items():
        changed = change_flags(row.flags, value) if name == "flags" else value
        if getattr(row, name) != changed:
            setattr(row, name, changed)


def facts(row: Team | Project) -> dict[str, Any]:
    """What the audit trail keeps of a level."""
    return {
        "name": row.name,
        "description": row.description,
        "is_active": row.is_active,
        "allowed_models": row.allowed_models,
        "allowed_providers": row.allowed_providers,
        "logging_policy": row.logging_policy,
        "tags": dict(row.tags),
        "flags": dict(row.flags),
    }


def view(row: Team) -> TeamView:
    return TeamView.model_validate({**_columns(row), "flags": shown_flags(row.flags)})


def view_member(caller: Caller, member: ListedMember) -> TeamMemberView:
    email = member.email if caller.may(Permission.USERS_VIEW) else None
    return TeamMemberView.model_validate({**_member_fields(member), "email": email})


def _member_fields(member: ListedMember) -> dict[str, Any]:
    return {name: getattr(member, name) for name in TeamMemberView.model_fields}


def _columns(row: Team) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TeamView.model_fields}


def _membership(user_id: UUID, role: str) -> dict[str, str]:
    return {"user_id": format_id("usr", user_id), "role": role}


def _found(row: Team | None) -> Team:
    if row is None:
        raise TeamNotFound("There is no such team.")
    return row


def _taken() -> NameTaken:
    return NameTaken("A team of this name exists already; take another name.", param="name")


def _id(row: Team) -> str:
    return format_id("team", row.id)
