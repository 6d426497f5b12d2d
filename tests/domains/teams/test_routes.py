"""`/api/v1/teams` through the whole control plane."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AnnouncementRow, ApiKey, Team, TeamMember


def a_name() -> str:
    return f"Team {uuid7().hex}"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/api/v1/teams", json={"name": a_name(), **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def put(client: httpx.AsyncClient, team: dict[str, Any], user_id: UUID, **body: object) -> httpx.Response:
    return await client.put(f"/api/v1/teams/{team['id']}/members/{format_id('usr', user_id)}", json=body)


async def announced(plane: ControlPlane) -> int:
    async with plane.database.platform() as session:
        query = select(func.count()).where(AnnouncementRow.subject == plane.tenant_id)
        return await session.scalar(query) or 0


async def test_what_is_sent_is_kept_and_shown(plane: ControlPlane) -> None:
    wanted = {
        "name": a_name(),
        "description": "They search.",
        "allowed_models": ["gpt-*"],
        "allowed_providers": ["openai"],
        "logging_policy": "redacted",
        "tags": {"cost-centre": "17"},
        "flags": {"provider_headers": False},
    }
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin, **wanted)
        shown = await admin.get(f"/api/v1/teams/{team['id']}")
    assert {name: shown.json()[name] for name in wanted} == wanted
    assert shown.json()["is_active"] is True
    assert shown.json()["tenant_id"] == format_id("ten", plane.tenant_id)
    assert await plane.audited(team["id"]) == ["teams.create"]


async def test_null_takes_a_limit_back_and_an_unnamed_flag_stays(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(
            admin, allowed_models=[], flags={"provider_headers": False, "maintainers_make_projects": False}
        )
        path = f"/api/v1/teams/{team['id']}"
        changed = await admin.patch(path, json={"allowed_models": None, "flags": {"provider_headers": None}})
        before = await announced(plane)
        same = await admin.patch(path, json={"allowed_models": None})
        assert await announced(plane) == before
    assert (team["allowed_models"], changed.json()["allowed_models"]) == ([], None)
    assert changed.json()["flags"] == {"maintainers_make_projects": False}
    assert (changed.headers["etag"], same.headers["etag"]) == ('"2"', '"2"')


async def test_archiving_is_announced_to_every_worker(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        before = await announced(plane)
        archived = await admin.patch(f"/api/v1/teams/{team['id']}", json={"is_active": False})
        listed = (await admin.get("/api/v1/teams", params={"is_active": "false"})).json()["data"]
    assert archived.json()["is_active"] is False
    assert await announced(plane) == before + 1
    assert team["id"] in [item["id"] for item in listed]


async def test_a_name_is_taken_once_in_a_tenant_whatever_its_case(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        team = await make(admin)
        again = await admin.post("/api/v1/teams", json={"name": team["name"].upper()})
        assert (again.status_code, again.json()["code"]) == (409, "name_taken")
        second = await make(admin)
        moved = await admin.patch(f"/api/v1/teams/{second['id']}", json={"name": team["name"]})
        assert (moved.status_code, moved.json()["code"]) == (409, "name_taken")
        await make(other, name=team["name"])


async def test_if_match_guards_a_change(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        path = f"/api/v1/teams/{team['id']}"
        assert (await admin.patch(path, json={"description": "a"}, headers={"if-match": '"1"'})).status_code == 200
        assert (await admin.patch(path, json={"description": "b"}, headers={"if-match": '"1"'})).status_code == 412
        assert (await admin.delete(path, headers={"if-match": '"1"'})).status_code == 412


async def test_other_tenants_teams_do_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        foreign = f"/api/v1/teams/{(await make(other))['id']}"
    unknown = f"/api/v1/teams/{format_id('team', uuid7())}"
    user = format_id("usr", await plane.user(Role.VIEWER))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for method, suffix, body in (
            ("GET", "", None),
            ("PATCH", "", {"description": "x"}),
            ("DELETE", "", None),
            ("GET", "/members", None),
            ("PUT", f"/members/{user}", {}),
            ("DELETE", f"/members/{user}", None),
        ):
            answers = [await admin.request(method, path + suffix, json=body) for path in (foreign, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].json()["detail"] == answers[1].json()["detail"]
        assert not [item for item in (await admin.get("/api/v1/teams")).json()["data"] if item["id"] in foreign]
        made = await admin.post(
            "/api/v1/teams", json={"name": a_name(), "tenant_id": format_id("ten", plane.other_tenant_id)}
        )
        assert made.status_code == 404


async def test_a_platform_administrator_works_in_any_tenant(plane: ControlPlane) -> None:
    tenant_id = format_id("ten", plane.other_tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        team = await make(admin, tenant_id=tenant_id)
        changed = await admin.patch(f"/api/v1/teams/{team['id']}", json={"description": "x"})
        listed = (await admin.get("/api/v1/teams", params={"tenant_id": tenant_id})).json()["data"]
        unknown = await admin.post("/api/v1/teams", json={"name": a_name(), "tenant_id": format_id("ten", uuid7())})
    assert (changed.json()["tenant_id"], unknown.status_code) == (tenant_id, 404)
    assert team["id"] in [item["id"] for item in listed]
    assert await plane.audited(team["id"]) == ["teams.create", "teams.update"]


async def test_members_come_and_go(plane: ControlPlane) -> None:
    person = await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        path = f"/api/v1/teams/{team['id']}/members"
        assert (await put(admin, team, person)).json()["role"] == "member"
        assert (await put(admin, team, person, role="maintainer")).json()["role"] == "maintainer"
        assert (await put(admin, team, person, role="maintainer")).status_code == 200
        listed = (await admin.get(path)).json()["data"]
        own = (await admin.get("/api/v1/teams", params={"user_id": format_id("usr", person)})).json()["data"]
        gone = await admin.delete(f"{path}/{format_id('usr', person)}")
        again = await admin.delete(f"{path}/{format_id('usr', person)}")
    assert [(item["user_id"], item["role"], item["source"]) for item in listed] == [
        (format_id("usr", person), "maintainer", "manual")
    ]
    assert listed[0]["email"].endswith("@example.com")
    assert [item["id"] for item in own] == [team["id"]]
    assert (gone.status_code, again.status_code) == (204, 404)
    assert await plane.audited(team["id"]) == [
        "teams.create",
        "teams.members.set",
        "teams.members.set",
        "teams.members.remove",
    ]


async def test_members_are_listed_page_by_page(plane: ControlPlane) -> None:
    people = {format_id("usr", await plane.new_user(Role.VIEWER)) for _ in range(3)}
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        for user_id in people:
            await put(admin, team, parse_id("usr", user_id))
        path = f"/api/v1/teams/{team['id']}/members"
        first = (await admin.get(path, params={"limit": 2})).json()
        second = (await admin.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert {item["user_id"] for item in first["data"] + second["data"]} == people
    assert second["next_cursor"] is None


async def test_nobody_of_another_tenant_joins_a_team(plane: ControlPlane) -> None:
    stranger = await plane.new_user(Role.VIEWER, plane.other_tenant_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        answers = [await put(admin, team, user_id) for user_id in (stranger, uuid7())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


async def test_a_maintainer_manages_the_people_of_one_team_and_no_limits(plane: ControlPlane) -> None:
    maintainer, colleague = await plane.new_user(Role.DEVELOPER), await plane.new_user(Role.VIEWER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        own, foreign = await make(admin, allowed_models=["gpt-*"]), await make(admin)
        await put(admin, own, maintainer, role="maintainer")
        await put(admin, foreign, maintainer, role="member")
    async with plane.as_user(maintainer) as client:
        renamed = await client.patch(f"/api/v1/teams/{own['id']}", json={"name": a_name(), "description": "new"})
        assert renamed.status_code == 200, renamed.text
        assert (await put(client, own, colleague, role="maintainer")).status_code == 200
        changes: list[dict[str, Any]] = [
            {"allowed_models": None},
            {"allowed_providers": []},
            {"is_active": False},
            {"logging_policy": "full"},
            {"tags": {"a": "b"}},
            {"flags": {"provider_headers": True}},
        ]
        for change in changes:
            refused = await client.patch(f"/api/v1/teams/{own['id']}", json=change)
            assert (refused.status_code, refused.json()["code"]) == (403, "beyond_authority"), change
        for answer in (
            await client.patch(f"/api/v1/teams/{foreign['id']}", json={"description": "mine now"}),
            await put(client, foreign, colleague),
            await client.delete(f"/api/v1/teams/{foreign['id']}/members/{format_id('usr', maintainer)}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_maintainer")
        assert (await client.post("/api/v1/teams", json={"name": a_name()})).status_code == 403
        assert (await client.delete(f"/api/v1/teams/{own['id']}")).status_code == 403
        listed = (await client.get(f"/api/v1/teams/{own['id']}/members")).json()["data"]
    assert [item["email"] for item in listed] == [None, None]
    assert (await plane.audited(own["id"]))[-1] == "teams.members.set"


async def test_who_was_a_maintainer_is_none_at_the_next_call(plane: ControlPlane) -> None:
    maintainer = await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_user(maintainer) as client:
        team = await make(admin)
        path = f"/api/v1/teams/{team['id']}"
        await put(admin, team, maintainer, role="maintainer")
        assert (await client.patch(path, json={"description": "a"})).status_code == 200
        await put(admin, team, maintainer, role="member")
        assert (await client.patch(path, json={"description": "b"})).status_code == 403


async def test_a_team_with_projects_or_keys_is_not_deleted(plane: ControlPlane) -> None:
    owner = await plane.user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await make(admin)
        path = f"/api/v1/teams/{team['id']}"
        await put(admin, team, owner)
        project = (await admin.post("/api/v1/projects", json={"name": a_name(), "team_id": team["id"]})).json()
        key_id, _ = await plane.new_key(owner, team_id=parse_id("team", team["id"]))
        refused = await admin.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "team_in_use")
        assert (refused.json()["projects"], refused.json()["keys"]) == (1, 1)
        assert (await admin.delete(f"/api/v1/projects/{project['id']}")).status_code == 204
        assert (await admin.delete(f"/api/v1/keys/{key_id}")).status_code == 204
        assert (await admin.delete(path)).status_code == 204
        assert (await admin.get(path)).status_code == 404
    async with plane.database.platform() as session:
        assert await session.scalar(select(ApiKey.team_id).where(ApiKey.id == parse_id("key", key_id))) is None
        assert not await session.scalar(select(func.count()).select_from(TeamMember).where(TeamMember.user_id == owner))


async def test_every_column_a_client_may_not_write_is_refused(plane: ControlPlane) -> None:
    accepted = {
        "name", "description", "is_active", "allowed_models", "allowed_providers", "logging_policy", "tags", "flags",
    }  # fmt: skip
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        team = await make(admin)
        for column in [column.name for column in Team.__table__.c if column.name not in accepted]:
            assert (await admin.post("/api/v1/teams", json={"name": a_name(), column: 1})).status_code == 422, column
            assert (await admin.patch(f"/api/v1/teams/{team['id']}", json={column: 1})).status_code == 422, column


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a", "is_active": "yes"},
        {"name": "a", "is_active": None},
        {"name": "a", "description": None},
        {"name": "a", "tags": None},
        {"name": "a", "tags": {"a": 1}},
        {"name": "a", "logging_policy": "everything"},
        {"name": "a", "allowed_models": ["a*b"]},
        {"name": "a", "flags": {"teleport": True}},
        {"name": "a", "flags": {"provider_headers": "yes"}},
        {"name": "a", "flags": {"key_import": True}},
        {"name": "a", "flags": None},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        answer = await admin.post("/api/v1/teams", json=body)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("noun", ["projects", "keys"])
async def test_what_is_put_into_a_team_while_it_goes_is_refused_or_keeps_it(plane: ControlPlane, noun: str) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for _ in range(8):
            team = await make(admin)
            gone, made = await asyncio.gather(
                admin.delete(f"/api/v1/teams/{team['id']}"),
                admin.post(f"/api/v1/{noun}", json={"name": a_name(), "team_id": team["id"]}),
            )
            assert (gone.status_code, made.status_code) in {(204, 404), (204, 409), (409, 201)}, made.text
