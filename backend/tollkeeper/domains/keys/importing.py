"""Keys of another gateway, taken over by their hashes: who holds one goes on as before.

We are given the SHA-256 of each token and keep an HMAC of that under our pepper: what is kept proves a token, but a copy
of the database does not, and neither does the hash itself. All rows are imported or none, and every fault is told by its
row. A hash that is known already is one fault whosever key it is: the answer does not say in which tenant.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import Conflict, NotFound, TollkeeperError
from tollkeeper.core.flags import KEY_IMPORT, is_on
from tollkeeper.core.ids import format_id
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import ApiKey
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.keys import repository
from tollkeeper.domains.keys.errors import ImportIsOff, ImportRefused
from tollkeeper.domains.keys.repository import Owner
from tollkeeper.domains.keys.schemas import ImportedKey
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import Caller
from tollkeeper.web.integrity import refuse_on

_PREFIX: Final = "imported"


class Importing:
    def __init__(self, keys: Keys, hasher: KeyHasher, database: Database) -> None:
        """`database` is asked, across tenants, which hashes are known."""
        self._keys = keys
        self._hasher = hasher
        self._database = database

    async def take(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, wanted: Sequence[ImportedKey]
    ) -> list[ApiKey]:
        """The rows made, in the order of what was sent. Raises ImportRefused, ImportIsOff."""
        rules = await repository.find_rules(session, tenant_id)
        if not is_on(KEY_IMPORT, rules.flags) and not caller.is_platform:
            raise ImportIsOff("The import of keys is switched off for this tenant; ask the platform's administrator.")
        faults = await self._find_known(wanted)
        owners: dict[object, Owner | TollkeeperError] = {}
        rows: list[ApiKey] = []
        for number, key in enumerate(wanted):
            try:
                owner = await self._owner(session, caller, tenant_id, key, owners)
                rows.append(await self._prepare(session, caller, tenant_id, owner, key, rules.settings))
            except TollkeeperError as error:
                if error.status >= 500:
                    raise
                faults.append(_fault(number, error.code, error.message))
        if faults:
            raise _refused(faults)
        for row in rows:
            repository.add(session, row)
        with refuse_on(uq_api_keys_digest=_refused([])):
            await session.flush()
        await self._tell(session, caller, tenant_id, rows)
        return rows

    async def _find_known(self, wanted: Sequence[ImportedKey]) -> list[dict[str, Any]]:
        """Rows whose hash stands twice in the request, or is a key's already, under whichever pepper."""
        digests = [list(self._hasher.digests_of_sha256(key.sha256).values()) for key in wanted]
        known = await repository.known_digests(self._database, [digest for some in digests for digest in some])
        times = Counter(key.sha256 for key in wanted)
        faults = []
        for number, key in enumerate(wanted):
            if times[key.sha256] > 1:
                faults.append(_fault(number, "duplicate_row", "The same sha256 stands in another row as well."))
            elif not known.isdisjoint(digests[number]):
                faults.append(_fault(number, "key_exists", "This key is known already, in use or revoked."))
        return faults

    async def _owner(
        self,
        session: AsyncSession,
        caller: Caller,
        tenant_id: UUID,
        key: ImportedKey,
        owners: dict[object, Owner | TollkeeperError],
    ) -> Owner:
        """Each owner is looked for once."""
        name = key.email or key.user_id
        if name not in owners:
            try:
                owners[name] = await self._find_owner(session, caller, tenant_id, key)
            except TollkeeperError as error:
                owners[name] = error
        found = owners[name]
        if isinstance(found, TollkeeperError):
            raise found
        return found

    async def _find_owner(self, session: AsyncSession, caller: Caller, tenant_id: UUID, key: ImportedKey) -> Owner:
        user_id = key.user_id
        if key.email is not None:
            named = await repository.find_owner_by_email(session, tenant_id, key.email)
            if named is None:
                raise NotFound("There is no such user.")
            user_id = named.user_id
        return await self._keys.owner_of_new(session, caller, tenant_id, user_id)

    async def _prepare(
        self,
        session: AsyncSession,
        caller: Caller,
        tenant_id: UUID,
        owner: Owner,
        key: ImportedKey,
        settings: TenantSettings,
    ) -> ApiKey:
        row = await self._keys.prepare(session, caller, tenant_id, owner, key, settings)
        row.digest = self._hasher.digests_of_sha256(key.sha256)[self._hasher.pepper_id]
        row.pepper_id = self._hasher.pepper_id
        row.is_imported = True
        row.display_prefix, row.last_four = key.display_prefix or _PREFIX, key.last_four
        return row

    async def _tell(self, session: AsyncSession, caller: Caller, tenant_id: UUID, rows: Sequence[ApiKey]) -> None:
        ids = [format_id("key", row.id) for row in rows]
        made = [{"id": name, "name": row.name} for name, row in zip(ids, rows, strict=True)]
        tenant = format_id("ten", tenant_id)
        await audit.record(session, caller, "keys.import", "tenant", tenant, None, {"keys": made}, tenant_id=tenant_id)
        await events.emit(session, tenant_id, events.KeysImported(tuple(ids)))
        # Once for all of them: who listens reads the tenant's keys anew.
        await announce(session, Topic.TENANT, tenant_id)


def _fault(number: int, code: str, message: str) -> dict[str, Any]:
    return {"row": number, "code": code, "message": message}


def _refused(faults: list[dict[str, Any]]) -> Conflict:
    faults = sorted(faults, key=lambda fault: fault["row"])
    what = f"{len(faults)} of the rows cannot be imported" if faults else "A row was imported by somebody else just now"
    return ImportRefused(f"{what}; none was.", details={"rows": faults})
