"""What takes a right away reaches every worker within a second of its answer, and nothing is served after."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

import httpx
import pytest

from tests.faults.gateway import Gateway
from tests.faults.lines import Line, lines_to_all

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-revocation")]

SECONDS = 1.0


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway(workers=2)


async def refused_everywhere(gateway: Gateway, key: str, take_away: Callable[[], httpx.Response]) -> None:
    """Both workers know the key; after `take_away` has answered both refuse it within a second, and for good."""
    async with lines_to_all(gateway) as lines:
        await until_served(lines.values(), key)
        answer = await asyncio.to_thread(take_away)
        assert answer.is_success, answer.text
        deadline = time.monotonic() + SECONDS
        late = await asyncio.gather(*(until_refused(line, key, deadline) for line in lines.values()))
        assert late == [None, None]


async def until_refused(line: Line, key: str, deadline: float) -> str | None:
    """Ask without a pause until well after the deadline; a success that was asked for after it is a breach."""
    while (asked := time.monotonic()) < deadline + 0.5:
        status = await line.models(key)
        if status not in {200, 401, 403}:
            return f"answered {status}"
        if status == 200 and asked > deadline:
            return "served after the deadline"
        await asyncio.sleep(0.01)
    return None


async def until_served(lines: Collection[Line], key: str) -> None:
    deadline = time.monotonic() + SECONDS
    while [await line.models(key) for line in lines] != [200] * len(lines):
        assert time.monotonic() < deadline, "a right that was given is not yet known"
        await asyncio.sleep(0.02)


async def served_everywhere(gateway: Gateway, key: str) -> None:
    async with lines_to_all(gateway) as lines:
        await until_served(lines.values(), key)


async def test_revoked_key_is_refused_by_every_worker(gateway: Gateway) -> None:
    made = gateway.new_key()
    await refused_everywhere(gateway, made["key"], lambda: gateway.post(f"/api/v1/keys/{made['id']}/revoke"))


async def test_deleted_key_is_refused_by_every_worker(gateway: Gateway) -> None:
    made = gateway.new_key()
    await refused_everywhere(gateway, made["key"], lambda: gateway._request("DELETE", f"/api/v1/keys/{made['id']}"))


async def test_secret_before_a_rotation_without_grace_is_refused_by_every_worker(gateway: Gateway) -> None:
    made = gateway.new_key()
    fresh: dict[str, Any] = {}

    def rotate() -> httpx.Response:
        answer = gateway.post(f"/api/v1/keys/{made['id']}/rotate", {"grace_seconds": 0})
        fresh.update(answer.json())
        return answer

    await refused_everywhere(gateway, made["key"], rotate)
    await served_everywhere(gateway, fresh["key"])


async def test_secret_before_a_rotation_with_grace_works_on(gateway: Gateway) -> None:
    made = gateway.new_key()
    fresh = gateway.ask("POST", f"/api/v1/keys/{made['id']}/rotate", {"grace_seconds": 600})
    await served_everywhere(gateway, fresh["key"])
    await served_everywhere(gateway, made["key"])


def run_key_of(gateway: Gateway, key_id: str, **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = gateway.ask("POST", f"/api/v1/keys/{key_id}/runs", body)
    return made


async def test_run_key_is_refused_by_every_worker_with_its_parent(gateway: Gateway) -> None:
    made = gateway.new_key()
    run = run_key_of(gateway, made["id"])
    await refused_everywhere(gateway, run["key"], lambda: gateway.post(f"/api/v1/keys/{made['id']}/revoke"))


async def test_run_key_is_refused_by_every_worker_when_its_run_is_ended(gateway: Gateway) -> None:
    made = gateway.new_key()
    run, other = run_key_of(gateway, made["id"]), run_key_of(gateway, made["id"])
    path = f"/api/v1/keys/{made['id']}/runs/{run['run_id']}"
    await refused_everywhere(gateway, run["key"], lambda: gateway._request("DELETE", path))
    await served_everywhere(gateway, other["key"])
    await served_everywhere(gateway, made["key"])


async def test_run_key_of_a_secret_that_was_rotated_is_refused_by_every_worker(gateway: Gateway) -> None:
    made = gateway.new_key()
    run = run_key_of(gateway, made["id"])
    await refused_everywhere(gateway, run["key"], lambda: gateway.post(f"/api/v1/keys/{made['id']}/rotate", {}))
    await served_everywhere(gateway, run_key_of(gateway, made["id"])["key"])


async def test_run_key_of_a_suspended_tenant_is_refused_by_every_worker(gateway: Gateway) -> None:
    tenant = gateway.ask("POST", "/api/v1/tenants", {"name": "Suspended with runs Ltd"})
    run = run_key_of(gateway, gateway.new_key(tenant_id=tenant["id"])["id"])
    path = f"/api/v1/tenants/{tenant['id']}"
    await refused_everywhere(gateway, run["key"], lambda: gateway.patch(path, {"is_active": False}))


async def test_suspended_tenant_is_refused_by_every_worker_and_comes_back(gateway: Gateway) -> None:
    tenant = gateway.ask("POST", "/api/v1/tenants", {"name": "Suspended Ltd"})
    made = gateway.new_key(tenant_id=tenant["id"])
    path = f"/api/v1/tenants/{tenant['id']}"
    await refused_everywhere(gateway, made["key"], lambda: gateway.patch(path, {"is_active": False}))
    gateway.ask("PATCH", path, {"is_active": True})
    await served_everywhere(gateway, made["key"])


async def test_disabled_user_is_refused_by_every_worker(gateway: Gateway) -> None:
    user = gateway.ask("POST", "/api/v1/users", {"email": "leaver@example.com", "role": "developer"})
    made = gateway.new_key(user_id=user["id"])
    path = f"/api/v1/users/{user['id']}"
    await refused_everywhere(gateway, made["key"], lambda: gateway.patch(path, {"is_active": False}))


async def test_scope_taken_away_is_refused_by_every_worker(gateway: Gateway) -> None:
    made = gateway.new_key(scopes=["inference", "admin"])
    path = f"/api/v1/keys/{made['id']}"
    await refused_everywhere(gateway, made["key"], lambda: gateway.patch(path, {"scopes": ["admin"]}))


async def test_key_revoked_in_the_middle_of_many_calls_never_comes_back(gateway: Gateway) -> None:
    for _ in range(2):
        made = gateway.new_key()
        async with lines_to_all(gateway) as lines:
            is_over = asyncio.Event()

            async def ask(line: Line, key: str = made["key"], is_over: asyncio.Event = is_over) -> None:
                while not is_over.is_set():
                    await line.models(key)

            asking = [asyncio.create_task(ask(line)) for line in lines.values()]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(gateway.post, f"/api/v1/keys/{made['id']}/revoke")
            await asyncio.sleep(SECONDS)
            is_over.set()
            await asyncio.gather(*asking)
            assert [await line.models(made["key"]) for line in lines.values()] == [401, 401]
