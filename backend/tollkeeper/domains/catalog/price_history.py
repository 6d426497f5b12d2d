"""The history of prices: a new price takes over at its `effective_at`; none is ever changed or removed."""

from datetime import datetime, timedelta
from typing import Final, Literal, cast
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Price
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.catalog import Price as PriceRow
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.changes import record_change
from tollkeeper.domains.catalog.declared import declared_models, refuse_declared
from tollkeeper.domains.catalog.prices import price_of, write_price
from tollkeeper.domains.catalog.schemas import ManagedBy, PriceCreate, PriceOut
from tollkeeper.domains.catalog.service import Catalog, not_found, visible_tenant
from tollkeeper.domains.catalog.stored import price_columns, read_price_row
from tollkeeper.web.caller import Caller

# Clocks differ a little; beyond that a date in the past would reprice calls that are charged already.
_PAST_ALLOWED: Final = timedelta(minutes=1)


class PriceInThePast(BadRequest):
    """Prices are not changed after the fact: the calls since then are charged."""

    code = "price_in_the_past"


class PriceHistory:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def list_page(
        self,
        session: AsyncSession,
        caller: Caller,
        *,
        model: str | None,
        before: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[PriceOut]:
        """Newest first; with `model` that model's history."""
        rows = await repository.list_prices(session, visible_tenant(caller), model, before, limit)
        in_force = self._versions()
        return [_show(row, in_force) for row in rows]

    async def get(self, session: AsyncSession, caller: Caller, price_id: UUID) -> PriceOut:
        row = await repository.find_price(session, price_id)
        if row is None or row.tenant_id not in {None, visible_tenant(caller) or row.tenant_id}:
            raise not_found("price")
        return _show(row, self._versions())

    async def create(self, session: AsyncSession, caller: Caller, body: PriceCreate) -> PriceOut:
        if body.effective_at is not None and body.effective_at < self._clock.now() - _PAST_ALLOWED:
            raise PriceInThePast(
                "A price cannot begin in the past: those calls are charged. Leave effective_at out for now.",
                param="effective_at",
            )
        self._refuse_declared(body)
        if body.tenant_id is not None and not await repository.has_tenant(session, body.tenant_id):
            raise not_found("tenant")
        price_id = uuid7()
        row = PriceRow(
            id=price_id,
            tenant_id=body.tenant_id,
            provider=body.provider,
            model=body.model,
            # "Now" is the database's: another clock could put it a moment into the future.
            effective_at=body.effective_at or func.now(),
            source="api",
            reference=body.reference,
            checked_on=body.checked,
            **price_columns(price_of(price_id, body)),
        )
        session.add(row)
        await session.flush()
        await session.refresh(row)
        shown = _show(row, self._versions())
        await record_change(
            session,
            caller,
            "prices.create",
            object_type="price",
            object_id=row.id,
            before=None,
            after=shown.model_dump(mode="json", exclude={"created_at", "is_in_force"}),
        )
        return shown

    async def find_in_force(self, session: AsyncSession, tenant_id: UUID | None, model: str) -> Price | None:
        """The stored price of a name as of now, which the snapshot may not have yet."""
        row = await repository.find_price_in_force(session, tenant_id, model)
        return read_price_row(row) if row is not None else None

    def _refuse_declared(self, body: PriceCreate) -> None:
        """A price in the file would win over one stored here, which would then be there in vain."""
        if body.provider is not None or body.tenant_id is not None:
            return
        priced = {model.name for model in self._catalog.sources.file.models if model.price is not None}
        for one in declared_models(self._catalog.sources, self._catalog.snapshot):
            if one.route.name == body.model and one.managed_by is ManagedBy.FILE and body.model in priced:
                raise refuse_declared("price of", body.model, one.managed_by, one.place)

    def _versions(self) -> frozenset[UUID]:
        """The prices that this worker charges by."""
        snapshot = self._catalog.snapshot
        routes = (*snapshot.models.values(), *snapshot.wildcards)
        return frozenset(route.price.version for route in routes if route.price is not None)


def _show(row: PriceRow, in_force: frozenset[UUID]) -> PriceOut:
    return PriceOut(
        id=row.id,
        model=row.model,
        provider=row.provider,
        vendor=row.vendor,
        tenant_id=row.tenant_id,
        effective_at=row.effective_at,
        is_in_force=row.id in in_force,
        source=cast(Literal["file", "api", "builtin", "list"], row.source),
        reference=row.reference,
        checked=row.checked_on,
        created_at=row.created_at,
        **write_price(read_price_row(row)).model_dump(),
    )
