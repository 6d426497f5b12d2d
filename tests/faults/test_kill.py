"""kill -9 under load: of a worker, of the supervisor. Nothing is lost, nothing is counted twice, nothing is left behind."""

import asyncio
import json
import signal
from collections.abc import Callable

import pytest

from tests.faults import processes
from tests.faults.calls import Load, reconcile
from tests.faults.gateway import UNHURRIED, Gateway, UpstreamProcess, eventually
from tests.faults.lines import know_key, lines_to_all

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-kill")]

WIDTH = 8
# Whole answers at once and after a while, and streams: a kill meets each in another state.
MODELS = (("up-ok", False), ("up-stream8x10", True), ("up-wait30", False))


@pytest.fixture(scope="module")
async def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = new_gateway(workers=2, environment=UNHURRIED)
    await know_key(gateway)
    return gateway


async def test_killed_worker_is_replaced_and_the_ledger_equals_what_was_served(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    async with Load(gateway, MODELS, width=WIDTH) as load:
        await load.served(20)
        victim, survivor = gateway.worker_pids()
        processes.send(victim, signal.SIGKILL)
        await load.served(20)
        await eventually(
            lambda: (
                survivor in gateway.worker_pids()
                and len(gateway.worker_pids()) == 2
                and victim not in gateway.worker_pids()
            ),
            seconds=5,
            what="another worker in the place of the killed one",
        )
        await load.served(10)
    async with lines_to_all(gateway) as lines:
        assert survivor in lines
        assert len(lines) == 2
    assert load.statuses().keys() <= {200, None}
    assert sum(call.fault is not None for call in load.calls) <= WIDTH
    await reconcile(gateway, upstream, load, in_flight=WIDTH)


async def test_last_worker_killed_serves_again_within_seconds(gateway: Gateway, upstream: UpstreamProcess) -> None:
    async with Load(gateway, MODELS, width=WIDTH) as load:
        await load.served(10)
        for pid in gateway.worker_pids():
            processes.send(pid, signal.SIGKILL)
        await load.served(10, seconds=15)
    await reconcile(gateway, upstream, load, in_flight=WIDTH)


async def test_everything_but_the_supervisor_killed_at_once_comes_back(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    async with Load(gateway, MODELS, width=WIDTH) as load:
        await load.served(10)
        for pid in [gateway.valkey_pid(), gateway.postmaster_pid(), *gateway.worker_pids()]:
            processes.send(pid, signal.SIGKILL)
        await load.served(10, seconds=30)
    await reconcile(gateway, upstream, load, in_flight=WIDTH)


async def test_killed_supervisor_leaves_no_process_and_the_restart_loses_nothing(
    gateway: Gateway, upstream: UpstreamProcess
) -> None:
    family = gateway.family()
    assert {"postgres", "valkey-server"} & {
        processes.command_of(pid).split(" ")[0].rpartition("/")[2] for pid, _ in family
    }
    async with Load(gateway, MODELS, width=WIDTH) as load:
        await load.served(20)
        gateway.kill()
        left = await asyncio.to_thread(processes.wait_until_gone, family, seconds=10)
        assert not left, left
        seconds = await asyncio.to_thread(gateway.start)
        await load.served(20)
    assert seconds < 20 * processes.crowding()
    await reconcile(gateway, upstream, load, in_flight=WIDTH)
    assert json.loads((gateway.data_dir / "serve.json").read_text())["pid"] == gateway.process.pid
