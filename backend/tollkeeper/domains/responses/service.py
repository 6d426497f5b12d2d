"""What stored responses have in common for those who read and those who write: their envelopes, and a database that
may be away.

Failure policy: PostgreSQL late or gone: `DependencyUnavailable`, at once while it is known to be gone.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.responses import StoredResponse
from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db.breaker import Breaker
from tollkeeper.db.faults import unavailable
from tollkeeper.db.models import responses as rows
from tollkeeper.db.session import Database

_FIELD: Final = "stored_response"
_VERSION: Final = 1


class Access:
    """Short transactions of one tenant, with a deadline for everything."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._breaker = Breaker()

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        if not self._breaker.admits(time.monotonic()):
            raise unavailable("breaker open")
        try:
            async with asyncio.timeout(self._seconds), self._database.tenant(tenant_id) as session:
                yield session
        except TimeoutError:
            self._breaker.failed(time.monotonic())
            raise unavailable("deadline of stored responses") from None
        except DependencyUnavailable:
            self._breaker.failed(time.monotonic())
            raise
        self._breaker.succeeded()


def write_document(stored: StoredResponse) -> bytes:
    return orjson.dumps({"input": stored.input, "response": stored.response})


def seal(box: SecretBox, tenant_id: UUID, response_id: UUID, document: bytes) -> bytes:
    return box.seal(document, Aad(tenant_id, response_id, _FIELD, _VERSION))


def unseal(box: SecretBox, row: rows.StoredResponse) -> StoredResponse:
    """Raises `ValueError` for an envelope that is damaged or of an unknown key."""
    document = orjson.loads(box.open(row.envelope, Aad(row.tenant_id, row.id, _FIELD, _VERSION)))
    return StoredResponse(row.id, row.previous_id, document["input"], document["response"], tuple(row.item_ids))
