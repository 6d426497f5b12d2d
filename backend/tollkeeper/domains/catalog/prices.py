"""Prices as integers, and the list of vendors' public prices that ships with the product (`prices.json`).

A price's version is derived from what it says, so every worker names the same price by the same id and the ledger can
tell which price a call was charged at, wherever the price came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Final, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollkeeper.contracts.catalog import Price, PriceTier, ServiceTier
from tollkeeper.contracts.parameters import NOTHING
from tollkeeper.core.money import pico_per_token, pico_per_unit
from tollkeeper.domains.catalog.fields import Day, PriceFields, RateFields, Reference, TierFields, Tokens, UpstreamModel
from tollkeeper.domains.catalog.parameters import Capabilities, read_capabilities

# Fixed for ever: ids derived from it stand in ledgers.
NAMESPACE: Final = UUID("6f1d3c52-9c6b-5e0a-8f3e-5a4b1d0c7e21")

# Field of `RateFields` → class of `contracts.Price`.
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


# Field of `RateFields` → (field of `contracts.Price`, how many of them that amount pays).
UNITS: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "per_image": ("image", 1),
        "per_audio_second": ("audio_second", 1),
        "per_thousand_characters": ("character", 1000),
        "per_request": ("request", 1),
    }
)


def stable_id(*parts: str) -> UUID:
    """The same id for the same words in every process: for what is declared rather than stored."""
    return uuid5(NAMESPACE, "\0".join(parts))


def read_price(price: PriceFields, *owner: str) -> Price:
    """Exact integers of a declared price; `owner` (where from, which model) makes its version unique."""
    said = [*_said(price)]
    for tier in price.tiers:
        said += (f"{tier.service_tier}>{tier.over_input_tokens}:{part}" for part in _said(tier))
    return price_of(stable_id("price", *owner, *said), price)


def price_of(version: UUID, price: PriceFields) -> Price:
    """The price under a version that is known already, such as the id of a row."""
    tiers = tuple(
        PriceTier(_rates(version, tier), ServiceTier(tier.service_tier), tier.over_input_tokens) for tier in price.tiers
    )
    return replace(_rates(version, price), tiers=tiers)


def write_price(price: Price) -> PriceFields:
    """The inverse of `read_price`, for showing a price."""
    return PriceFields.model_validate({**_amounts(price), "tiers": write_tiers(price)})


def write_tiers(price: Price) -> tuple[TierFields, ...]:
    return tuple(
        TierFields.model_validate(
            {
                **_amounts(tier.rates),
                "service_tier": tier.service_tier.value,
                "over_input_tokens": tier.over_input_tokens,
            }
        )
        for tier in price.tiers
    )


def _pico(price: RateFields) -> dict[str, Any]:
    tokens = {
        target: None if (amount := getattr(price, source)) is None else pico_per_token(amount)
        for source, target in PRICE_CLASSES.items()
    }
    units = {
        target: None if (amount := getattr(price, source)) is None else pico_per_unit(amount, count)
        for source, (target, count) in UNITS.items()
    }
    return tokens | units


def _said(price: RateFields) -> Iterable[str]:
    return (f"{name}={value}" for name, value in _pico(price).items() if value is not None)


def _rates(version: UUID, price: RateFields) -> Price:
    pico = _pico(price)
    return Price(version=version, input=pico.pop("input") or 0, output=pico.pop("output") or 0, **pico)


def _amounts(price: Price) -> dict[str, Decimal | None]:
    tokens = {
        source: None if (pico := getattr(price, target)) is None else Decimal(pico) / 1_000_000
        for source, target in PRICE_CLASSES.items()
    }
    units = {
        source: None if (pico := getattr(price, target)) is None else Decimal(pico * count) / 1_000_000_000_000
        for source, (target, count) in UNITS.items()
    }
    return tokens | units


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType(
    dict.fromkeys((one.name for one in fields(Price) if one.name not in {"version", "tiers"}), 0)
)
FREE: Final = Price(
    version=stable_id("price", "builtin", "free"),
    **_NOTHING,
)


class ListedModel(PriceFields):
    """One row of a price list. `note` says what the prices leave out."""

    model: UpstreamModel
    note: Annotated[str, Field(max_length=500)] | None = None
    max_output_tokens: Tokens | None = Field(None, description="The longest answer that the model gives.")
    context_tokens: Tokens | None = Field(None, description="What the model reads and writes together, at most.")
    capabilities: Capabilities = Capabilities()


class VendorPrices(BaseModel):
    """A vendor's rows, with where and when they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[str, Field(min_length=1, max_length=100)]
    source: Reference
    checked: Day
    models: Annotated[tuple[ListedModel, ...], Field(max_length=5000)]


class PriceFile(BaseModel):
    """A price list: the form of the one that ships, and of what `tollkeeper prices update` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendors: Annotated[tuple[VendorPrices, ...], Field(max_length=1000)]

    @model_validator(mode="after")
    def _lists_each_model_once(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for vendor in self.vendors:
            for row in vendor.models:
                if (vendor.kind, row.model) in seen:
                    raise ValueError(f"{vendor.kind} lists {row.model} twice")
                seen.add((vendor.kind, row.model))
        return self


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a price was read, and when."""

    reference: str
    checked: date


@dataclass(frozen=True, slots=True)
class Figures:
    """What a model can do, as its vendor says; None: unknown."""

    max_output_tokens: int | None = None
    context_tokens: int | None = None
    capabilities: Mapping[str, bool] = field(default_factory=lambda: NOTHING)


UNKNOWN_FIGURES: Final = Figures()


@dataclass(frozen=True, slots=True)
class PriceList:
    """Public prices and figures by (provider kind, the vendor's model name); where each was read by its version."""

    prices: Mapping[tuple[str, str], Price]
    origins: Mapping[UUID, Origin] = field(default_factory=lambda: MappingProxyType({}))
    figures: Mapping[tuple[str, str], Figures] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, kind: str, model: str) -> Price | None:
        return self.prices.get((kind, model))

    def models_of(self, kind: str) -> Iterable[tuple[str, Price]]:
        """The priced models of a vendor, in the order of the file."""
        return [(model, price) for (vendor, model), price in self.prices.items() if vendor == kind]

    def checked(self, price: Price) -> date:
        """When the price was read; long ago for one that does not say."""
        origin = self.origins.get(price.version)
        return date.min if origin is None else origin.checked


def read_price_file(content: bytes) -> PriceList:
    """Raises pydantic's ValidationError for content that is no price list."""
    prices: dict[tuple[str, str], Price] = {}
    origins: dict[UUID, Origin] = {}
    figures: dict[tuple[str, str], Figures] = {}
    for vendor in PriceFile.model_validate_json(content).vendors:
        for row in vendor.models:
            price = read_price(row, "builtin", vendor.kind, row.model)
            prices[vendor.kind, row.model] = price
            origins[price.version] = Origin(vendor.source, vendor.checked)
            figures[vendor.kind, row.model] = Figures(
                row.max_output_tokens, row.context_tokens, read_capabilities(row.capabilities)
            )
    return PriceList(MappingProxyType(prices), MappingProxyType(origins), MappingProxyType(figures))


def load_price_list() -> PriceList:
    """The list that ships with this version."""
    return read_price_file(files(__package__).joinpath("prices.json").read_bytes())
