"""The public prices that are known: the list that ships, with what an operator has put in since. For reading."""

from collections.abc import Iterable
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.prices import PriceList, write_price
from tollkeeper.domains.catalog.schemas import PublicPrice
from tollkeeper.domains.catalog.service import Catalog
from tollkeeper.domains.catalog.stored import read_price_row

Position = tuple[str, str]


class PublicPrices:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list_page(
        self, session: AsyncSession, *, vendor: str | None, after: Position | None, limit: int
    ) -> list[PublicPrice]:
        """By vendor and model, each as it is charged where nothing else prices it; at most `limit`."""
        known = {(one.vendor, one.model): one for one in _shipped(self._catalog.sources.price_list)}
        for row in await repository.list_listed_prices(session):
            key = (row.vendor or "", row.model)
            # As `snapshot` decides it: what was read last counts.
            if key not in known or known[key].checked <= (row.checked_on or date.min):
                known[key] = PublicPrice(
                    vendor=key[0],
                    model=row.model,
                    source="list",
                    reference=row.reference,
                    checked=row.checked_on or date.min,
                    **write_price(read_price_row(row)).model_dump(),
                )
        wanted = (key for key in known if vendor in {None, key[0]} and (after is None or key > after))
        return [known[key] for key in sorted(wanted)[:limit]]


def _shipped(price_list: PriceList) -> Iterable[PublicPrice]:
    for (vendor, model), price in price_list.prices.items():
        origin = price_list.origins.get(price.version)
        yield PublicPrice(
            vendor=vendor,
            model=model,
            source="builtin",
            reference=None if origin is None else origin.reference,
            checked=price_list.checked(price),
            **write_price(price).model_dump(),
        )
