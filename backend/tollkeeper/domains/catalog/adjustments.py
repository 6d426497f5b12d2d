"""Margins and discounts: what a tenant is charged for what the vendor takes. A change holds for calls from then on."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import merge
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Adjustment
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.money import nano_from_usd, usd_from_nano
from tollkeeper.db.models.catalog import PriceAdjustment
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.changes import record_change
from tollkeeper.domains.catalog.declared import refuse_declared
from tollkeeper.domains.catalog.schemas import (
    ManagedBy,
    PriceAdjustmentCreate,
    PriceAdjustmentOut,
    PriceAdjustmentUpdate,
)
from tollkeeper.domains.catalog.service import Catalog, Expected, not_found, sees_everything, visible_tenant
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match

_PAST_ALLOWED: Final = timedelta(minutes=1)
_MOMENT: Final = timedelta(seconds=10)
_MILLION: Final = 1_000_000


class AdjustmentInThePast(BadRequest):
    """What was charged stays as it was charged."""

    code = "price_in_the_past"


class EndsBeforeItBegins(BadRequest):
    """`ends_at` is not after `effective_at`."""

    code = "ends_before_it_begins"


class PriceAdjustments:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def list_page(
        self, session: AsyncSession, caller: Caller, *, tenant_id: UUID | None, after: UUID | None, limit: int
    ) -> list[PriceAdjustmentOut]:
        """By id, those of the configuration file among them; at most `limit`."""
        wanted = visible_tenant(caller) if tenant_id is None else caller.tenant_for(tenant_id)
        rows = await repository.list_adjustments(session, wanted, after, limit)
        declared = (
            shown
            for shown in self._declared(caller)
            if wanted in {None, shown.tenant_id} and (after is None or shown.id > after)
        )
        return list(merge(map(_show, rows), sorted(declared, key=_position), key=_position))[:limit]

    async def get(self, session: AsyncSession, caller: Caller, adjustment_id: UUID) -> PriceAdjustmentOut:
        visible = visible_tenant(caller)
        for shown in self._declared(caller):
            if shown.id == adjustment_id and visible in {None, shown.tenant_id}:
                return shown
        row = await repository.find_adjustment(session, adjustment_id)
        if row is None or visible not in {None, row.tenant_id}:
            raise not_found("price adjustment")
        return _show(row)

    async def create(self, session: AsyncSession, caller: Caller, body: PriceAdjustmentCreate) -> PriceAdjustmentOut:
        """Without `tenant_id` for the caller's own tenant."""
        tenant_id = body.tenant_id or caller.tenant_id
        if not await repository.has_tenant(session, tenant_id):
            raise not_found("tenant")
        self._check_times(body.effective_at, body.ends_at)
        row = PriceAdjustment(
            id=uuid7(),
            tenant_id=tenant_id,
            provider=body.provider,
            model=body.model,
            factor=body.factor,
            request_nano=nano_from_usd(body.per_request_usd),
            # "Now" is the database's: another clock could put it a moment into the future.
            effective_at=body.effective_at or func.now(),
            ends_at=body.ends_at,
            note=body.note,
            version=1,
        )
        session.add(row)
        return await self._changed(session, caller, row, "create", before=None)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        adjustment_id: UUID,
        body: PriceAdjustmentUpdate,
        expected: Expected,
    ) -> PriceAdjustmentOut:
        row = await self._own(session, adjustment_id, expected)
        before = _show(row)
        changes = body.changes()
        if "per_request_usd" in changes:
            changes["request_nano"] = nano_from_usd(changes.pop("per_request_usd"))
        if changes.get("ends_at") is not None:
            self._check_times(row.effective_at, changes["ends_at"], is_new=False)
        for name, value in changes.items():
            setattr(row, name, value)
        row.version += 1
        return await self._changed(session, caller, row, "update", before=before)

    async def delete(self, session: AsyncSession, caller: Caller, adjustment_id: UUID, expected: Expected) -> None:
        row = await self._own(session, adjustment_id, expected)
        before = _show(row)
        await session.delete(row)
        await session.flush()
        await self._record(session, caller, row.id, "delete", before, None)

    def _check_times(self, effective_at: datetime | None, ends_at: datetime | None, *, is_new: bool = True) -> None:
        now = self._clock.now()
        if is_new and effective_at is not None and effective_at < now - _PAST_ALLOWED:
            raise AdjustmentInThePast(
                "An adjustment cannot begin in the past: those calls are charged. Leave effective_at out for now.",
                param="effective_at",
            )
        # The database says when "now" is, a moment later.
        if ends_at is not None and ends_at <= (effective_at or now + _MOMENT):
            raise EndsBeforeItBegins("ends_at is not after effective_at: choose a later one.", param="ends_at")

    def _declared(self, caller: Caller) -> Iterator[PriceAdjustmentOut]:
        file = self._catalog.sources.file
        for one in file.adjustments:
            place = file.adjustment_places.get(one.id) if sees_everything(caller) else None
            yield _show_declared(one, place)

    async def _own(self, session: AsyncSession, adjustment_id: UUID, expected: Expected) -> PriceAdjustment:
        """The stored one, locked for a change."""
        file = self._catalog.sources.file
        if adjustment_id in (one.id for one in file.adjustments):
            raise refuse_declared(
                "price adjustment",
                format_id("adj", adjustment_id),
                ManagedBy.FILE,
                file.adjustment_places.get(adjustment_id),
            )
        row = await repository.find_adjustment(session, adjustment_id, for_update=True)
        if row is None:
            raise not_found("price adjustment")
        check_match(expected, row)
        return row

    async def _changed(
        self,
        session: AsyncSession,
        caller: Caller,
        row: PriceAdjustment,
        verb: str,
        *,
        before: PriceAdjustmentOut | None,
    ) -> PriceAdjustmentOut:
        await session.flush()
        await session.refresh(row)
        after = _show(row)
        await self._record(session, caller, row.id, verb, before, after)
        return after

    async def _record(
        self,
        session: AsyncSession,
        caller: Caller,
        adjustment_id: UUID,
        verb: str,
        before: PriceAdjustmentOut | None,
        after: PriceAdjustmentOut | None,
    ) -> None:
        await record_change(
            session,
            caller,
            f"price_adjustments.{verb}",
            object_type="price_adjustment",
            object_id=adjustment_id,
            before=_audited(before),
            after=_audited(after),
        )


def _position(shown: PriceAdjustmentOut) -> UUID:
    return shown.id


def _show(row: PriceAdjustment) -> PriceAdjustmentOut:
    return PriceAdjustmentOut(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        model=row.model,
        factor=row.factor,
        per_request_usd=usd_from_nano(row.request_nano),
        effective_at=row.effective_at,
        ends_at=row.ends_at,
        note=row.note,
        managed_by=ManagedBy.API,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _show_declared(adjustment: Adjustment, place: str | None) -> PriceAdjustmentOut:
    return PriceAdjustmentOut(
        id=adjustment.id,
        tenant_id=adjustment.tenant_id,
        provider=adjustment.provider,
        model=adjustment.model,
        factor=Decimal(adjustment.factor_millionths) / _MILLION,
        per_request_usd=usd_from_nano(adjustment.request_nano),
        managed_by=ManagedBy.FILE,
        declared_at=place,
    )


def _audited(shown: PriceAdjustmentOut | None) -> Mapping[str, Any] | None:
    return None if shown is None else shown.model_dump(mode="json", exclude={"created_at", "updated_at"})
