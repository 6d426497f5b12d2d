"""SIGHUP: a good file is swapped in whole on every worker, a broken one changes nothing and is named with its line."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from tests.faults.gateway import Gateway, UpstreamProcess, default_config, eventually
from tests.faults.lines import lines_to_all

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-reload")]


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


async def told(gateway: Gateway, words: bytes, offset: int, *, times: int) -> None:
    await eventually(
        lambda: gateway.log_since(offset).count(words) >= times, seconds=10, what=f"{words!r} {times} times in the log"
    )


async def statuses(gateway: Gateway, model: str) -> list[int]:
    async with lines_to_all(gateway) as lines:
        return [(await line.chat(gateway.key, model, "reload"))[0] for line in lines.values()]


async def test_good_file_is_in_force_on_every_worker(gateway: Gateway, upstream: UpstreamProcess) -> None:
    assert await statuses(gateway, "fresh") == [404, 404]
    document = default_config(upstream.port, 1)
    document["models"].append({"name": "fresh", "targets": [{"provider": "up", "model": "up-ok"}]})
    gateway.write_config(document)
    offset = gateway.log_path.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    await told(gateway, b"the configuration is reloaded", offset, times=2)
    assert await statuses(gateway, "fresh") == [200, 200]
    assert await statuses(gateway, "up-ok") == [200, 200]


async def test_broken_file_changes_nothing_and_is_named_with_its_line(gateway: Gateway) -> None:
    workers = gateway.worker_pids()
    good = gateway.config.read_text()
    gateway.write_config('{\n"models": [\n{"name": "other", "targets": [{"provider": "nobody", "model": "x"}]}\n]}\n')
    offset = gateway.log_path.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    await told(gateway, b"tollkeeper.json:3", offset, times=2)
    assert b"nobody" in gateway.log_since(offset) or b"no provider of this name" in gateway.log_since(offset)
    assert b"Traceback" not in gateway.log_since(offset)
    assert await statuses(gateway, "up-ok") == [200, 200]
    assert await statuses(gateway, "other") == [404, 404]
    assert gateway.worker_pids() == workers
    gateway.write_config(good)


async def test_file_that_is_gone_changes_nothing(gateway: Gateway) -> None:
    good = gateway.config.read_text()
    gateway.config.unlink()
    offset = gateway.log_path.stat().st_size
    gateway.process.send_signal(signal.SIGHUP)
    await told(gateway, b"tollkeeper.json", offset, times=2)
    assert b"Traceback" not in gateway.log_since(offset)
    assert await statuses(gateway, "up-ok") == [200, 200]
    gateway.write_config(good)


async def test_many_reloads_drop_no_call(gateway: Gateway) -> None:
    async with lines_to_all(gateway) as lines:
        for _ in range(5):
            gateway.process.send_signal(signal.SIGHUP)
            for line in lines.values():
                for _ in range(10):
                    assert (await line.chat(gateway.key, "up-ok", "reload"))[0] == 200
            await asyncio.sleep(0.02)
