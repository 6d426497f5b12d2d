"""Making and changing roles, and finding the role behind a name.

A role is put together from what its maker may do, and never holds more than a tenant's administrator may. Permissions
are read at each use, so a changed role changes whoever holds it at once, and their keys with them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden, MalformedPayload, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import CUSTOM, GRANTABLE, ROLE_PERMISSIONS, Permission, permissions_of
from tollkeeper.core.permissions import Role as BuiltInRole
from tollkeeper.db.models import Role
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.roles import descriptions, repository
from tollkeeper.domains.roles.schemas import PermissionView, RoleCreate, RoleUpdate, RoleView
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on

_BUILT_IN: Final = tuple(BuiltInRole)


class RoleNotFound(NotFound):
    """No role of that id in the tenant."""


class UnknownRole(MalformedPayload):
    """A name that is neither a built-in role's nor one of the tenant's own."""

    code = "unknown_role"


class RoleNameTaken(Conflict):
    """Names are unique in a tenant, whatever their case."""

    code = "name_taken"


class RoleInUse(Conflict):
    """Somebody has the role, or is invited to it."""

    code = "role_in_use"


class NotGrantable(MalformedPayload):
    """A permission that no role of a tenant can hold."""

    code = "not_grantable"


class BeyondAuthority(Forbidden):
    """Nobody gives, takes or touches more than they hold."""

    code = "beyond_authority"


@dataclass(frozen=True, slots=True)
class GivenRole:
    """A role as a member or an invitation has it: `role` and `role_id` are the columns, `name` is what people read."""

    role: str
    role_id: UUID | None
    name: str
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of roles goes on: the built-in ones come first, then the tenant's own by their ids."""

    built_in: int = 0
    after: UUID | None = None


async def get_by_name(session: AsyncSession, tenant_id: UUID, name: str) -> GivenRole:
    """Raises UnknownRole. A tenant's own role is found whatever the case of its name."""
    if name in _BUILT_IN:
        return built_in(BuiltInRole(name))
    row = await repository.find_by_name(session, tenant_id, name)
    if row is None:
        known = ", ".join(role.value for role in _BUILT_IN)
        raise UnknownRole(f"The tenant has no role of this name. The built-in ones are {known}.", param="role")
    return GivenRole(CUSTOM, row.id, row.name, permissions_of(CUSTOM, row.permissions))


async def get_given(session: AsyncSession, role: str, role_id: UUID | None) -> GivenRole:
    """The role that two columns name; a foreign key keeps it there."""
    if role_id is None:
        return built_in(BuiltInRole(role))
    row = await repository.find(session, role_id)
    assert row is not None, "a role in use is not removed"
    return GivenRole(CUSTOM, row.id, row.name, permissions_of(CUSTOM, row.permissions))


def built_in(role: BuiltInRole) -> GivenRole:
    return GivenRole(role.value, None, role.value, permissions_of(role))


def check_may_give(caller: Caller, given: GivenRole) -> None:
    """Raises BeyondAuthority."""
    if not caller.covers(given.permissions):
        raise BeyondAuthority(f"You may not give the role '{given.name}': it grants more than your own.", param="role")


class Roles:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def create(self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: RoleCreate) -> Role:
        _check_grant(caller, wanted.permissions)
        row = Role(
            tenant_id=tenant_id,
            name=wanted.name,
            description=wanted.description,
            permissions=_in_order(wanted.permissions),
        )
        repository.add(session, row)
        with refuse_on(uq_roles_tenant_id_name=_taken(), fk_roles_tenant_id=NotFound("There is no such tenant.")):
            await session.flush()
        await audit.record(session, caller, "roles.create", "role", _id(row), None, _facts(row), tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.RoleCreated(row.id, row.name))
        return row

    async def get(self, session: AsyncSession, role_id: UUID) -> Role:
        row = await repository.find(session, role_id)
        if row is None:
            raise _not_found()
        return row

    async def list_page(
        self, session: AsyncSession, tenant_id: UUID, place: Place, limit: int
    ) -> Sequence[tuple[RoleView, Place]]:
        """At most `limit` views, each with the place behind it."""
        page: list[tuple[RoleView, Place]] = [
            (_built_in_view(role), Place(number + 1))
            for number, role in enumerate(_BUILT_IN)
            if number >= place.built_in
        ][:limit]
        if len(page) < limit:
            rows = await repository.list_page(session, tenant_id, after=place.after, limit=limit - len(page))
            page += [(self.view(row), Place(len(_BUILT_IN), row.id)) for row in rows]
        return page

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        role_id: UUID,
        changed: RoleUpdate,
        if_match: frozenset[int] | None,
    ) -> Role:
        """Whoever holds the role is changed with it, so the caller must hold all of it, before and after."""
        row = await self._for_change(session, caller, role_id)
        check_match(if_match, row)
        before = _facts(row)
        fields: dict[str, Any] = {name: getattr(changed, name) for name in changed.model_fields_set}
        if changed.permissions is not None:
            _check_grant(caller, changed.permissions)
            fields["permissions"] = _in_order(changed.permissions)
        for name, value in fields.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        old, new = audit.changes(before, _facts(row))
        if not new:
            return row
        with refuse_on(uq_roles_tenant_id_name=_taken()):
            await session.flush()
        await audit.record(session, caller, "roles.update", "role", _id(row), old, new, tenant_id=row.tenant_id)
        await events.emit(session, row.tenant_id, events.RoleChanged(row.id, sorted(new)))
        await announce(session, Topic.TENANT, row.tenant_id)
        return row

    async def delete(
        self, session: AsyncSession, caller: Caller, role_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        row = await self._for_change(session, caller, role_id)
        check_match(if_match, row)
        now = self._clock.now()
        members = await repository.count_members(session, row.id)
        invitations = await repository.count_open_invitations(session, row.id, now)
        if members or invitations:
            raise RoleInUse(
                f"{members} members have this role and {invitations} invitations give it; change them first.",
                details={"members": members, "invitations": invitations},
            )
        before, role, tenant_id = _facts(row), _id(row), row.tenant_id
        in_use = RoleInUse("Somebody was given this role just now; change them first.")
        with refuse_on(fk_members_tenant_id_role_id=in_use, fk_invitations_tenant_id_role_id=in_use):
            await repository.remove(session, row, now)
        await audit.record(session, caller, "roles.delete", "role", role, before, None, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.RoleDeleted(role_id))

    def view(self, row: Role) -> RoleView:
        return RoleView(
            id=row.id,
            tenant_id=row.tenant_id,
            name=row.name,
            description=row.description,
            permissions=sorted(permissions_of(CUSTOM, row.permissions)),
            is_built_in=False,
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    async def _for_change(self, session: AsyncSession, caller: Caller, role_id: UUID) -> Role:
        row = await repository.find_locked(session, role_id)
        if row is None:
            raise _not_found()
        if not caller.covers(permissions_of(CUSTOM, row.permissions)):
            raise BeyondAuthority(f"The role '{row.name}' grants more than your own; ask one of its holders.")
        return row


def list_permissions() -> list[PermissionView]:
    return [
        PermissionView(name=permission, description=sentence, is_grantable=permission in GRANTABLE)
        for permission, sentence in descriptions.PERMISSIONS.items()
    ]


def _check_grant(caller: Caller, wanted: Collection[Permission]) -> None:
    foreign = sorted(set(wanted) - GRANTABLE)
    if foreign:
        raise NotGrantable(f"A role of a tenant cannot hold {', '.join(foreign)}.", param="permissions")
    missing = sorted(set(wanted) - caller.role_permissions)
    if missing:
        raise BeyondAuthority(f"You may not grant what you lack: {', '.join(missing)}.", param="permissions")


def _in_order(wanted: Collection[Permission]) -> list[str]:
    return sorted({permission.value for permission in wanted})


def _built_in_view(role: BuiltInRole) -> RoleView:
    return RoleView(
        id=None,
        tenant_id=None,
        name=role.value,
        description=descriptions.ROLES[role],
        permissions=sorted(ROLE_PERMISSIONS[role]),
        is_built_in=True,
        created_at=None,
        updated_at=None,
        version=None,
    )


def _not_found() -> RoleNotFound:
    return RoleNotFound("There is no such role.")


def _taken() -> RoleNameTaken:
    return RoleNameTaken("The tenant has a role of this name already; take another name.", param="name")


def _id(row: Role) -> str:
    return format_id("rol", row.id)


def _facts(row: Role) -> dict[str, Any]:
    return {"name": row.name, "description": row.description, "permissions": list(row.permissions)}
