"""`/api/v1/service-accounts` through the whole control plane."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from tests.domains.control_plane import ControlPlane
from tests.domains.members import new_holder
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Team, User

PASSWORD = "correct horse battery"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, str]:
    answer = await client.post("/api/v1/service-accounts", json={"name": "builds", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def new_team(plane: ControlPlane, tenant_id: UUID | None = None) -> str:
    team_id = uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=tenant_id or plane.tenant_id, name=f"team {team_id.hex}"))
    return format_id("team", team_id)


async def test_an_account_is_made_changed_and_deleted_with_its_keys(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        account = await make(admin, role="developer")
        path = f"/api/v1/service-accounts/{account['id']}"
        assert "email" not in account
        key = (await admin.post("/api/v1/keys", json={"name": "k", "user_id": account["id"]})).json()
        async with plane.client(authorization=f"Bearer {key['key']}") as program:
            assert (await program.get("/api/v1/me")).status_code == 200
            changed = await admin.patch(path, json={"name": "deploys", "is_active": False})
            assert (changed.json()["name"], changed.json()["is_active"]) == ("deploys", False)
            assert (await program.get("/api/v1/me")).status_code == 401
            assert (await admin.patch(path, json={"is_active": True})).status_code == 200
            assert (await program.get("/api/v1/me")).status_code == 200
            assert (await admin.get(path)).json()["name"] == "deploys"
            assert (await admin.delete(path)).status_code == 204
            assert (await program.get("/api/v1/me")).status_code == 401
        assert (await admin.get(path)).status_code == 404
        assert (await admin.get(f"/api/v1/keys/{key['id']}")).json()["status"] == "revoked"
    assert await plane.audited(account["id"]) == ["users.create", *["users.update"] * 2, "users.delete"]


async def test_an_account_has_no_address_and_no_password_and_never_signs_in(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        account = await make(admin, role="tenant_admin")
        path = f"/api/v1/users/{account['id']}"
        shown = (await admin.get(path)).json()
        assert (shown["kind"], shown["email"], shown["has_password"]) == ("service", None, False)
        for change in ({"password": PASSWORD}, {"email": "a@example.com"}):
            refused = await admin.patch(path, json=change)
            assert (refused.status_code, refused.json()["code"]) == (409, "service_account")
        async with plane.database.platform() as session:
            email = await session.scalar(select(User.email).where(User.id == parse_id("usr", account["id"])))
        assert email is not None
        listed = await admin.get("/api/v1/users", params={"q": email.partition("@")[2]})
        assert listed.json()["data"] == []
        assert email not in (await admin.get("/api/v1/users", params={"kind": "service"})).text
        assert email not in (await admin.get("/api/v1/audit", params={"object_id": account["id"]})).text
    async with plane.client() as nobody:
        body = {"email": email, "password": PASSWORD}
        assert (await nobody.post("/api/v1/auth/login", json=body)).status_code == 401


async def test_a_person_is_no_service_account(plane: ControlPlane) -> None:
    person, unknown = format_id("usr", await plane.user(Role.VIEWER)), format_id("usr", uuid7())
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        foreign = format_id("usr", await plane.user(Role.VIEWER, other=True))
        async with plane.as_role(Role.TENANT_ADMIN, other=True) as other:
            foreign_account = (await make(other))["id"]
        for user_id in (person, unknown, foreign, foreign_account):
            path = f"/api/v1/service-accounts/{user_id}"
            for answer in (
                await admin.get(path),
                await admin.patch(path, json={"name": "x"}),
                await admin.delete(path),
            ):
                assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such service account.")
        listed = (await admin.get("/api/v1/service-accounts", params={"limit": 100})).json()["data"]
        assert not {person, foreign, foreign_account} & {item["id"] for item in listed}
        elsewhere = {"name": "x", "tenant_id": format_id("ten", plane.other_tenant_id)}
        assert (await admin.post("/api/v1/service-accounts", json=elsewhere)).status_code == 404


async def test_an_account_is_in_the_teams_that_were_named(plane: ControlPlane) -> None:
    first, second = await new_team(plane), await new_team(plane)
    foreign = await new_team(plane, plane.other_tenant_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        account = await make(admin, team_ids=[first])
        path = f"/api/v1/service-accounts/{account['id']}"
        assert [team["id"] for team in (await admin.get(path)).json()["teams"]] == [first]
        changed = await admin.patch(path, json={"team_ids": [second]})
        assert [team["id"] for team in changed.json()["teams"]] == [second]
        for unknown in (foreign, format_id("team", uuid7())):
            refused = await admin.patch(path, json={"team_ids": [second, unknown]})
            assert (refused.status_code, refused.json()["detail"]) == (404, "There is no such team.")
        assert [team["id"] for team in (await admin.get(path)).json()["teams"]] == [second]
        assert (await admin.delete(path)).status_code == 204
    holder = await new_holder(plane, ["me:view", "users:create", "users:view"])
    body = {"name": "x", "role": (await role_name(plane, holder)), "team_ids": [first]}
    async with plane.as_user(holder) as client:
        assert (await client.post("/api/v1/service-accounts", json=body)).status_code == 403


async def role_name(plane: ControlPlane, user_id: UUID) -> str:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        return str((await admin.get(f"/api/v1/users/{format_id('usr', user_id)}")).json()["role"])


async def test_nobody_makes_or_touches_an_account_that_may_do_more(plane: ControlPlane) -> None:
    holder = await new_holder(plane, ["me:view", "users:view", "users:create", "users:update", "users:delete"])
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        above = f"/api/v1/service-accounts/{(await make(admin, role='tenant_admin'))['id']}"
    async with plane.as_user(holder) as client:
        for answer in (
            await client.post("/api/v1/service-accounts", json={"name": "x", "role": "viewer"}),
            await client.patch(above, json={"name": "x"}),
            await client.patch(above, json={"team_ids": []}),
            await client.delete(above),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_changes_name_the_version_they_were_made_for(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        account = await make(admin)
        path = f"/api/v1/service-accounts/{account['id']}"
        tag = (await admin.get(path)).headers["etag"]
        assert (await admin.patch(path, json={"name": "b"}, headers={"if-match": tag})).status_code == 200
        assert (await admin.patch(path, json={"name": "c"}, headers={"if-match": tag})).status_code == 412
        assert (await admin.delete(path, headers={"if-match": tag})).status_code == 412


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a", "role": "king"},
        {"name": "a", "email": "a@example.com"},
        {"name": "a", "password": PASSWORD},
        {"name": "a", "kind": "person"},
        {"name": "a", "team_ids": ["ten_1"]},
        {"name": "a", "team_ids": None},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.post("/api/v1/service-accounts", json=body)).status_code == 422
