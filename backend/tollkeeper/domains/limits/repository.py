"""Rows of rules, limits and budgets alike. Row-level security keeps to the tenant; the platform's have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import ApiKey, Budget, Limit, Member, Project, Team, TeamMember, Tenant

RuleRow = TypeVar("RuleRow", Limit, Budget)
NOBODY: Final = UUID(int=0)
# The column that ties a rule to what its scope names.
COLUMNS: Final = {
    "tenant": "only_tenant_id",
    "team": "team_id",
    "project": "project_id",
    "user": "user_id",
    "key": "key_id",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """`tenant_id` None: the platform's rules. `holders`: only rules that may be about these."""

    tenant_id: UUID | None
    kind: str | None = None
    named: UUID | None = None
    value: str | None = None
    holders: frozenset[UUID] | None = None


async def find(
    session: AsyncSession,
    table: type[RuleRow],
    rule_id: UUID,
    *,
    holders: frozenset[UUID] | None,
    is_locked: bool = False,
) -> RuleRow | None:
    query = select(table).where(table.id == rule_id)
    if holders is not None:
        query = query.where(table.holder_id.in_(holders))
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


async def list_page(
    session: AsyncSession, table: type[RuleRow], wanted: Filter, *, after: UUID | None, limit: int
) -> Sequence[RuleRow]:
    """Newest first."""
    is_of = table.tenant_id.is_(None) if wanted.tenant_id is None else table.tenant_id == wanted.tenant_id
    query = select(table).where(is_of)
    if wanted.holders is not None:
        query = query.where(table.holder_id.in_(wanted.holders))
    if wanted.kind is not None:
        query = query.where(table.scope == wanted.kind)
        if wanted.named is not None:
            query = query.where(_is_about(table, wanted.kind, wanted.named, wanted.tenant_id))
    if wanted.value is not None:
        query = query.where(table.value == wanted.value)
    if after is not None:
        query = query.where(table.id < after)
    return (await session.scalars(query.order_by(table.id.desc()).limit(limit))).all()


async def count_of_holder(session: AsyncSession, row: Limit | Budget) -> int:
    """How many rules come with every look-up of what this one is about."""
    table = type(row)
    query = select(func.count()).where(table.holder_id == row.holder_id)
    return await session.scalar(query) or 0


async def exists_in(session: AsyncSession, tenant_id: UUID, kind: str, named: UUID) -> bool:
    """Whether the tenant has the object; who has left it is no user of it."""
    queries: dict[str, tuple[Any, ...]] = {
        "team": (Team.id == named, Team.tenant_id == tenant_id),
        "project": (Project.id == named, Project.tenant_id == tenant_id),
        "user": (Member.user_id == named, Member.tenant_id == tenant_id, Member.removed_at.is_(None)),
        "key": (ApiKey.id == named, ApiKey.tenant_id == tenant_id),
    }
    return await session.scalar(select(func.count()).where(*queries[kind])) == 1


async def has_tenant(session: AsyncSession, tenant_id: UUID) -> bool:
    present = select(func.count()).where(Tenant.id == tenant_id, Tenant.slug.not_like("~deleted-%"))
    return await session.scalar(present) == 1


async def holders_of(session: AsyncSession, tenant_id: UUID, user_id: UUID, key_id: UUID | None) -> frozenset[UUID]:
    """Whatever may have a rule about this user's calls, or about this one key's."""
    keys: ColumnElement[bool] = ApiKey.user_id == user_id if key_id is None else ApiKey.id == key_id
    rows = await session.execute(
        select(ApiKey.id, ApiKey.project_id, func.coalesce(Project.team_id, ApiKey.team_id))
        .outerjoin(Project, (Project.tenant_id == ApiKey.tenant_id) & (Project.id == ApiKey.project_id))
        .where(ApiKey.tenant_id == tenant_id, keys)
    )
    found = {identity for row in rows for identity in row if identity is not None} | {tenant_id, user_id}
    if key_id is None:
        member = (TeamMember.tenant_id == tenant_id, TeamMember.user_id == user_id)
        found |= set(await session.scalars(select(TeamMember.team_id).where(*member)))
    return frozenset(found)


def _is_about(table: type[RuleRow], kind: str, named: UUID, tenant_id: UUID | None) -> ColumnElement[bool]:
    column: ColumnElement[bool] = getattr(table, COLUMNS[kind]) == named
    # A tenant's own rule on its tenant names none.
    return or_(column, table.tenant_id == named) if kind == "tenant" and tenant_id is not None else column
