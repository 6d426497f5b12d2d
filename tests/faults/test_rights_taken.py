"""On four workers: whoever loses a right is refused by all of them within a second, with Redis and without.

Keys, sessions and what a role allows; on the data plane, where workers remember, and on the control plane, where none
does. `pytest -s` prints how long the slowest worker took.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.faults.gateway import Gateway, eventually
from tests.faults.lines import Line, lines_to_all
from tollkeeper.core.embedded import EmbeddedValkey

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-rights")]

SECONDS: Final = 1.0
# No call was served for so long: none will be.
_QUIET_SECONDS: Final = 0.5
WORKERS: Final = 4
PASSWORD: Final = "four words nobody says"
SERVED: Final = 200
REFUSED: Final = frozenset({401, 403})
names = itertools.count()


@pytest.fixture(scope="module")
def valkey(new_folder: Callable[[], Path]) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(new_folder()) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway], valkey: EmbeddedValkey) -> Gateway:
    return new_gateway(workers=WORKERS, environment={"TOLLKEEPER_REDIS_URL": valkey.endpoint.url})


@pytest.fixture(scope="module", params=["with Redis", "without Redis"])
async def redis(request: pytest.FixtureRequest, gateway: Gateway, valkey: EmbeddedValkey) -> str:
    """The second half of this file's tests runs without it."""
    kind: str = request.param
    if kind == "without Redis":
        await asyncio.to_thread(valkey.stop)

        async def is_gone() -> bool:
            report = await asyncio.to_thread(gateway.ready)
            return bool(report.get("dependencies", {}).get("redis", {}).get("status") == "degraded")

        await eventually(is_gone, seconds=10, what="/health/ready names Redis")
    return kind


@dataclass(frozen=True)
class Case:
    """A credential that is served at `path`, and what takes its right away."""

    credential: str
    take: Callable[[], httpx.Response]
    path: str = "/v1/models"


def new_member(gateway: Gateway, role: str = "developer", tenant_id: str | None = None) -> tuple[str, str, str]:
    """The user's id, the secret of a key and the key's id."""
    place = {} if tenant_id is None else {"tenant_id": tenant_id}
    email = f"member{next(names)}@example.com"
    user = gateway.ask("POST", "/api/v1/users", {"email": email, "role": role, "password": PASSWORD, **place})
    key = gateway.ask("POST", "/api/v1/keys", {"name": "a key", "user_id": user["id"], **place})
    return user["id"], key["key"], key["id"]


def new_tenant(gateway: Gateway) -> str:
    tenant_id: str = gateway.ask("POST", "/api/v1/tenants", {"name": f"Tenant {next(names)}"})["id"]
    return tenant_id


def signed_in(gateway: Gateway, role: str, tenant_id: str | None = None) -> tuple[str, str]:
    """The user's id, and the access token of a session."""
    place = {} if tenant_id is None else {"tenant_id": tenant_id}
    email = f"member{next(names)}@example.com"
    user = gateway.ask("POST", "/api/v1/users", {"email": email, "role": role, "password": PASSWORD, **place})
    done = gateway.ask("POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
    return user["id"], done["access_token"]


def revoked_key(gateway: Gateway) -> Case:
    _, key, key_id = new_member(gateway)
    return Case(key, lambda: gateway.post(f"/api/v1/keys/{key_id}/revoke"))


def demoted_user(gateway: Gateway) -> Case:
    user_id, key, _ = new_member(gateway)
    return Case(key, lambda: gateway.patch(f"/api/v1/users/{user_id}", {"role": "viewer"}))


def disabled_user(gateway: Gateway) -> Case:
    user_id, key, _ = new_member(gateway)
    return Case(key, lambda: gateway.patch(f"/api/v1/users/{user_id}", {"is_active": False}))


def removed_user(gateway: Gateway) -> Case:
    user_id, key, _ = new_member(gateway)
    return Case(key, lambda: gateway._request("DELETE", f"/api/v1/users/{user_id}"))


def suspended_tenant(gateway: Gateway) -> Case:
    tenant_id = new_tenant(gateway)
    _, key, _ = new_member(gateway, tenant_id=tenant_id)
    return Case(key, lambda: gateway.post(f"/api/v1/tenants/{tenant_id}/suspend", {"reason": "not paid"}))


def narrowed_role(gateway: Gateway) -> Case:
    granted = {"permissions": ["gateway:use", "me:view"]}
    role = gateway.ask("POST", "/api/v1/roles", {"name": f"Role {next(names)}", **granted})
    _, key, _ = new_member(gateway, role["name"])
    return Case(key, lambda: gateway.patch(f"/api/v1/roles/{role['id']}", {"permissions": ["me:view"]}))


def demoted_session(gateway: Gateway) -> Case:
    user_id, token = signed_in(gateway, "tenant_admin")
    return Case(
        token, lambda: gateway.patch(f"/api/v1/users/{user_id}", {"role": "developer"}), "/api/v1/users?limit=1"
    )


def suspended_session(gateway: Gateway) -> Case:
    tenant_id = new_tenant(gateway)
    _, token = signed_in(gateway, "viewer", tenant_id)
    take = lambda: gateway.post(f"/api/v1/tenants/{tenant_id}/suspend", {"reason": "not paid"})  # noqa: E731
    return Case(token, take, "/api/v1/tenants")


def ended_session(gateway: Gateway) -> Case:
    user_id, token = signed_in(gateway, "developer")
    return Case(token, lambda: gateway._request("DELETE", f"/api/v1/users/{user_id}/sessions"), "/api/v1/me/sessions")


_CASES: Final = (
    revoked_key,
    demoted_user,
    disabled_user,
    removed_user,
    suspended_tenant,
    narrowed_role,
    demoted_session,
    suspended_session,
    ended_session,
)


@pytest.mark.parametrize("make", _CASES, ids=lambda make: make.__name__)
async def test_right_that_is_taken_is_gone_on_every_worker(
    redis: str, gateway: Gateway, make: Callable[[Gateway], Case]
) -> None:
    case = await asyncio.to_thread(make, gateway)
    async with lines_to_all(gateway) as lines:
        assert len(lines) == WORKERS
        await until_known(list(lines.values()), case)
        asked = time.monotonic()
        taking = asyncio.create_task(asyncio.to_thread(take_away, case))
        last = max(await asyncio.gather(*(last_served(line, case, taking) for line in lines.values())))
        answered = await taking
    print(
        f"\n{make.__name__} {redis}: the last of {WORKERS} workers served until {(last - asked) * 1000:.0f} ms after "
        f"it was asked for, {max(0.0, last - answered) * 1000:.0f} ms after it was answered"
    )
    assert last - answered <= SECONDS


def take_away(case: Case) -> float:
    """When the answer was there."""
    answer = case.take()
    assert answer.is_success, answer.text
    return time.monotonic()


async def until_known(lines: list[Line], case: Case) -> None:
    async def is_served() -> bool:
        return [await status(line, case) for line in lines] == [SERVED] * len(lines)

    await eventually(is_served, seconds=10, what="every worker knows the right")


async def last_served(line: Line, case: Case, taking: "asyncio.Task[float]") -> float:
    """When the last call began that was served. Asks without a pause until none has been for a while."""
    last = began = time.monotonic()
    while not taking.done() or began < max(last, taking.result()) + _QUIET_SECONDS:
        began = time.monotonic()
        assert not taking.done() or began < taking.result() + 3 * SECONDS, "it is served for ever"
        answered = await status(line, case)
        if answered == SERVED:
            last = began
        else:
            assert answered in REFUSED, answered
        await asyncio.sleep(0.005)
    return last


async def status(line: Line, case: Case) -> int:
    """A busy machine may be late for a look-up, which is a 503 and neither served nor refused: asked again."""
    while True:
        answered, _ = await line.ask("GET", case.path, case.credential)
        if answered != 503:
            return answered
        await asyncio.sleep(0.02)
