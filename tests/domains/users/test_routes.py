"""`/api/v1/users` through the whole control plane."""

import httpx
import pytest
from sqlalchemy import select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import User

PASSWORD = "correct horse battery"


def address() -> str:
    return f"{uuid7().hex}@example.com"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, str]:
    answer = await client.post("/api/v1/users", json={"email": address(), **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_user_is_made_changed_and_deleted(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        user = await make(admin, name="Ann", role="developer", password=PASSWORD)
        assert (user["role"], user["is_active"], user["has_password"]) == ("developer", True, True)
        changed = await admin.patch(
            f"/api/v1/users/{user['id']}", json={"role": "viewer", "preferences": {"theme": "dark", "n": 1.5}}
        )
        shown = await admin.get(f"/api/v1/users/{user['id']}")
        assert changed.json()["preferences"] == {"theme": "dark", "n": 1.5}
        assert shown.json() == changed.json()
        listed = [item["id"] for item in (await admin.get("/api/v1/users", params={"limit": 100})).json()["data"]]
        assert user["id"] in listed
        assert (await admin.delete(f"/api/v1/users/{user['id']}")).status_code == 204
        assert (await admin.get(f"/api/v1/users/{user['id']}")).status_code == 404
        again = await admin.post("/api/v1/users", json={"email": user["email"]})
        assert again.status_code == 201
    assert await plane.audited(user["id"]) == ["users.create", "users.update", "users.delete"]


async def test_no_answer_and_no_record_holds_a_password(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await admin.post("/api/v1/users", json={"email": address(), "password": PASSWORD})
        changed = await admin.patch(f"/api/v1/users/{made.json()['id']}", json={"password": PASSWORD + "!"})
        refused = await admin.post("/api/v1/users", json={"email": "x", "password": PASSWORD})
        trail = await admin.get("/api/v1/audit", params={"object_id": made.json()["id"]})
    for answer in (made, changed, refused, trail):
        assert PASSWORD not in answer.text
        assert "argon2" not in answer.text


async def test_an_address_signs_in_to_one_account_whatever_its_case(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        user = await make(admin)
        again = await admin.post("/api/v1/users", json={"email": user["email"].upper()})
        other = await make(admin)
        moved = await admin.patch(f"/api/v1/users/{other['id']}", json={"email": user["email"]})
    for answer in (again, moved):
        assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")


async def test_nobody_gives_or_touches_more_than_they_hold(plane: ControlPlane) -> None:
    above = format_id("usr", await plane.user(Role.PLATFORM_ADMIN))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        user = await make(admin)
        for answer in (
            await admin.post("/api/v1/users", json={"email": address(), "role": "platform_admin"}),
            await admin.patch(f"/api/v1/users/{user['id']}", json={"role": "platform_admin"}),
            await admin.patch(f"/api/v1/users/{above}", json={"password": PASSWORD}),
            await admin.patch(f"/api/v1/users/{above}", json={"is_active": False}),
            await admin.delete(f"/api/v1/users/{above}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_nobody_removes_or_demotes_themselves(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.TENANT_ADMIN)
    own = f"/api/v1/users/{format_id('usr', user_id)}"
    async with plane.as_user(user_id) as admin:
        for answer in (
            await admin.delete(own),
            await admin.patch(own, json={"role": "viewer"}),
            await admin.patch(own, json={"is_active": False}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "own_account")


@pytest.mark.parametrize(
    "change", [{"role": "viewer"}, {"password": PASSWORD}, {"is_active": False}, {"email": address()}]
)
async def test_such_a_change_ends_every_session(plane: ControlPlane, change: dict[str, object]) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.as_user(user_id) as user, plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await user.get("/api/v1/me")).status_code == 200
        assert (await admin.patch(f"/api/v1/users/{format_id('usr', user_id)}", json=change)).status_code == 200
        assert (await user.get("/api/v1/me")).status_code == 401
    async with plane.database.platform() as session:
        assert await session.scalar(select(User.session_epoch).where(User.id == user_id)) == 1


async def test_a_changed_name_ends_no_session(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.as_user(user_id) as user, plane.as_role(Role.TENANT_ADMIN) as admin:
        await admin.patch(f"/api/v1/users/{format_id('usr', user_id)}", json={"name": "Another"})
        assert (await user.get("/api/v1/me")).json()["name"] == "Another"


async def test_the_keys_of_a_deleted_user_are_revoked(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, secret = await plane.new_key(user_id, "admin")
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.delete(f"/api/v1/users/{format_id('usr', user_id)}")).status_code == 204
        assert (await admin.get(f"/api/v1/keys/{key_id}")).json()["status"] == "revoked"
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_another_tenants_users_do_not_exist(plane: ControlPlane) -> None:
    foreign = f"/api/v1/users/{format_id('usr', await plane.user(Role.DEVELOPER))}"
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as stranger:
        unknown = await stranger.get(f"/api/v1/users/{format_id('usr', uuid7())}")
        for answer in (
            await stranger.get(foreign),
            await stranger.patch(foreign, json={"name": "x"}),
            await stranger.delete(foreign),
            await stranger.post(
                "/api/v1/users", json={"email": address(), "tenant_id": format_id("ten", plane.tenant_id)}
            ),
        ):
            assert answer.status_code == 404
        assert (await stranger.get(foreign)).json()["detail"] == unknown.json()["detail"]
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        assert (await platform.get(foreign)).status_code == 200
        user = await make(platform, tenant_id=format_id("ten", plane.other_tenant_id))
        assert user["tenant_id"] == format_id("ten", plane.other_tenant_id)
        nowhere = await platform.post(
            "/api/v1/users", json={"email": address(), "tenant_id": format_id("ten", uuid7())}
        )
        assert nowhere.status_code == 404


async def test_every_column_a_client_may_not_write_is_refused(plane: ControlPlane) -> None:
    accepted = {"email", "name", "role", "is_active", "preferences", "tenant_id"}
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        user = await make(admin)
        for column in [column.name for column in User.__table__.c]:
            if column not in accepted - {"is_active", "preferences"}:
                body = {"email": address(), column: 1}
                assert (await admin.post("/api/v1/users", json=body)).status_code == 422, column
            if column not in accepted - {"tenant_id"}:
                assert (await admin.patch(f"/api/v1/users/{user['id']}", json={column: 1})).status_code == 422, column


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no address"},
        {"email": "a@b@c"},
        {"email": "Ann <ann@example.com>"},
        {"email": "a" * 300 + "@example.com"},
        {"email": "a@example.com", "password": "short"},
        {"email": "a@example.com", "password": "a" * 1025},
        {"email": "a@example.com", "password": None, "role": "king"},
        {"email": "a@example.com", "name": "a\u0007"},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.post("/api/v1/users", json=body)).status_code == 422


async def test_null_is_no_value_for_a_user(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        user = await make(admin)
        for name in ("email", "name", "role", "is_active", "password", "preferences"):
            assert (await admin.patch(f"/api/v1/users/{user['id']}", json={name: None})).status_code == 422
        large = {"preferences": {"a": "x" * 20_000}}
        assert (await admin.patch(f"/api/v1/users/{user['id']}", json=large)).status_code == 422
        tag = (await admin.get(f"/api/v1/users/{user['id']}")).headers["etag"]
        await admin.patch(f"/api/v1/users/{user['id']}", json={"name": "b"})
        stale = await admin.patch(f"/api/v1/users/{user['id']}", json={"name": "c"}, headers={"if-match": tag})
    assert stale.status_code == 412
    assert parse_id("usr", user["id"])


@pytest.mark.parametrize(
    ("role", "listing", "making"),
    [
        (Role.TENANT_ADMIN, 200, 201),
        (Role.DEVELOPER, 403, 403),
        (Role.FINANCE, 403, 403),
        (Role.AUDITOR, 200, 403),
        (Role.VIEWER, 200, 403),
    ],
)
async def test_each_role_may_what_it_may(plane: ControlPlane, role: Role, listing: int, making: int) -> None:
    async with plane.as_role(role) as client:
        assert (await client.get("/api/v1/users")).status_code == listing
        assert (await client.post("/api/v1/users", json={"email": address()})).status_code == making
