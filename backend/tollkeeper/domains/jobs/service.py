"""Putting jobs into the table, and what an administrator may do with them."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.crypto import EnvelopeError, SecretBox
from tollkeeper.core.errors import Conflict, NotFound, TollkeeperError
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.jobs import repository
from tollkeeper.domains.jobs.schemas import JobKind, JobStatus, JobView, Leftover
from tollkeeper.web.caller import Caller


class JobNotFound(NotFound):
    """No job of that id."""


class PayloadUnreadable(TollkeeperError):
    """Sealed under a master key that is gone."""


async def enqueue(
    session: AsyncSession,
    kind: str,
    payload: Mapping[str, Any],
    *,
    tenant_id: UUID | None = None,
    priority: int = 0,
    run_at: datetime | None = None,
    max_attempts: int = 5,
) -> UUID:
    """Add a job in the caller's transaction: it exists if and only if that commits."""
    job_id = uuid7()
    await repository.insert(
        session,
        job_id=job_id,
        kind=kind,
        payload=payload,
        tenant_id=tenant_id,
        priority=priority,
        run_at=run_at,
        max_attempts=max_attempts,
        schedule_key=None,
    )
    return job_id


async def enqueue_sealed(
    session: AsyncSession,
    box: SecretBox,
    kind: str,
    payload: Mapping[str, Any],
    *,
    tenant_id: UUID | None = None,
    max_attempts: int = 5,
) -> UUID:
    """`enqueue` for a payload that nobody may read in the table; the handler calls `open_sealed`."""
    envelope = box.seal(orjson.dumps(dict(payload)), _bond(kind))
    sealed = {"sealed": base64.b64encode(envelope).decode()}
    return await enqueue(session, kind, sealed, tenant_id=tenant_id, max_attempts=max_attempts)


def open_sealed(box: SecretBox, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Raises PayloadUnreadable."""
    try:
        opened: dict[str, Any] = orjson.loads(box.open(base64.b64decode(str(payload.get("sealed"))), _bond(kind)))
    except EnvelopeError:
        raise PayloadUnreadable("What the job was to do is sealed under a master key that is not here.") from None
    return opened


async def ensure_recurring(session: AsyncSession, kinds: Sequence[JobKind]) -> None:
    """One row for each recurring kind, whoever starts first."""
    for kind in kinds:
        if kind.every_seconds is not None:
            await repository.insert(
                session,
                job_id=uuid7(),
                kind=kind.name,
                payload={},
                tenant_id=None,
                priority=0,
                run_at=None,
                max_attempts=kind.max_attempts,
                schedule_key=kind.name,
            )


async def get(session: AsyncSession, job_id: UUID) -> JobView:
    row = await repository.find(session, job_id)
    if row is None:
        raise JobNotFound("There is no such job.")
    return JobView.model_validate(row)


async def list_page(
    session: AsyncSession, *, status: JobStatus | None, kind: str | None, before: UUID | None, limit: int
) -> list[JobView]:
    rows = await repository.list_page(session, status=status, kind=kind, before=before, limit=limit)
    return [JobView.model_validate(row) for row in rows]


async def cancel(session: AsyncSession, caller: Caller, job_id: UUID) -> JobView:
    job = await get(session, job_id)
    if job.is_recurring:
        raise Conflict("A recurring job cannot be cancelled: it keeps the gateway in order.", code="job_is_recurring")
    if not await repository.cancel(session, job_id):
        raise Conflict("The job has ended already.", code="job_has_ended")
    return await _changed(session, caller, "jobs.cancel", job)


async def retry(session: AsyncSession, caller: Caller, job_id: UUID) -> JobView:
    job = await get(session, job_id)
    if not await repository.retry(session, job_id):
        raise Conflict("Only a failed, dead or cancelled job can be tried again.", code="job_not_retryable")
    return await _changed(session, caller, "jobs.retry", job)


async def _changed(session: AsyncSession, caller: Caller, action: str, before: JobView) -> JobView:
    after = await get(session, before.id)
    await audit.record(
        session,
        caller,
        action,
        object_type="job",
        object_id=format_id("job", before.id),
        before={"kind": before.kind, "status": before.status.value},
        after={"kind": after.kind, "status": after.status.value},
        tenant_id=before.tenant_id,
    )
    return after


async def delete_leftovers(session: AsyncSession, leftover: Leftover, limit: int) -> int:
    """Delete up to `limit` of them; how many it were."""
    return await repository.delete_batch(session, leftover, limit)


def _bond(kind: str) -> bytes:
    """A payload sealed for one kind of job opens as no other."""
    return f"job|{kind}".encode()
