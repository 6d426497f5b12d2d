"""The SQL of route policies and their versions."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import collate, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models.route_policies import RoutePolicy, RoutePolicyVersion
from tollkeeper.db.models.tenants import Tenant


async def list_policies(
    session: AsyncSession, tenant_id: UUID | None, after: tuple[str, UUID], limit: int
) -> Sequence[RoutePolicy]:
    """By name, by code point; with `tenant_id` the shared ones and that tenant's, else everybody's."""
    name = collate(RoutePolicy.name, "C")
    query = select(RoutePolicy).where(tuple_(name, RoutePolicy.id) > after)
    if tenant_id is not None:
        query = query.where(or_(RoutePolicy.tenant_id.is_(None), RoutePolicy.tenant_id == tenant_id))
    return (await session.scalars(query.order_by(name, RoutePolicy.id).limit(limit))).all()


async def find_policy(session: AsyncSession, policy_id: UUID, *, for_update: bool = False) -> RoutePolicy | None:
    query = select(RoutePolicy).where(RoutePolicy.id == policy_id)
    return await session.scalar(query.with_for_update() if for_update else query)


async def list_latest(session: AsyncSession, policies: Sequence[RoutePolicy]) -> Sequence[RoutePolicyVersion]:
    """Of each policy the published version and, where it comes after that, the draft."""
    newest = (
        select(RoutePolicyVersion.policy_id, func.max(RoutePolicyVersion.number).label("number"))
        .where(RoutePolicyVersion.policy_id.in_([policy.id for policy in policies]))
        .group_by(RoutePolicyVersion.policy_id)
        .subquery()
    )
    query = (
        select(RoutePolicyVersion)
        .join(newest, newest.c.policy_id == RoutePolicyVersion.policy_id)
        .join(RoutePolicy, RoutePolicy.id == RoutePolicyVersion.policy_id)
        .where(
            or_(RoutePolicyVersion.number == newest.c.number, RoutePolicyVersion.number == RoutePolicy.published_number)
        )
    )
    return (await session.scalars(query)).all()


async def list_versions(
    session: AsyncSession, policy_id: UUID, before: int | None, limit: int
) -> Sequence[RoutePolicyVersion]:
    """The latest first."""
    query = select(RoutePolicyVersion).where(RoutePolicyVersion.policy_id == policy_id)
    if before is not None:
        query = query.where(RoutePolicyVersion.number < before)
    return (await session.scalars(query.order_by(RoutePolicyVersion.number.desc()).limit(limit))).all()


async def find_version(session: AsyncSession, policy_id: UUID, number: int) -> RoutePolicyVersion | None:
    return await session.get(RoutePolicyVersion, (policy_id, number))


async def find_published_before(session: AsyncSession, policy_id: UUID, number: int) -> RoutePolicyVersion | None:
    """The latest version below `number` that calls have followed."""
    query = select(RoutePolicyVersion).where(
        RoutePolicyVersion.policy_id == policy_id,
        RoutePolicyVersion.number < number,
        RoutePolicyVersion.published_at.is_not(None),
    )
    return await session.scalar(query.order_by(RoutePolicyVersion.number.desc()).limit(1))


async def has_tenant(session: AsyncSession, tenant_id: UUID) -> bool:
    return await session.get(Tenant, tenant_id) is not None
