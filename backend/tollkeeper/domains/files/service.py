"""Files, as `contracts.ports.FileStore`: a row for each, its bytes in the object store in sealed pieces.

An upload is a row nobody sees until its last piece lies there, so that whatever is interrupted leaves nothing but what
`sweep` clears away. Failure policy: PostgreSQL or the object store gone: `DependencyUnavailable`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.files import BATCH_OUTPUT, Asked, StoredFile
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import Aad, SecretBox
from tollkeeper.core.errors import Conflict, InsufficientQuota, NotFound, PayloadTooLarge
from tollkeeper.core.ids import uuid7
from tollkeeper.core.objects import Objects
from tollkeeper.core.sealed_pieces import PieceKey
from tollkeeper.db.models.files import File
from tollkeeper.db.session import Database
from tollkeeper.domains.files import repository

# Small enough to be sealed between two turns of the loop.
PIECE_BYTES: Final = 1024 * 1024
# Of one tenant: small ones cost more than their bytes.
MOST_FILES: Final = 100_000
# How often an upload tells what it has taken, so that many at a time stay within the quota.
_TOLD_PIECES: Final = 16
_SWEPT: Final = 100
_FIELD: Final = "file"
_VERSION: Final = 1
_FOR_BATCHES: Final = frozenset({"batch", BATCH_OUTPUT})


class FileInUse(Conflict):
    """A batch still reads it."""

    code = "file_in_use"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a file is."""

    tenant_id: UUID
    project_id: UUID | None
    environment: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Where a file's bytes are, and the key to them. Made by `Files.contents`."""

    tenant_id: UUID
    file_id: UUID
    size: int
    key: PieceKey


class Files:
    def __init__(self, database: Database, objects: Objects, box: SecretBox, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._objects = objects
        self._box = box
        self._clock = clock
        self._max_bytes = settings.file_max_bytes
        self._quota_bytes = settings.file_quota_bytes
        self._batch_days = settings.batch_file_days

    async def begin(self, principal: Principal) -> "Upload":
        owner = Owner(principal.tenant_id, principal.project_id, principal.environment.value)
        return await self._begin(owner, max_bytes=self._max_bytes, quota_bytes=self._quota_bytes)

    async def begin_output(self, owner: Owner) -> "Upload":
        """For what a batch has to tell: paid for already, so no quota keeps it out."""
        return await self._begin(owner, max_bytes=None, quota_bytes=None)

    async def _begin(self, owner: Owner, *, max_bytes: int | None, quota_bytes: int | None) -> "Upload":
        file_id = uuid7()
        key, envelope = PieceKey.new(self._box, _bond(owner.tenant_id, file_id))
        row = File(
            id=file_id,
            tenant_id=owner.tenant_id,
            project_id=owner.project_id,
            environment=owner.environment,
            status=repository.UPLOADING,
            filename="",
            purpose="",
            size=0,
            envelope=envelope,
        )
        async with self._database.tenant(owner.tenant_id) as session:
            if quota_bytes is not None and await repository.used_bytes(session) >= quota_bytes:
                raise _quota_used(quota_bytes)
            if quota_bytes is not None and await repository.count(session, MOST_FILES) >= MOST_FILES:
                raise InsufficientQuota(f"A tenant may have {MOST_FILES} files; delete some that are not needed.")
            session.add(row)
        contents = Contents(owner.tenant_id, file_id, 0, key)
        return Upload(self, contents, max_bytes=max_bytes, quota_bytes=quota_bytes)

    async def find(self, principal: Principal, file_id: UUID) -> StoredFile | None:
        async with self._database.tenant(principal.tenant_id) as session:
            row = await repository.find(session, principal, file_id)
        return None if row is None else shown(row)

    async def list(
        self, principal: Principal, asked: Asked, purpose: str | None = None
    ) -> tuple[Sequence[StoredFile], bool]:
        async with self._database.tenant(principal.tenant_id) as session:
            rows = await repository.list_page(session, principal, asked, purpose)
        if rows is None:
            raise NotFound("No such File object.", param="after")
        return [shown(row) for row in rows[: asked.limit]], len(rows) > asked.limit

    async def delete(self, principal: Principal, file_id: UUID) -> bool:
        """Unseen at once; what of its bytes could not be removed now `sweep` removes."""
        async with self._database.tenant(principal.tenant_id) as session:
            row = await repository.find(session, principal, file_id, is_alone=True)
            if row is None:
                return False
            if await repository.is_in_use(session, file_id):
                raise FileInUse(
                    "A batch that is not over reads this file; cancel the batch, or wait for its end.",
                    should_retry=False,
                )
            await repository.mark_deleting(session, principal, file_id)
        await self.remove(principal.tenant_id, file_id)
        return True

    async def read(self, principal: Principal, file_id: UUID) -> AsyncIterator[bytes]:
        contents = await self.contents(principal, file_id)
        if contents is None:
            raise NotFound("No such File object.")
        for number in range(pieces_of(contents.size)):
            yield await self.piece(contents, number)

    async def contents(self, principal: Principal, file_id: UUID) -> Contents | None:
        async with self._database.tenant(principal.tenant_id) as session:
            row = await repository.find(session, principal, file_id)
        return None if row is None else self._contents(row)

    async def contents_of(self, tenant_id: UUID, file_id: UUID) -> Contents | None:
        """For a batch that was let read it when it began, whatever its owner may see by now."""
        async with self._database.tenant(tenant_id) as session:
            row = await repository.find_processed(session, file_id)
        return None if row is None else self._contents(row)

    async def held(self, session: AsyncSession, principal: Principal, file_id: UUID) -> StoredFile | None:
        """The file, which is not deleted before the caller's transaction ends."""
        row = await repository.find(session, principal, file_id, is_held=True)
        return None if row is None else shown(row)

    def _contents(self, row: File) -> Contents:
        key = PieceKey.open(self._box, row.envelope, _bond(row.tenant_id, row.id))
        return Contents(row.tenant_id, row.id, row.size, key)

    async def piece(self, contents: Contents, number: int) -> bytes:
        sealed = await self._objects.get(_place(contents.tenant_id, contents.file_id, number))
        return contents.key.unseal(number, sealed)

    async def put(self, contents: Contents, number: int, piece: bytes) -> None:
        await self._objects.put(_place(contents.tenant_id, contents.file_id, number), contents.key.seal(number, piece))

    async def told(self, contents: Contents, size: int, quota_bytes: int | None) -> None:
        """An upload has come so far."""
        async with self._database.tenant(contents.tenant_id) as session:
            await repository.set_size(session, contents.file_id, size)
            if quota_bytes is not None and await repository.used_bytes(session) > quota_bytes:
                raise _quota_used(quota_bytes)

    async def complete(
        self, session: AsyncSession, contents: Contents, size: int, *, filename: str, purpose: str, seconds: int | None
    ) -> StoredFile:
        """In the caller's transaction: the file is there if and only if that commits."""
        row = await session.get_one(File, contents.file_id)
        row.status, row.size, row.filename, row.purpose = repository.PROCESSED, size, filename, purpose
        row.created_at = self._clock.now()
        if seconds is not None:
            row.expires_at = row.created_at + timedelta(seconds=seconds)
        elif purpose in _FOR_BATCHES:
            row.expires_at = row.created_at + timedelta(days=self._batch_days)
        await session.flush()
        return shown(row)

    def tenant(self, tenant_id: UUID) -> AbstractAsyncContextManager[AsyncSession]:
        return self._database.tenant(tenant_id)

    async def remove(self, tenant_id: UUID, file_id: UUID) -> None:
        """Its pieces, then its row: what is interrupted between the two is found again by the row."""
        async for key in self._objects.list(_folder(tenant_id, file_id)):
            await self._objects.delete(key)
        async with self._database.tenant(tenant_id) as session:
            await repository.remove(session, file_id)

    async def sweep(self) -> int:
        """Clear away what is over; how many files it were."""
        count = 0
        while True:
            async with self._database.platform() as session:
                left = await repository.list_leftovers(session, _SWEPT)
            for tenant_id, file_id in left:
                await self.remove(tenant_id, file_id)
            count += len(left)
            if len(left) < _SWEPT:
                return count


class Upload:
    """As `contracts.ports.Upload`."""

    def __init__(self, files: Files, contents: Contents, *, max_bytes: int | None, quota_bytes: int | None) -> None:
        self._files = files
        self.contents = contents
        self._max_bytes = max_bytes
        self._quota_bytes = quota_bytes
        self._held = bytearray()
        self._pieces = 0
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._max_bytes is not None and self.size > self._max_bytes:
            raise PayloadTooLarge(f"The file is larger than {self._max_bytes} bytes.", param="file")
        self._held += data
        while len(self._held) >= PIECE_BYTES:
            piece = bytes(self._held[:PIECE_BYTES])
            del self._held[:PIECE_BYTES]
            await self._put(piece)

    async def finish(self, *, filename: str, purpose: str, seconds: int | None) -> StoredFile:
        await self.flush()
        await self._files.told(self.contents, self.size, self._quota_bytes)
        async with self._files.tenant(self.contents.tenant_id) as session:
            return await self.complete(session, filename=filename, purpose=purpose, seconds=seconds)

    async def flush(self) -> None:
        if self._held:
            piece, self._held = bytes(self._held), bytearray()
            await self._put(piece)

    async def complete(self, session: AsyncSession, *, filename: str, purpose: str, seconds: int | None) -> StoredFile:
        """After `flush`, as one of the changes of a transaction."""
        return await self._files.complete(
            session, self.contents, self.size, filename=filename, purpose=purpose, seconds=seconds
        )

    async def discard(self) -> None:
        await self._files.remove(self.contents.tenant_id, self.contents.file_id)

    async def _put(self, piece: bytes) -> None:
        await self._files.put(self.contents, self._pieces, piece)
        self._pieces += 1
        if self._pieces % _TOLD_PIECES == 0:
            await self._files.told(self.contents, self.size, self._quota_bytes)


def shown(row: File) -> StoredFile:
    return StoredFile(
        row.id,
        row.filename,
        row.purpose,
        row.size,
        int(row.created_at.timestamp()),
        None if row.expires_at is None else int(row.expires_at.timestamp()),
    )


def pieces_of(size: int) -> int:
    return -(-size // PIECE_BYTES)


def _folder(tenant_id: UUID, file_id: UUID) -> str:
    return f"{tenant_id.hex}/files/{file_id.hex}"


def _place(tenant_id: UUID, file_id: UUID, number: int) -> str:
    return f"{_folder(tenant_id, file_id)}/{number:06d}"


def _bond(tenant_id: UUID, file_id: UUID) -> Aad:
    return Aad(tenant_id, file_id, _FIELD, _VERSION)


def _quota_used(quota_bytes: int) -> InsufficientQuota:
    return InsufficientQuota(
        f"The files of this tenant may take up {quota_bytes} bytes; delete some that are not needed."
    )
