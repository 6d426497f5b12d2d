"""What guardrails found, for whoever looks it up: keyset pages, newest first, within the days that are kept."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.db.models import GuardrailEvent
from tollkeeper.domains.guardrail_policies.schemas import EventFilters, GuardrailEventOut

_FIELD, _VERSION = "guardrail_text", 1
_SHOWN: Final = tuple(name for name in GuardrailEventOut.model_fields if name != "text")


async def list_events(
    session: AsyncSession, box: SecretBox, filters: EventFilters, after: UUID | None, limit: int, *, shows_text: bool
) -> list[GuardrailEventOut]:
    return [_show(row, box, shows_text=shows_text) for row in await _list(session, filters, after, limit)]


async def _list(
    session: AsyncSession, filters: EventFilters, after: UUID | None, limit: int
) -> Sequence[GuardrailEvent]:
    # The day as well, so that other days' partitions are not even opened.
    until = filters.until.date() if after is None else min(filters.until.date(), _day_of(after))
    query = select(GuardrailEvent).where(
        GuardrailEvent.day.between(filters.since.date(), until),
        GuardrailEvent.created_at >= filters.since,
        GuardrailEvent.created_at < filters.until,
    )
    wanted = {
        GuardrailEvent.tenant_id: filters.tenant_id,
        GuardrailEvent.user_id: filters.owner_id,
        GuardrailEvent.policy_id: filters.policy_id,
        GuardrailEvent.rule: filters.rule,
        GuardrailEvent.label: filters.label,
        GuardrailEvent.action: None if filters.action is None else filters.action.value,
        GuardrailEvent.direction: None if filters.direction is None else filters.direction.value,
        GuardrailEvent.api_key_id: filters.key_id,
        GuardrailEvent.request_id: filters.request_id,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(GuardrailEvent.id < after)
    # Ids are in the order of time.
    query = query.order_by(GuardrailEvent.day.desc(), GuardrailEvent.id.desc())
    return (await session.scalars(query.limit(limit))).all()


def _show(row: GuardrailEvent, box: SecretBox, *, shows_text: bool) -> GuardrailEventOut:
    text = open_text(box, row) if shows_text else None
    return GuardrailEventOut(**{name: getattr(row, name) for name in _SHOWN}, text=text)


def open_text(box: SecretBox, row: GuardrailEvent) -> str | None:
    if row.envelope is None:
        return None
    return box.open(row.envelope, Aad(row.tenant_id, row.id, _FIELD, _VERSION)).decode()


def seal_text(box: SecretBox, tenant_id: UUID, event_id: UUID, text: str) -> bytes:
    return box.seal(text.encode("utf-8", "replace"), Aad(tenant_id, event_id, _FIELD, _VERSION))


def _day_of(event_id: UUID) -> date:
    try:
        return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC).date()
    except (OverflowError, ValueError, OSError):
        # None that we made.
        return date.max
