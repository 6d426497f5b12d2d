"""The recurring jobs that keep the gateway in order: partitions ahead, retention, delivery of the outbox.

What belongs to another domain comes in as a callable, from `wiring`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.jobs import service
from tollkeeper.domains.jobs.schemas import Handler, JobContext, JobKind, Leftover

HOUR: Final = 3600
_BATCH: Final = 1000
# Rows that have served; the ledger and the audit trail are never among them.
LEFTOVERS: Final = (
    Leftover(
        "jobs",
        "status IN ('succeeded', 'cancelled', 'dead') AND schedule_key IS NULL AND finished_at < now() - interval '7 days'",
    ),
    Leftover("outbox", "delivered_at < now() - interval '7 days'"),
    Leftover("idempotency_keys", "created_at < now() - interval '24 hours'"),
    # A refresh token that comes back after its session was replaced is a theft, so rows stay as long as a token could.
    Leftover("sessions", "expires_at < now() - interval '1 day'"),
    Leftover("announcements", "created_at < now() - interval '1 hour'"),
    Leftover("consumed_tokens", "expires_at < now() - interval '1 hour'"),
    Leftover("one_time_links", "coalesce(used_at, expires_at) < now() - interval '1 day'"),
    Leftover("stored_responses", "expires_at < now()"),
    # The trail keeps who was invited by whom; the row is for a look at what became of it.
    Leftover("invitations", "coalesce(accepted_at, revoked_at, expires_at) < now() - interval '90 days'"),
)


class Stores(Protocol):
    def platform(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction under the platform role."""
        ...

    def owner(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that may make and drop partitions, and sees no rows."""
        ...


EnsurePartitions = Callable[[AsyncSession], Awaitable[Sequence[date]]]
DropExpired = Callable[[AsyncSession, int], Awaitable[Sequence[date]]]


def make_kinds(
    stores: Stores,
    *,
    ensure_partitions: EnsurePartitions,
    drop_expired: DropExpired,
    usage_retention_days: int,
    deliver_outbox: Handler,
) -> list[JobKind]:
    async def make_partitions(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        async with stores.owner() as session:
            made = await ensure_partitions(session)
        return {"made": [day.isoformat() for day in made]}

    async def retain(_context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        async with stores.owner() as session:
            dropped = await drop_expired(session, usage_retention_days)
        deleted = {leftover.table: await _delete_all(stores, leftover) for leftover in LEFTOVERS}
        return {"dropped": [day.isoformat() for day in dropped], "deleted": deleted}

    return [
        JobKind("usage.partitions", make_partitions, every_seconds=HOUR),
        JobKind("retention", retain, every_seconds=HOUR),
        JobKind("outbox.deliver", deliver_outbox, every_seconds=2),
    ]


async def _delete_all(stores: Stores, leftover: Leftover) -> int:
    """In batches, each its own transaction, so that nobody waits for long."""
    count = 0
    while True:
        async with stores.platform() as session:
            deleted = await service.delete_leftovers(session, leftover, _BATCH)
        count += deleted
        if deleted < _BATCH:
            return count
