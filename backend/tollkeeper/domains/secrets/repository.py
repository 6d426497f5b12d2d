"""Envelopes as they lie in the tables of `db/envelopes`, whatever tenant they are of; for the platform's role."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.envelopes import ENVELOPES, EnvelopeColumn
from tollkeeper.db.models import ApiKey, Member, SystemState
from tollkeeper.domains.secrets.schemas import Peppered, Wrapped

# Kept by the first start under this name (`domains/identity/first_run`).
_FINGERPRINT = "master_key"


async def count_wrapped(session: AsyncSession) -> list[Wrapped]:
    """One query over all columns."""
    parts = [
        # Nothing of this comes from outside: the columns are a constant of ours.
        f"SELECT '{column.name}' AS place, {column.kek} AS kek_id, count(*) AS count FROM {column.table} "  # noqa: S608
        f"WHERE {column.read} IS NOT NULL GROUP BY 2"
        for column in ENVELOPES
    ]
    rows = await session.execute(text(" UNION ALL ".join(parts) + " ORDER BY 1, 2"))
    return [Wrapped(place, kek_id, count) for place, kek_id, count in rows]


async def list_under_other_keys(
    session: AsyncSession, column: EnvelopeColumn, kek_id: str, *, after: UUID | None, limit: int
) -> Sequence[tuple[UUID, bytes]]:
    query = text(
        f"SELECT id, {column.read} AS envelope FROM {column.table} "  # noqa: S608 - a constant of ours
        f"WHERE {column.kek} <> :kek_id AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit"
    )
    rows = await session.execute(query, {"kek_id": kek_id, "after": after, "limit": limit})
    return [(row.id, row.envelope) for row in rows]


async def replace(
    session: AsyncSession, column: EnvelopeColumn, row_id: UUID, known: bytes, envelope: bytes, kek_id: str
) -> bool:
    """False when somebody has written the row meanwhile: theirs stands."""
    statement = text(
        f"UPDATE {column.table} SET {column.write} "  # noqa: S608 - a constant of ours
        f"WHERE id = :id AND {column.read} = CAST(:known AS bytea)"
    )
    parameters = {"id": row_id, "known": known, "envelope": envelope}
    if ":kek_id" in column.write:
        parameters["kek_id"] = kek_id
    result = await session.execute(statement, parameters)
    return bool(result.rowcount)  # type: ignore[attr-defined]


async def count_keys(session: AsyncSession) -> list[Peppered]:
    """Keys that may still be used; what a rotation of the key itself left behind is short-lived, and not counted."""
    query = (
        select(ApiKey.pepper_id, func.count())
        .where(ApiKey.status == "active", (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()))
        .group_by(ApiKey.pepper_id)
        .order_by(ApiKey.pepper_id)
    )
    return [Peppered(pepper_id, count) for pepper_id, count in (await session.execute(query)).all()]


async def get_fingerprint(session: AsyncSession, *, is_locked: bool = False) -> str | None:
    query = select(SystemState.value).where(SystemState.key == _FINGERPRINT)
    value = await session.scalar(query.with_for_update() if is_locked else query)
    return None if value is None else str(value)


async def set_fingerprint(session: AsyncSession, fingerprint: str) -> None:
    statement = insert(SystemState).values(key=_FINGERPRINT, value=fingerprint)
    await session.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": fingerprint}))


async def platform_tenant(session: AsyncSession) -> UUID | None:
    """Where the platform's own records go: the home of its first administrator."""
    query = select(Member.tenant_id).where(Member.role == "platform_admin").order_by(Member.created_at, Member.id)
    tenant_id: UUID | None = await session.scalar(query.limit(1))
    return tenant_id
