"""Delivery of the outbox: each event goes to its subscribers at least once, in order of its writing where none fails.

A subscriber that fails does not hold up the others, nor other events: its event comes again after a pause, to every
subscriber, so each must bear to be told twice. An event nobody wants is marked as delivered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.db.models.system import OutboxEvent
from tollkeeper.domains.jobs.schemas import JobContext

log = structlog.get_logger(__name__)

EVERY: Final = "*"
BATCH: Final = 100
SUBSCRIBER_SECONDS: Final = 20.0
# A batch whose process dies is free again after this time; a live one stops well before.
_CLAIM_SECONDS: Final = 120
_BATCH_SECONDS: Final = 60.0
# The pause doubles from one second up to this, so an event is tried for days before anyone must look.
_LONGEST_PAUSE_SECONDS: Final = 3600

# Claiming is a short transaction of its own: no row stays locked while subscribers work.
_CLAIM: Final = text("""
    UPDATE outbox SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => :claim)
    WHERE id IN (
        SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at <= now()
        ORDER BY next_attempt_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id, tenant_id, event, payload, created_at, attempts
""").columns(
    OutboxEvent.id,
    OutboxEvent.tenant_id,
    OutboxEvent.event,
    OutboxEvent.payload,
    OutboxEvent.created_at,
    OutboxEvent.attempts,
)
_DELIVERED: Final = text("UPDATE outbox SET delivered_at = now(), last_error = NULL WHERE id = ANY(:ids)")
_FAILED: Final = text("""
    UPDATE outbox SET last_error = :error,
        next_attempt_at = now() + make_interval(secs => least(:longest, power(2, least(attempts - 1, 20))))
    WHERE id = :id
""")
_RELEASED: Final = text("UPDATE outbox SET attempts = attempts - 1, next_attempt_at = now() WHERE id = ANY(:ids)")


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way; `id` is the same at each attempt, for subscribers that must not act twice."""

    id: int
    tenant_id: UUID
    event: str
    payload: Mapping[str, Any]
    created_at: datetime
    attempt: int


Subscriber = Callable[[Delivery], Awaitable[None]]


class Platform(Protocol):
    def platform(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction under the platform role."""
        ...


class OutboxDelivery:
    """`subscribers` by the name of the event; those under `EVERY` get all."""

    def __init__(self, database: Platform, subscribers: Mapping[str, Sequence[Subscriber]]) -> None:
        self._database = database
        self._subscribers = subscribers

    async def deliver(self, limit: int = BATCH) -> int:
        """Deliver what is due, at most `limit` events; how many were claimed. Safe beside others doing the same."""
        async with self._database.platform() as session:
            rows = (await session.execute(_CLAIM, {"limit": limit, "claim": _CLAIM_SECONDS})).all()
        delivered: list[int] = []
        failed: dict[int, str] = {}
        begun = time.monotonic()
        for row in sorted(rows, key=lambda row: row.id):
            if time.monotonic() - begun > _BATCH_SECONDS:
                break
            error = await self._hand_over(
                Delivery(row.id, row.tenant_id, row.event, row.payload, row.created_at, row.attempts)
            )
            if error is None:
                delivered.append(row.id)
            else:
                failed[row.id] = error
        if rows:
            untouched = [row.id for row in rows if row.id not in failed and row.id not in delivered]
            async with self._database.platform() as session:
                await session.execute(_DELIVERED, {"ids": delivered})
                await session.execute(_RELEASED, {"ids": untouched})
                for event_id, error in failed.items():
                    await session.execute(_FAILED, {"id": event_id, "error": error, "longest": _LONGEST_PAUSE_SECONDS})
        return len(rows)

    async def handle(self, _context: JobContext, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """The handler of the job `outbox.deliver`: goes on until nothing is due."""
        count = 0
        while claimed := await self.deliver():
            count += claimed
            if claimed < BATCH:
                break
        return {"events": count}

    async def _hand_over(self, delivery: Delivery) -> str | None:
        """What went wrong, for the row; None when every subscriber has it."""
        problem: str | None = None
        for subscriber in (*self._subscribers.get(delivery.event, ()), *self._subscribers.get(EVERY, ())):
            try:
                async with asyncio.timeout(SUBSCRIBER_SECONDS):
                    await subscriber(delivery)
            except Exception as error:  # noqa: BLE001 - the boundary between an event and whoever listens
                log.warning(
                    "event_not_delivered",
                    event_name=delivery.event,
                    event_id=delivery.id,
                    attempt=delivery.attempt,
                    error=type(error).__name__,
                )
                problem = type(error).__name__
        return problem
