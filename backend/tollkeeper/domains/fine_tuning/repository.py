"""SQL of fine-tuning jobs. The session is one tenant's; what a key sees of them is what its own project has, live or
test as the key is.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts import fine_tuning
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.fine_tuning import FineTuningJob


async def keep(session: AsyncSession, principal: Principal, job: fine_tuning.FineTuningJob) -> None:
    """A new one, or what is said of one that is there; never what another project has."""
    document = dict(job.document)
    values = {
        "id": uuid7(),
        "tenant_id": principal.tenant_id,
        "project_id": principal.project_id,
        "environment": principal.environment.value,
        "provider": job.provider,
        "credential_id": job.credential_id,
        "vendor_id": job.vendor_id,
        "model": job.model,
        "document": document,
    }
    statement = insert(FineTuningJob).values(values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "provider", "vendor_id"],
            set_={"document": document, "updated_at": func.now()},
            where=_visible(principal),
        )
    )


async def find(session: AsyncSession, principal: Principal, vendor_id: str) -> FineTuningJob | None:
    query = select(FineTuningJob).where(FineTuningJob.vendor_id == vendor_id, _visible(principal))
    row: FineTuningJob | None = await session.scalar(query.order_by(FineTuningJob.id.desc()).limit(1))
    return row


async def list_page(
    session: AsyncSession, principal: Principal, before: UUID | None, limit: int
) -> Sequence[FineTuningJob]:
    query = select(FineTuningJob).where(_visible(principal))
    if before is not None:
        query = query.where(FineTuningJob.id < before)
    return (await session.scalars(query.order_by(FineTuningJob.id.desc()).limit(limit))).all()


def _visible(principal: Principal) -> ColumnElement[bool]:
    return and_(
        FineTuningJob.project_id.is_not_distinct_from(principal.project_id),
        FineTuningJob.environment == principal.environment.value,
    )
