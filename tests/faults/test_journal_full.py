"""The journal at its cap while PostgreSQL is away: priced calls wait outside, free ones go on, and all of it recovers."""

import asyncio
from collections.abc import Callable

import pytest

from tests.faults.calls import Caller, Load, new_name, reconcile
from tests.faults.gateway import Gateway, UpstreamProcess, eventually
from tests.faults.test_postgres_gone import is_ok, stopped

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-journal")]

SMALLEST = 1024 * 1024


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(environment={"TOLLKEEPER_JOURNAL_MAX_BYTES": str(SMALLEST), "TOLLKEEPER_ACCESS_LOG": "false"})


async def test_full_journal_closes_priced_calls_and_keeps_free_ones(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    async with Load(gateway, (("up-ok", False),), width=16) as load, Caller(gateway.origin, gateway.key) as caller:
        await load.served(10)
        with stopped(gateway.postgres_pids()):
            await eventually(lambda: load.statuses()[503] >= 20, seconds=40, what="priced calls are refused")
            refused = next(call for call in load.calls if call.status == 503)
            assert refused.code == "dependency_unavailable"
            assert float(refused.headers["retry-after"]) > 0
            assert not upstream.find(refused.user), "refused, and sent all the same"
            free = await caller.call("simulated", user=new_name("free"))
            assert (free.status, free.is_whole) == (200, True), free
            size = sum(path.stat().st_size for path in (gateway.data_dir / "journal").rglob("*.jsonl"))
            assert size <= SMALLEST
            report = await asyncio.to_thread(gateway.ready)
            assert report["status"] == "unavailable"
            assert report["dependencies"]["journal"]["status"] == "unavailable"
        await load.served(10, seconds=20)
        await eventually(lambda: is_ok(gateway), seconds=20, what="ready again")
    assert load.statuses().keys() == {200, 503}
    await reconcile(gateway, upstream, load, in_flight=0)


async def test_full_journal_recovers_without_a_single_call(gateway: Gateway) -> None:
    """Told that it is not ready, a load balancer sends nothing: readiness must come back by itself."""
    with stopped(gateway.postgres_pids()):
        async with Load(gateway, (("up-ok", False),), width=16) as load:
            await eventually(lambda: load.statuses()[503] >= 5, seconds=40, what="priced calls are refused")
        answer = await asyncio.to_thread(gateway.get, "/health/ready")
        assert answer.status_code == 503
    await eventually(lambda: is_ok(gateway), seconds=20, what="ready again")
