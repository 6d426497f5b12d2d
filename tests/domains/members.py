"""People who act in several tenants, and roles of the tenant's own, for tests of the control plane."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import httpx

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.core.secrets import digest_opaque
from tollkeeper.db.models import Member, RefreshSession, User
from tollkeeper.db.models import Role as OwnRole


def address() -> str:
    return f"{uuid7().hex}@example.com"


async def new_guest(plane: ControlPlane, role: Role = Role.DEVELOPER) -> UUID:
    """A developer of the other tenant who is a guest in the first."""
    user_id = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id)
    async with plane.database.platform() as session:
        session.add(Member(tenant_id=plane.tenant_id, user_id=user_id, role=role.value))
    return user_id


async def new_role(plane: ControlPlane, permissions: Iterable[Permission | str], *, other: bool = False) -> UUID:
    role_id = uuid7()
    async with plane.database.platform() as session:
        session.add(
            OwnRole(
                id=role_id,
                tenant_id=plane.other_tenant_id if other else plane.tenant_id,
                name=f"role {role_id.hex}",
                permissions=sorted(str(permission) for permission in permissions),
            )
        )
    return role_id


async def new_holder(plane: ControlPlane, permissions: Iterable[Permission | str]) -> UUID:
    """A user of the first tenant whose role of its own grants exactly these."""
    role_id = await new_role(plane, permissions)
    user_id = await plane.new_user(Role.VIEWER)
    async with plane.database.platform() as session:
        member = await session.get(Member, await member_id(plane, user_id, plane.tenant_id))
        assert member is not None
        member.role, member.role_id = "custom", role_id
    return user_id


async def member_id(plane: ControlPlane, user_id: UUID, tenant_id: UUID) -> UUID:
    return (await find_member(plane, user_id, tenant_id)).id


async def find_member(plane: ControlPlane, user_id: UUID, tenant_id: UUID) -> Member:
    from_rows = Member.__table__.c
    async with plane.database.platform() as session:
        query = Member.__table__.select().where(from_rows.user_id == user_id, from_rows.tenant_id == tenant_id)
        found = (await session.execute(query)).one()
        member = await session.get(Member, found.id)
        assert member is not None
        return member


@asynccontextmanager
async def as_member(plane: ControlPlane, user_id: UUID, tenant_id: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """A session that works in the tenant, be it the user's own or not."""
    now = plane.clock.now()
    async with plane.database.platform() as session:
        user = await session.get(User, user_id)
        assert user is not None
        family_id = uuid7()
        session.add(
            RefreshSession(
                tenant_id=tenant_id,
                user_id=user.id,
                family_id=family_id,
                token_digest=digest_opaque(family_id.hex),
                created_at=now,
                authenticated_at=now,
                expires_at=now + timedelta(days=7),
            )
        )
        token, _ = plane.services.access_tokens.issue(
            user_id=user.id, tenant_id=tenant_id, session_id=family_id, epoch=user.session_epoch
        )
    async with plane.client(authorization=f"Bearer {token}") as client:
        yield client
