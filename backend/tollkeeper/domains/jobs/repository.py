"""The SQL of the job table. Times are the database's, so that machines with other clocks agree on leases."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import CursorResult, Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.jobs.schemas import Claim, JobStatus, Leftover

_LONGEST_ERROR: Final = 2000
_COLUMNS: Final = (
    "id, tenant_id, kind, status, priority, attempts, max_attempts, run_at, schedule_key IS NOT NULL AS is_recurring, "
    "progress, result, last_error, created_at, finished_at"
)
# A lease that ran out belongs to a runner that died: its job is as good as queued.
_CLAIM: Final = text("""
    UPDATE jobs SET status = 'running', attempts = attempts + 1, leased_by = :lease_id, heartbeat_at = now(),
                    leased_until = now() + make_interval(secs => :lease), progress = NULL
    WHERE id = (
        SELECT id FROM jobs
        WHERE kind = ANY(:kinds)
          AND ((status IN ('queued', 'failed') AND run_at <= now()) OR (status = 'running' AND leased_until < now()))
        ORDER BY priority DESC, run_at, id
        LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, tenant_id, kind, payload, attempts, max_attempts, schedule_key
""")
_INSERT: Final = """
    INSERT INTO jobs (id, tenant_id, kind, payload, status, priority, run_at, attempts, max_attempts, schedule_key, created_at)
    VALUES (:id, :tenant_id, :kind, CAST(:payload AS jsonb), 'queued', :priority, COALESCE(:run_at, now()), 0,
            :max_attempts, :schedule_key, now())
"""


async def insert(
    session: AsyncSession,
    *,
    job_id: UUID,
    kind: str,
    payload: Mapping[str, Any],
    tenant_id: UUID | None,
    priority: int,
    run_at: datetime | None,
    max_attempts: int,
    schedule_key: str | None,
) -> bool:
    """False when a job of that schedule key is there already."""
    # Only where it can conflict: ON CONFLICT reads the table, which a tenant's session may not.
    on_conflict = "" if schedule_key is None else "ON CONFLICT (schedule_key) DO NOTHING"
    result = await session.execute(
        text(_INSERT + on_conflict),
        {
            "id": job_id,
            "tenant_id": tenant_id,
            "kind": kind,
            "payload": orjson.dumps(dict(payload)).decode(),
            "priority": priority,
            "run_at": run_at,
            "max_attempts": max_attempts,
            "schedule_key": schedule_key,
        },
    )
    return _count(result) == 1


async def claim(session: AsyncSession, *, lease_id: str, kinds: Sequence[str], lease_seconds: float) -> Claim | None:
    """`lease_id` is new for each claim: a runner whose own lease ran out is a stranger to the next one, like any other."""
    row = (
        await session.execute(_CLAIM, {"lease_id": lease_id, "kinds": list(kinds), "lease": lease_seconds})
    ).one_or_none()
    if row is None:
        return None
    return Claim(
        row.id, row.tenant_id, row.kind, row.payload, row.attempts, row.max_attempts, row.schedule_key, lease_id
    )


async def renew(session: AsyncSession, claim: Claim, lease_seconds: float) -> bool:
    """False when the lease was lost: cancelled, or taken by another after it ran out."""
    result = await session.execute(
        text("""
            UPDATE jobs SET leased_until = now() + make_interval(secs => :lease), heartbeat_at = now()
            WHERE id = :id AND status = 'running' AND leased_by = :lease_id
        """),
        {"id": claim.id, "lease_id": claim.lease_id, "lease": lease_seconds},
    )
    return _count(result) == 1


async def save_progress(session: AsyncSession, claim: Claim, progress: Mapping[str, Any]) -> None:
    await session.execute(
        text("""
            UPDATE jobs SET progress = CAST(:progress AS jsonb)
            WHERE id = :id AND status = 'running' AND leased_by = :lease_id
        """),
        {"id": claim.id, "lease_id": claim.lease_id, "progress": orjson.dumps(dict(progress)).decode()},
    )


async def finish(
    session: AsyncSession,
    claim: Claim,
    *,
    status: JobStatus,
    attempts: int,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
    run_again_in_seconds: float | None = None,
) -> bool:
    """End an attempt. With `run_again_in_seconds` the row is put back; False when the lease was lost meanwhile."""
    outcome = await session.execute(
        text("""
            UPDATE jobs SET status = :status, result = CAST(:result AS jsonb), last_error = :error, leased_by = NULL,
                leased_until = NULL, attempts = :attempts,
                run_at = CASE WHEN CAST(:again AS float8) IS NULL THEN run_at
                              ELSE now() + make_interval(secs => CAST(:again AS float8)) END,
                finished_at = CASE WHEN CAST(:again AS float8) IS NULL THEN now() ELSE finished_at END
            WHERE id = :id AND status = 'running' AND leased_by = :lease_id
        """),
        {
            "id": claim.id,
            "lease_id": claim.lease_id,
            "status": status.value,
            "attempts": attempts,
            "result": None if result is None else orjson.dumps(dict(result)).decode(),
            # PostgreSQL's text holds no NUL.
            "error": None if error is None else error.replace("\0", "")[:_LONGEST_ERROR],
            "again": run_again_in_seconds,
        },
    )
    return _count(outcome) == 1


async def find(session: AsyncSession, job_id: UUID) -> Row[Any] | None:
    return (await session.execute(text(f"SELECT {_COLUMNS} FROM jobs WHERE id = :id"), {"id": job_id})).one_or_none()  # noqa: S608 - a constant


async def list_page(
    session: AsyncSession, *, status: str | None, kind: str | None, before: UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first; `before` is the last id of the page before."""
    query = f"""
        SELECT {_COLUMNS} FROM jobs
        WHERE (CAST(:status AS text) IS NULL OR status = :status) AND (CAST(:kind AS text) IS NULL OR kind = :kind)
          AND (CAST(:before AS uuid) IS NULL OR id < :before)
        ORDER BY id DESC LIMIT :limit
    """  # noqa: S608 - a constant
    rows = await session.execute(text(query), {"status": status, "kind": kind, "before": before, "limit": limit})
    return rows.all()


async def cancel(session: AsyncSession, job_id: UUID) -> bool:
    """False for a job that has ended. A running one notices when it next renews its lease."""
    result = await session.execute(
        text("""
            UPDATE jobs SET status = 'cancelled', leased_by = NULL, leased_until = NULL, finished_at = now()
            WHERE id = :id AND status IN ('queued', 'running', 'failed')
        """),
        {"id": job_id},
    )
    return _count(result) == 1


async def retry(session: AsyncSession, job_id: UUID) -> bool:
    """False for a job that has not ended badly."""
    result = await session.execute(
        text("""
            UPDATE jobs SET status = 'queued', attempts = 0, run_at = now(), finished_at = NULL
            WHERE id = :id AND status IN ('dead', 'cancelled', 'failed')
        """),
        {"id": job_id},
    )
    return _count(result) == 1


async def delete_batch(session: AsyncSession, leftover: Leftover, limit: int) -> int:
    """Delete up to `limit` rows that are no longer needed, without waiting for rows that somebody holds."""
    query = f"""
        DELETE FROM {leftover.table} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {leftover.table} WHERE {leftover.condition} LIMIT :limit FOR UPDATE SKIP LOCKED
        ))
    """  # noqa: S608 - constants of `tasks`
    return _count(await session.execute(text(query), {"limit": limit}))


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
