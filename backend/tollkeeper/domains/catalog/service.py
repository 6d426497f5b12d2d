"""What the catalog's nouns have in common: their collaborators, who may see what, and names that must be free.

The nouns themselves are in `providers`, `models` and `price_history`. Nothing here commits; the edge does.
"""

from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Price, ProviderKind, Snapshot
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.catalog.fields import PriceFields
from tollkeeper.domains.catalog.loader import SnapshotHolder, SnapshotLoader
from tollkeeper.domains.catalog.prices import write_price
from tollkeeper.domains.catalog.sealing import ProviderSecrets
from tollkeeper.domains.catalog.snapshot import Sources
from tollkeeper.web.caller import Caller

# The versions a change was made for, from `If-Match`; None takes whatever is there.
Expected = frozenset[int] | None


class NameTaken(Conflict):
    """Another object has this name already."""

    code = "name_taken"


class Catalog:
    """The collaborators of the catalog's nouns, and the rules that hold for all of them."""

    def __init__(
        self,
        *,
        kinds: tuple[ProviderKind, ...],
        secrets: ProviderSecrets,
        holder: SnapshotHolder,
        loader: SnapshotLoader,
    ) -> None:
        self.kinds = {kind.kind: kind for kind in kinds}
        self.secrets = secrets
        self._holder = holder
        self._loader = loader

    @property
    def snapshot(self) -> Snapshot:
        return self._holder.current()

    async def refresh(self) -> None:
        """Bring the snapshot up to what the database holds now."""
        await self._loader.load()

    @property
    def sources(self) -> Sources:
        return self._loader.sources


def show_price(price: Price) -> PriceFields:
    """As the API tells it."""
    return write_price(price)


def sees_everything(caller: Caller) -> bool:
    """Whoever may change the catalog sees where providers are; everyone else sees that they are."""
    return caller.is_platform and caller.may(Permission.CATALOG_UPDATE)


def visible_tenant(caller: Caller) -> UUID | None:
    """None: sees every tenant's models and prices."""
    return None if caller.is_platform else caller.tenant_id


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
