"""Finds the key behind a token for the data plane, as `contracts.ports.KeyLookup`: one read, `record.KEY_QUERY`."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select

from tollkeeper.contracts.principal import EndedRun, KeyRecord
from tollkeeper.db.models import runs
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.record import KEY_QUERY, record_from_row


class SqlKeyLookup:
    """Failure policy: PostgreSQL late or gone: `DependencyUnavailable`, never "no such key"."""

    def __init__(
        self, database: Database, *, default_requests_per_minute: int = 0, deadline_seconds: float | None = None
    ) -> None:
        """`default_requests_per_minute` is the rate of a key that has none of its own; 0 is unlimited.

        `deadline_seconds`: for callers with time. Without it the look-up has the deadline and the breaker of the calls' path.
        """
        self._database = database
        self._default_requests_per_minute = default_requests_per_minute
        self._deadline_seconds = deadline_seconds

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        return await self._find(ApiKey.public_id == public_id)

    async def find_by_digest(self, digests: Sequence[bytes]) -> KeyRecord | None:
        # A key in another form that was rotated into ours is still found by its former digest.
        return await self._find(
            or_(
                and_(ApiKey.public_id.is_(None), ApiKey.digest.in_(digests)),
                and_(ApiKey.previous_digest.is_not(None), ApiKey.previous_digest.in_(digests)),
            )
        )

    async def find_by_id(self, key_id: UUID) -> KeyRecord | None:
        record = await self._find(ApiKey.id == key_id)
        if record is None:
            return None
        query = select(runs.EndedRun).where(runs.EndedRun.key_id == key_id, runs.EndedRun.expires_at > func.now())
        # Read after the key: whoever ends a run announces it, and what was read before that is looked for again.
        async with self._database.lookup(deadline_seconds=self._deadline_seconds) as session:
            ended = (await session.scalars(query)).all()
        return replace(record, digests=(), ended_runs=tuple(_ended_run(row) for row in ended))

    async def find_own(self, key_id: UUID, tenant_id: UUID, user_id: UUID) -> KeyRecord | None:
        """A user's own key, for a session that acts as it."""
        return await self._find(and_(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.user_id == user_id))

    async def _find(self, condition: ColumnElement[bool]) -> KeyRecord | None:
        async with self._database.lookup(deadline_seconds=self._deadline_seconds) as session:
            # A key we were shown goes before one of which only a hash was handed in: nobody takes over another's token
            # by importing its hash.
            query = KEY_QUERY.where(condition).order_by(ApiKey.is_imported).limit(1)
            row = (await session.execute(query)).first()
        if row is None:
            return None
        return record_from_row(row, default_requests_per_minute=self._default_requests_per_minute)


def _ended_run(row: runs.EndedRun) -> EndedRun:
    before = row.issued_before
    return EndedRun(row.ends_at.timestamp(), row.run_id, None if before is None else before.timestamp())
