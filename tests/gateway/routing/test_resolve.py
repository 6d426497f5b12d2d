"""What callers meet of a route policy: narrowing and its refusal, cheaper targets where the money ends, what is held."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.routing.deciding import fork, routed
from tests.gateway.serving import KEY, Serving, chat, principal, provider, serving, snapshot
from tests.gateway.test_admit import Desk, hard
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, ModelRoute, Price
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import FallbackKind, Fork, Strategy, Target
from tollkeeper.core.errors import InsufficientQuota
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.appraise import appraise
from tollkeeper.gateway.money.appraiser import reachable
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.stage import Exchange

DEAR, CHEAP = Target("one", "dear"), Target("two", "cheap")


@asynccontextmanager
async def gateway_of(
    folder: Path, vendor: FakeUpstream, root: Fork, desk: Any = None, **fields: Any
) -> AsyncIterator[Serving]:
    """Two providers, both the same vendor: what it was asked for tells which target it was."""
    providers = [provider(name, vendor.base_url) for name in ("one", "two")]
    snap = snapshot(providers, [replace(routed(root, **fields), name="gpt-4o-mini")])
    options = {} if desk is None else {"admission": desk, "appraise": desk}
    async with serving(folder, snap, **options) as gateway:
        yield gateway


def asked_models(vendor: FakeUpstream) -> list[str]:
    return [one.json()["model"] for one in vendor.seen]


async def test_a_header_keeps_a_call_to_one_provider(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with gateway_of(tmp_path, vendor, fork(Strategy.PRIORITY, DEAR, CHEAP)) as gateway:
        assert (await gateway.post()).status_code == 200
        narrowed = await gateway.post(headers={"x-tollkeeper-route": "two"})
        assert (narrowed.status_code, narrowed.headers["x-tollkeeper-provider"]) == (200, "two")
    assert asked_models(vendor) == ["dear", "cheap"]


async def test_a_header_that_names_what_is_not_there_is_told_in_the_callers_dialect(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    async with gateway_of(tmp_path, vendor, fork(Strategy.PRIORITY, DEAR, CHEAP)) as gateway:
        refused = await gateway.post(headers={"x-tollkeeper-route": "two,three"})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, "route_not_allowed", "x-tollkeeper-route")
        assert "'three' is no part of" in error["message"]
        texts = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
        other = await gateway.post("/v1/messages", texts, headers={"x-tollkeeper-route": "three"})
        assert (other.status_code, other.json()["type"]) == (400, "error")
        assert other.json()["error"]["type"] == "invalid_request_error"
    assert vendor.seen == []


async def test_a_key_is_never_widened_by_a_policy(tmp_path: Path, vendor: FakeUpstream) -> None:
    fallbacks = {FallbackKind.BUDGET: fork(Strategy.PRIORITY, DEAR)}
    async with gateway_of(tmp_path, vendor, fork(Strategy.PRIORITY, CHEAP), fallbacks=fallbacks) as gateway:
        gateway.keys.add(KEY, allowed_providers=frozenset({"one"}))
        refused = await gateway.post()
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "provider_not_allowed")
        named = await gateway.post(headers={"x-tollkeeper-route": "two"})
        assert (named.status_code, named.json()["error"]["code"]) == (400, "route_not_allowed")


class Tight(Desk):
    """Has room for the cheap target alone."""

    def __call__(self, exchange: Exchange) -> Appraisal:
        cost = 50_000 if exchange.plan[0].model == "dear" else 1_000
        return Appraisal(10, 100, cost, cost, output_pico=1)

    async def exactly(self, exchange: Exchange) -> Appraisal:
        return self(exchange)


async def test_a_call_that_no_budget_has_room_for_goes_to_cheaper_targets_and_says_so(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk = Tight()
    desk.rules = {"budgets": hard()}
    fallbacks = {FallbackKind.BUDGET: fork(Strategy.PRIORITY, CHEAP)}
    async with gateway_of(tmp_path, vendor, fork(Strategy.PRIORITY, DEAR), desk, fallbacks=fallbacks) as gateway:
        answer = await gateway.post()
        assert answer.status_code == 200
        assert answer.headers["x-tollkeeper-fallback"] == "budget"
        assert answer.headers["x-tollkeeper-provider"] == "two"
    assert asked_models(vendor) == ["cheap"]


async def test_a_call_that_is_too_dear_everywhere_is_refused_as_the_first_time(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk = Tight(most_nano=10)
    desk.rules = {"budgets": hard()}
    fallbacks = {FallbackKind.BUDGET: fork(Strategy.PRIORITY, CHEAP)}
    async with gateway_of(tmp_path, vendor, fork(Strategy.PRIORITY, DEAR), desk, fallbacks=fallbacks) as gateway:
        answer = await gateway.post()
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, InsufficientQuota.code)
        assert "x-tollkeeper-fallback" not in answer.headers
    assert {full for full, _, _ in desk.asked} == {50_000, 1_000}
    assert vendor.seen == []


def price(output: int) -> Price:
    return Price(uuid7(), output // 10, output)


def by_target(*targets: Target, prices: dict[tuple[str, str], Price], **fields: Any) -> ModelRoute:
    made = routed(fork(Strategy.PRIORITY, *targets), target_prices=prices, **fields)
    return replace(made, is_priced_by_target=True, max_output_tokens=100)


def test_a_hold_is_for_the_dearest_place_that_a_call_may_reach() -> None:
    prices = {("one", "dear"): price(9_000_000), ("two", "cheap"): price(1_000_000)}
    route = by_target(CHEAP, DEAR, prices=prices)
    call = Call(Operation.CHAT, "m", False, {"model": "m", "messages": [{"role": "user", "content": "hi"}]})

    def full(*plan: Target) -> int:
        found = appraise(call, route, principal(), plan, Forecasts(), snapshot=EMPTY_SNAPSHOT).full_nano
        assert found is not None
        return found

    assert full(CHEAP) < full(DEAR)
    assert full(CHEAP, DEAR) == full(DEAR)
    assert full(CHEAP) * 8 < full(DEAR)


@pytest.mark.parametrize(
    ("kind", "reaches"),
    [(FallbackKind.CONTEXT_WINDOW, True), (FallbackKind.CONTENT_POLICY, True), (FallbackKind.BUDGET, False)],
)
def test_fallbacks_that_need_no_word_of_admission_are_paid_for_from_the_start(
    kind: FallbackKind, reaches: bool
) -> None:
    exchange: Any = type("Stub", (), {"plan": (CHEAP,), "fallbacks": {kind: (DEAR,)}})()
    assert (DEAR in reachable(exchange)) is reaches


async def test_each_attempt_is_charged_by_its_own_targets_price(tmp_path: Path, vendor: FakeUpstream) -> None:
    prices = {("one", "dear"): price(9_000_000), ("two", "cheap"): price(1_000_000)}
    route = replace(by_target(DEAR, CHEAP, prices=prices, price=prices["one", "dear"]), name="gpt-4o-mini")
    snap = snapshot([provider(name, vendor.base_url) for name in ("one", "two")], [route])
    async with serving(tmp_path, snap) as gateway:
        dear = await gateway.post(body=chat())
        cheap = await gateway.post(body=chat(), headers={"x-tollkeeper-route": "two"})
        costs = [float(answer.headers["x-tollkeeper-cost-usd"]) for answer in (dear, cheap)]
        assert costs[0] == pytest.approx(costs[1] * 9)
        versions = [row.intent.price_version for row in await gateway.settled(2)]
    assert versions == [prices["one", "dear"].version, prices["two", "cheap"].version]


async def test_a_model_whose_policy_is_gone_says_so_by_its_name(tmp_path: Path, vendor: FakeUpstream) -> None:
    lost = ModelRoute(uuid7(), "gpt-4o-mini", (), policy_name="fast")
    async with serving(tmp_path, snapshot([provider("one", vendor.base_url)], [lost])) as gateway:
        refused = await gateway.post()

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "no_target_available")
    assert "route policy `fast`, which is gone or faulty" in error["message"]
    assert vendor.seen == []
