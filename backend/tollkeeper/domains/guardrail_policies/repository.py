"""The SQL of guardrail policies: versions, where they are attached, and who is exempt."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import collate, delete, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.guardrails import Level
from tollkeeper.db.models import (
    ApiKey,
    GuardrailAttachment,
    GuardrailExemption,
    GuardrailPolicy,
    GuardrailPolicyVersion,
    Project,
    Team,
    Tenant,
)

_OBJECTS: Final[Mapping[Level, Any]] = {Level.TEAM: Team, Level.PROJECT: Project, Level.KEY: ApiKey}


async def list_policies(
    session: AsyncSession, tenant_id: UUID | None, after: tuple[str, UUID], limit: int
) -> Sequence[GuardrailPolicy]:
    """By name, by code point; with `tenant_id` that tenant's alone."""
    name = collate(GuardrailPolicy.name, "C")
    query = select(GuardrailPolicy).where(tuple_(name, GuardrailPolicy.id) > after)
    if tenant_id is not None:
        query = query.where(GuardrailPolicy.tenant_id == tenant_id)
    return (await session.scalars(query.order_by(name, GuardrailPolicy.id).limit(limit))).all()


async def find_policy(session: AsyncSession, policy_id: UUID, *, for_update: bool = False) -> GuardrailPolicy | None:
    query = select(GuardrailPolicy).where(GuardrailPolicy.id == policy_id)
    return await session.scalar(query.with_for_update() if for_update else query)


async def count_policies(session: AsyncSession, tenant_id: UUID | None) -> int:
    """Nobody else adds one until the transaction ends."""
    key = f"guardrail policies {tenant_id}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    owner = GuardrailPolicy.tenant_id
    query = select(func.count()).select_from(GuardrailPolicy)
    return await session.scalar(query.where(owner.is_(None) if tenant_id is None else owner == tenant_id)) or 0


async def list_latest(session: AsyncSession, policies: Sequence[GuardrailPolicy]) -> Sequence[GuardrailPolicyVersion]:
    """Of each policy the published version and, where it comes after that, the draft."""
    newest = (
        select(GuardrailPolicyVersion.policy_id, func.max(GuardrailPolicyVersion.number).label("number"))
        .where(GuardrailPolicyVersion.policy_id.in_([policy.id for policy in policies]))
        .group_by(GuardrailPolicyVersion.policy_id)
        .subquery()
    )
    query = (
        select(GuardrailPolicyVersion)
        .join(newest, newest.c.policy_id == GuardrailPolicyVersion.policy_id)
        .join(GuardrailPolicy, GuardrailPolicy.id == GuardrailPolicyVersion.policy_id)
        .where(
            or_(
                GuardrailPolicyVersion.number == newest.c.number,
                GuardrailPolicyVersion.number == GuardrailPolicy.published_number,
            )
        )
    )
    return (await session.scalars(query)).all()


async def list_versions(
    session: AsyncSession, policy_id: UUID, before: int | None, limit: int
) -> Sequence[GuardrailPolicyVersion]:
    """The latest first."""
    query = select(GuardrailPolicyVersion).where(GuardrailPolicyVersion.policy_id == policy_id)
    if before is not None:
        query = query.where(GuardrailPolicyVersion.number < before)
    return (await session.scalars(query.order_by(GuardrailPolicyVersion.number.desc()).limit(limit))).all()


async def find_version(session: AsyncSession, policy_id: UUID, number: int) -> GuardrailPolicyVersion | None:
    return await session.get(GuardrailPolicyVersion, (policy_id, number))


async def find_published_before(session: AsyncSession, policy_id: UUID, number: int) -> GuardrailPolicyVersion | None:
    """The latest version below `number` that has held."""
    query = select(GuardrailPolicyVersion).where(
        GuardrailPolicyVersion.policy_id == policy_id,
        GuardrailPolicyVersion.number < number,
        GuardrailPolicyVersion.published_at.is_not(None),
    )
    return await session.scalar(query.order_by(GuardrailPolicyVersion.number.desc()).limit(1))


async def forget_versions(session: AsyncSession, policy: GuardrailPolicy, below: int) -> None:
    """Old ones, but the one that holds."""
    version = GuardrailPolicyVersion
    await session.execute(
        delete(version).where(
            version.policy_id == policy.id,
            version.number < below,
            version.number != (policy.published_number or 0),
        )
    )


async def has_tenant(session: AsyncSession, tenant_id: UUID) -> bool:
    present = select(func.count()).where(Tenant.id == tenant_id, Tenant.slug.not_like("~deleted-%"))
    return await session.scalar(present) == 1


async def find_tenant_of(session: AsyncSession, level: Level, subject: UUID, tenant_id: UUID | None) -> UUID | None:
    """Of a team, project or key; None: there is none, or not in that tenant."""
    table = _OBJECTS[level]
    query = select(table.tenant_id).where(table.id == subject)
    if tenant_id is not None:
        query = query.where(table.tenant_id == tenant_id)
    found: UUID | None = await session.scalar(query)
    return found


async def list_attachments(
    session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
) -> Sequence[GuardrailAttachment]:
    query = select(GuardrailAttachment).where(GuardrailAttachment.policy_id == policy_id)
    if after is not None:
        query = query.where(GuardrailAttachment.id > after)
    return (await session.scalars(query.order_by(GuardrailAttachment.id).limit(limit))).all()


async def find_attachment(session: AsyncSession, policy_id: UUID, attachment_id: UUID) -> GuardrailAttachment | None:
    query = select(GuardrailAttachment).where(
        GuardrailAttachment.id == attachment_id, GuardrailAttachment.policy_id == policy_id
    )
    return await session.scalar(query)


async def count_attachments(session: AsyncSession, policy_id: UUID) -> int:
    query = select(func.count()).select_from(GuardrailAttachment).where(GuardrailAttachment.policy_id == policy_id)
    return await session.scalar(query) or 0


async def count_at(session: AsyncSession, attachment: GuardrailAttachment) -> int:
    """How many policies of the same owner hold at the same place."""
    same = (
        getattr(GuardrailAttachment, name).is_not_distinct_from(getattr(attachment, name))
        for name in ("tenant_id", "level", "subject_tenant_id", "team_id", "project_id", "key_id", "model")
    )
    return await session.scalar(select(func.count()).select_from(GuardrailAttachment).where(*same)) or 0


async def list_exemptions(
    session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
) -> Sequence[GuardrailExemption]:
    """Those that have ended among them."""
    query = select(GuardrailExemption).where(GuardrailExemption.policy_id == policy_id)
    if after is not None:
        query = query.where(GuardrailExemption.id > after)
    return (await session.scalars(query.order_by(GuardrailExemption.id).limit(limit))).all()


async def find_exemption(session: AsyncSession, policy_id: UUID, exemption_id: UUID) -> GuardrailExemption | None:
    query = select(GuardrailExemption).where(
        GuardrailExemption.id == exemption_id, GuardrailExemption.policy_id == policy_id
    )
    return await session.scalar(query)


async def count_exemptions(session: AsyncSession, policy_id: UUID) -> int:
    """Those that hold."""
    query = select(func.count()).where(
        GuardrailExemption.policy_id == policy_id, GuardrailExemption.expires_at > func.now()
    )
    return await session.scalar(query) or 0


async def list_attached(session: AsyncSession) -> Sequence[tuple[GuardrailAttachment, GuardrailPolicy]]:
    """Every place where a published policy holds."""
    query = (
        select(GuardrailAttachment, GuardrailPolicy)
        .join(GuardrailPolicy, GuardrailPolicy.id == GuardrailAttachment.policy_id)
        .where(GuardrailPolicy.published_number.is_not(None))
        .order_by(GuardrailAttachment.id)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def list_numbered(
    session: AsyncSession, versions: Sequence[tuple[UUID, int]]
) -> Sequence[GuardrailPolicyVersion]:
    """By policy and number."""
    key = tuple_(GuardrailPolicyVersion.policy_id, GuardrailPolicyVersion.number)
    return (await session.scalars(select(GuardrailPolicyVersion).where(key.in_(versions)))).all()


async def list_present_exemptions(session: AsyncSession) -> Sequence[GuardrailExemption]:
    query = select(GuardrailExemption).where(GuardrailExemption.expires_at > func.now())
    return (await session.scalars(query.order_by(GuardrailExemption.id))).all()
