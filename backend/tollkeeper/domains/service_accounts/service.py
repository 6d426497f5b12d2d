"""Service accounts, over `users`: the same rules hold for who may make, change and remove one."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.roles.service import check_may_give, get_by_name
from tollkeeper.domains.service_accounts.schemas import (
    ServiceAccountCreate,
    ServiceAccountUpdate,
    ServiceAccountView,
)
from tollkeeper.domains.teams import service as teams
from tollkeeper.domains.users import service as users
from tollkeeper.domains.users.schemas import UserUpdate
from tollkeeper.domains.users.service import Filter, Membership, Users
from tollkeeper.web.caller import Caller

_OF_USER: Final = frozenset({"name", "role", "is_active"})


class ServiceAccountNotFound(NotFound):
    """No service account of that id in the tenant; a person is none."""


class ServiceAccounts:
    def __init__(self, members: Users) -> None:
        self._members = members

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: ServiceAccountCreate
    ) -> Membership:
        if await users.find_tenant(session, tenant_id) is None:
            raise NotFound("There is no such tenant.")
        given = await get_by_name(session, tenant_id, wanted.role)
        check_may_give(caller, given)
        await _check_teams(session, caller, tenant_id, wanted.team_ids)
        return await users.add_service_account(
            session, caller, tenant_id, name=wanted.name, given=given, team_ids=wanted.team_ids
        )

    async def get(
        self, session: AsyncSession, user_id: UUID, tenant_id: UUID, *, is_anywhere: bool = False
    ) -> Membership:
        try:
            found = await self._members.get(session, user_id, tenant_id, is_anywhere=is_anywhere)
        except users.UserNotFound:
            raise _not_found() from None
        if found.user.kind != "service":
            raise _not_found()
        return found

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, *, after: UUID | None, limit: int
    ) -> Sequence[Membership]:
        return await self._members.list_page(session, tenant_id, Filter(kind="service"), after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        tenant_id: UUID,
        changed: ServiceAccountUpdate,
        if_match: frozenset[int] | None,
    ) -> Membership:
        known = await self.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
        fields = {name: getattr(changed, name) for name in changed.model_fields_set & _OF_USER}
        # Locks the account and checks the caller's right to it, also when only the teams change.
        whom = await self._members.update(session, caller, user_id, known.tenant_id, UserUpdate(**fields), if_match)
        if changed.team_ids is not None:
            await self._change_teams(session, caller, whom, changed.team_ids)
        return whom

    async def delete(
        self,
        session: AsyncSession,
        caller: Caller,
        user_id: UUID,
        tenant_id: UUID,
        if_match: frozenset[int] | None,
    ) -> None:
        known = await self.get(session, user_id, tenant_id, is_anywhere=caller.is_platform)
        await self._members.delete(session, caller, user_id, known.tenant_id, if_match)

    async def views(
        self, session: AsyncSession, caller: Caller, rows: Sequence[Membership]
    ) -> list[ServiceAccountView]:
        """Of one tenant."""
        places = await users.teams_of(session, caller, rows)
        return [
            ServiceAccountView(
                id=row.user_id,
                tenant_id=row.tenant_id,
                name=row.user.name,
                role=row.role.name,
                role_id=row.role.role_id,
                is_active=row.is_active,
                teams=places.get(row.user_id, []),
                created_at=row.member.created_at,
                updated_at=row.updated_at,
                version=row.version,
            )
            for row in rows
        ]

    async def view(self, session: AsyncSession, caller: Caller, row: Membership) -> ServiceAccountView:
        return (await self.views(session, caller, [row]))[0]

    async def _change_teams(
        self, session: AsyncSession, caller: Caller, whom: Membership, team_ids: Sequence[UUID]
    ) -> None:
        before = await users.team_ids_of(session, whom.tenant_id, whom.user_id)
        after = set(team_ids)
        await _check_teams(session, caller, whom.tenant_id, sorted(before ^ after))
        if before == after:
            return
        await users.set_teams(session, whom.tenant_id, whom.user_id, after)
        old, new = ({"teams": sorted(format_id("team", team_id) for team_id in ids)} for ids in (before, after))
        user = format_id("usr", whom.user_id)
        await audit.record(session, caller, "users.update", "user", user, old, new, tenant_id=whom.tenant_id)


async def _check_teams(session: AsyncSession, caller: Caller, tenant_id: UUID, team_ids: Sequence[UUID]) -> None:
    """Who puts somebody into a team, or takes them out, manages that team."""
    for team_id in team_ids:
        await teams.check_maintains(session, caller, await teams.get_in(session, tenant_id, team_id))


def _not_found() -> ServiceAccountNotFound:
    return ServiceAccountNotFound("There is no such service account.")
