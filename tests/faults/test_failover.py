"""One of two vendors fails in one way or another: callers notice nothing, or are told the truth, and pay for what they got."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.calls import Call, Caller, new_name
from tests.faults.in_process import PRICE, World, world
from tests.faults.script import PROMPT_TOKENS, WHOLE_TOKENS
from tests.faults.upstream import Mood
from tests.gateway.serving import KEY, route
from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.routing import Branch, Fork, RoutePolicy, Strategy, Target
from tollkeeper.contracts.usage import CallStatus

pytestmark = pytest.mark.xdist_group("faults-failover")

CALLS, WIDTH, CHUNKS = 120, 8, 4
# What a good vendor does here.
GOOD = f"good-stream{CHUNKS}x2"


def two_targets(strategy: Strategy) -> ModelRoute:
    branches = tuple(Branch(Target(name, GOOD)) for name in ("bad", "good"))
    policy = RoutePolicy(Fork(strategy, branches), name="two")
    return route("model", ("bad", GOOD), ("good", GOOD), policy=policy)


@asynccontextmanager
async def pair(folder: Path, strategy: Strategy = Strategy.PRIORITY) -> AsyncIterator[World]:
    async with world(folder, "bad", "good") as found:
        # A vendor that hangs is soon given up; one that is well may be late on a crowded machine.
        first_byte = {"bad": 1.0, "good": 30.0}
        options = {"cancel_stops_billing": True}
        configs = [
            vendor.config(name, options=options, first_byte_seconds=first_byte[name])
            for name, vendor in found.vendors.items()
        ]
        found.configure(configs, [two_targets(strategy)])
        yield found


async def make_calls(
    found: World, *, between: Callable[[int], None] = lambda _: None, only_streams: bool = False
) -> list[Call]:
    numbers = iter(range(CALLS))
    calls: list[Call] = []

    async def run() -> None:
        async with Caller(found.gateway.origin, KEY) as caller:
            for number in numbers:
                between(number)
                is_stream = only_streams or number % 2 == 0
                calls.append(await caller.call("model", user=new_name("failover"), is_stream=is_stream))

    await asyncio.gather(*(run() for _ in range(WIDTH)))
    await found.quiet()
    return calls


def bill_nano(tokens: int) -> int:
    return (PROMPT_TOKENS * PRICE.input + tokens * PRICE.output + 500) // 1000


def check_bills(found: World, calls: list[Call]) -> None:
    """Every call has one good row, at the vendor's own count."""
    for call in calls:
        [good] = [row for row in found.rows(call.user) if row.status is CallStatus.OK]
        tokens = CHUNKS if call.text.startswith("word0") else WHOLE_TOKENS
        assert (good.charge_nano, good.usage.is_estimated) == (bill_nano(tokens), False)


@pytest.mark.parametrize(
    "mood",
    [
        "status503",
        "status500",
        "status429-retry1",
        "status401",
        "reset",
        "garbage",
        "nonsense",
        "okerror",
        "hang",
        "torn60-resets",
        "stream4x2-cut0",
    ],
)
@pytest.mark.parametrize("strategy", [Strategy.PRIORITY, Strategy.LEAST_LATENCY])
async def test_vendor_that_fails_before_the_first_token_is_not_noticed(
    tmp_path: Path, mood: str, strategy: Strategy
) -> None:
    began = time.monotonic()
    async with pair(tmp_path, strategy) as found:
        # Of a torn answer the first half is head and, in a stream, content: that is another test's.
        found.vendors["bad"].upstream.mood = Mood(mood.replace("torn60", "torn10"))
        calls = await make_calls(found)
        failed = [call for call in calls if not call.is_whole]
        assert not failed, failed[:3]
        check_bills(found, calls)
        # It is asked until its breaker opens, and then no more than now and then.
        sent = len(found.vendors["bad"].upstream.log) + len(found.vendors["good"].upstream.log)
        assert sent <= 1.1 * CALLS + WIDTH * (3 + 2 * (time.monotonic() - began))


async def test_vendor_that_is_hard_down_is_not_noticed_and_comes_back(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        bad = found.vendors["bad"]
        await make_calls(found)
        assert len(bad.upstream.log) > CALLS / 2
        await bad.stop()
        calls = await make_calls(found)
        assert all(call.is_whole for call in calls)
        assert {call.headers["x-tollkeeper-provider"] for call in calls} == {"good"}
        check_bills(found, calls)
        await bad.start()
        # What a breaker waits for is time: half a minute of it, in steps, with calls in each.
        before = len(bad.upstream.log)
        for _ in range(30):
            found.gateway.clock.ahead += 1.0
            calls = await make_calls(found)
            assert all(call.is_whole for call in calls)
            if calls[-1].headers["x-tollkeeper-provider"] == "bad":
                break
        assert len(bad.upstream.log) > before
        assert calls[-1].headers["x-tollkeeper-provider"] == "bad"


async def test_flapping_vendor_is_not_noticed(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        upstream = found.vendors["bad"].upstream

        def flap(number: int) -> None:
            found.gateway.clock.ahead += 0.1
            upstream.mood = Mood("status502") if number // 15 % 2 else None

        calls = await make_calls(found, between=flap)
        failed = [call for call in calls if not call.is_whole]
        assert not failed, failed[:3]
        check_bills(found, calls)


async def test_vendor_with_some_errors_is_not_noticed_and_gets_fewer_calls(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        found.vendors["bad"].upstream.mood = Mood("status500", share=0.3)
        calls = await make_calls(found)
        failed = [call for call in calls if not call.is_whole]
        assert not failed, failed[:3]
        check_bills(found, calls)
        before = len(found.vendors["bad"].upstream.log)
        await make_calls(found)
        assert len(found.vendors["bad"].upstream.log) - before < CALLS / 2


@pytest.mark.parametrize("mood", ["stream4x10-cut2", "stream4x10-torn70", "stream4x10-torn70-resets"])
async def test_vendor_that_fails_in_mid_stream_is_told_of_by_a_typed_event_and_billed_as_far_as_it_came(
    tmp_path: Path, mood: str
) -> None:
    async with pair(tmp_path) as found:
        found.vendors["bad"].upstream.mood = Mood(mood, share=0.2)
        calls = await make_calls(found, only_streams=True)
        broken = [call for call in calls if not call.is_whole]
        assert broken, "some streams met the fault"
        check_bills(found, [call for call in calls if call.is_whole])
        for call in broken:
            assert (call.status, call.fault) == (200, None), call
            assert call.error is not None
            assert call.error["code"] == "upstream_cut"
            assert call.text
            assert "word0 word1 word2 word3 ".startswith(call.text)
            [row] = found.rows(call.user)
            assert (row.status, row.usage.is_estimated) == (CallStatus.ERROR, True)
            # What was relayed at least, and no more than what was sent and a chunk.
            [served] = found.vendors["bad"].entries(call.user)
            assert 0 < row.usage.output <= 4 * (served.chunks + 1)
            assert found.purse.charges[row.intent.request_id] == [row.charge_nano]
