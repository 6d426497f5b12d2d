"""A worker, or the whole gateway, that is started while PostgreSQL is away serves whom it knew before, and no others."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.cuttable import CuttableRelay
from tests.faults import processes
from tests.faults.calls import Caller
from tests.faults.gateway import Gateway, UpstreamProcess, eventually
from tests.faults.test_start import refusal

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-start-without")]

MODEL = "stored-model"


async def status(gateway: Gateway, key: str, model: str = MODEL) -> int | None:
    async with Caller(gateway.origin, key) as caller:
        return (await caller.call(model)).status


async def store_model(gateway: Gateway, upstream: UpstreamProcess) -> None:
    """A provider, its credential and a model that stand in the database alone."""
    name = f"stored-{secrets.token_hex(4)}"
    provider = {
        "name": name,
        "kind": "openai_compatible",
        "base_url": f"http://127.0.0.1:{upstream.port}/v1",
        "allow_private_address": True,
        "api_key": "sk-upstream",
    }
    target = {"provider": name, "model": "up-ok"}
    await asyncio.to_thread(gateway.ask, "POST", "/api/v1/catalog/providers", provider)
    model = {"name": MODEL, "targets": [target]}
    await asyncio.to_thread(gateway.ask, "POST", "/api/v1/catalog/models", model)


async def use(gateway: Gateway, key: str) -> None:
    """Until it is served and on disk; the snapshot follows within two seconds."""

    async def is_served() -> bool:
        return await status(gateway, key) == 200

    await eventually(is_served, seconds=10, what="the key is served")
    used, path = time.time(), gateway.data_dir / "snapshots" / "keys-0"
    await eventually(lambda: path.exists() and path.stat().st_mtime > used + 1.5, seconds=40, what="it is written down")


async def readiness(gateway: Gateway, wanted: str) -> dict[str, Any]:
    async def report() -> dict[str, Any] | None:
        found = await asyncio.to_thread(gateway.ready)
        return found if found["status"] == wanted else None

    found: dict[str, Any] = await eventually(report, seconds=30, what=f"/health/ready says {wanted}")
    return found


async def check_degraded(gateway: Gateway, known: str, revoked: str, unseen: str) -> None:
    async def serves() -> bool:
        return await status(gateway, known) == 200

    await eventually(serves, seconds=30, what="a known key is served")
    report = await readiness(gateway, "degraded")
    assert report["dependencies"]["postgresql"]["status"] == "degraded"
    assert report["dependencies"]["catalog"]["status"] == "ok"
    assert await status(gateway, revoked) in {401, 503}
    assert await status(gateway, unseen) == 503
    assert await status(gateway, known[:-1] + ("x" if known[-1] != "x" else "y")) == 401
    answer = await asyncio.to_thread(gateway.get, "/api/v1/keys")
    assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")


async def check_whole(gateway: Gateway, known: str, revoked: str, unseen: str) -> None:
    await readiness(gateway, "ok")
    for key, wanted in ((known, 200), (unseen, 200), (revoked, 401)):

        async def answers(key: str = key, wanted: int = wanted) -> bool:
            return await status(gateway, key) == wanted

        await eventually(answers, seconds=10, what=f"{wanted}")
    assert (await asyncio.to_thread(gateway.get, "/api/v1/keys")).status_code == 200


async def new_keys(gateway: Gateway) -> tuple[str, str, str]:
    """One that is known, one that was known and revoked, one that was never used."""
    known, gone, unseen = [await asyncio.to_thread(gateway.new_key) for _ in range(3)]
    await use(gateway, gone["key"])
    await asyncio.to_thread(gateway.ask, "POST", f"/api/v1/keys/{gone['id']}/revoke")
    await use(gateway, known["key"])
    return known["key"], gone["key"], unseen["key"]


async def test_worker_started_again_without_postgresql_serves_known_keys(
    new_gateway: Callable[..., Gateway], upstream: UpstreamProcess
) -> None:
    gateway = await asyncio.to_thread(new_gateway)
    await store_model(gateway, upstream)
    keys = await new_keys(gateway)
    # PostgreSQL is tried again and again, and does not start.
    version = gateway.data_dir / "postgres" / "cluster" / "PG_VERSION"
    good = version.read_bytes()
    version.write_bytes(b"12\n")
    offset = gateway.log_path.stat().st_size
    try:
        processes.send(gateway.postmaster_pid(), signal.SIGKILL)
        [worker] = gateway.worker_pids()
        processes.send(worker, signal.SIGKILL)
        await eventually(lambda: gateway.worker_pids() not in ([worker], []), seconds=20, what="another worker")
        await check_degraded(gateway, *keys)
        assert b"started_without_postgresql" in gateway.log_since(offset)
    finally:
        version.write_bytes(good)
    await check_whole(gateway, *keys)
    await eventually(
        lambda: b"postgresql_arrived" in gateway.log_since(offset), seconds=10, what="the start is made up"
    )


async def test_gateway_started_without_its_own_postgresql_serves_known_keys(
    new_folder: Callable[[], Path], upstream: UpstreamProcess, new_database: Callable[[], str]
) -> None:
    async with CuttableRelay.open(new_database()) as relay:
        environment = {"TOLLKEEPER_DATABASE_URL": relay.url, "TOLLKEEPER_MASTER_KEY": secrets.token_hex(32)}
        gateway = Gateway(new_folder(), upstream.port, environment=environment)
        try:
            relay.cut()
            said = await asyncio.to_thread(refusal, gateway, gateway.serve_words())
            assert "The database at 127.0.0.1" in said, "there is nothing to start from yet"
            relay.mend()
            await asyncio.to_thread(gateway.start)
            await store_model(gateway, upstream)
            keys = await new_keys(gateway)
            gateway.terminate()
            assert await asyncio.to_thread(gateway.wait) == 0
            relay.cut()
            # Another server's address opens nothing of this one.
            elsewhere = {"TOLLKEEPER_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}
            said = await asyncio.to_thread(refusal, gateway, gateway.serve_words(), **elsewhere)
            assert "The database at 127.0.0.1:1 cannot be used" in said
            await asyncio.to_thread(gateway.start)
            await check_degraded(gateway, *keys)
            relay.mend()
            await check_whole(gateway, *keys)
        finally:
            await asyncio.to_thread(gateway.stop)
