"""What a tenant is charged: the cost after its margin or discount, in the answer and in the ledger; and calls without a price."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from structlog.testing import capture_logs

from tests.gateway.serving import TENANT, ManualClock, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, good_stream, stream
from tollkeeper.contracts.catalog import Adjustment, Snapshot
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.unpriced import REMIND_SECONDS, UnpricedCalls

# 10 tokens of input and 5 of output at the price of `serving`.
COST = 10 * 150 + 5 * 600


def adjusted(vendor: FakeUpstream, *adjustments: Adjustment) -> Snapshot:
    plain = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "a"))])
    return replace(plain, adjustments=MappingProxyType({TENANT: adjustments}))


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_answer_shows_the_charge_and_the_ledger_has_both(
    tmp_path: Path, vendor: FakeUpstream, is_stream: bool
) -> None:
    if is_stream:
        vendor.script = stream(*good_stream("Hel", "lo"))
    snap = adjusted(vendor, Adjustment(uuid7(), TENANT, 1_200_000, 7, provider="one", model="gpt-*"))
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post(body=chat(stream=is_stream))
        (row,) = await gateway.settled()

    charge = COST * 6 // 5 + 7
    shown = response.text if is_stream else response.headers["x-tollkeeper-cost-usd"]
    assert f"{charge / 1e9:.9f}" in shown
    assert (row.cost_nano, row.charge_nano) == (COST, charge)
    assert row.intent.estimated_charge_nano == (row.intent.estimated_cost_nano or 0) * 6 // 5 + 7


async def test_another_tenants_or_models_adjustment_changes_nothing(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = adjusted(vendor, Adjustment(uuid7(), TENANT, 2_000_000, model="claude-*"))
    async with serving(tmp_path, snap) as gateway:
        await gateway.post()
        (row,) = await gateway.settled()
    assert (row.cost_nano, row.charge_nano) == (COST, COST)


async def test_unpriced_calls_are_counted_and_told(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("new-*", ("one", "*"), price=None)])
    with capture_logs() as logs:
        async with serving(tmp_path, snap) as gateway:
            for _ in range(3):
                assert (await gateway.post(body=chat(model="new-born"))).status_code == 200
            await gateway.settled(3)
            counted = gateway.metrics.registry.get_sample_value(
                "tollkeeper_unpriced_calls_total", {"model": "new-*", "provider": "one"}
            )

    assert counted == 3
    assert [(line["model"], line["calls"]) for line in logs if line["event"] == "unpriced_calls"] == [("new-born", 1)]


def test_the_log_is_reminded_once_an_hour_of_each_model() -> None:
    clock = ManualClock()
    unpriced = UnpricedCalls(Metrics(), clock)
    with capture_logs() as logs:
        for _ in range(3):
            unpriced.note("a", "a", "one")
        unpriced.note("b", "b", "one")
        clock.ahead = REMIND_SECONDS + 1
        unpriced.note("a", "a", "one")

    assert [(line["model"], line["calls"]) for line in logs] == [("a", 1), ("b", 1), ("a", 3)]


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    unpriced = UnpricedCalls(Metrics(), ManualClock())
    with capture_logs() as logs:
        for number in range(1_500):
            unpriced.note("*", f"made-up-{number}", "one")

    assert len(logs) == 1_000
