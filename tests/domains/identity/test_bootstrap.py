"""`GET /api/v1/bootstrap`: one answer from which the console knows what to show."""

import pytest

from tests.domains.control_plane import ControlPlane
from tollkeeper import __version__
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import ROLE_PERMISSIONS, Role

HOMES = {
    Role.PLATFORM_ADMIN: "platform",
    Role.TENANT_ADMIN: "tenant",
    Role.DEVELOPER: "developer",
    Role.FINANCE: "finance",
    Role.AUDITOR: "tenant",
    Role.VIEWER: "tenant",
}


@pytest.mark.parametrize("role", Role)
async def test_each_role_is_told_what_it_may_do_and_where_it_begins(plane: ControlPlane, role: Role) -> None:
    async with plane.as_role(role) as client:
        told = (await client.get("/api/v1/bootstrap")).json()
    assert told["permissions"] == sorted(ROLE_PERMISSIONS[role])
    assert (told["home"], told["user"]["role"], told["version"]) == (HOMES[role], role, __version__)
    assert told["base_url"] == f"{plane.services.settings.origin}/v1"
    assert told["tenant"]["id"] == format_id("ten", plane.tenant_id)
    assert [tenant["is_current"] for tenant in told["tenants"]] == [True]
    assert {"keys", "requests", "usage", "budgets", "me"} <= set(told["offers"])
    assert told["csrf_token"]
    assert told["session"]["fresh_until"] > told["session"]["authenticated_at"]


async def test_a_key_is_told_of_its_own_tenant_and_gets_no_token(plane: ControlPlane) -> None:
    _, secret = await plane.new_key(await plane.user(Role.TENANT_ADMIN), "inference")
    async with plane.client(authorization=f"Bearer {secret}") as client:
        told = (await client.get("/api/v1/bootstrap")).json()
    assert told["csrf_token"] is None
    assert told["session"] is None
    assert [tenant["id"] for tenant in told["tenants"]] == [told["tenant"]["id"]]


async def test_nobody_is_told_nothing(plane: ControlPlane) -> None:
    async with plane.client() as client:
        assert (await client.get("/api/v1/bootstrap")).status_code == 401
