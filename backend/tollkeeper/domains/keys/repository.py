"""Rows of API keys. Row-level security keeps to the tenant; `owner` keeps to one user where a caller sees only theirs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission, permissions_of
from tollkeeper.core.permissions import Role as BuiltInRole
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import ApiKey, EndedRun, Member, Project, Role, TeamMember, Tenant, User
from tollkeeper.db.session import Database

_IMPORT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Filter:
    """`now` splits active from expired."""

    now: datetime
    status: str | None = None
    environment: str | None = None
    user_id: UUID | None = None
    team_id: UUID | None = None
    project_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tenant says of all its keys."""

    settings: TenantSettings
    flags: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The member a key belongs to, as far as keys care."""

    user_id: UUID
    role: str
    permissions: frozenset[Permission]
    is_active: bool
    is_person: bool


# What `_owner` reads. Restricted by the caller to one member.
_OWNER: Final[Select[*tuple[Any, ...]]] = (
    select(
        Member.user_id,
        Member.role,
        Role.name.label("role_name"),
        Role.permissions.label("role_permissions"),
        and_(User.is_active, Member.is_active).label("is_active"),
        User.kind,
    )
    .join(User, User.id == Member.user_id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .where(Member.removed_at.is_(None))
)


def add(session: AsyncSession, row: ApiKey) -> None:
    session.add(row)


async def find(session: AsyncSession, key_id: UUID, *, owner: UUID | None) -> ApiKey | None:
    return (await session.scalars(_visible(key_id, owner))).one_or_none()


async def find_locked(session: AsyncSession, key_id: UUID, *, owner: UUID | None) -> ApiKey | None:
    """For a change: others wait until this transaction has ended."""
    query = _visible(key_id, owner).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def find_rules(session: AsyncSession, tenant_id: UUID) -> Rules:
    row = (await session.execute(select(Tenant.settings, Tenant.flags).where(Tenant.id == tenant_id))).first()
    return Rules(TenantSettings(), {}) if row is None else Rules(TenantSettings.read(row.settings), row.flags)


async def find_owner(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> Owner | None:
    query = _OWNER.where(Member.tenant_id == tenant_id, Member.user_id == user_id)
    row = (await session.execute(query)).first()
    return None if row is None else _owner(row)


async def find_owner_by_email(session: AsyncSession, tenant_id: UUID, email: str) -> Owner | None:
    query = _OWNER.where(Member.tenant_id == tenant_id, func.lower(User.email) == email.lower())
    row = (await session.execute(query)).first()
    return None if row is None else _owner(row)


async def known_digests(database: Database, digests: Collection[bytes]) -> set[bytes]:
    """Which of these any key of any tenant has, or had before a rotation."""
    now = select(ApiKey.digest).where(ApiKey.public_id.is_(None), ApiKey.digest.in_(digests))
    former = select(ApiKey.previous_digest).where(
        ApiKey.previous_digest.is_not(None), ApiKey.previous_digest.in_(digests)
    )
    async with database.lookup(deadline_seconds=_IMPORT_SECONDS) as session:
        return set(await session.scalars(now.union_all(former)))


async def find_first_admin(session: AsyncSession, tenant_id: UUID) -> Owner | None:
    """The tenant's service account, made with it, or who administers it longest."""
    is_admin = and_(Member.role == BuiltInRole.TENANT_ADMIN.value, Member.is_active, User.is_active)
    query = _OWNER.where(Member.tenant_id == tenant_id, is_admin).order_by(Member.user_id).limit(1)
    row = (await session.execute(query)).first()
    return None if row is None else _owner(row)


async def list_active_of(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> Sequence[ApiKey]:
    """In the order of their ids, so that two such changes wait for each other instead of locking up."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id, ApiKey.user_id == user_id, ApiKey.status == "active")
    return (await session.scalars(query.order_by(ApiKey.id).with_for_update())).all()


async def list_active_in(session: AsyncSession, tenant_id: UUID, team_id: UUID, user_id: UUID) -> Sequence[ApiKey]:
    """A user's keys in a team or in one of its projects; none for somebody who is a member of the team."""
    is_member = exists().where(
        TeamMember.tenant_id == tenant_id, TeamMember.team_id == team_id, TeamMember.user_id == user_id
    )
    below = select(Project.id).where(Project.tenant_id == tenant_id, Project.team_id == team_id)
    query = select(ApiKey).where(
        ApiKey.tenant_id == tenant_id,
        ApiKey.user_id == user_id,
        ApiKey.status == "active",
        or_(ApiKey.team_id == team_id, ApiKey.project_id.in_(below)),
        ~is_member,
    )
    return (await session.scalars(query.order_by(ApiKey.id).with_for_update())).all()


async def find_by_digest(session: AsyncSession, digests: Sequence[bytes]) -> ApiKey | None:
    """A key in another form than ours, over all tenants the session sees."""
    query = select(ApiKey).where(ApiKey.public_id.is_(None), ApiKey.digest.in_(digests))
    return (await session.scalars(query)).one_or_none()


async def find_by_public_id(session: AsyncSession, public_id: str) -> ApiKey | None:
    return (await session.scalars(select(ApiKey).where(ApiKey.public_id == public_id))).one_or_none()


async def count_ended_runs(session: AsyncSession, row: ApiKey, now: datetime) -> int:
    """Of those that were ended one by one."""
    query = select(func.count()).where(
        EndedRun.key_id == row.id, EndedRun.run_id.is_not(None), EndedRun.expires_at > now
    )
    return (await session.execute(query)).scalar_one()


async def end_runs(session: AsyncSession, ended: EndedRun, now: datetime) -> bool:
    """False when that run was ended before. What is of no use any more is dropped on the way."""
    await session.execute(delete(EndedRun).where(EndedRun.tenant_id == ended.tenant_id, EndedRun.expires_at <= now))
    values = {
        name: getattr(ended, name)
        for name in ("tenant_id", "key_id", "run_id", "issued_before", "ends_at", "expires_at", "created_by")
    }
    statement = insert(EndedRun).values(id=uuid7(), **values).on_conflict_do_nothing().returning(EndedRun.id)
    return (await session.execute(statement)).first() is not None


async def list_page(
    session: AsyncSession,
    tenant_id: UUID,
    wanted: Filter,
    *,
    owner: UUID | None,
    after: UUID | None,
    limit: int,
) -> Sequence[ApiKey]:
    """Newest first: ids are UUIDv7."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id)
    if owner is not None:
        query = query.where(ApiKey.user_id == owner)
    if wanted.user_id is not None:
        query = query.where(ApiKey.user_id == wanted.user_id)
    if wanted.team_id is not None:
        query = query.where(ApiKey.team_id == wanted.team_id)
    if wanted.project_id is not None:
        query = query.where(ApiKey.project_id == wanted.project_id)
    if wanted.environment is not None:
        query = query.where(ApiKey.environment == wanted.environment)
    if wanted.status is not None:
        query = query.where(_has_status(wanted.status, wanted.now))
    if after is not None:
        query = query.where(ApiKey.id < after)
    return (await session.scalars(query.order_by(ApiKey.id.desc()).limit(limit))).all()


def _visible(key_id: UUID, owner: UUID | None) -> Select[ApiKey]:
    query = select(ApiKey).where(ApiKey.id == key_id)
    return query if owner is None else query.where(ApiKey.user_id == owner)


def _has_status(status: str, now: datetime) -> ColumnElement[bool]:
    if status == "revoked":
        return ApiKey.status == "revoked"
    is_over = ApiKey.expires_at <= now
    if status == "expired":
        return (ApiKey.status == "active") & is_over
    return (ApiKey.status == "active") & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)


def _owner(row: Row[*tuple[Any, ...]]) -> Owner:
    return Owner(
        row.user_id,
        row.role_name or row.role,
        permissions_of(row.role, row.role_permissions),
        row.is_active,
        is_person=row.kind == "person",
    )
