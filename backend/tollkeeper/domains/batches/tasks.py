"""The jobs of batches: their runs, and a look for batches that nobody runs."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.batches import WINDOW_SECONDS
from tollkeeper.domains.batches import repository
from tollkeeper.domains.batches.run import TURN_SECONDS, BatchRun, Parts
from tollkeeper.domains.batches.service import RUN, enqueue
from tollkeeper.domains.jobs.schemas import JobContext, JobKind

_SWEEP_SECONDS: Final = 60
# How long a batch can be looked at once it is over.
_KEPT_DAYS: Final = 180


def batch_jobs(parts: Parts, *, turn_seconds: float = TURN_SECONDS) -> list[JobKind]:
    """For a runner of their own, in a process with a gateway: a batch lasts for hours."""

    async def run(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        batch_id, tenant_id = UUID(payload["batch_id"]), context.tenant_id
        assert tenant_id is not None
        found = await BatchRun.of(parts, tenant_id, batch_id, turn_seconds)
        is_over = found is None or await found.go()
        if not is_over:
            async with parts.database.tenant(tenant_id) as session:
                await enqueue(session, batch_id, tenant_id)
        return {"is_over": is_over}

    async def sweep(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        async with parts.database.platform() as session:
            orphans = await repository.list_orphans(session, RUN)
            for batch_id, tenant_id in orphans:
                await enqueue(session, batch_id, tenant_id)
            removed = await repository.remove_old(session, _KEPT_DAYS)
        return {"taken_up": len(orphans), "removed": removed}

    return [
        JobKind(RUN, run, timeout_seconds=WINDOW_SECONDS),
        JobKind("batches.sweep", sweep, every_seconds=_SWEEP_SECONDS),
    ]
