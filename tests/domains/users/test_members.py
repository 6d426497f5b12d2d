"""Members of several tenants: guests, roles, who remains in charge, and how people leave."""

import asyncio
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from tests.domains.control_plane import ControlPlane
from tests.domains.members import address, as_member, find_member, new_guest, new_holder, new_role
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import ExternalIdentity, IdentityProvider, Member, Team, TeamMember, Tenant, User
from tollkeeper.domains.jobs.outbox import OutboxDelivery
from tollkeeper.domains.users.subscribers import EndGuestMemberships

PASSWORD = "correct horse battery"


def path_of(user_id: UUID) -> str:
    return f"/api/v1/users/{format_id('usr', user_id)}"


async def new_tenant(plane: ControlPlane) -> UUID:
    tenant_id = uuid7()
    async with plane.database.platform() as session:
        session.add(Tenant(id=tenant_id, name=f"tenant {tenant_id.hex}", slug=f"tenant-{tenant_id.hex}"))
    return tenant_id


async def ids(client: httpx.AsyncClient, **query: object) -> set[str]:
    answer = await client.get("/api/v1/users", params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    return {item["id"] for item in answer.json()["data"]}


async def test_a_guest_is_a_member_like_others_and_keeps_their_account_to_themselves(plane: ControlPlane) -> None:
    guest = await new_guest(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        shown = (await admin.get(path_of(guest))).json()
        assert (shown["is_guest"], shown["role"], shown["tenant_id"]) == (
            True,
            "developer",
            format_id("ten", plane.tenant_id),
        )
        assert (shown["has_password"], shown["last_login_at"], shown["preferences"]) == (None, None, {})
        for change in (
            {"name": "Mine"},
            {"email": address()},
            {"password": PASSWORD},
            {"preferences": {"a": 1}},
            {"role": "viewer", "name": "Mine"},
        ):
            refused = await admin.patch(path_of(guest), json=change)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_home_account"), change
        assert (await admin.patch(path_of(guest), json={"role": "viewer"})).json()["role"] == "viewer"
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as home:
        shown = (await home.get(path_of(guest))).json()
        assert (shown["is_guest"], shown["role"]) == (False, "developer")


async def test_a_guest_who_is_demoted_or_disabled_is_so_at_once_and_here_alone(plane: ControlPlane) -> None:
    guest = await new_guest(plane, Role.TENANT_ADMIN)
    async with (
        plane.as_role(Role.TENANT_ADMIN) as admin,
        as_member(plane, guest, plane.tenant_id) as here,
        as_member(plane, guest, plane.other_tenant_id) as at_home,
    ):
        assert (await here.get("/api/v1/users")).status_code == 200
        assert (await admin.patch(path_of(guest), json={"role": "developer"})).status_code == 200
        assert (await here.get("/api/v1/users")).status_code == 401
        async with as_member(plane, guest, plane.tenant_id) as again:
            assert (await again.get("/api/v1/users")).status_code == 403
            assert (await admin.patch(path_of(guest), json={"is_active": False})).status_code == 200
            assert (await again.get("/api/v1/me")).status_code == 401
        assert (await admin.get(path_of(guest))).json()["is_active"] is False
        assert (await at_home.get("/api/v1/keys")).status_code == 200


async def test_a_guest_who_is_removed_loses_keys_teams_and_sessions_here_alone(plane: ControlPlane) -> None:
    guest, team_id = await new_guest(plane), uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=plane.tenant_id, name=team_id.hex))
        await session.flush()
        session.add(TeamMember(tenant_id=plane.tenant_id, team_id=team_id, user_id=guest))
    home_key, home_secret = await plane.new_key(guest, "admin")
    async with (
        plane.as_role(Role.TENANT_ADMIN) as admin,
        as_member(plane, guest, plane.tenant_id) as here,
        plane.client(authorization=f"Bearer {home_secret}") as at_home,
    ):
        key = (await here.post("/api/v1/keys", json={"name": "here"})).json()
        assert (await admin.get(path_of(guest))).json()["teams"][0]["id"] == format_id("team", team_id)
        assert (await admin.delete(path_of(guest))).status_code == 204
        assert (await here.get("/api/v1/keys")).status_code == 401
        assert (await admin.get(path_of(guest))).status_code == 404
        assert format_id("usr", guest) not in await ids(admin)
        assert (await admin.get(f"/api/v1/keys/{key['id']}")).json()["status"] == "revoked"
        assert (await at_home.get(f"/api/v1/keys/{home_key}")).json()["status"] == "active"
    async with plane.database.platform() as session:
        assert await session.scalar(select(TeamMember.user_id).where(TeamMember.user_id == guest)) is None
        assert await session.scalar(select(User.is_active).where(User.id == guest)) is True
    assert await plane.audited(format_id("usr", guest)) == ["users.remove"]


async def test_an_erased_account_leaves_the_tenants_that_had_it_as_a_guest(plane: ControlPlane) -> None:
    guest = await new_guest(plane)
    async with as_member(plane, guest, plane.tenant_id) as here:
        key = (await here.post("/api/v1/keys", json={"name": "here", "scopes": ["admin"]})).json()
    async with (
        plane.as_role(Role.TENANT_ADMIN, other=True) as home,
        plane.as_role(Role.TENANT_ADMIN) as admin,
        plane.client(authorization=f"Bearer {key['key']}") as program,
    ):
        assert (await program.get("/api/v1/keys")).status_code == 200
        assert (await home.delete(path_of(guest))).status_code == 204
        # At once, because the account is disabled; what is left of it goes with the event.
        assert (await program.get("/api/v1/keys")).status_code == 401
        assert (await admin.get(path_of(guest))).status_code == 404
        subscriber = EndGuestMemberships(plane.database, plane.clock)
        delivery = OutboxDelivery(plane.database, {"user.deleted": [subscriber, subscriber]})
        while await delivery.deliver():
            pass
        assert (await admin.get(f"/api/v1/keys/{key['id']}")).json()["status"] == "revoked"
    member = await find_member(plane, guest, plane.tenant_id)
    assert member.removed_at is not None


async def test_nothing_of_a_person_stays_when_the_account_is_erased(plane: ControlPlane) -> None:
    user_id, provider_id = await plane.new_user(Role.DEVELOPER, password=PASSWORD), uuid7()
    async with plane.database.platform() as session:
        provider = {"name": provider_id.hex, "issuer": "https://issuer.test"}
        session.add(IdentityProvider(id=provider_id, tenant_id=plane.tenant_id, **provider))
        await session.flush()
        subject = {"subject": "ann", "email": "ann@example.com", "user_id": user_id}
        session.add(ExternalIdentity(tenant_id=plane.tenant_id, provider_id=provider_id, **subject))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.delete(path_of(user_id))).status_code == 204
    async with plane.database.platform() as session:
        user = await session.get(User, user_id)
        assert user is not None
        assert (user.name, user.password_hash, user.preferences) == ("Deleted user", None, {})
        assert user.email.endswith("@deleted.invalid")
        found = select(ExternalIdentity.id).where(ExternalIdentity.user_id == user_id)
        assert await session.scalar(found) is None


@pytest.mark.parametrize("change", [{"role": "developer"}, {"is_active": False}, None])
async def test_the_last_administrator_of_a_tenant_stays(plane: ControlPlane, change: dict[str, object] | None) -> None:
    tenant_id = await new_tenant(plane)
    last = await plane.new_user(Role.TENANT_ADMIN, tenant_id)
    disabled = await plane.new_user(Role.TENANT_ADMIN, tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        assert (await platform.patch(path_of(disabled), json={"is_active": False})).status_code == 200

        async def try_it() -> httpx.Response:
            return await (
                platform.delete(path_of(last)) if change is None else platform.patch(path_of(last), json=change)
            )

        refused = await try_it()
        assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")
        # A service account is nobody who could sign in and set things right.
        body = {"name": "robot", "role": "tenant_admin", "tenant_id": format_id("ten", tenant_id)}
        assert (await platform.post("/api/v1/service-accounts", json=body)).status_code == 201
        assert (await try_it()).status_code == 409
        assert (await platform.patch(path_of(disabled), json={"is_active": True})).status_code == 200
        assert (await try_it()).status_code in {200, 204}


async def test_two_administrators_who_remove_each_other_leave_one(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    pair = [await plane.new_user(Role.TENANT_ADMIN, tenant_id) for _ in range(2)]
    async with plane.as_user(pair[0]) as one, plane.as_user(pair[1]) as two:
        answers = await asyncio.gather(
            one.patch(path_of(pair[1]), json={"role": "viewer"}), two.patch(path_of(pair[0]), json={"role": "viewer"})
        )
    done, refused = sorted(answer.status_code for answer in answers)
    assert (done, refused in {401, 403, 409}) == (200, True)
    roles = sorted([(await find_member(plane, user_id, tenant_id)).role for user_id in pair])
    assert roles == ["tenant_admin", "viewer"]


async def test_the_platforms_last_administrator_stays(plane: ControlPlane) -> None:
    async with plane.database.platform() as session:
        query = select(Member.user_id).where(Member.role == "platform_admin", Member.removed_at.is_(None))
        others = list(await session.scalars(query))
    keeper = await plane.new_user(Role.PLATFORM_ADMIN)
    robot = uuid7()
    async with plane.database.platform() as session:
        email = f"service-{robot.hex}@tollkeeper.invalid"
        session.add(User(id=robot, tenant_id=plane.tenant_id, email=email, name="robot", kind="service"))
        await session.flush()
        session.add(Member(tenant_id=plane.tenant_id, user_id=robot, role="platform_admin"))
    _, secret = await plane.new_key(robot, "admin")
    plane.users.pop((plane.tenant_id, Role.PLATFORM_ADMIN), None)
    async with plane.client(authorization=f"Bearer {secret}") as program:
        for user_id in others:
            assert (await program.delete(path_of(user_id))).status_code == 204
        refused = await program.delete(path_of(keeper))
        assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")


async def test_members_are_found_by_role_kind_state_and_text(plane: ControlPlane) -> None:
    mark = uuid7().hex
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = {}
        for name, role in ((f"100% {mark}", "viewer"), (f"100x {mark}", "finance"), (f"a_b {mark}", "viewer")):
            body = {"email": address(), "name": name, "role": role}
            made[name] = (await admin.post("/api/v1/users", json=body)).json()
        robot = (await admin.post("/api/v1/service-accounts", json={"name": f"robot {mark}"})).json()["id"]
        percent, letter, line = (user["id"] for user in made.values())
        await admin.patch(f"/api/v1/users/{line}", json={"is_active": False})
        assert await ids(admin, q=mark.upper()) == {percent, letter, line, robot}
        # What LIKE reads as a wildcard is a character here.
        assert await ids(admin, q=f"100% {mark}") == {percent}
        assert await ids(admin, q=f"a_b {mark}") == {line}
        assert await ids(admin, q="\\") == set()
        assert await ids(admin, q=made[f"100% {mark}"]["email"]) == {percent}
        assert await ids(admin, q=mark, role="Viewer") == {percent, line}
        assert await ids(admin, q=mark, kind="service") == {robot}
        assert await ids(admin, q=mark, is_active="false") == {line}
        for query in ({"q": "\u202e"}, {"q": ""}, {"kind": "ghost"}, {"role": "x" * 65}, {"is_active": "maybe"}):
            assert (await admin.get("/api/v1/users", params=query)).status_code == 422, query


async def test_pages_hold_every_member_once(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    made = {format_id("usr", await plane.new_user(Role.VIEWER, tenant_id)) for _ in range(5)}
    made.add(format_id("usr", admin := await plane.new_user(Role.TENANT_ADMIN, tenant_id)))
    seen: list[str] = []
    async with plane.as_user(admin) as client:
        page = {"next_cursor": None}
        for _ in range(10):
            query = {"limit": 2} | ({"cursor": page["next_cursor"]} if page["next_cursor"] else {})
            page = (await client.get("/api/v1/users", params=query)).json()
            seen += [item["id"] for item in page["data"]]
            if page["next_cursor"] is None:
                break
    assert sorted(seen) == sorted(made)
    assert seen == sorted(seen, reverse=True)


async def test_teams_are_shown_to_who_may_see_teams(plane: ControlPlane) -> None:
    user_id, team_id = await plane.new_user(Role.DEVELOPER), uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=plane.tenant_id, name="core"))
        await session.flush()
        session.add(TeamMember(tenant_id=plane.tenant_id, team_id=team_id, user_id=user_id, role="maintainer"))
    async with plane.as_role(Role.VIEWER) as viewer:
        teams = (await viewer.get(path_of(user_id))).json()["teams"]
    assert teams == [{"id": format_id("team", team_id), "name": "core", "role": "maintainer"}]
    async with plane.as_user(await new_holder(plane, ["me:view", "users:view"])) as client:
        assert (await client.get(path_of(user_id))).json()["teams"] == []


async def test_the_platform_manages_members_of_every_tenant(plane: ControlPlane) -> None:
    guest = await new_guest(plane, Role.VIEWER)
    here, there = format_id("ten", plane.tenant_id), format_id("ten", plane.other_tenant_id)
    stranger = await plane.new_user(Role.DEVELOPER, plane.other_tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        assert (await platform.get(path_of(guest))).json()["tenant_id"] == here
        assert (await platform.get(path_of(guest), params={"tenant_id": there})).json()["tenant_id"] == there
        assert (await platform.get(path_of(stranger))).json()["tenant_id"] == there
        at_home = {"tenant_id": there}
        changed = await platform.patch(path_of(guest), json={"name": "Ann", "role": "finance"}, params=at_home)
        assert (changed.json()["name"], changed.json()["role"]) == ("Ann", "finance")
        assert (await platform.get(path_of(guest))).json()["role"] == "viewer"
        assert (await platform.get(path_of(stranger), params={"tenant_id": here})).status_code == 404
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        assert (await admin.get(path_of(guest), params=at_home)).status_code == 404


async def test_a_role_of_another_tenant_cannot_be_given(plane: ControlPlane) -> None:
    role_id = await new_role(plane, ["me:view"], other=True)
    user_id = await plane.new_user(Role.VIEWER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for name in (f"role {role_id.hex}", format_id("rol", role_id), "custom"):
            refused = await admin.patch(path_of(user_id), json={"role": name})
            assert (refused.status_code, refused.json()["code"]) == (422, "unknown_role")
        assert (await admin.patch(path_of(user_id), json={"role_id": format_id("rol", role_id)})).status_code == 422


async def test_nobodys_address_is_taken_by_nobody(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for email in ("a@deleted.invalid", "a@INVALID", "service-1@tollkeeper.invalid"):
            assert (await admin.post("/api/v1/users", json={"email": email})).status_code == 422
            assert (await admin.patch(path_of(user_id), json={"email": email})).status_code == 422


async def test_a_password_that_is_guessed_first_is_refused(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for password in ("password1", "12345678"):
            answer = await admin.post("/api/v1/users", json={"email": address(), "password": password})
            assert (answer.status_code, answer.json()["code"]) == (422, "weak_password")


async def test_the_version_of_a_member_rises_with_account_and_membership(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.VIEWER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        changes = ({}, {"name": "b"}, {"role": "finance"}, {"is_active": False})
        tags = [(await admin.patch(path_of(user_id), json=change)).headers["etag"] for change in changes]
        assert tags[-1] == (await admin.get(path_of(user_id))).headers["etag"]
    versions = [int(tag.strip('"')) for tag in tags]
    assert versions == sorted(set(versions))
