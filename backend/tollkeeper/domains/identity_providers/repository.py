"""Rows of identity providers, of the people and the workloads behind their subjects, and of what was used up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import (
    ApiKey,
    ConsumedToken,
    ExternalIdentity,
    IdentityProvider,
    Member,
    Role,
    Team,
    TeamMember,
    Tenant,
    User,
    WorkloadBinding,
)

FROM_PROVIDER = "identity_provider"


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody who signs in through a provider holds in its tenant."""

    role: str
    permissions: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Trust:
    """A binding as a workload's token meets it: the provider's word, and the key it stands for."""

    tenant_id: UUID
    provider_id: UUID
    binding_id: UUID
    key_id: UUID
    key_owner_id: UUID
    audience: str | None
    allow_private_address: bool
    claims: dict[str, Any]


def add(session: AsyncSession, row: IdentityProvider | WorkloadBinding | ExternalIdentity) -> None:
    session.add(row)


async def find(session: AsyncSession, provider_id: UUID) -> IdentityProvider | None:
    return (await session.scalars(select(IdentityProvider).where(IdentityProvider.id == provider_id))).one_or_none()


async def find_locked(session: AsyncSession, provider_id: UUID) -> IdentityProvider | None:
    query = select(IdentityProvider).where(IdentityProvider.id == provider_id).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def list_page(
    session: AsyncSession, tenant_id: UUID, *, after: UUID | None, limit: int
) -> Sequence[IdentityProvider]:
    """Newest first."""
    query = select(IdentityProvider).where(IdentityProvider.tenant_id == tenant_id)
    if after is not None:
        query = query.where(IdentityProvider.id < after)
    return (await session.scalars(query.order_by(IdentityProvider.id.desc()).limit(limit))).all()


async def remove(session: AsyncSession, row: IdentityProvider | WorkloadBinding | ExternalIdentity) -> None:
    await session.delete(row)
    await session.flush()


async def list_held(session: AsyncSession, provider_id: UUID) -> Sequence[Held]:
    """The roles of everybody who signs in through the provider, each once."""
    query = (
        select(Member.role, Role.permissions)
        .join_from(
            ExternalIdentity,
            Member,
            and_(Member.tenant_id == ExternalIdentity.tenant_id, Member.user_id == ExternalIdentity.user_id),
        )
        .outerjoin(Role, and_(Role.tenant_id == Member.tenant_id, Role.id == Member.role_id))
        .where(ExternalIdentity.provider_id == provider_id, Member.removed_at.is_(None))
        .distinct()
    )
    return [Held(row.role, row.permissions) for row in await session.execute(query)]


async def list_teams(session: AsyncSession, tenant_id: UUID, team_ids: Collection[UUID]) -> set[UUID]:
    """Those that exist in the tenant."""
    query = select(Team.id).where(Team.tenant_id == tenant_id, Team.id.in_(team_ids))
    return set(await session.scalars(query))


async def get_tenant(session: AsyncSession, tenant_id: UUID) -> Tenant:
    return await session.get_one(Tenant, tenant_id)


# Bindings.


async def find_binding(session: AsyncSession, provider_id: UUID, binding_id: UUID) -> WorkloadBinding | None:
    query = select(WorkloadBinding).where(WorkloadBinding.id == binding_id, WorkloadBinding.provider_id == provider_id)
    return (await session.scalars(query)).one_or_none()


async def find_binding_locked(session: AsyncSession, provider_id: UUID, binding_id: UUID) -> WorkloadBinding | None:
    query = select(WorkloadBinding).where(WorkloadBinding.id == binding_id, WorkloadBinding.provider_id == provider_id)
    return (await session.scalars(query.with_for_update().execution_options(populate_existing=True))).one_or_none()


async def list_bindings(
    session: AsyncSession, provider_id: UUID, *, after: UUID | None, limit: int
) -> Sequence[WorkloadBinding]:
    """Newest first."""
    query = select(WorkloadBinding).where(WorkloadBinding.provider_id == provider_id)
    if after is not None:
        query = query.where(WorkloadBinding.id < after)
    return (await session.scalars(query.order_by(WorkloadBinding.id.desc()).limit(limit))).all()


async def list_bound_keys(session: AsyncSession, provider_id: UUID) -> Sequence[UUID]:
    query = select(WorkloadBinding.key_id).where(WorkloadBinding.provider_id == provider_id).distinct()
    return (await session.scalars(query)).all()


async def list_trusts(
    session: AsyncSession, issuer: str, tenant_ids: Collection[UUID], key_id: UUID | None
) -> Sequence[Trust]:
    """Bindings in force of providers with that issuer: of the tenants, or of the key. Under the look-up's role."""
    query = (
        select(
            WorkloadBinding.tenant_id,
            WorkloadBinding.provider_id,
            WorkloadBinding.id,
            WorkloadBinding.key_id,
            ApiKey.user_id,
            IdentityProvider.audience,
            IdentityProvider.allow_private_address,
            WorkloadBinding.claims,
        )
        .join(
            IdentityProvider,
            and_(
                IdentityProvider.tenant_id == WorkloadBinding.tenant_id,
                IdentityProvider.id == WorkloadBinding.provider_id,
            ),
        )
        .join(ApiKey, and_(ApiKey.tenant_id == WorkloadBinding.tenant_id, ApiKey.id == WorkloadBinding.key_id))
        .where(
            IdentityProvider.issuer == issuer,
            IdentityProvider.is_active,
            IdentityProvider.allows_workloads,
            WorkloadBinding.is_active,
            WorkloadBinding.tenant_id.in_(tenant_ids) if key_id is None else WorkloadBinding.key_id == key_id,
        )
        .order_by(WorkloadBinding.id)
    )
    return [Trust(*row) for row in await session.execute(query)]


# Signing in.


async def list_options_of_tenant(session: AsyncSession, slug: str) -> Sequence[IdentityProvider]:
    query = select(IdentityProvider).join(Tenant, Tenant.id == IdentityProvider.tenant_id)
    query = query.where(Tenant.slug == slug, Tenant.is_active, IdentityProvider.is_active)
    return (await session.scalars(query.where(IdentityProvider.allows_sign_in).order_by(IdentityProvider.name))).all()


async def list_options_of_domain(session: AsyncSession, domain: str) -> Sequence[IdentityProvider]:
    query = select(IdentityProvider).join(Tenant, Tenant.id == IdentityProvider.tenant_id)
    query = query.where(IdentityProvider.email_domains.contains([domain]), Tenant.is_active, IdentityProvider.is_active)
    return (await session.scalars(query.where(IdentityProvider.allows_sign_in).order_by(IdentityProvider.name))).all()


async def find_in_force(session: AsyncSession, provider_id: UUID) -> IdentityProvider | None:
    """One that people may sign in through now."""
    query = select(IdentityProvider).join(Tenant, Tenant.id == IdentityProvider.tenant_id)
    query = query.where(IdentityProvider.id == provider_id, Tenant.is_active, IdentityProvider.is_active)
    return (await session.scalars(query.where(IdentityProvider.allows_sign_in))).one_or_none()


async def use_up(session: AsyncSession, digest: bytes, purpose: str, expires_at: datetime) -> bool:
    """Whether it had not been used before. Two at once: one of them is told so."""
    statement = insert(ConsumedToken).values(digest=digest, purpose=purpose, expires_at=expires_at)
    used = await session.scalar(statement.on_conflict_do_nothing().returning(ConsumedToken.digest))
    return used is not None


async def lock_subject(session: AsyncSession, provider_id: UUID, subject: str) -> None:
    """Two first sign-ins of one person come one after the other."""
    await session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"oidc subject {provider_id} {subject}", 0)))
    )


async def find_external(session: AsyncSession, provider_id: UUID, subject: str) -> ExternalIdentity | None:
    query = select(ExternalIdentity).where(
        ExternalIdentity.provider_id == provider_id, ExternalIdentity.subject == subject
    )
    return (await session.scalars(query.with_for_update())).one_or_none()


async def list_linked(session: AsyncSession, tenant_id: UUID, user_id: UUID) -> Sequence[Row[*tuple[Any, ...]]]:
    """With the names of their providers."""
    query = (
        select(
            ExternalIdentity.id,
            ExternalIdentity.provider_id,
            IdentityProvider.name.label("provider_name"),
            ExternalIdentity.email,
            ExternalIdentity.last_login_at,
            ExternalIdentity.created_at,
        )
        .join(
            IdentityProvider,
            and_(
                IdentityProvider.tenant_id == ExternalIdentity.tenant_id,
                IdentityProvider.id == ExternalIdentity.provider_id,
            ),
        )
        .where(ExternalIdentity.tenant_id == tenant_id, ExternalIdentity.user_id == user_id)
        .order_by(ExternalIdentity.id)
    )
    return (await session.execute(query)).all()


async def lock_account(session: AsyncSession, user_id: UUID) -> bool:
    """Whether it has a password. Two changes of its ways in come one after the other."""
    query = select(User.password_hash.is_not(None)).where(User.id == user_id).with_for_update()
    return bool(await session.scalar(query))


async def remove_linked(session: AsyncSession, identity_id: UUID) -> None:
    await session.execute(delete(ExternalIdentity).where(ExternalIdentity.id == identity_id))


async def note_sign_in(session: AsyncSession, external_id: UUID, email: str | None, now: datetime) -> None:
    await session.execute(
        update(ExternalIdentity)
        .where(ExternalIdentity.id == external_id)
        .values(last_login_at=now, email=email)
        .execution_options(synchronize_session=False)
    )


async def set_teams(
    session: AsyncSession, tenant_id: UUID, user_id: UUID, wanted: Collection[UUID]
) -> tuple[set[UUID], set[UUID]]:
    """Add and remove what came from the provider; a membership that somebody gave by hand stays. Added and removed ids."""
    mine = and_(TeamMember.tenant_id == tenant_id, TeamMember.user_id == user_id)
    rows = (await session.execute(select(TeamMember.team_id, TeamMember.source).where(mine))).all()
    known = {row.team_id for row in rows}
    given = {row.team_id for row in rows if row.source == FROM_PROVIDER}
    added, removed = set(wanted) - known, given - set(wanted)
    session.add_all(
        TeamMember(tenant_id=tenant_id, team_id=team_id, user_id=user_id, source=FROM_PROVIDER)
        for team_id in sorted(added)
    )
    if removed:
        await session.execute(delete(TeamMember).where(mine, TeamMember.team_id.in_(removed)))
    await session.flush()
    return added, removed
