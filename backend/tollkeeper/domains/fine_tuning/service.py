"""Keeps fine-tuning jobs for the data plane, as `contracts.ports.FineTuningJobs`.

Failure policy: PostgreSQL late or gone: `DependencyUnavailable`.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.fine_tuning import FineTuningJob
from tollkeeper.contracts.principal import Principal
from tollkeeper.db.models import fine_tuning as rows
from tollkeeper.db.session import Database
from tollkeeper.domains.fine_tuning import repository
from tollkeeper.domains.responses.service import Access

# A caller waits for it, and has nothing to fall back on.
_SECONDS: Final = 2.0


class StoredFineTuningJobs:
    def __init__(self, database: Database) -> None:
        self._access = Access(database, seconds=_SECONDS)

    async def keep(self, principal: Principal, job: FineTuningJob) -> None:
        await self._access.run(principal.tenant_id, lambda session: repository.keep(session, principal, job))

    async def find(self, principal: Principal, vendor_id: str) -> FineTuningJob | None:
        row = await self._access.run(
            principal.tenant_id, lambda session: repository.find(session, principal, vendor_id)
        )
        return None if row is None else _read(row)

    async def list_page(self, principal: Principal, after: str | None, limit: int) -> Sequence[FineTuningJob] | None:
        async def read(session: AsyncSession) -> Sequence[rows.FineTuningJob] | None:
            before = None
            if after is not None:
                last = await repository.find(session, principal, after)
                if last is None:
                    return None
                before = last.id
            return await repository.list_page(session, principal, before, limit)

        found = await self._access.run(principal.tenant_id, read)
        return None if found is None else [_read(row) for row in found]

    async def close(self) -> None:
        await self._access.close()


def _read(row: rows.FineTuningJob) -> FineTuningJob:
    return FineTuningJob(row.provider, row.credential_id, row.vendor_id, row.model, row.document)
