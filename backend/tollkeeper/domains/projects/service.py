"""Making, narrowing, moving, archiving and removing projects.

Who holds `teams:update` manages every project; others those of the teams they maintain, unless the flag
`maintainers_make_projects` is off there. A project that moves to another team has that team's limits from then on: the
lists of all levels are intersected at each use, so a move can never reach beyond the new team.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.flags import MAINTAINERS_MAKE_PROJECTS, is_on
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Project
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.projects import repository
from tollkeeper.domains.projects.repository import Filter
from tollkeeper.domains.projects.schemas import ProjectCreate, ProjectUpdate, ProjectView
from tollkeeper.domains.teams import service as teams
from tollkeeper.domains.teams.service import LimitsAreNotYours, NameTaken, NotMaintainer
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on
from tollkeeper.web.tree import change_flags, shown_flags

__all__ = ["Filter"]


class ProjectNotFound(NotFound):
    """No project of that id in the tenant."""


class ProjectInUse(Conflict):
    """Keys are still in it."""

    code = "project_in_use"


async def create(session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: ProjectCreate) -> Project:
    await _check_place(session, caller, tenant_id, wanted.team_id)
    _check_flags(caller, wanted)
    values = wanted.changes()
    row = Project(tenant_id=tenant_id, **{**values, "flags": change_flags({}, values.get("flags") or {})})
    repository.add(session, row)
    with refuse_on(**_refusals(), fk_projects_tenant_id=NotFound("There is no such tenant.")):
        await session.flush()
    await audit.record(session, caller, "projects.create", "project", _id(row), None, _facts(row), tenant_id=tenant_id)
    await events.emit(session, tenant_id, events.ProjectCreated(row.id, row.name, row.team_id))
    return row


async def get(session: AsyncSession, project_id: UUID) -> Project:
    return _found(await repository.find(session, project_id))


async def get_in(session: AsyncSession, tenant_id: UUID, project_id: UUID) -> Project:
    """A project that an object of the tenant is to be put into; another tenant's is not found."""
    return _found(await repository.find_in(session, tenant_id, project_id))


async def teams_of(session: AsyncSession, project_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The team of each project that is in one."""
    return await repository.teams_of(session, project_ids) if project_ids else {}


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[Project]:
    return await repository.list_page(session, tenant_id, wanted, after=after, limit=limit)


async def update(
    session: AsyncSession, caller: Caller, project_id: UUID, changed: ProjectUpdate, if_match: frozenset[int] | None
) -> Project:
    row = _found(await repository.find_locked(session, project_id))
    await _check_place(session, caller, row.tenant_id, row.team_id)
    check_match(if_match, row)
    values = changed.changes()
    if "team_id" in values and values["team_id"] != row.team_id:
        await _check_place(session, caller, row.tenant_id, values["team_id"])
    _check_flags(caller, changed)
    before = _facts(row)
    teams.apply(row, values)
    old, new = audit.changes(before, _facts(row))
    if not new:
        return row
    with refuse_on(**_refusals()):
        await session.flush()
    await audit.record(session, caller, "projects.update", "project", _id(row), old, new, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.ProjectChanged(row.id, sorted(new)))
    await announce(session, Topic.TENANT, row.tenant_id)
    return row


async def delete(session: AsyncSession, caller: Caller, project_id: UUID, if_match: frozenset[int] | None) -> None:
    row = _found(await repository.find_locked(session, project_id))
    await _check_place(session, caller, row.tenant_id, row.team_id)
    check_match(if_match, row)
    keys = await repository.active_keys(session, row)
    if keys:
        raise ProjectInUse(
            f"The project has {keys} keys. Move or revoke them first, or archive the project.", details={"keys": keys}
        )
    with refuse_on(
        fk_api_keys_tenant_id_project_id=ProjectInUse("A key was put into the project just now; look at it again.")
    ):
        await repository.remove(session, row)
        await session.flush()
    before = _facts(row)
    await audit.record(session, caller, "projects.delete", "project", _id(row), before, None, tenant_id=row.tenant_id)
    await events.emit(session, row.tenant_id, events.ProjectDeleted(row.id))
    await announce(session, Topic.TENANT, row.tenant_id)


def view(row: Project) -> ProjectView:
    columns = {name: getattr(row, name) for name in ProjectView.model_fields}
    return ProjectView.model_validate({**columns, "flags": shown_flags(row.flags)})


async def _check_place(session: AsyncSession, caller: Caller, tenant_id: UUID, team_id: UUID | None) -> None:
    """Whether the caller manages the projects there. Raises TeamNotFound, NotMaintainer."""
    team = None if team_id is None else await teams.get_in(session, tenant_id, team_id)
    if caller.may(Permission.TEAMS_UPDATE):
        return
    if team is None:
        raise NotMaintainer("A project outside the teams you maintain needs the permission 'teams:update'.")
    await teams.check_maintains(session, caller, team)
    if not is_on(MAINTAINERS_MAKE_PROJECTS, await repository.flags_of_tenant(session, tenant_id), team.flags):
        raise NotMaintainer("Your organisation leaves projects to who holds the permission 'teams:update'.")


def _check_flags(caller: Caller, sent: ProjectCreate | ProjectUpdate) -> None:
    """A flag of a nearer level wins over the team's, so it is not the maintainer's to set."""
    if sent.flags and not caller.may(Permission.TEAMS_UPDATE):
        raise LimitsAreNotYours("Flags need the permission 'teams:update'.")


def _facts(row: Project) -> dict[str, Any]:
    return {**teams.facts(row), "team_id": None if row.team_id is None else format_id("team", row.team_id)}


def _found(row: Project | None) -> Project:
    if row is None:
        raise ProjectNotFound("There is no such project.")
    return row


def _refusals() -> dict[str, Any]:
    return {
        "uq_projects_tenant_id_name": NameTaken(
            "A project of this name exists already; take another name.", param="name"
        ),
        "fk_projects_tenant_id_team_id": NotFound("There is no such team."),
    }


def _id(row: Project) -> str:
    return format_id("prj", row.id)
