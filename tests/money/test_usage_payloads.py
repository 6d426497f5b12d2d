"""What vendors report as usage costs what was worked out by hand, to the nano-dollar.

Each file of `usage_payloads` holds objects in a vendor's own format, written from its reference, the token classes they
stand for, and the sum: tokens x dollars a million = millionths of a dollar.
"""

import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.chat import Usage
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.catalog.fields import PriceFields
from tollkeeper.domains.catalog.prices import load_price_list, price_of
from tollkeeper.gateway.money.price import cost_nano, measure_of
from tollkeeper.gateway.openai_usage import read_responses_usage, read_usage
from tollkeeper.gateway.vendor_usage import (
    latest_anthropic_usage,
    read_anthropic_usage,
    read_bedrock_usage,
    read_cohere_usage,
    read_gemini_usage,
)

READERS: Final = MappingProxyType[str, Callable[[object], Usage | None]](
    {
        "openai": read_usage,
        "openai_responses": read_responses_usage,
        "anthropic": read_anthropic_usage,
        "gemini": read_gemini_usage,
        "bedrock": read_bedrock_usage,
        "cohere": read_cohere_usage,
    }
)
FOLDER: Final = Path(__file__).with_name("usage_payloads")
FILES: Final = sorted(FOLDER.glob("*.json"))
CASES: Final = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in FILES
    for case in json.loads(file.read_text(encoding="utf-8"))["cases"]
]
LISTED: Final = load_price_list()


def price_in(case: dict[str, Any]) -> Price:
    if "rates" in case:
        return price_of(uuid7(), PriceFields.model_validate(case["rates"]))
    price = LISTED.find(*case["listed"])
    assert price is not None, f"{case['listed']} is not in the price list"
    return price


@pytest.mark.parametrize("case", CASES)
def test_a_payload_falls_into_the_classes_it_stands_for(case: dict[str, Any]) -> None:
    usage = READERS[case["shape"]](case["usage"])

    assert usage == Usage(**case["classes"], is_estimated=case["is_estimated"])
    assert {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens} == case["totals"]


@pytest.mark.parametrize("case", CASES)
def test_a_payload_costs_what_was_worked_out_by_hand(case: dict[str, Any]) -> None:
    usage = READERS[case["shape"]](case["usage"])
    assert usage is not None

    assert cost_nano(usage, price_in(case), measure_of(case["service_tier"])) == case["cost_nano"]


@pytest.mark.parametrize("case", CASES)
def test_the_sums_by_hand_are_right(case: dict[str, Any]) -> None:
    total = Decimal(0)
    for line, (name, tokens) in zip(case["micro_usd"], case["classes"].items(), strict=True):
        product, _, amount = line.removeprefix(f"{name}: ").partition(" = ")
        count, _, rate = product.partition(" x ")
        assert int(count) == tokens
        assert Decimal(count) * Decimal(rate) == Decimal(amount)
        total += Decimal(amount)

    assert (total * 1000).quantize(Decimal(1), ROUND_HALF_UP) == case["cost_nano"]


def test_every_vendor_is_there_with_its_sources() -> None:
    assert {file.stem for file in FILES} >= {
        "openai_chat", "openai_responses", "anthropic", "gemini", "azure", "xai", "deepseek", "bedrock", "mistral",
        "groq", "cohere", "openrouter",
    }  # fmt: skip
    for file in FILES:
        assert json.loads(file.read_text(encoding="utf-8"))["sources"]


def test_what_both_ends_of_a_stream_report_is_counted_once() -> None:
    start = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1_000,
        "cache_creation_input_tokens": 100,
        "output_tokens": 1,
    }
    delta = {"output_tokens": 5, "cache_read_input_tokens": 1_000, "cache_creation_input_tokens": None}

    usage = read_anthropic_usage(latest_anthropic_usage(start, delta))

    assert usage == Usage(input=10, cache_read=1_000, cache_write=100, output=5)
