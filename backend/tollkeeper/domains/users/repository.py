"""Rows of accounts and memberships. Who was deleted keeps both without a person: usage, keys and the audit trail name the id."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.permissions import permissions_of
from tollkeeper.db.models import (
    ExternalIdentity,
    Member,
    OneTimeLink,
    RecoveryCode,
    RefreshSession,
    Role,
    SecondFactor,
    Team,
    TeamMember,
    Tenant,
    User,
)
from tollkeeper.domains.roles.service import GivenRole

# Nobody has an address here (RFC 2606), so it marks what is deleted.
DELETED_DOMAIN: Final = "@deleted.invalid"


@dataclass(frozen=True, slots=True)
class Membership:
    """An account as a member of one tenant. A guest's account is another tenant's to manage."""

    user: User
    member: Member
    role: GivenRole

    @property
    def user_id(self) -> UUID:
        return self.user.id

    @property
    def tenant_id(self) -> UUID:
        return self.member.tenant_id

    @property
    def is_guest(self) -> bool:
        return self.member.tenant_id != self.user.tenant_id

    @property
    def is_active(self) -> bool:
        return self.user.is_active and self.member.is_active

    @property
    def version(self) -> int:
        """Rises with either row."""
        return self.user.version + self.member.version - 1

    @property
    def updated_at(self) -> datetime:
        return max(self.user.updated_at, self.member.updated_at)


@dataclass(frozen=True, slots=True)
class Filter:
    """`text` is looked for in names and addresses."""

    role: str | None = None
    kind: str | None = None
    is_active: bool | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class TeamPlace:
    team_id: UUID
    name: str
    role: str


_MEMBERSHIP: Final[Select[*tuple[Any, ...]]] = (
    select(User, Member, Role.name.label("role_name"), Role.permissions.label("role_permissions"))
    .join_from(Member, User, User.id == Member.user_id)
    .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
    .where(Member.removed_at.is_(None), User.email.not_like(f"%{DELETED_DOMAIN}"))
)


def add(session: AsyncSession, row: User | Member | TeamMember) -> None:
    session.add(row)


async def find(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Membership | None:
    row = (await session.execute(_MEMBERSHIP.where(Member.user_id == user_id, Member.tenant_id == tenant_id))).first()
    return None if row is None else _membership(row)


async def find_nearest(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Membership | None:
    """The membership in the tenant; for who is no member there, the one in the tenant that manages the account."""
    query = _MEMBERSHIP.where(Member.user_id == user_id, Member.tenant_id.in_([tenant_id, User.tenant_id]))
    row = (await session.execute(query.order_by((Member.tenant_id == tenant_id).desc()).limit(1))).first()
    return None if row is None else _membership(row)


async def list_acting(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Sequence[Membership]:
    """The memberships in the tenant and in the one that manages the account, where both tenant and member are active."""
    query = _MEMBERSHIP.join(Tenant, Tenant.id == Member.tenant_id).where(
        Member.user_id == user_id,
        Member.tenant_id.in_([tenant_id, User.tenant_id]),
        and_(Tenant.is_active, Member.is_active, User.is_active),
    )
    return [_membership(row) for row in await session.execute(query)]


async def find_locked(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Membership | None:
    """Others wait until this transaction has ended. A guest's account itself stays free: it is not ours to change."""
    query = _MEMBERSHIP.where(Member.user_id == user_id, Member.tenant_id == tenant_id)
    locking = query.with_for_update(of=Member).execution_options(populate_existing=True)
    row = (await session.execute(locking)).first()
    if row is None:
        return None
    found = _membership(row)
    if not found.is_guest:
        account = select(User).where(User.id == user_id).with_for_update()
        await session.execute(account.execution_options(populate_existing=True))
    return found


async def find_left(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> Member | None:
    """The row of a guest who was a member before, locked."""
    query = select(Member).where(Member.user_id == user_id, Member.tenant_id == tenant_id)
    return (await session.scalars(query.with_for_update())).one_or_none()


async def find_by_email(session: AsyncSession, email: str) -> User | None:
    query = select(User).where(func.lower(User.email) == email.lower(), User.email.not_like(f"%{DELETED_DOMAIN}"))
    return (await session.scalars(query)).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[Membership]:
    """Newest account first."""
    query = _MEMBERSHIP.where(Member.tenant_id == tenant_id)
    if wanted.role is not None:
        query = query.where(func.lower(func.coalesce(Role.name, Member.role)) == wanted.role.lower())
    if wanted.kind is not None:
        query = query.where(User.kind == wanted.kind)
    if wanted.is_active is not None:
        query = query.where(and_(User.is_active, Member.is_active).is_(wanted.is_active))
    if wanted.text is not None:
        in_address = and_(User.kind == "person", User.email.icontains(wanted.text, autoescape=True))
        query = query.where(or_(User.name.icontains(wanted.text, autoescape=True), in_address))
    if after is not None:
        query = query.where(User.id < after)
    return [_membership(row) for row in await session.execute(query.order_by(User.id.desc()).limit(limit))]


async def list_of_tenant(session: AsyncSession, tenant_id: UUID) -> Sequence[Membership]:
    query = _MEMBERSHIP.where(Member.tenant_id == tenant_id).order_by(User.id)
    return [_membership(row) for row in await session.execute(query.with_for_update(of=Member))]


async def list_as_guest(session: AsyncSession, user_id: UUID) -> Sequence[Member]:
    """The memberships outside the account's own tenant that were not ended yet, locked."""
    query = (
        select(Member)
        .join(User, User.id == Member.user_id)
        .where(Member.user_id == user_id, Member.tenant_id != User.tenant_id, Member.removed_at.is_(None))
        .order_by(Member.tenant_id)
    )
    return (await session.scalars(query.with_for_update(of=Member))).all()


async def teams_of(
    session: AsyncSession, tenant_id: UUID, user_ids: Collection[UUID]
) -> Mapping[UUID, Sequence[TeamPlace]]:
    """By user, in the order of the teams' names."""
    query = (
        select(TeamMember.user_id, Team.id, Team.name, TeamMember.role)
        .join(Team, and_(Team.tenant_id == TeamMember.tenant_id, Team.id == TeamMember.team_id))
        .where(TeamMember.tenant_id == tenant_id, TeamMember.user_id.in_(user_ids))
        .order_by(Team.name, Team.id)
    )
    found: dict[UUID, list[TeamPlace]] = {}
    for user_id, team_id, name, role in await session.execute(query):
        found.setdefault(user_id, []).append(TeamPlace(team_id, name, role))
    return found


async def count_teams(session: AsyncSession, tenant_id: UUID, team_ids: Collection[UUID]) -> int:
    query = select(func.count()).select_from(Team).where(Team.tenant_id == tenant_id, Team.id.in_(team_ids))
    return await session.scalar(query) or 0


async def set_teams(session: AsyncSession, tenant_id: UUID, user_id: UUID, team_ids: Collection[UUID]) -> list[UUID]:
    """Leave the others, join those it is not in yet; what a member is in a team already stays. The teams that were left."""
    own = and_(TeamMember.tenant_id == tenant_id, TeamMember.user_id == user_id)
    leaving = delete(TeamMember).where(own, TeamMember.team_id.not_in(team_ids)).returning(TeamMember.team_id)
    left = sorted(await session.scalars(leaving))
    known = set(await session.scalars(select(TeamMember.team_id).where(own)))
    session.add_all(
        TeamMember(tenant_id=tenant_id, team_id=team_id, user_id=user_id) for team_id in sorted(set(team_ids) - known)
    )
    await session.flush()
    return left


async def find_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant | None:
    return await session.get(Tenant, tenant_id)


async def lock_administrators(session: AsyncSession, scope: str) -> None:
    """Changes that could leave nobody in charge come one after the other."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"administrators {scope}", 0))))


async def count_administrators(
    session: AsyncSession, roles: Collection[str], *, but: UUID, tenant_id: UUID | None
) -> int:
    """People who could sign in and act in one of these built-in roles, `but` one; without `tenant_id` anywhere."""
    query = (
        select(func.count())
        .select_from(Member)
        .join(User, User.id == Member.user_id)
        .join(Tenant, Tenant.id == Member.tenant_id)
        .where(
            Member.role.in_(roles),
            Member.removed_at.is_(None),
            Member.is_active,
            User.is_active,
            User.kind == "person",
            User.id != but,
        )
    )
    if tenant_id is None:
        return await session.scalar(query.where(Tenant.is_active)) or 0
    return await session.scalar(query.where(Member.tenant_id == tenant_id)) or 0


async def end_sessions(session: AsyncSession, user_id: UUID, now: datetime, *, tenant_id: UUID | None = None) -> None:
    """Refresh sessions of the user, all that the transaction sees or those in one tenant."""
    query = update(RefreshSession).where(RefreshSession.user_id == user_id, RefreshSession.revoked_at.is_(None))
    if tenant_id is not None:
        query = query.where(RefreshSession.tenant_id == tenant_id)
    await session.execute(query.values(revoked_at=now).execution_options(synchronize_session=False))


async def remove_from_tenant(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """The member's places in teams and what the tenant's identity providers know of them."""
    for table in (TeamMember, ExternalIdentity):
        await session.execute(delete(table).where(table.tenant_id == tenant_id, table.user_id == user_id))


async def remove_proofs(session: AsyncSession, user: User) -> None:
    """Everything by which the person could prove who they are."""
    for table in (SecondFactor, RecoveryCode, OneTimeLink):
        await session.execute(delete(table).where(table.tenant_id == user.tenant_id, table.user_id == user.id))


async def remove_links(session: AsyncSession, user: User) -> None:
    """Links of before that set a password or confirm an address."""
    await session.execute(
        delete(OneTimeLink).where(OneTimeLink.tenant_id == user.tenant_id, OneTimeLink.user_id == user.id)
    )


def _membership(row: Row[*tuple[Any, ...]]) -> Membership:
    member: Member = row.Member
    name = row.role_name or member.role
    given = GivenRole(member.role, member.role_id, name, permissions_of(member.role, row.role_permissions))
    return Membership(row.User, member, given)
