"""What follows a change of the catalog, in the transaction that makes it: audit, event, announcement to every worker."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.announcements import Announcement, Topic, announce
from tollkeeper.core.events import CatalogChanged, emit
from tollkeeper.core.ids import format_id
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.catalog.loader import Reloader, SnapshotLoader
from tollkeeper.domains.catalog.prices import stable_id
from tollkeeper.web.caller import Caller

_PREFIXES: Final[Mapping[str, str]] = {
    "provider": "prv",
    "model": "mdl",
    "price": "prc",
    "price_adjustment": "adj",
    "route_policy": "rtp",
}
# The subject of an announcement that means "read the configuration file again", not only the database.
CONFIGURATION: Final = stable_id("configuration")


async def record_change(
    session: AsyncSession,
    caller: Caller,
    action: str,
    *,
    object_type: str,
    object_id: UUID,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """`before` and `after` are what the API shows: they hold no secret."""
    public_id = format_id(_PREFIXES[object_type], object_id)
    await audit.record(
        session, caller, f"catalog.{action}", object_type=object_type, object_id=public_id, before=before, after=after
    )
    await emit(session, caller.tenant_id, CatalogChanged(object_type, object_id))
    await announce(session, Topic.CATALOG, object_id)


class ConfigurationReload:
    """`POST /catalog/reload`: this worker reads the file at once, and tells the others to when that went well."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    async def __call__(self, session: AsyncSession, caller: Caller) -> int:
        """The version of the snapshot in force. Raises `ConfigurationRejected`."""
        version = await self._reloader.reload()
        await audit.record(
            session,
            caller,
            "catalog.reload",
            object_type="configuration",
            object_id="tollkeeper.yaml",
            before=None,
            after={"snapshot_version": version},
        )
        await announce(session, Topic.CATALOG, CONFIGURATION)
        return version


class CatalogAnnouncements:
    """What a worker does when it hears of a change."""

    def __init__(self, loader: SnapshotLoader, reloader: Reloader) -> None:
        self._loader = loader
        self._reloader = reloader

    def heard(self, announcement: Announcement) -> None:
        """For `Topic.CATALOG`; returns at once, the work happens in the loader's own task."""
        if announcement.subject == CONFIGURATION:
            self._reloader.request()
        else:
            self._loader.changed()
