"""Rows of second factors, recovery codes and one-time links. What is used once is taken by one statement, so that two
requests at the same moment cannot both have it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models import OneTimeLink, RecoveryCode, SecondFactor


async def has_confirmed_factor(session: AsyncSession, user_id: UUID) -> bool:
    query = select(SecondFactor.id).where(SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None))
    return await session.scalar(query) is not None


async def find_factor(session: AsyncSession, user_id: UUID) -> SecondFactor | None:
    return (await session.scalars(select(SecondFactor).where(SecondFactor.user_id == user_id))).one_or_none()


async def find_factor_locked(session: AsyncSession, user_id: UUID) -> SecondFactor | None:
    query = select(SecondFactor).where(SecondFactor.user_id == user_id).with_for_update()
    return (await session.scalars(query)).one_or_none()


def add(session: AsyncSession, row: SecondFactor | OneTimeLink) -> None:
    session.add(row)


async def use_step(session: AsyncSession, factor_id: UUID, step: int) -> bool:
    """False when it, or a later one, was used meanwhile."""
    result = await session.execute(
        update(SecondFactor)
        .where(SecondFactor.id == factor_id, SecondFactor.last_step < step)
        .values(last_step=step)
        .returning(SecondFactor.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


async def delete_factor(session: AsyncSession, user_id: UUID) -> bool:
    """With the recovery codes. False when there was none, confirmed or not."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    deleted = await session.execute(
        delete(SecondFactor).where(SecondFactor.user_id == user_id).returning(SecondFactor.id)
    )
    return deleted.first() is not None


async def replace_recovery_codes(
    session: AsyncSession, tenant_id: UUID, user_id: UUID, digests: Sequence[bytes]
) -> None:
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.add_all(RecoveryCode(tenant_id=tenant_id, user_id=user_id, digest=digest) for digest in digests)
    await session.flush()


async def use_recovery_code(session: AsyncSession, user_id: UUID, digest: bytes, now: datetime) -> bool:
    result = await session.execute(
        update(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, RecoveryCode.digest == digest, RecoveryCode.used_at.is_(None))
        .values(used_at=now)
        .returning(RecoveryCode.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


async def count_recovery_codes(session: AsyncSession, user_id: UUID) -> int:
    """Those that can still be used."""
    query = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return await session.scalar(query) or 0


async def find_link(session: AsyncSession, digest: bytes, purpose: str, now: datetime) -> OneTimeLink | None:
    """One that can still be used."""
    query = select(OneTimeLink).where(
        OneTimeLink.digest == digest,
        OneTimeLink.purpose == purpose,
        OneTimeLink.used_at.is_(None),
        OneTimeLink.expires_at > now,
    )
    return (await session.scalars(query)).one_or_none()


async def use_link(session: AsyncSession, link_id: UUID, now: datetime) -> bool:
    """False when it was used meanwhile."""
    result = await session.execute(
        update(OneTimeLink)
        .where(OneTimeLink.id == link_id, OneTimeLink.used_at.is_(None))
        .values(used_at=now)
        .returning(OneTimeLink.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


async def delete_links(session: AsyncSession, user_id: UUID, purpose: str) -> None:
    """Those that were not used: a newer one takes their place, or they are not needed any more."""
    await session.execute(
        delete(OneTimeLink).where(
            OneTimeLink.user_id == user_id, OneTimeLink.purpose == purpose, OneTimeLink.used_at.is_(None)
        )
    )
