"""A second attempt beside a silent first one: who wins, what becomes of the other, and who pays."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.dispatching import ALWAYS, BOTH, ONE, Pair, fork, pair
from tests.gateway.serving import PRICE, chat
from tests.gateway.test_dispatch import refusal
from tests.gateway.test_settlement import FULL, Slow, leave, replace_request
from tests.gateway.upstream import answer, answer_json, completion, good_stream, silent, stream
from tests.money.records import FakeHolds
from tollkeeper.contracts.routing import HedgeRule, RetryRule, RoutePolicy
from tollkeeper.contracts.usage import CallStatus, Settlement
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.routing.hedge import MOST_SAVED, HedgeAccount

ONCE = RetryRule(most_attempts=1)
HEDGED = RoutePolicy(BOTH, hedge=ALWAYS, retry=ONCE)
STOPS = {"options": {"cancel_stops_billing": True, "visible_output": True}}
GOES_ON = {"options": {"cancel_stops_billing": False}}


async def said(both: Pair, response: Any, is_stream: bool) -> str:
    if not is_stream:
        text: str = response.json()["choices"][0]["message"]["content"]
        return text
    return "".join(
        choice["delta"].get("content") or ""
        for line in response.text.split("\n\n")
        if line.startswith("data: {")
        for choice in json.loads(line[6:])["choices"]
    )


def by_attempt(rows: list[Settlement]) -> list[Settlement]:
    return sorted(rows, key=lambda row: row.intent.attempt)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_whoever_is_first_to_answer_is_relayed_and_the_other_cancelled(tmp_path: Path, is_stream: bool) -> None:
    holds = FakeHolds(room=FULL)
    async with pair(tmp_path, HEDGED, first=STOPS, second=STOPS, holds=holds) as both:
        hold = both.gateway.admission.hold = replace_request(holds)
        both.one.script = silent()
        both.two.script = stream(*good_stream("from two")) if is_stream else answer_json(completion("from two"))
        response = await both.gateway.post(body=chat(stream=is_stream))
        assert await said(both, response, is_stream) == "from two"
        assert response.headers["x-tollkeeper-provider"] == "two"
        assert response.headers["x-tollkeeper-attempts"] == "2"
        await asyncio.wait_for(both.one.seen[0].gone.wait(), 10)
        lost, won = by_attempt(await both.gateway.settled(2))
        assert (lost.intent.provider, lost.status, lost.error_code) == ("one", CallStatus.CANCELLED, "hedge_lost")
        assert lost.usage.is_estimated
        assert (won.intent.provider, won.status, won.usage.is_estimated) == ("two", CallStatus.OK, False)
        assert holds.asked == [FULL], "put aside before the second was sent"
        total = (lost.charge_nano or 0) + (won.charge_nano or 0)
        assert [(charge, rows) for charge, rows, *_ in holds.settled] == [(total, 2)]
        assert (holds.held, hold.is_settled) == (0, True)
        assert both.gate.ends == [("left",), ("answered",)]
        assert both.metric("hedges_total", provider="two", result="won") == 1


async def test_a_first_attempt_that_answers_after_all_wins(tmp_path: Path) -> None:
    slow = Slow(None)
    async with pair(tmp_path, HEDGED, first=STOPS, second=STOPS) as both:
        both.one.script = slow
        both.two.script = silent()
        asking = asyncio.create_task(both.gateway.post())
        async with asyncio.timeout(10):
            while not both.two.seen:
                await asyncio.sleep(0.005)
        slow.go.set()
        response = await asking
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "one")
        await asyncio.wait_for(both.two.seen[0].gone.wait(), 10)
        first, second = by_attempt(await both.gateway.settled(2))
        assert (first.status, second.status, second.error_code) == (CallStatus.OK, CallStatus.CANCELLED, "hedge_lost")
        assert both.gate.ends == [("answered",), ("left",)]
        assert both.metric("hedges_total", provider="two", result="lost") == 1


async def test_the_losers_bill_is_the_vendors_where_it_goes_on(tmp_path: Path) -> None:
    slow, drains = Slow(None), Drains()
    async with pair(tmp_path, HEDGED, first=GOES_ON, second=GOES_ON, drains=drains) as both:
        both.one.script = slow
        response = await both.gateway.post()
        assert response.headers["x-tollkeeper-provider"] == "two"
        assert both.gateway.settlements == [], "not settled before the end of both is known"
        assert drains.count == 1
        assert not both.one.seen[0].gone.is_set()
        slow.go.set()
        lost, won = by_attempt(await both.gateway.settled(2))
        assert (lost.status, lost.usage.is_estimated, lost.usage.output) == (CallStatus.CANCELLED, False, 5)
        assert won.status is CallStatus.OK


async def test_a_quick_answer_is_not_hedged(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, hedge=replace(ALWAYS, after_seconds=30.0))) as both:
        assert (await both.gateway.post()).headers["x-tollkeeper-provider"] == "one"
        assert both.two.seen == []


async def test_the_wait_is_the_targets_own_95th_percentile(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(BOTH, hedge=replace(ALWAYS, after_seconds=None)), first=STOPS) as both:
        both.one.script = answer_json(completion("slow"))
        assert (await both.gateway.post()).headers["x-tollkeeper-provider"] == "one", "nothing is known: no hedge"
        both.one.script = silent()
        both.gate.p95_seconds = 0.02
        assert (await both.gateway.post()).headers["x-tollkeeper-provider"] == "two"


async def test_no_room_in_the_budget_no_hedge(tmp_path: Path) -> None:
    holds = FakeHolds(room=0)
    slow = Slow(None)
    async with pair(tmp_path, HEDGED, first=STOPS, second=STOPS, holds=holds) as both:
        both.gateway.admission.hold = replace_request(holds)
        both.one.script = slow
        asking = asyncio.create_task(both.gateway.post())
        async with asyncio.timeout(10):
            while not holds.asked:
                await asyncio.sleep(0.005)
        slow.go.set()
        assert (await asking).headers["x-tollkeeper-attempts"] == "1"
        assert both.two.seen == []
        (row,) = await both.gateway.settled()
        assert row.status is CallStatus.OK
        assert both.gate.ends == [("answered",), ("left",)]


async def test_a_call_that_is_watched_for_its_budget_is_not_hedged(tmp_path: Path) -> None:
    holds = FakeHolds(room=FULL)
    slow = Slow(2)
    async with pair(tmp_path, HEDGED, first=STOPS, second=STOPS, holds=holds) as both:
        both.gateway.admission.hold = replace_request(
            holds, forecast=1_000 * PRICE.input // 1000, is_full=False, output_tokens=40
        )
        both.one.script = slow
        slow.go.set()
        assert (await both.gateway.post()).status_code == 200
        assert both.two.seen == []


@pytest.mark.parametrize("is_stream", [False, True])
async def test_when_both_fail_the_call_goes_on_or_ends(tmp_path: Path, is_stream: bool) -> None:
    async with pair(tmp_path, HEDGED, first={"first_byte_seconds": 0.4}) as both:
        both.one.script = silent()
        both.two.script = refusal(500)
        response = await both.gateway.post(body=chat(stream=is_stream))
        assert response.status_code == 503
        assert "one/a: 504 upstream_timeout" in response.text
        assert "two/b: 502 upstream_error" in response.text
        assert both.gate.ends == [("timeout",), ("server",)]


async def test_a_second_attempt_that_fails_leaves_the_first_its_time(tmp_path: Path) -> None:
    slow = Slow(None)
    async with pair(tmp_path, HEDGED, first=STOPS) as both:
        both.one.script = slow
        both.two.script = answer(200, b"garbage")
        asking = asyncio.create_task(both.gateway.post())
        async with asyncio.timeout(10):
            while both.gate.ends[1:] != [("server",)]:
                await asyncio.sleep(0.005)
        slow.go.set()
        response = await asking
        assert (response.status_code, response.headers["x-tollkeeper-provider"]) == (200, "one")
        first, second = by_attempt(await both.gateway.settled(2))
        assert (first.status, second.status) == (CallStatus.OK, CallStatus.ERROR)


@pytest.mark.parametrize("is_billed_on", [False, True])
async def test_a_caller_that_leaves_leaves_both(tmp_path: Path, is_billed_on: bool) -> None:
    options = GOES_ON if is_billed_on else STOPS
    slow, other = Slow(None), Slow(None)
    async with pair(tmp_path, HEDGED, first=options, second=options) as both:
        both.one.script, both.two.script = slow, other
        await leave(both.gateway, both.two, chat(), None)
        if is_billed_on:
            assert both.gateway.settlements == []
        slow.go.set()
        other.go.set()
        rows = await both.gateway.settled(2)
        # The last one is the call's own end; the first was still without an answer.
        assert {row.usage.is_estimated for row in rows} == {not is_billed_on}
        assert sorted(row.intent.attempt for row in rows) == [1, 2]
        assert both.gate.ends == [("left",), ("left",)]


async def test_without_another_target_there_is_no_hedge(tmp_path: Path) -> None:
    async with pair(tmp_path, RoutePolicy(fork(ONE), hedge=ALWAYS), targets=[ONE]) as both:
        both.one.script = stream(*good_stream("hello"), pause=0.03)
        assert (await both.gateway.post(body=chat(stream=True))).status_code == 200
        assert len(both.one.seen) == 1


async def test_a_target_that_is_not_let_through_is_no_hedge(tmp_path: Path) -> None:
    slow = Slow(None)
    async with pair(tmp_path, HEDGED) as both:
        both.gate.closed["two"] = ("paused", 5.0)
        both.one.script = slow
        asyncio.get_running_loop().call_later(0.2, slow.go.set)
        assert (await both.gateway.post()).headers["x-tollkeeper-provider"] == "one"
        assert both.two.seen == []


# What they may come to


def test_hedges_are_a_share_of_the_calls() -> None:
    rule, account = HedgeRule(share_millionths=50_000, spend_millionths=1_000_000), HedgeAccount()
    made = 0
    for _ in range(1_000):
        account.called(rule, 100)
        made += account.take(100)
    assert made == 50


def test_hedges_cost_a_share_of_what_calls_cost() -> None:
    rule, account = HedgeRule(share_millionths=1_000_000, spend_millionths=50_000), HedgeAccount()
    made = 0
    for _ in range(1_000):
        account.called(rule, 100)
        made += account.take(100)
        account.correct(rule, 0, 0)
    assert made == 50


def test_a_hedge_that_cost_more_than_was_expected_is_made_up_for() -> None:
    rule, account = HedgeRule(share_millionths=1_000_000, spend_millionths=500_000), HedgeAccount()
    for _ in range(2):
        account.called(rule, 100)
    assert account.take(100)
    account.correct(rule, 0, 300)
    for _ in range(6):
        account.called(rule, 100)
        assert not account.take(100)
    account.called(rule, 100)
    account.called(rule, 100)
    assert account.take(100)


def test_quiet_hours_save_up_for_few_hedges() -> None:
    rule, account = HedgeRule(share_millionths=500_000, spend_millionths=1_000_000), HedgeAccount()
    for _ in range(10_000):
        account.called(rule, 1)
    assert sum(account.take(1) for _ in range(100)) == MOST_SAVED


def test_a_hedge_that_was_not_made_is_given_back() -> None:
    account = HedgeAccount()
    account.called(ALWAYS, 10)
    assert account.take(10)
    account.give_back(10)
    assert account.take(10)
