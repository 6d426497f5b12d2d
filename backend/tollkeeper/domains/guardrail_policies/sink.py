"""Writes what guardrails found for the data plane, as `contracts.ports.GuardrailEventSink`, and tells subscribers.

Texts that a policy keeps are sealed. Subscribers hear of what was blocked or taken out, without the text.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
from sqlalchemy.exc import DBAPIError

from tollkeeper.contracts.guardrails import Action, GuardrailEvent
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.events import GuardrailHit, emit
from tollkeeper.core.ids import uuid7_unix_ms
from tollkeeper.db.days import Days, oldest_kept_day
from tollkeeper.db.session import Database, driver_of
from tollkeeper.domains.guardrail_policies.events import seal_text

DAYS: Final = Days("guardrail_events", "create_guardrail_event_partition")
_INSERT: Final = """
    INSERT INTO guardrail_events (
        tenant_id, day, id, created_at, request_id, api_key_id, user_id, model, policy_id, policy, policy_version,
        is_platform, rule, label, action, is_monitored, direction, place, role, count, envelope
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
    ON CONFLICT DO NOTHING
"""
# A clock may be ahead of ours by this much; a day beyond it is no day to make a partition for.
_DAYS_AHEAD: Final = 2
_MOST_TEXT: Final = 256


class GuardrailEvents:
    def __init__(self, database: Database, box: SecretBox, clock: Clock, *, retention_days: int) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._retention_days = retention_days

    async def write(self, events: Sequence[GuardrailEvent]) -> None:
        today = self._clock.now().date()
        first, end = oldest_kept_day(today, self._retention_days), today + timedelta(days=_DAYS_AHEAD)
        kept = [event for event in events if first <= _made(event).date() <= end]
        if not kept:
            return
        rows = [self._row(event) for event in kept]
        try:
            await self._insert(kept, rows)
        except _NoPartition:
            async with self._database.platform() as session:
                await DAYS.add(session, sorted({_made(event).date() for event in kept}))
            await self._insert(kept, rows)

    async def _insert(self, events: Sequence[GuardrailEvent], rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            async with self._database.platform() as session:
                connection = await driver_of(session)
                await connection.executemany(_INSERT, rows)
                for event in events:
                    if event.action is not Action.FLAG and not event.is_monitored:
                        await emit(session, event.tenant_id, _told(event))
        except asyncpg.CheckViolationError as error:
            raise _NoPartition from error
        except asyncpg.DataError as error:
            raise ValueError(f"an event does not fit its table: {error}") from error
        except (asyncpg.PostgresError, DBAPIError) as error:
            raise DependencyUnavailable("The events of guardrails cannot be written at the moment.") from error

    def _row(self, event: GuardrailEvent) -> tuple[Any, ...]:
        made = _made(event)
        return (
            event.tenant_id,
            made.date(),
            event.id,
            made,
            event.request_id,
            event.key_id,
            event.user_id,
            None if event.model is None else _plain(event.model),
            event.policy_id,
            event.policy,
            event.policy_version,
            event.is_platform,
            event.rule,
            _plain(event.label),
            event.action.value,
            event.is_monitored,
            event.direction.value,
            event.place,
            _plain(event.role),
            event.times,
            None if event.text is None else seal_text(self._box, event.tenant_id, event.id, event.text),
        )


class _NoPartition(Exception):
    """There is no partition for the day of a row."""


def _told(event: GuardrailEvent) -> GuardrailHit:
    return GuardrailHit(
        request_id=event.request_id,
        key_id=event.key_id,
        policy_id=event.policy_id,
        policy=event.policy,
        rule=event.rule,
        label=_plain(event.label),
        action=event.action.value,
        direction=event.direction.value,
        model=None if event.model is None else _plain(event.model),
        count=event.times,
    )


def _made(event: GuardrailEvent) -> datetime:
    return datetime.fromtimestamp(uuid7_unix_ms(event.id) / 1000, UTC)


def _plain(text: str) -> str:
    """What callers and other services wrote, as PostgreSQL can store it."""
    return text[:_MOST_TEXT].replace("\0", "").encode("utf-8", "replace").decode()
