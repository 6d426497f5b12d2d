"""What a call costs: exact integer pico-dollars, rounded to nano-dollars once, half up. Pure.

A class of tokens without a price of its own is charged as the class it is part of: input classes as `input` (the
one-hour cache write as `cache_write` first), output classes as `output`. Adding up several attempts means adding
their rounded costs: each ledger row is rounded once and sums of rows are exact. What the vendor takes is the cost; what
the tenant is charged for it is the cost after the tenant's `Adjustment`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from uuid import UUID

from tollkeeper.contracts.catalog import Adjustment, Price, ServiceTier, Snapshot
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.money import nano_from_pico

# What vendors call their tiers, in requests and answers; every other word is the standard one. OpenAI renamed
# "priority" to "fast" ("Fast mode", 2026-07-30) and takes both.
_TIERS: Final[Mapping[object, ServiceTier]] = MappingProxyType(
    {
        "batch": ServiceTier.BATCH,
        "flex": ServiceTier.FLEX,
        "priority": ServiceTier.PRIORITY,
        "fast": ServiceTier.PRIORITY,
    }
)


@dataclass(frozen=True, slots=True)
class Measure:
    """What a price may count beside tokens, and how the vendor served the call."""

    service_tier: ServiceTier = ServiceTier.STANDARD
    requests: int = 1
    images: int = 0
    audio_ms: int = 0
    characters: int = 0


ONE_CALL: Final = Measure()
# For an attempt that the vendor takes nothing for.
NO_CALL: Final = Measure(requests=0)
_TIERED: Final = MappingProxyType({tier: Measure(tier) for tier in ServiceTier})


def measure_of(word: object) -> Measure:
    """One call in the service tier that a vendor names so."""
    return _TIERED[_TIERS.get(word, ServiceTier.STANDARD) if isinstance(word, str) else ServiceTier.STANDARD]


def at_batch_rate(price: Price, measure: Measure) -> Measure:
    """The same in the tier for batches, where the price has one and the call asked for nothing dearer."""
    if measure.service_tier is ServiceTier.PRIORITY or measure is NO_CALL:
        return measure
    has_rate = any(tier.service_tier is ServiceTier.BATCH for tier in price.tiers)
    return replace(measure, service_tier=ServiceTier.BATCH) if has_rate else measure


def rates_of(price: Price, input_tokens: int, service_tier: ServiceTier) -> Price:
    """The rates for a call of this many input tokens, cached ones included: of the longest step it is beyond.

    A service tier without rates of its own costs what the standard one does.
    """
    for wanted in (service_tier, ServiceTier.STANDARD):
        steps = [
            tier
            for tier in price.tiers
            if tier.service_tier is wanted and (tier.over_input_tokens == 0 or input_tokens > tier.over_input_tokens)
        ]
        if steps:
            return max(steps, key=lambda tier: tier.over_input_tokens).rates
    return price


def cost_pico(usage: Usage, price: Price, measure: Measure = ONE_CALL) -> int:  # noqa: C901 - one branch a class
    """Pico-dollars of one attempt, exact. The classes of `Usage` are disjoint, so each token is charged once."""
    if price.tiers:
        price = rates_of(price, usage.prompt_tokens, measure.service_tier)
    # Most calls have these two classes only; the rest is looked at when there is a rest.
    total = usage.input * price.input + usage.output * price.output
    if usage.cache_read:
        total += usage.cache_read * _or(price.cache_read, price.input)
    if usage.cache_write:
        total += usage.cache_write * _or(price.cache_write, price.input)
    if usage.cache_write_1h:
        total += usage.cache_write_1h * _or(price.cache_write_1h, _or(price.cache_write, price.input))
    if usage.input_audio:
        total += usage.input_audio * _or(price.input_audio, price.input)
    if usage.input_image:
        total += usage.input_image * _or(price.input_image, price.input)
    if usage.reasoning:
        total += usage.reasoning * _or(price.reasoning, price.output)
    if usage.output_audio:
        total += usage.output_audio * _or(price.output_audio, price.output)
    if usage.output_image:
        total += usage.output_image * _or(price.output_image, price.output)
    if price.request or measure is not ONE_CALL:
        total += _beside_tokens(price, measure)
    return total


def _beside_tokens(price: Price, measure: Measure) -> int:
    total = measure.requests * (price.request or 0)
    total += measure.images * (price.image or 0)
    total += measure.characters * (price.character or 0)
    # Exact: the price of a second is a whole number of nano-dollars.
    return total + measure.audio_ms * (price.audio_second or 0) // 1000


def cost_nano(usage: Usage, price: Price, measure: Measure = ONE_CALL) -> int:
    """Nano-dollars of one attempt: what `Settlement.cost_nano` holds."""
    return nano_from_pico(cost_pico(usage, price, measure))


def adjustment_of(snapshot: Snapshot, tenant_id: UUID, provider: str, model: str) -> Adjustment | None:
    """The most specific of the tenant's that covers a call of `model` (as the caller named it) at `provider`."""
    if not snapshot.adjustments:
        return None
    for adjustment in snapshot.adjustments.get(tenant_id, ()):
        if adjustment.covers(provider, model):
            return adjustment
    return None


def charge_nano(cost_nano: int | None, adjustment: Adjustment | None, *, may_cost: bool = True) -> int | None:
    """What the tenant is charged for one attempt: `Settlement.charge_nano`. Unpriced stays unpriced.

    `may_cost` False: the vendor takes nothing for the attempt, so nothing is added for it either.
    """
    if cost_nano is None or adjustment is None or not may_cost:
        return cost_nano
    return adjustment.apply(cost_nano)


def _or(price: int | None, fallback: int) -> int:
    # Zero is a price (some vendors give cache reads away), so `or` would be wrong.
    return fallback if price is None else price
