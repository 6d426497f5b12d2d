"""Calls that outlast their callers' patience: the caller gets an error in time, the ledger what the vendor bills."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.dispatching import ALWAYS, BOTH, ONE, Pair, fork, pair
from tests.gateway.serving import KEY, Serving, chat, events_of, serving
from tests.gateway.test_settlement import (
    FULL,
    GOES_ON,
    WORDS,
    Ending,
    Row,
    Scene,
    Slow,
    leave,
    make_snapshot,
    replace_request,
)
from tests.gateway.upstream import FakeUpstream, Seen, answer_json, completion
from tests.money.records import FakeHolds
from tollkeeper.contracts.routing import Deadlines, RetryRule, RoutePolicy
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.gateway.drain import Drains

# Far more than a test takes, and passed by its clock alone.
PATIENCE = {"x-tollkeeper-timeout-ms": "60000"}
LATE = 61.0
COUNTED = Row(CallStatus.ERROR)


@dataclass
class Half:
    """A whole answer that stops in its middle until `go`."""

    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        body = json.dumps(completion()).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:20])
        await writer.drain()
        waiting = [asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(seen.gone.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        writer.write(body[20:])
        await writer.drain()
        return True


@asynccontextmanager
async def asking(gateway: Serving, *vendors: FakeUpstream, wait_for: str = "", **fields: Any) -> AsyncIterator[str]:
    """The error that a call ends in whose caller has waited for long enough once these vendors had it."""
    headers = {"authorization": f"Bearer {KEY}", **PATIENCE}
    async with asyncio.timeout(20):
        asked = asyncio.create_task(_ask(gateway, wait_for, headers, chat(**fields)))
        while not all(vendor.seen for vendor in vendors):
            await asyncio.sleep(0.005)
        if not wait_for:
            gateway.clock.ahead += LATE
        yield await asked


async def _ask(gateway: Serving, wait_for: str, headers: dict[str, str], body: dict[str, Any]) -> str:
    text = ""
    async with gateway.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        async for part in response.aiter_text():
            text += part
            if wait_for and wait_for in text:
                wait_for = ""
                gateway.clock.ahead += LATE
    document = events_of(text)[-1] if response.status_code == 200 else text
    code: str = json.loads(document)["error"]["code"]
    return code


POINTS = ["whole", "half", *range(len(WORDS) + 1)]


def stuck(point: str | int) -> Slow | Half:
    if point == "half":
        return Half()
    return Slow(None if point == "whole" else int(point))


def asked_at(point: str | int) -> dict[str, Any]:
    if isinstance(point, str):
        return {}
    return {"stream": True, "wait_for": WORDS[point - 1] if point else ""}


@pytest.mark.parametrize("point", POINTS)
async def test_where_the_bill_goes_on_it_is_the_vendors_count(
    tmp_path: Path, vendor: FakeUpstream, point: str | int
) -> None:
    script = vendor.script = stuck(point)
    holds, drains = FakeHolds(), Drains()
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON))
    async with serving(tmp_path, snap, holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        async with asking(gateway, vendor, **asked_at(point)) as code:
            assert code == "upstream_timeout"
        async with asyncio.timeout(10):
            while not drains.count:
                await asyncio.sleep(0.005)
        assert (gateway.settlements, holds.held) == ([], FULL), "not settled before the end is known"
        script.go.set()
        await scene.check([COUNTED])
        assert gateway.settlements[0].error_code == "upstream_timeout"
        assert gateway.settlements[0].http_status == (504 if isinstance(point, str) or not point else 200)
        assert not vendor.seen[0].gone.is_set()
        # Whose connection serves again.
        gateway.admission.hold = None
        vendor.script = answer_json(completion())
        assert (await gateway.post()).status_code == 200
        assert vendor.connections == 1


@pytest.mark.parametrize("point", POINTS)
async def test_where_closing_ends_the_bill_it_is_closed_at_once(
    tmp_path: Path, vendor: FakeUpstream, point: str | int
) -> None:
    vendor.script = stuck(point)
    holds, drains = FakeHolds(), Drains()
    async with serving(tmp_path, make_snapshot(vendor, Ending("", [])), holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        async with asking(gateway, vendor, **asked_at(point)) as code:
            assert code == "upstream_timeout"
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 10)
        await scene.check([Row(CallStatus.ERROR, is_estimated=True, output=0 if isinstance(point, str) else point)])
        assert drains.count == 0


@pytest.mark.parametrize("drains", [Drains(seconds=0.1), Drains(most=0)], ids=["too long", "no room"])
async def test_reading_to_the_end_stays_bounded(tmp_path: Path, vendor: FakeUpstream, drains: Drains) -> None:
    vendor.script = Slow(2)
    holds = FakeHolds()
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON))
    async with serving(tmp_path, snap, holds=holds, drains=drains) as gateway:
        scene = Scene(gateway, holds)
        async with asking(gateway, vendor, **asked_at(2)):
            pass
        await scene.check([Row(CallStatus.ERROR, is_estimated=True, output=2)])
        await asyncio.wait_for(vendor.seen[0].gone.wait(), 10)


@pytest.mark.parametrize("point", [None, 2], ids=["whole", "stream"])
async def test_the_time_of_a_call_does_not_end_what_is_read_after_its_caller_left(
    tmp_path: Path, vendor: FakeUpstream, point: int | None
) -> None:
    script = vendor.script = Slow(point)
    holds, drains = FakeHolds(), Drains()
    patient = {"first_byte_seconds": 500.0, "idle_seconds": 500.0}
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON, config=patient))
    async with serving(tmp_path, snap, holds=holds, drains=drains, upstream_total_seconds=30.0) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, chat(stream=point is not None), WORDS[1] if point else None)
        gateway.clock.ahead += 31.0
        # Longer than the sweep takes to find out.
        await asyncio.sleep(0.3)
        assert drains.count == 1
        script.go.set()
        await scene.check([Row(CallStatus.CANCELLED)])


async def both_counted(both: Pair, scripts: Sequence[Slow]) -> None:
    for script in scripts:
        script.go.set()
    rows = await both.gateway.settled(2)
    assert {row.intent.provider for row in rows} == {"one", "two"}
    assert [(row.usage.output, row.usage.is_estimated) for row in rows] == [(5, False)] * 2
    assert [(row.status, row.error_code) for row in rows] == [(CallStatus.ERROR, "upstream_timeout")] * 2


@pytest.mark.parametrize("is_stream", [False, True])
async def test_of_two_attempts_at_once_both_are_counted(tmp_path: Path, is_stream: bool) -> None:
    policy = RoutePolicy(BOTH, hedge=ALWAYS, retry=RetryRule(most_attempts=1), deadlines=Deadlines(first_token=500.0))
    holds, drains = FakeHolds(room=FULL), Drains()
    options = {"options": GOES_ON}
    async with pair(tmp_path, policy, first=options, second=options, holds=holds, drains=drains) as both:
        both.gateway.admission.hold = replace_request(holds)
        both.one.script, both.two.script = scripts = Slow(0 if is_stream else None), Slow(0 if is_stream else None)
        async with asking(both.gateway, both.one, both.two, stream=is_stream) as code:
            assert code == "upstream_timeout"
        await both_counted(both, scripts)
        assert holds.held == 0
        assert both.gate.ends == [("left",), ("left",)], "one caller's haste is no vendor's failure"


async def test_a_repeat_is_counted(tmp_path: Path) -> None:
    policy = RoutePolicy(fork(ONE), retry=RetryRule(base_seconds=0.0))
    slow = Slow(None)
    repeated = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
        if len(both.one.seen) == 1:
            return await answer_json({}, 503)(seen, writer)
        repeated.set()
        return await slow(seen, writer)

    async with pair(tmp_path, policy, targets=[ONE], first={"options": GOES_ON}) as both:
        both.one.script = script
        asked = asyncio.create_task(both.gateway.post(headers=PATIENCE))
        await asyncio.wait_for(repeated.wait(), 10)
        both.gateway.clock.ahead += LATE
        assert (await asked).status_code == 504
        slow.go.set()
        (row,) = await both.gateway.settled()
        assert (row.intent.attempt, row.usage.output, row.usage.is_estimated) == (2, 5, False)


async def test_the_policys_word_on_the_whole_call_is_no_other(tmp_path: Path) -> None:
    policy = RoutePolicy(fork(ONE), deadlines=Deadlines(total=30.0), retry=RetryRule(most_attempts=1))
    async with pair(tmp_path, policy, targets=[ONE], first={"options": GOES_ON}) as both:
        slow = both.one.script = Slow(None)
        async with asking(both.gateway, both.one) as code:
            assert code == "upstream_timeout"
        slow.go.set()
        (row,) = await both.gateway.settled()
        assert (row.usage.output, row.usage.is_estimated) == (5, False)


async def test_a_stream_through_a_proxy_is_read_to_its_end(tmp_path: Path, vendor: FakeUpstream) -> None:
    script = vendor.script = Slow(2)
    holds = FakeHolds()
    through = {"proxy_url": f"http://127.0.0.1:{vendor.port}"}
    snap = make_snapshot(vendor, Ending("", [], options=GOES_ON, config=through))
    async with serving(tmp_path, snap, holds=holds, drains=(drains := Drains())) as gateway:
        scene = Scene(gateway, holds)
        await leave(gateway, vendor, chat(stream=True), WORDS[1])
        assert drains.count == 1
        script.go.set()
        await scene.check([Row(CallStatus.CANCELLED)])
