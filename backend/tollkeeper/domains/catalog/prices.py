"""Prices as integers, and the list of vendors' public prices that ships with the product (`prices.json`).

A price's version is derived from what it says, so every worker names the same price by the same id and the ledger can
tell which price a call was charged at, wherever the price came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from importlib.resources import files
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from tollkeeper.contracts.catalog import Price
from tollkeeper.core.money import pico_per_token
from tollkeeper.domains.catalog.fields import PriceFields, UpstreamModel

# Fixed for ever: ids derived from it stand in ledgers.
NAMESPACE: Final = UUID("6f1d3c52-9c6b-5e0a-8f3e-5a4b1d0c7e21")

# Field of `PriceFields` → class of `contracts.Price`.
PRICE_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "input_per_million": "input",
        "output_per_million": "output",
        "cached_input_per_million": "cache_read",
        "cache_write_per_million": "cache_write",
        "cache_write_1h_per_million": "cache_write_1h",
        "input_audio_per_million": "input_audio",
        "input_image_per_million": "input_image",
        "reasoning_per_million": "reasoning",
        "output_audio_per_million": "output_audio",
        "output_image_per_million": "output_image",
    }
)


def stable_id(*parts: str) -> UUID:
    """The same id for the same words in every process: for what is declared rather than stored."""
    return uuid5(NAMESPACE, "\0".join(parts))


def read_price(price: PriceFields, *owner: str) -> Price:
    """Exact integers of a declared price; `owner` (where from, which model) makes its version unique."""
    pico = {
        target: None if (amount := getattr(price, source)) is None else pico_per_token(amount)
        for source, target in PRICE_CLASSES.items()
    }
    version = stable_id("price", *owner, *(f"{name}={value}" for name, value in pico.items() if value is not None))
    return Price(version=version, input=pico.pop("input") or 0, output=pico.pop("output") or 0, **pico)


def write_price(price: Price) -> PriceFields:
    """The inverse of `read_price`, for showing a price."""
    amounts = {
        source: None if (pico := getattr(price, target)) is None else Decimal(pico) / 1_000_000
        for source, target in PRICE_CLASSES.items()
    }
    return PriceFields.model_validate(amounts)


FREE: Final = Price(
    version=stable_id("price", "builtin", "free"),
    **dict.fromkeys((field.name for field in fields(Price) if field.name != "version"), 0),
)


class ListedModel(PriceFields):
    """One row of the price list. `note` says what a single price per class leaves out."""

    model: UpstreamModel
    note: str | None = None


class VendorPrices(BaseModel):
    """A vendor's rows, with where and when they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    source: str = Field(pattern="^https://")
    checked: date
    models: tuple[ListedModel, ...]


class PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    vendors: tuple[VendorPrices, ...]


@dataclass(frozen=True, slots=True)
class PriceList:
    """Public prices by (provider kind, the vendor's model name)."""

    prices: Mapping[tuple[str, str], Price]

    def find(self, kind: str, model: str) -> Price | None:
        return self.prices.get((kind, model))

    def models_of(self, kind: str) -> Iterable[tuple[str, Price]]:
        """The priced models of a vendor, in the order of the file."""
        return [(model, price) for (vendor, model), price in self.prices.items() if vendor == kind]


def read_price_file(content: bytes) -> PriceList:
    """Raises pydantic's ValidationError for content that is no price list, ValueError for a model listed twice."""
    prices: dict[tuple[str, str], Price] = {}
    for vendor in PriceFile.model_validate_json(content).vendors:
        for row in vendor.models:
            key = (vendor.kind, row.model)
            if key in prices:
                raise ValueError(f"{vendor.kind} lists {row.model} twice")
            prices[key] = read_price(row, "builtin", vendor.kind, row.model)
    return PriceList(MappingProxyType(prices))


def load_price_list() -> PriceList:
    """The list that ships with this version."""
    return read_price_file(files(__package__).joinpath("prices.json").read_bytes())
