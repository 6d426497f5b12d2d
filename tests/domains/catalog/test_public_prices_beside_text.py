"""The shipped prices of what is no text: by the unit that each vendor counts, and found by the vendor's own names."""

import pytest

from tollkeeper.contracts.chat import Amounts, Usage
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.gateway.money.extent import measure
from tollkeeper.gateway.money.price import cost_nano

PRICES = load_price_list()


@pytest.mark.parametrize(
    ("kind", "model", "usage", "amounts", "usd_nano"),
    [
        # $0.006 a minute, $15 and $30 a million characters, and nothing.
        ("openai", "whisper-1", Usage(), Amounts(audio_ms=60_000), 6_000_000),
        ("openai", "tts-1", Usage(), Amounts(characters=1_000_000), 15 * 10**9),
        ("openai", "tts-1-hd", Usage(), Amounts(characters=1_000_000), 30 * 10**9),
        ("openai", "omni-moderation-latest", Usage(input=1_000_000), Amounts(), 0),
        ("openai", "gpt-image-1-mini", Usage(input_image=10**6, output_image=10**6), Amounts(images=1), 10_500_000_000),
        ("openai", "gpt-4o-mini-tts", Usage(input=10**6, output_audio=10**6), Amounts(), 12_600_000_000),
    ],
)
def test_price_that_ships_is_what_the_vendor_publishes(
    kind: str, model: str, usage: Usage, amounts: Amounts, usd_nano: int
) -> None:
    price = PRICES.find(kind, model)
    assert price is not None
    assert cost_nano(usage, price, measure(amounts)) == usd_nano
