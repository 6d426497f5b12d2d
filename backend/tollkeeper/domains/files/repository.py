"""SQL of files. The session is one tenant's; what a key sees of them is what its own project has, live or test as the
key is.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.batches import OPEN
from tollkeeper.contracts.files import Asked
from tollkeeper.contracts.principal import Principal
from tollkeeper.db.models.batches import Batch
from tollkeeper.db.models.files import File

UPLOADING: Final = "uploading"
PROCESSED: Final = "processed"
DELETING: Final = "deleting"
# An upload that is older than this has ended without telling anybody.
_LONGEST_UPLOAD: Final = "2 hours"
_OPEN: Final = sorted(OPEN)


async def find(
    session: AsyncSession, principal: Principal, file_id: UUID, *, is_held: bool = False, is_alone: bool = False
) -> File | None:
    """`is_held`: until the end of the transaction nobody deletes it; `is_alone`: nor begins to use it."""
    query = select(File).where(File.id == file_id, visible(principal))
    if is_held or is_alone:
        query = query.with_for_update(read=is_held)
    row: File | None = await session.scalar(query)
    return row


async def find_processed(session: AsyncSession, file_id: UUID) -> File | None:
    row: File | None = await session.scalar(select(File).where(File.id == file_id, File.status == PROCESSED))
    return row


async def list_page(
    session: AsyncSession, principal: Principal, asked: Asked, purpose: str | None
) -> Sequence[File] | None:
    """One more than asked for, where there are more; None when `after` is not there."""
    query = select(File).where(visible(principal))
    if asked.after is not None:
        if await find(session, principal, asked.after) is None:
            return None
        query = query.where(File.id > asked.after if asked.is_ascending else File.id < asked.after)
    if purpose is not None:
        query = query.where(File.purpose == purpose)
    ordered = query.order_by(File.id if asked.is_ascending else File.id.desc()).limit(asked.limit + 1)
    return (await session.scalars(ordered)).all()


async def used_bytes(session: AsyncSession) -> int:
    """What the tenant's files take up, those on their way in as far as they have told."""
    total = await session.scalar(select(func.coalesce(func.sum(File.size), 0)).where(File.status != DELETING))
    return int(total or 0)


async def count(session: AsyncSession, most: int) -> int:
    """How many files the tenant has, up to `most`."""
    some = select(File.id).where(File.status != DELETING).limit(most).subquery()
    return int(await session.scalar(select(func.count()).select_from(some)) or 0)


async def set_size(session: AsyncSession, file_id: UUID, size: int) -> None:
    await session.execute(update(File).where(File.id == file_id).values(size=size))


async def is_in_use(session: AsyncSession, file_id: UUID) -> bool:
    found = await session.scalar(
        select(Batch.id).where(Batch.input_file_id == file_id, Batch.status.in_(_OPEN)).limit(1)
    )
    return found is not None


async def mark_deleting(session: AsyncSession, principal: Principal, file_id: UUID) -> bool:
    marked = await session.scalar(
        update(File).where(File.id == file_id, visible(principal)).values(status=DELETING).returning(File.id)
    )
    return marked is not None


async def remove(session: AsyncSession, file_id: UUID) -> None:
    await session.execute(delete(File).where(File.id == file_id))


async def list_leftovers(session: AsyncSession, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Tenant and id of files that are over: expired, half deleted, or never finished. The session sees all tenants."""
    rows = await session.execute(
        text(f"""
            UPDATE files SET status = 'deleting' WHERE id IN (
                SELECT id FROM files WHERE status = 'deleting'
                    OR (status = 'uploading' AND created_at < now() - interval '{_LONGEST_UPLOAD}')
                    OR (expires_at < now() AND NOT EXISTS (
                        SELECT FROM batches WHERE input_file_id = files.id AND status = ANY(:open)))
                LIMIT :limit FOR UPDATE SKIP LOCKED
            ) RETURNING tenant_id, id
        """),  # noqa: S608 - a constant
        {"limit": limit, "open": _OPEN},
    )
    return [(row.tenant_id, row.id) for row in rows]


def visible(principal: Principal) -> ColumnElement[bool]:
    return and_(
        File.project_id.is_not_distinct_from(principal.project_id),
        File.environment == principal.environment.value,
        File.status == PROCESSED,
        # What has expired is gone, whenever it is cleared away.
        func.coalesce(File.expires_at > func.now(), True),
    )
