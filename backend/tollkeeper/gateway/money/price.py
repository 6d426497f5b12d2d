"""What tokens cost: exact integer pico-dollars, rounded to nano-dollars once, half up. Pure.

A class of tokens without a price of its own is charged as the class it is part of: input classes as `input` (the
one-hour cache write as `cache_write` first), output classes as `output`. Adding up several attempts means adding
their rounded costs: each ledger row is rounded once and sums of rows are exact.
"""

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.money import nano_from_pico


def cost_pico(usage: Usage, price: Price) -> int:
    """Pico-dollars of one attempt, exact. The classes of `Usage` are disjoint, so each token is charged once."""
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
    return total


def cost_nano(usage: Usage, price: Price) -> int:
    """Nano-dollars of one attempt: what `Settlement.cost_nano` holds."""
    return nano_from_pico(cost_pico(usage, price))


def _or(price: int | None, fallback: int) -> int:
    # Zero is a price (some vendors give cache reads away), so `or` would be wrong.
    return fallback if price is None else price
