"""`/api/v1/jobs`: what runs in the background, for platform administrators: look, cancel, try again."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import Query

from tollkeeper.core.ids import JobId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.jobs import service
from tollkeeper.domains.jobs.schemas import JobStatus, JobView
from tollkeeper.web.deps import CurrentCaller, PlatformSession, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("jobs")
_LIST = "jobs"
_VIEW = [requires(Permission.JOBS_VIEW)]
_UPDATE = [requires(Permission.JOBS_UPDATE)]


@router.get("", dependencies=_VIEW)
async def list_jobs(
    session: PlatformSession,
    paging: Paging,
    status: Annotated[JobStatus | None, Query(description="`dead`: every attempt failed.")] = None,
    kind: Annotated[Word | None, Query(description="For example `outbox.deliver`.")] = None,
) -> Page[JobView]:
    """Newest first. Jobs that have ended are kept for seven days."""
    position = cast(tuple[UUID] | None, paging.position(_LIST, UUID))
    before = None if position is None else position[0]
    found = await service.list_page(session, status=status, kind=kind, before=before, limit=paging.limit + 1)
    rows, next_cursor = cut(found, paging, _LIST, lambda job: (job.id,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.get("/{job_id}", dependencies=_VIEW)
async def get_job(session: PlatformSession, job_id: JobId) -> JobView:
    return await service.get(session, job_id)


@router.post("/{job_id}/cancel", dependencies=_UPDATE)
async def cancel_job(session: PlatformSession, caller: CurrentCaller, job_id: JobId) -> JobView:
    """A running job notices at its next heartbeat, within ten seconds. Recurring jobs cannot be cancelled."""
    return await service.cancel(session, caller, job_id)


@router.post("/{job_id}/retry", dependencies=_UPDATE)
async def retry_job(session: PlatformSession, caller: CurrentCaller, job_id: JobId) -> JobView:
    """Run a failed, dead or cancelled job again, at once and with all its attempts."""
    return await service.retry(session, caller, job_id)
