"""What every change of the catalog has in common: who may see what, what is refused, what is recorded and announced.

The nouns themselves are in `providers`, `models` and `price_history`. Nothing here commits; the edge does.
"""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import ProviderKind, Snapshot
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.catalog.loader import SnapshotHolder, SnapshotLoader
from tollkeeper.domains.catalog.sealing import ProviderSecrets
from tollkeeper.domains.catalog.snapshot import Sources

# The versions a change was made for, from `If-Match`; None takes whatever is there.
Expected = frozenset[int] | None


class NameTaken(Conflict):
    """Another object has this name already."""

    code = "name_taken"


class Caller(Protocol):
    """Who asks, as far as the catalog cares."""

    @property
    def tenant_id(self) -> UUID: ...

    @property
    def permissions(self) -> frozenset[Permission]: ...


class Changes(Protocol):
    """Records a change and announces it to every worker, both in the transaction that makes it."""

    async def record(
        self,
        session: AsyncSession,
        caller: Any,
        *,
        action: str,
        object_type: str,
        object_id: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None: ...


class Catalog:
    """The collaborators of the catalog's nouns, and the rules that hold for all of them."""

    def __init__(
        self,
        *,
        kinds: tuple[ProviderKind, ...],
        secrets: ProviderSecrets,
        holder: SnapshotHolder,
        loader: SnapshotLoader,
        changes: Changes,
    ) -> None:
        self.kinds = {kind.kind: kind for kind in kinds}
        self.secrets = secrets
        self.changes = changes
        self._holder = holder
        self._loader = loader

    @property
    def snapshot(self) -> Snapshot:
        return self._holder.current()

    @property
    def sources(self) -> Sources:
        return self._loader.sources


def sees_everything(caller: Caller) -> bool:
    """Whoever may change the catalog sees where providers are; everyone else sees that they are."""
    return Permission.CATALOG_UPDATE in caller.permissions and Permission.PLATFORM in caller.permissions


def visible_tenant(caller: Caller) -> UUID | None:
    """None: sees every tenant's models and prices."""
    return None if Permission.PLATFORM in caller.permissions else caller.tenant_id


def not_found(noun: str) -> NotFound:
    return NotFound(f"There is no such {noun}.")


class Named(Protocol):
    name: Any


async def add_unique(session: AsyncSession, row: Named, noun: str) -> None:
    """Insert a row whose name must be free; the database decides, so two at once cannot both win."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken(f"There is a {noun} named {row.name}. Choose another name.", param="name") from error
