"""PostgreSQL dead or stalled: known keys go on, nobody is refused as a stranger, and no usage is lost.

Keys are believed for a second only, so that calls during an outage really depend on the degraded mode.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults import processes
from tests.faults.calls import Caller, Load, new_name, reconcile, shipped
from tests.faults.gateway import Gateway, UpstreamProcess, eventually

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-postgres")]

MODELS = (("up-ok", False), ("up-stream4x10", True), ("up-wait20", False))
STRANGER = "tk-live_" + "A" * 12 + "_" + "b" * 38


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(environment={"TOLLKEEPER_KEY_CACHE_SECONDS": "1"})


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stalled, not dead: the connections stay open and nobody answers on them."""
    for pid in pids:
        processes.send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if processes.is_alive(pid):
                processes.send(pid, signal.SIGCONT)


async def control(gateway: Gateway) -> Any:
    return await asyncio.to_thread(gateway.get, "/api/v1/keys")


async def is_ok(gateway: Gateway) -> bool:
    return (await asyncio.to_thread(gateway.ready))["status"] == "ok"


async def unknown_status(gateway: Gateway, key: str) -> int | None:
    async with Caller(gateway.origin, key) as caller:
        return (await caller.call()).status


async def first_answer(gateway: Gateway, key: str) -> int | None:
    """What a key that is not in memory is told once PostgreSQL can be asked."""

    async def ask() -> int | None:
        status = await unknown_status(gateway, key)
        return None if status == 503 else status

    status: int | None = await eventually(ask, seconds=5, what="keys can be looked up again")
    return status


async def check_outage(gateway: Gateway, unseen: str) -> None:
    """What holds while PostgreSQL does not answer, whatever the reason."""
    report = await eventually(lambda: degraded(gateway), seconds=8, what="/health/ready says degraded")
    assert report["dependencies"]["postgresql"]["status"] == "degraded"
    assert report["dependencies"]["redis"]["status"] == "ok"
    # A key that exists, but is not in memory, is as unknown as one that does not: 503 for both, never 401.
    assert await unknown_status(gateway, unseen) == 503
    answer = await control(gateway)
    assert answer.status_code == 503, answer.text
    assert 0 < int(answer.headers["retry-after"]) <= 120
    assert answer.json()["code"] == "dependency_unavailable"


async def degraded(gateway: Gateway) -> dict[str, Any] | None:
    report = await asyncio.to_thread(gateway.ready)
    return report if report["status"] == "degraded" else None


async def test_killed_postgres_is_started_again_and_nobody_notices(gateway: Gateway, upstream: UpstreamProcess) -> None:
    async with Load(gateway, MODELS, width=4) as load:
        await load.served(20)
        victim = gateway.postmaster_pid()
        processes.send(victim, signal.SIGKILL)
        seen = set()
        deadline = time.monotonic() + 30
        while not (200 in seen and gateway.postmaster_pid() != victim and await is_ok(gateway)):
            assert time.monotonic() < deadline, gateway.ready()
            seen.add((await control(gateway)).status_code)
            await asyncio.sleep(0.05)
        await load.served(20)
    assert seen <= {200, 503}
    assert load.statuses().keys() == {200}
    assert all(call.is_whole for call in load.calls)
    await reconcile(gateway, upstream, load, in_flight=0)


async def test_dead_postgres_closes_the_control_plane_and_keeps_known_keys(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    unseen = gateway.new_key()["key"]
    async with Load(gateway, MODELS, width=4) as load:
        await load.served(10)
        # The supervisor would start it again at once: it has to wait.
        with stopped([gateway.process.pid]):
            processes.send(gateway.postmaster_pid(), signal.SIGKILL)
            await check_outage(gateway, unseen)
            await load.served(40)
        await eventually(lambda: is_ok(gateway), seconds=30, what="ready again")
        await load.served(10)
    assert load.statuses().keys() == {200}
    assert await first_answer(gateway, unseen) == 200
    await reconcile(gateway, upstream, load, in_flight=0)


async def test_postgres_that_cannot_start_is_tried_again_and_takes_nobody_along(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    version = gateway.data_dir / "postgres" / "cluster" / "PG_VERSION"
    good = version.read_bytes()
    offset = gateway.log_path.stat().st_size
    async with Load(gateway, MODELS, width=2) as load:
        await load.served(5)
        [worker] = gateway.worker_pids()
        version.write_bytes(b"12\n")
        try:
            processes.send(gateway.postmaster_pid(), signal.SIGKILL)
            await eventually(
                lambda: gateway.log_since(offset).count(b"starting it again") >= 2, seconds=30, what="a second try"
            )
            await load.served(20)
        finally:
            version.write_bytes(good)
        await eventually(lambda: is_ok(gateway), seconds=30, what="ready again")
        assert gateway.worker_pids() == [worker]
    assert load.statuses().keys() == {200}
    await reconcile(gateway, upstream, load, in_flight=0)


async def test_stalled_postgres_slows_no_known_key_and_recovers(gateway: Gateway, upstream: UpstreamProcess) -> None:
    unseen = gateway.new_key()["key"]
    word = new_name("stall")
    async with Caller(gateway.origin, gateway.key) as caller:
        assert (await caller.call()).is_whole
        with stopped(gateway.postgres_pids()):
            await asyncio.sleep(1.2)  # The key in memory is older than it may be: it must be looked up, or be stale.
            took = []
            for number in range(40):
                begun = time.monotonic()
                call = await caller.call(user=f"{word}-{number}")
                took.append(time.monotonic() - begun)
                assert call.is_whole, call
            # One look-up in two seconds may cost its deadline of 0.1 s; the others cost nothing.
            assert sum(seconds > 0.08 for seconds in took) <= 8, sorted(took)[-10:]
            await check_outage(gateway, unseen)
        began = time.monotonic()
        await eventually(lambda: is_ok(gateway), seconds=8, what="ready again")
        recovered = time.monotonic() - began
    # The breaker before look-ups tries again every quarter of a second; until it did, 503 and never 401.
    assert await first_answer(gateway, unseen) == 200
    assert await first_answer(gateway, STRANGER) == 401
    assert (await control(gateway)).status_code == 200
    rows = await shipped(gateway, word, 40)
    assert sorted(row["end_user"] for row in rows) == sorted(f"{word}-{number}" for number in range(40))
    assert {(row["kind"], row["status"]) for row in rows} == {("settled", "ok")}
    assert recovered < 6


async def test_both_gone_is_memory_and_local_shares(gateway: Gateway) -> None:
    word = new_name("both")
    # Without a limit nobody asks Redis.
    made = gateway.new_key(rate_limit_override=100_000)
    async with Caller(gateway.origin, made["key"]) as caller:
        assert (await caller.call()).is_whole
        with stopped([*gateway.postgres_pids(), gateway.valkey_pid()]):
            calls = [await caller.call(user=f"{word}-{number}") for number in range(30)]
            assert all(call.is_whole for call in calls)
            report = await eventually(lambda: degraded(gateway), seconds=8, what="/health/ready says degraded")
            assert {name for name, state in report["dependencies"].items() if state["status"] == "degraded"} >= {
                "postgresql",
                "redis",
                "announcements",
            }
        await eventually(lambda: is_ok(gateway), seconds=8, what="ready again")
    rows = await shipped(gateway, word, 30)
    assert len(rows) == 30


async def test_gateway_killed_during_the_outage_loses_no_usage(gateway: Gateway, upstream: UpstreamProcess) -> None:
    """Journal only: the rows of these calls exist nowhere else when the process dies."""
    async with Load(gateway, MODELS, width=4) as load:
        await load.served(5)
        with stopped(gateway.postgres_pids()):
            await load.served(30)
            family = gateway.family()
            gateway.kill()
        assert not await asyncio.to_thread(processes.wait_until_gone, family, seconds=15)
        await asyncio.to_thread(gateway.start)
        await load.served(5)
    await reconcile(gateway, upstream, load, in_flight=4)
