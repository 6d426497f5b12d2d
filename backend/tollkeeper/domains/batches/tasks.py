"""The jobs of batches: their runs, and a look for batches that nobody runs."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.batches import WINDOW_SECONDS
from tollkeeper.domains.batches import repository
from tollkeeper.domains.batches.run import TURN_SECONDS, BatchRun, Parts
from tollkeeper.domains.batches.service import RUN, enqueue
from tollkeeper.domains.jobs.schemas import JobContext, JobKind

_SWEEP_SECONDS: Final = 60
# Batches of one tenant that are run in turns; the later ones look again after a while.
_AT_A_TIME: Final = 4
_BEHIND_SECONDS: Final = 5.0
# How long a batch can be looked at once it is over.
_KEPT_DAYS: Final = 180


def batch_jobs(parts: Parts, *, turn_seconds: float = TURN_SECONDS) -> list[JobKind]:
    """For a runner of their own, in a process with a gateway: a batch lasts for hours."""

    async def run(context: JobContext, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        batch_id, tenant_id = UUID(payload["batch_id"]), context.tenant_id
        assert tenant_id is not None
        found = await BatchRun.of(parts, tenant_id, batch_id, turn_seconds)
        if found is None:
            return {"is_over": True}
        run_at = None
        if found.can_wait and await _is_behind(tenant_id, batch_id):
            run_at = parts.clock.now() + timedelta(seconds=_BEHIND_SECONDS)
        elif await found.go():
            return {"is_over": True}
        async with parts.database.tenant(tenant_id) as session:
            await enqueue(session, batch_id, tenant_id, run_at)
        return {"is_over": False}

    async def _is_behind(tenant_id: UUID, batch_id: UUID) -> bool:
        """However many batches one tenant makes, a few of them take turns with those of others."""
        async with parts.database.tenant(tenant_id) as session:
            return await repository.count_open(session, before=batch_id) >= _AT_A_TIME

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
