"""Moving stored secrets to a new master key while gateways run, and telling which key holds what.

Only the wrapping of each data key is renewed, so no secret is opened. Each row is replaced only if it is still what was
read, in small transactions: a run that was killed is simply run again. API keys are digests and cannot be moved; each
is digested anew when it is next used, until then the former key has to stay known.
"""

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.crypto import EnvelopeError, SecretBox
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.db.envelopes import ENVELOPES, EnvelopeColumn
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.secrets import repository
from tollkeeper.domains.secrets.schemas import Rotated, Status, Unreadable

BATCH: Final = 200
_OPERATOR: Final = audit.Actor("system", "operator", "tollkeeper secrets rotate")

Progress = Callable[[str, int], None]


async def find_unknown_keks(database: Database, box: SecretBox) -> Sequence[tuple[str, str, int]]:
    """(table.column, key, rows) for what no given master key opens."""
    async with database.platform() as session:
        found = await repository.count_wrapped(session)
    return [(row.place, row.kek_id, row.count) for row in found if row.kek_id not in box.known_kek_ids]


async def status(database: Database) -> Status:
    async with database.platform() as session:
        return Status(
            fingerprint=await repository.get_fingerprint(session),
            envelopes=tuple(await repository.count_wrapped(session)),
            keys=tuple(await repository.count_keys(session)),
        )


class Rotation:
    """`progress` is told (table.column, envelopes renewed since it was told last) after each transaction."""

    def __init__(self, database: Database, keys: MasterKeys, *, progress: Progress, batch: int = BATCH) -> None:
        self._database = database
        self._keys = keys
        self._box = keys.secret_box()
        self._progress = progress
        self._batch = batch

    async def run(self) -> Rotated:
        done = Rotated()
        for column in ENVELOPES:
            await self._walk(column, done)
        async with self._database.platform() as session:
            await self._finish(session, done)
        return done

    async def _walk(self, column: EnvelopeColumn, done: Rotated) -> None:
        after: UUID | None = None
        while True:
            async with self._database.platform() as session:
                rows = await repository.list_under_other_keys(
                    session, column, self._box.kek_id, after=after, limit=self._batch
                )
                count = 0
                for row_id, envelope in rows:
                    count += await self._renew(session, column, row_id, envelope, done)
            if count:
                done.rewrapped[column.name] = done.rewrapped.get(column.name, 0) + count
                self._progress(column.name, count)
            if len(rows) < self._batch:
                return
            after = rows[-1][0]

    async def _renew(
        self, session: AsyncSession, column: EnvelopeColumn, row_id: UUID, envelope: bytes, done: Rotated
    ) -> bool:
        try:
            renewed = self._box.rewrap(envelope)
        except EnvelopeError as error:
            done.unreadable.append(Unreadable(column.name, row_id, str(error)))
            return False
        return await repository.replace(session, column, row_id, envelope, renewed, self._box.kek_id)

    async def _finish(self, session: AsyncSession, done: Rotated) -> None:
        """The database belongs to the new key once nothing needs another; said in the audit trail, once."""
        current = self._keys.current
        done.former_fingerprint = await repository.get_fingerprint(session, is_locked=True)
        left = [row for row in await repository.count_wrapped(session) if row.kek_id != current.kek_id]
        done.is_complete = not left
        done.keys_to_upgrade = sum(
            row.count for row in await repository.count_keys(session) if row.pepper_id != current.pepper_id
        )
        is_new = done.is_complete and done.former_fingerprint != current.fingerprint()
        if is_new:
            await repository.set_fingerprint(session, current.fingerprint())
        tenant_id = await repository.platform_tenant(session)
        if tenant_id is not None and (is_new or done.rewrapped):
            await audit.record(
                session,
                _OPERATOR,
                "secrets.rotate",
                "master_key",
                current.fingerprint(),
                {"fingerprint": done.former_fingerprint},
                {"fingerprint": current.fingerprint() if done.is_complete else done.former_fingerprint}
                | {"envelopes": done.rewrapped, "is_complete": done.is_complete},
                tenant_id=tenant_id,
            )
