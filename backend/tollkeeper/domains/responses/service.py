"""What stored responses have in common for those who read and those who write: their envelopes, and a database that
may be away.

Failure policy: PostgreSQL late or gone: `DependencyUnavailable`, at once while it is known to be gone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
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

T = TypeVar("T")

_FIELD: Final = "stored_response"
_VERSION: Final = 1
_LONGEST_ID: Final = 512


class Access:
    """Short transactions of one tenant, with a deadline for everything. Whoever closes the database closes it before."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._breaker = Breaker()
        # Given up: a connection that is silent takes its time to end, and nobody waits for that.
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def run(self, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        if not self._breaker.admits(time.monotonic()):
            raise unavailable("breaker open")
        task = asyncio.ensure_future(self._transact(tenant_id, work))
        try:
            done, _ = await asyncio.wait((task,), timeout=self._seconds)
            if not done:
                raise unavailable("deadline of stored responses")
            result = task.result()
        except DependencyUnavailable:
            self._breaker.failed(time.monotonic())
            raise
        finally:
            if not task.done():
                self._give_up(task)
        self._breaker.succeeded()
        return result

    async def close(self) -> None:
        await asyncio.gather(*self._abandoned, return_exceptions=True)

    async def _transact(self, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async with self._database.tenant(tenant_id) as session:
            return await work(session)

    def _give_up(self, task: "asyncio.Task[T]") -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            # Nobody takes it: an error that is not looked at would be logged as lost.
            task.exception()


def can_be_found(item_id: str) -> bool:
    """Ids of ours can; a vendor's or a caller's may be what no column or index holds."""
    return len(item_id) <= _LONGEST_ID and item_id.isprintable()


def write_document(stored: StoredResponse) -> bytes:
    return orjson.dumps({"input": stored.input, "response": stored.response})


def seal(box: SecretBox, tenant_id: UUID, response_id: UUID, document: bytes) -> bytes:
    return box.seal(document, Aad(tenant_id, response_id, _FIELD, _VERSION))


def unseal(box: SecretBox, row: rows.StoredResponse) -> StoredResponse:
    """Raises `ValueError` for an envelope that is damaged or of an unknown key."""
    document = orjson.loads(box.open(row.envelope, Aad(row.tenant_id, row.id, _FIELD, _VERSION)))
    return StoredResponse(row.id, row.previous_id, document["input"], document["response"], tuple(row.item_ids))
