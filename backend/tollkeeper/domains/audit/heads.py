"""Signed heads: the end of each tenant's chain, signed and kept outside the database.

A chain shows every edit, but not that its newest records were cut off, nor that it was rewritten whole by somebody who
owns the database. A head does: it says that at this time the record of this sequence had this hash. One of each day and
the newest stand in the object store, and each is logged as well, so that it leaves the machine with the logs.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import NotFound
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.objects import Objects
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import repository

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 180
_PURPOSE: Final = "audit head"
_TENANTS: Final = 500


class HeadForged(ValueError):
    """A head in the object store that we did not sign, or that names a master key we were not given."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """At `signed_at` the tenant's record `sequence` was the newest and had this `hash`."""

    tenant_id: UUID
    sequence: int
    hash: bytes
    signed_at: datetime
    # The fingerprint of the master key it is signed with.
    key_id: str = field(default="", compare=False)

    def document(self) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id.hex,
            "sequence": self.sequence,
            "hash": self.hash.hex(),
            "signed_at": self.signed_at.astimezone(UTC).isoformat(),
        }


class Heads:
    """Reads and writes signed heads. Failure policy: object store away: `DependencyUnavailable`, tried again later."""

    def __init__(self, objects: Objects, keys: MasterKeys, clock: Clock) -> None:
        self._objects = objects
        self._keys = keys
        self._clock = clock

    async def newest(self, tenant_id: UUID) -> SignedHead | None:
        """Raises `HeadForged`."""
        try:
            return self._read(await self._objects.get(_newest(tenant_id)), tenant_id)
        except NotFound:
            return None

    async def all(self, tenant_id: UUID) -> Sequence[SignedHead]:
        """Oldest first. Raises `HeadForged` when one of them is not ours."""
        found = {
            head
            async for key in self._objects.list(_folder(tenant_id))
            for head in [self._read(await self._objects.get(key), tenant_id)]
        }
        return sorted(found, key=lambda head: head.sequence)

    async def renew(self, tenant_id: UUID) -> int:
        """Sign again, with the current master key, what former ones have signed. Raises `HeadForged`."""
        count = 0
        async for key in self._objects.list(_folder(tenant_id)):
            head = self._read(await self._objects.get(key), tenant_id)
            if not self.is_current(head):
                await self._objects.put(key, self._write(head))
                count += 1
        return count

    def is_current(self, head: SignedHead) -> bool:
        return head.key_id == self._keys.current.fingerprint()

    async def put(self, end: repository.End) -> SignedHead:
        head = SignedHead(end.tenant_id, end.sequence, end.hash, self._clock.now())
        data = self._write(head)
        # The day's first: if we end between the two, the next turn writes both again.
        day = head.signed_at.astimezone(UTC).date().isoformat()
        await self._objects.put(f"{_folder(end.tenant_id)}/{day}.json", data)
        await self._objects.put(_newest(end.tenant_id), data)
        return head

    def _write(self, head: SignedHead) -> bytes:
        document = head.document()
        key = self._keys.current
        signature = _sign(key.derive(_PURPOSE), document)
        return orjson.dumps({**document, "key_id": key.fingerprint(), "signature": signature})

    def _read(self, data: bytes, tenant_id: UUID) -> SignedHead:
        try:
            found = orjson.loads(data)
            head = SignedHead(
                UUID(found["tenant_id"]),
                int(found["sequence"]),
                bytes.fromhex(found["hash"]),
                datetime.fromisoformat(found["signed_at"]),
                str(found["key_id"]),
            )
            signature = str(found["signature"])
        except (ValueError, KeyError, TypeError):
            raise HeadForged("A signed head in the object store cannot be read.") from None
        key = self._keys.find(head.key_id)
        if key is None:
            # The name is not ours to repeat: anybody may have written it.
            raise HeadForged("A signed head was signed with a master key that is not given; name it as a previous one.")
        expected = _sign(key.derive(_PURPOSE), head.document())
        if head.tenant_id != tenant_id or not hmac.compare_digest(expected.encode(), signature.encode()):
            raise HeadForged("A signed head in the object store does not carry our signature.")
        return head


class HeadSigning:
    """The job that signs the end of every chain that has grown."""

    def __init__(self, database: Database, heads: Heads) -> None:
        self._database = database
        self._heads = heads
        # What was found in order last, so that quiet tenants cost no read of the store.
        self._known: dict[UUID, repository.End] = {}

    async def handle(self, _context: object, _payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """`JobKind("audit.heads", …)`. Broken chains are named in the result, and none of them stops the others."""
        broken: list[str] = []
        chains = 0
        after: UUID | None = None
        while True:
            async with self._database.platform() as session:
                ends = await repository.ends(session, after=after, limit=_TENANTS)
            broken += [str(end.tenant_id) for end in ends if not await self._is_in_order(end)]
            chains += len(ends)
            if len(ends) < _TENANTS:
                return {"chains": chains, "broken": broken}
            after = ends[-1].tenant_id

    async def _is_in_order(self, end: repository.End) -> bool:
        if self._known.get(end.tenant_id) == end:
            return True
        try:
            return await self._hold_against(await self._heads.newest(end.tenant_id), end)
        except HeadForged as error:
            log.error("audit_head_forged", tenant_id=str(end.tenant_id), problem=str(error))  # noqa: TRY400 - says it all
            return False

    async def _hold_against(self, before: SignedHead | None, end: repository.End) -> bool:
        if before is not None and not await self._continues(before):
            # What was signed stays as it is: it is the evidence.
            log.error("audit_chain_broken", tenant_id=str(end.tenant_id), sequence=before.sequence)
            return False
        if before is not None and not self._heads.is_current(before):
            await self._heads.renew(end.tenant_id)
        if end.sequence > (0 if before is None else before.sequence):
            head = await self._heads.put(end)
            log.info("audit_head_signed", tenant_id=str(end.tenant_id), sequence=head.sequence, hash=head.hash.hex())
        self._known[end.tenant_id] = end
        return True

    async def _continues(self, before: SignedHead) -> bool:
        async with self._database.platform() as session:
            return await repository.hash_at(session, before.tenant_id, before.sequence) == before.hash


def _folder(tenant_id: UUID) -> str:
    return f"{tenant_id.hex}/audit/heads"


def _newest(tenant_id: UUID) -> str:
    return f"{_folder(tenant_id)}/newest.json"


def _sign(key: bytes, document: Mapping[str, Any]) -> str:
    return hmac.digest(key, orjson.dumps(document, option=orjson.OPT_SORT_KEYS), "sha256").hex()
