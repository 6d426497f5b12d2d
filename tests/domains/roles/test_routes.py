"""`/api/v1/roles` through the whole control plane."""

import httpx
import pytest

from tests.domains.control_plane import ControlPlane
from tests.domains.members import address, new_holder, new_role
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import GRANTABLE, Permission, Role
from tollkeeper.domains.roles.descriptions import PERMISSIONS, ROLES

READING = ["me:view", "usage:view"]


async def make(client: httpx.AsyncClient, *permissions: str, name: str | None = None) -> dict[str, str]:
    body = {"name": name or f"role {uuid7().hex}", "permissions": list(permissions)}
    answer = await client.post("/api/v1/roles", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def give(client: httpx.AsyncClient, role: str) -> dict[str, str]:
    answer = await client.post("/api/v1/users", json={"email": address(), "role": role})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_every_permission_and_every_built_in_role_has_its_sentence() -> None:
    assert set(PERMISSIONS) == set(Permission)
    assert set(ROLES) == set(Role)
    assert all(sentence.endswith(".") for sentence in (*PERMISSIONS.values(), *ROLES.values()))


async def test_a_role_is_made_changed_and_deleted(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        role = await make(admin, *READING, "me:view")
        assert (role["permissions"], role["is_built_in"]) == (READING, False)
        changed = await admin.patch(
            f"/api/v1/roles/{role['id']}", json={"description": "Reads.", "permissions": ["audit:view"]}
        )
        assert (changed.json()["description"], changed.json()["permissions"]) == ("Reads.", ["audit:view"])
        shown = await admin.get(f"/api/v1/roles/{role['id']}")
        assert shown.json() == changed.json()
        stale = await admin.patch(f"/api/v1/roles/{role['id']}", json={"name": "x"}, headers={"if-match": '"1"'})
        assert stale.status_code == 412
        assert (await admin.delete(f"/api/v1/roles/{role['id']}")).status_code == 204
        assert (await admin.get(f"/api/v1/roles/{role['id']}")).status_code == 404
    assert await plane.audited(role["id"]) == ["roles.create", "roles.update", "roles.delete"]


async def test_the_built_in_roles_come_first_and_the_list_is_paged(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        own = [(await make(admin, "me:view"))["name"] for _ in range(3)]
        names: list[str] = []
        cursor: str | None = None
        for _ in range(100):
            query = {"limit": 4} | ({} if cursor is None else {"cursor": cursor})
            page = (await admin.get("/api/v1/roles", params=query)).json()
            assert len(page["data"]) <= 4
            names += [item["name"] for item in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert names[: len(Role)] == [role.value for role in Role]
    assert names[-3:] == own
    assert len(set(names)) == len(names)


async def test_permissions_are_listed_with_a_sentence(plane: ControlPlane) -> None:
    async with plane.as_role(Role.VIEWER) as viewer:
        listed = {item["name"]: item for item in (await viewer.get("/api/v1/roles/permissions")).json()["data"]}
    assert listed.keys() == {permission.value for permission in Permission}
    assert {name for name, item in listed.items() if item["is_grantable"]} == {item.value for item in GRANTABLE}
    assert listed["audit:view"]["description"] == "Read the audit trail."


async def test_a_role_of_the_tenants_own_is_given_by_its_name_and_holds_at_once(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        role = await make(admin, "me:view", "roles:view", name=f"Night shift {uuid7().hex}")
        user = await give(admin, role["name"].upper())
        assert (user["role"], user["role_id"]) == (role["name"], role["id"])
        listed = (await admin.get("/api/v1/users", params={"role": role["name"]})).json()["data"]
        assert [item["id"] for item in listed] == [user["id"]]
        holder = await new_holder(plane, ["me:view", "roles:view"])
        of_holder = format_id("usr", holder)
        await admin.patch(f"/api/v1/users/{of_holder}", json={"role": role["name"]})
        async with plane.as_user(holder) as client:
            assert (await client.get("/api/v1/me")).json()["role"] == role["name"]
            assert (await client.get("/api/v1/users")).status_code == 403
            widened = {"permissions": ["me:view", "users:view"]}
            assert (await admin.patch(f"/api/v1/roles/{role['id']}", json=widened)).status_code == 200
            # The same session: permissions are read at each use.
            assert (await client.get("/api/v1/users")).status_code == 200
            assert (await client.get("/api/v1/roles")).status_code == 403


async def test_a_narrowed_role_narrows_its_holders_keys(plane: ControlPlane) -> None:
    holder = await new_holder(plane, ["me:view", "users:view"])
    _, secret = await plane.new_key(holder, "admin")
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.client(authorization=f"Bearer {secret}") as program:
        role_id = (await admin.get(f"/api/v1/users/{format_id('usr', holder)}")).json()["role_id"]
        assert (await program.get("/api/v1/users")).status_code == 200
        assert (await admin.patch(f"/api/v1/roles/{role_id}", json={"permissions": ["me:view"]})).status_code == 200
        assert (await program.get("/api/v1/users")).status_code == 403


async def test_nobody_grants_what_they_lack(plane: ControlPlane) -> None:
    holder = await new_holder(plane, ["me:view", "roles:view", "roles:create", "roles:update", "roles:delete"])
    above = format_id("rol", await new_role(plane, ["users:view"]))
    async with plane.as_user(holder) as client:
        own = await make(client, "me:view")
        for answer in (
            await client.post("/api/v1/roles", json={"name": uuid7().hex, "permissions": ["me:view", "users:view"]}),
            await client.patch(f"/api/v1/roles/{own['id']}", json={"permissions": ["users:view"]}),
            await client.patch(f"/api/v1/roles/{above}", json={"description": "mine"}),
            await client.delete(f"/api/v1/roles/{above}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_no_role_of_a_tenant_rules_the_platform(plane: ControlPlane) -> None:
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        for permission in sorted(set(Permission) - GRANTABLE):
            answer = await platform.post("/api/v1/roles", json={"name": uuid7().hex, "permissions": [permission]})
            assert (answer.status_code, answer.json()["code"]) == (422, "not_grantable")


async def test_what_a_stored_role_names_beyond_its_bounds_grants_nothing(plane: ControlPlane) -> None:
    holder = await new_holder(plane, ["me:view", "platform:all_tenants", "jobs:view", "no:such"])
    async with plane.as_user(holder) as client:
        assert (await client.get("/api/v1/me")).json()["permissions"] == ["me:view"]
        assert (await client.get("/api/v1/jobs")).status_code == 403


async def test_a_role_in_use_is_not_deleted(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        role = await make(admin, "me:view")
        user = await give(admin, role["name"])
        invited = await admin.post("/api/v1/invitations", json={"email": address(), "role": role["name"]})
        refused = await admin.delete(f"/api/v1/roles/{role['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "role_in_use")
        assert (refused.json()["members"], refused.json()["invitations"]) == (1, 1)
        await admin.delete(f"/api/v1/users/{user['id']}")
        assert (await admin.delete(f"/api/v1/roles/{role['id']}")).status_code == 409
        await admin.delete(f"/api/v1/invitations/{invited.json()['id']}")
        # Neither who left nor what was taken back holds on to it.
        assert (await admin.delete(f"/api/v1/roles/{role['id']}")).status_code == 204


async def test_another_tenants_roles_do_not_exist(plane: ControlPlane) -> None:
    foreign_id = await new_role(plane, ["me:view"], other=True)
    foreign, unknown = (f"/api/v1/roles/{format_id('rol', role_id)}" for role_id in (foreign_id, uuid7()))
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as owner:
        name = (await owner.get(foreign)).json()["name"]
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for path in (foreign, unknown):
            for answer in (
                await admin.get(path),
                await admin.patch(path, json={"name": "x"}),
                await admin.delete(path),
            ):
                assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such role.")
        given = await admin.post("/api/v1/users", json={"email": address(), "role": name})
        assert (given.status_code, given.json()["code"]) == (422, "unknown_role")
        assert (await make(admin, "me:view", name=name))["name"] == name
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        assert (await platform.get(foreign)).status_code == 200
        assert (await platform.patch(foreign, json={"description": "seen"})).status_code == 200


async def test_names_are_unique_whatever_their_case(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        first, second = await make(admin, "me:view"), await make(admin, "me:view")
        taken = {"name": first["name"].upper()}
        for answer in (
            await admin.post("/api/v1/roles", json={**taken, "permissions": ["me:view"]}),
            await admin.patch(f"/api/v1/roles/{second['id']}", json=taken),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Tenant_Admin", "permissions": ["me:view"]},
        {"name": "custom", "permissions": ["me:view"]},
        {"name": "", "permissions": ["me:view"]},
        {"name": "a" * 65, "permissions": ["me:view"]},
        {"name": "a\u202eb", "permissions": ["me:view"]},
        {"name": "a", "permissions": []},
        {"name": "a", "permissions": ["no:such"]},
        {"name": "a", "permissions": "me:view"},
        {"name": "a", "permissions": ["me:view"], "id": "rol_1"},
        {"name": "a", "permissions": ["me:view"], "description": "x" * 1001},
        {"name": "a"},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.post("/api/v1/roles", json=body)).status_code == 422


@pytest.mark.parametrize(
    ("role", "seeing", "making"),
    [
        (Role.TENANT_ADMIN, 200, 201),
        (Role.DEVELOPER, 403, 403),
        (Role.FINANCE, 403, 403),
        (Role.AUDITOR, 200, 403),
        (Role.VIEWER, 200, 403),
    ],
)
async def test_each_role_may_what_it_may(plane: ControlPlane, role: Role, seeing: int, making: int) -> None:
    async with plane.as_role(role) as client:
        assert (await client.get("/api/v1/roles")).status_code == seeing
        body = {"name": uuid7().hex, "permissions": ["me:view"]}
        assert (await client.post("/api/v1/roles", json=body)).status_code == making


async def test_a_session_that_was_not_proven_lately_makes_no_role(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.TENANT_ADMIN)
    async with plane.as_user(user_id) as admin:
        plane.clock.ahead = 301
        refused = await admin.post("/api/v1/roles", json={"name": uuid7().hex, "permissions": ["me:view"]})
        assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
