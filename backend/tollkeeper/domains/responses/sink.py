"""Keeps answers of the Responses API for the data plane, as `contracts.ports.ResponseSink`."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.responses import StoredResponse
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.db.models import responses as rows
from tollkeeper.db.session import Database
from tollkeeper.domains.responses import repository
from tollkeeper.domains.responses.service import Access, can_be_found, seal, write_document

# An answer waits for it, and goes out all the same.
_SECONDS: Final = 1.0


class ResponseSink:
    def __init__(self, database: Database, box: SecretBox, clock: Clock, *, days: int, max_bytes: int) -> None:
        """`days` that an answer is kept, 0: none is; `max_bytes` of the largest that is kept."""
        self._access = Access(database, seconds=_SECONDS)
        self._box = box
        self._clock = clock
        self._days = days
        self._max_bytes = max_bytes

    async def keep(self, principal: Principal, stored: StoredResponse) -> bool:
        if self._days == 0:
            return False
        document = write_document(stored)
        if len(document) > self._max_bytes:
            return False
        row = rows.StoredResponse(
            id=stored.id,
            tenant_id=principal.tenant_id,
            project_id=principal.project_id,
            environment=principal.environment.value,
            previous_id=stored.previous_id,
            item_ids=list(filter(can_be_found, stored.item_ids)),
            envelope=seal(self._box, principal.tenant_id, stored.id, document),
            expires_at=self._clock.now() + timedelta(days=self._days),
        )

        async def insert(session: AsyncSession) -> None:
            session.add(row)

        await self._access.run(principal.tenant_id, insert)
        return True

    async def delete(self, principal: Principal, response_id: UUID) -> bool:
        return await self._access.run(
            principal.tenant_id, lambda session: repository.remove(session, principal, response_id)
        )

    async def close(self) -> None:
        await self._access.close()
