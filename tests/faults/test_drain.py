"""SIGTERM: no new calls, running ones finish up to a limit, every one is settled, and the exit code says so."""

import asyncio
import signal
from collections.abc import Callable

import aiohttp
import pytest

from tests.faults import processes
from tests.faults.calls import Call, Caller, new_name, read_events, shipped, take_event
from tests.faults.gateway import Gateway, UpstreamProcess, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-drain")]


@pytest.fixture(scope="module")
def kept_gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    """Its drain is short."""
    return new_gateway(is_started=False, workers=2, environment={"TOLLKEEPER_DRAIN_SECONDS": "3"})


@pytest.fixture
def gateway(kept_gateway: Gateway) -> Gateway:
    """Every test ends it; the next one starts it again on its data."""
    if not kept_gateway.is_running:
        kept_gateway.start()
    return kept_gateway


async def take_stream(caller: Caller, model: str, call: Call, begun: asyncio.Event) -> None:
    async with caller.open(model, call) as answer:
        async for event in read_events(answer):
            take_event(call, event)
            begun.set()


async def is_refused(gateway: Gateway) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_running_stream_finishes_while_new_connections_are_refused(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    family, call, begun = gateway.family(), Call(new_name("drain")), asyncio.Event()
    async with Caller(gateway.origin, gateway.key) as caller:
        stream = asyncio.create_task(take_stream(caller, "up-stream30x60", call, begun))
        await asyncio.wait_for(begun.wait(), 10)
        whole = asyncio.create_task(caller.call("up-wait1000", user=f"{call.user}-whole"))
        await eventually(lambda: upstream.find(f"{call.user}-whole"), seconds=5, what="the whole call under way")
        gateway.terminate()
        await eventually(lambda: is_refused(gateway), seconds=2, what="new connections are refused")
        assert not stream.done()
        await asyncio.gather(stream, whole)
    assert call.is_whole
    assert call.text.split()[-1] == "word29"
    assert whole.result().is_whole, whole.result()
    assert await asyncio.to_thread(gateway.wait, 15) == 0
    assert not await asyncio.to_thread(processes.wait_until_gone, family, seconds=5)
    await asyncio.to_thread(gateway.start)
    rows = await shipped(gateway, call.user, 2)
    assert [(row["kind"], row["status"], row["is_estimated"]) for row in rows] == [("settled", "ok", False)] * 2


async def test_stream_past_the_drain_ends_with_a_typed_error_and_is_settled(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    call, begun = Call(new_name("late")), asyncio.Event()
    async with Caller(gateway.origin, gateway.key) as caller:
        stream = asyncio.create_task(take_stream(caller, "up-stream400x60", call, begun))
        await asyncio.wait_for(begun.wait(), 10)
        gateway.terminate()
        await asyncio.wait_for(stream, 15)
    assert call.error is not None, call
    assert call.error.keys() >= {"message", "type", "param", "code"}
    assert call.code == "gateway_stopping"
    assert not call.is_whole
    assert call.text.startswith("word0 word1 ")
    assert await asyncio.to_thread(gateway.wait, 15) == 0
    [served] = upstream.find(call.user)
    assert served["outcome"] == "left"
    await asyncio.to_thread(gateway.start)
    [row] = await shipped(gateway, call.user, 1)
    assert row["kind"] == "settled"
    assert (row["status"], row["error_code"]) == ("error", "gateway_stopping")
    assert row["is_estimated"]
    assert row["output_tokens"] > 0
    assert row["cost_nano"] > 0


async def test_idle_gateway_ends_at_once_and_cleanly(gateway: Gateway) -> None:
    family = gateway.family()
    # A keep-alive connection of a client's pool must not hold up the end.
    async with Caller(gateway.origin, gateway.key) as caller:
        assert (await caller.call()).is_whole
        gateway.terminate()
        assert await asyncio.to_thread(gateway.wait, 4) == 0
    assert not await asyncio.to_thread(processes.wait_until_gone, family, seconds=2)
    journal = list((gateway.data_dir / "journal").rglob("*.jsonl"))
    assert journal == [], "what was shipped is still in the journal"


async def test_interrupt_from_the_terminal_drains_as_well(gateway: Gateway) -> None:
    async with Caller(gateway.origin, gateway.key) as caller:
        assert (await caller.call()).is_whole
    gateway.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(gateway.wait, 6) == 0
    with pytest.raises((aiohttp.ClientError, OSError)):
        async with aiohttp.ClientSession() as session, session.get(f"{gateway.origin}/health/live"):
            pass
