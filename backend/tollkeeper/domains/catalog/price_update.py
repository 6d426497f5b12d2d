"""A newer public price list, compared with what is known and put in force: new rows, none changed, none removed.

A model released today is priced today that way. What the list leaves out keeps its price; what it repeats, or says
of an earlier day than what is known, changes nothing, so that putting the same list in twice is the same as once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Price
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.events import CatalogChanged, emit
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.catalog import Price as PriceRow
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.fields import PriceFields, RateFields
from tollkeeper.domains.catalog.prices import (
    UNKNOWN_FIGURES,
    Figures,
    ListedModel,
    PriceFile,
    VendorPrices,
    price_of,
    stable_id,
    write_price,
)
from tollkeeper.domains.catalog.schemas import FieldChange, ListedChange, ListedPrice, PriceUpdateOut
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.stored import price_columns, read_figures, read_price_row
from tollkeeper.web.caller import Caller

_SUBJECT = stable_id("price list")


@dataclass(frozen=True, slots=True)
class _Known:
    price: Price
    checked: date
    figures: Figures


class PriceUpdate:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(
        self, session: AsyncSession, caller: Caller, price_list: PriceFile, *, apply: bool
    ) -> PriceUpdateOut:
        """What the list changes; with `apply` it is changed from now on."""
        await repository.lock_price_list(session)
        known = await self._known(session)
        compared = _compare(known, price_list)
        if apply and compared.rows:
            rows = [_row(vendor, model) for vendor, model in compared.rows]
            session.add_all(rows)
            await session.flush()
            await audit.record(
                session,
                caller,
                "catalog.prices.update",
                object_type="price_list",
                object_id="public",
                before=None,
                # The amounts stand in the rows, which nobody can change.
                after={
                    "added": [f"{one.vendor}/{one.model}" for one in compared.shown.added],
                    "changed": [f"{one.vendor}/{one.model}" for one in compared.shown.changed],
                },
            )
            await emit(session, caller.tenant_id, CatalogChanged("price_list", _SUBJECT))
            await announce(session, Topic.CATALOG, _SUBJECT)
        return compared.shown.model_copy(update={"is_applied": apply})

    async def _known(self, session: AsyncSession) -> dict[tuple[str, str], _Known]:
        shipped = self._catalog.sources.price_list
        known = {
            key: _Known(price, shipped.checked(price), shipped.figures.get(key, UNKNOWN_FIGURES))
            for key, price in shipped.prices.items()
        }
        for row in await repository.list_listed_prices(session):
            key, checked = (row.vendor or "", row.model), row.checked_on or date.min
            # As `snapshot` decides it: what was read last counts.
            if key not in known or known[key].checked <= checked:
                known[key] = _Known(read_price_row(row), checked, read_figures(row))
        return known


@dataclass(frozen=True, slots=True)
class _Compared:
    shown: PriceUpdateOut
    rows: list[tuple[VendorPrices, ListedModel]]


def _compare(known: dict[tuple[str, str], _Known], price_list: PriceFile) -> _Compared:
    added: list[ListedPrice] = []
    changed: list[ListedChange] = []
    rows: list[tuple[VendorPrices, ListedModel]] = []
    unchanged, older, listed = 0, 0, set()
    for vendor, model in _rows_of(price_list):
        listed.add((vendor.kind, model.model))
        before = known.get((vendor.kind, model.model))
        if before is None:
            price = write_price(price_of(UUID(int=0), model))
            added.append(ListedPrice(vendor=vendor.kind, model=model.model, price=price))
        elif not (changes := _changes(before, model)):
            unchanged += 1
            continue
        elif vendor.checked < before.checked:
            older += 1
            continue
        else:
            changed.append(ListedChange(vendor=vendor.kind, model=model.model, changes=changes))
        rows.append((vendor, model))
    shown = PriceUpdateOut(
        is_applied=False,
        added=added,
        changed=changed,
        unchanged=unchanged,
        older=older,
        kept=len(known.keys() - listed),
    )
    return _Compared(shown, rows)


def _rows_of(price_list: PriceFile) -> Iterable[tuple[VendorPrices, ListedModel]]:
    return ((vendor, model) for vendor in price_list.vendors for model in vendor.models)


def _changes(known: _Known, model: ListedModel) -> list[FieldChange]:
    price, figures = known.price, known.figures
    # Through integers, so that "2" and "2.00" are one amount.
    old, new = _flat(write_price(price)), _flat(write_price(price_of(price.version, model)))
    for name in ("max_output_tokens", "context_tokens"):
        # A list that says nothing of them changes nothing.
        if (figure := getattr(model, name)) is not None and figure != getattr(figures, name):
            old |= {name: str(before)} if (before := getattr(figures, name)) is not None else {}
            new[name] = str(figure)
    for name, can in model.capabilities.model_dump(exclude_none=True).items():
        if can != (known_to := figures.capabilities.get(name)):
            old |= {f"capabilities.{name}": str(known_to).lower()} if known_to is not None else {}
            new[f"capabilities.{name}"] = str(can).lower()
    return [
        FieldChange(field=name, old=old.get(name), new=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _flat(price: PriceFields) -> dict[str, str]:
    """`input_per_million` and, of a tier, `flex over 272000: input_per_million`."""
    flat = _amounts(price)
    for tier in price.tiers:
        place = f"{tier.service_tier} over {tier.over_input_tokens}"
        flat |= {f"{place}: {name}": amount for name, amount in _amounts(tier).items()}
    return flat


def _amounts(price: RateFields) -> dict[str, str]:
    return price.model_dump(mode="json", exclude_none=True, include=set(RateFields.model_fields))


def _row(vendor: VendorPrices, model: ListedModel) -> PriceRow:
    price_id = uuid7()
    return PriceRow(
        id=price_id,
        vendor=vendor.kind,
        model=model.model,
        # The database's clock, as for every price.
        effective_at=func.now(),
        source="list",
        reference=vendor.source,
        checked_on=vendor.checked,
        max_output_tokens=model.max_output_tokens,
        context_tokens=model.context_tokens,
        capabilities=model.capabilities.model_dump(exclude_none=True),
        **price_columns(price_of(price_id, model)),
    )
