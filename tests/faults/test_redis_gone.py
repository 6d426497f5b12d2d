"""Valkey dead or stalled: calls go on, limits become local shares and never vanish, revocation takes the other way."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults import processes
from tests.faults.calls import Caller
from tests.faults.gateway import Gateway, eventually
from tests.faults.lines import lines_to_all
from tests.faults.test_postgres_gone import is_ok, stopped
from tests.faults.test_revocation import until_served

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-redis")]

LIMIT = 6
REVOKED_SECONDS = 1.0


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


async def is_redis_down(gateway: Gateway) -> bool:
    report = await asyncio.to_thread(gateway.ready)
    return report["dependencies"]["redis"]["status"] == "degraded"


async def revoked_everywhere(gateway: Gateway) -> None:
    """A key both workers know is refused by both within a second of the answer, and stays refused."""
    made = await asyncio.to_thread(gateway.new_key)
    async with lines_to_all(gateway) as lines:
        await until_served(lines.values(), made["key"])
        answer = await asyncio.to_thread(gateway.post, f"/api/v1/keys/{made['id']}/revoke")
        assert answer.status_code == 200, answer.text
        deadline = time.monotonic() + REVOKED_SECONDS
        while True:
            asked = time.monotonic()
            statuses = [await line.models(made["key"]) for line in lines.values()]
            if statuses == [401, 401]:
                break
            assert set(statuses) <= {200, 401}, statuses
            assert asked < deadline, f"still served after {REVOKED_SECONDS} s: {statuses}"
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert [await line.models(made["key"]) for line in lines.values()] == [401, 401]


async def test_stalled_valkey_costs_one_call_its_deadline_and_no_other(gateway: Gateway) -> None:
    # Without a limit nobody asks Redis.
    made = gateway.new_key(rate_limit_override=100_000)
    async with Caller(gateway.origin, made["key"], connections=1) as caller:
        assert (await caller.call()).is_whole
        with stopped([gateway.valkey_pid()]):
            took = []
            for _ in range(40):
                begun = time.monotonic()
                assert (await caller.call()).is_whole
                took.append(time.monotonic() - begun)
            await eventually(lambda: is_redis_down(gateway), seconds=5, what="/health/ready names Redis")
        # The first of each worker finds out; its probes are nobody's wait.
        assert sum(seconds > 0.045 for seconds in took) <= 6, sorted(took)[-10:]
        await eventually(lambda: is_ok(gateway), seconds=5, what="ready again")
        assert (await caller.call()).is_whole


async def test_killed_valkey_is_started_again_and_no_call_fails(gateway: Gateway) -> None:
    made = gateway.new_key(rate_limit_override=100_000)
    async with Caller(gateway.origin, made["key"]) as caller:
        victim = gateway.valkey_pid()
        processes.send(victim, signal.SIGKILL)
        deadline = time.monotonic() + 15
        while gateway.valkey_pid() == victim or not await is_ok(gateway):
            assert (await caller.call()).is_whole
            assert time.monotonic() < deadline
        assert (await caller.call()).is_whole
    await revoked_everywhere(gateway)


async def test_limits_are_local_shares_while_valkey_is_gone(gateway: Gateway) -> None:
    made = gateway.new_key(rate_limit_override=LIMIT)
    with stopped([gateway.valkey_pid()]):
        async with lines_to_all(gateway) as lines:
            asked = [line for _ in range(3 * LIMIT) for line in lines.values()]
            statuses = [(await line.chat(made["key"], "up-ok", "local-share"))[0] for line in asked]
    assert set(statuses) == {200, 429}
    # Each worker's share of the limit, and what trickles in while the test runs.
    assert 1 <= statuses.count(200) <= LIMIT + 2
    await eventually(lambda: is_ok(gateway), seconds=5, what="ready again")


async def test_revocation_arrives_through_postgres_while_valkey_is_gone(gateway: Gateway) -> None:
    with stopped([gateway.valkey_pid()]):
        await revoked_everywhere(gateway)
    await eventually(lambda: is_ok(gateway), seconds=5, what="ready again")


async def test_revocation_arrives_through_valkey_while_listening_is_cut(gateway: Gateway) -> None:
    """The LISTEN connections are ended again and again, so that none can hear anything."""
    is_over = asyncio.Event()

    async def cut_listeners() -> None:
        while not is_over.is_set():
            await gateway.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND (query LIKE 'LISTEN %' OR query LIKE 'UNLISTEN %' OR query = 'SELECT 1')",
                role="none",
            )
            await asyncio.sleep(0)

    cutting = asyncio.create_task(cut_listeners())
    try:
        await asyncio.sleep(0.5)
        await revoked_everywhere(gateway)
    finally:
        is_over.set()
        await cutting
    await eventually(lambda: is_ok(gateway), seconds=5, what="ready again")
    await revoked_everywhere(gateway)
