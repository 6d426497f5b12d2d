"""`/api/v1/projects` through the whole control plane."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AnnouncementRow, Project


def a_name() -> str:
    return f"Project {uuid7().hex}"


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/api/v1/projects", json={"name": a_name(), **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def a_team(client: httpx.AsyncClient, maintainer: UUID | None = None, **body: object) -> str:
    answer = await client.post("/api/v1/teams", json={"name": a_name(), **body})
    assert answer.status_code == 201, answer.text
    team_id: str = answer.json()["id"]
    if maintainer is not None:
        path = f"/api/v1/teams/{team_id}/members/{format_id('usr', maintainer)}"
        assert (await client.put(path, json={"role": "maintainer"})).status_code == 200
    return team_id


async def announced(plane: ControlPlane) -> int:
    async with plane.database.platform() as session:
        query = select(func.count()).where(AnnouncementRow.subject == plane.tenant_id)
        return await session.scalar(query) or 0


async def test_a_project_stands_in_a_team_or_directly_in_the_tenant(plane: ControlPlane) -> None:
    wanted = {"description": "d", "allowed_models": ["a*"], "logging_policy": "none", "tags": {"app": "shop"}}
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team_id = await a_team(admin)
        inside, alone = await make(admin, team_id=team_id, **wanted), await make(admin)
        shown = (await admin.get(f"/api/v1/projects/{inside['id']}")).json()
        listed = (await admin.get("/api/v1/projects", params={"team_id": team_id})).json()["data"]
    assert {name: shown[name] for name in wanted} == wanted
    assert (shown["team_id"], alone["team_id"]) == (team_id, None)
    assert [item["id"] for item in listed] == [inside["id"]]
    assert await plane.audited(inside["id"]) == ["projects.create"]


async def test_moving_and_archiving_are_announced_to_every_worker(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        first, second = await a_team(admin), await a_team(admin)
        path = f"/api/v1/projects/{(await make(admin, team_id=first))['id']}"
        before = await announced(plane)
        moved = await admin.patch(path, json={"team_id": second})
        archived = await admin.patch(path, json={"is_active": False, "team_id": None})
    assert (moved.json()["team_id"], archived.json()["team_id"]) == (second, None)
    assert archived.json()["is_active"] is False
    assert await announced(plane) == before + 2


async def test_a_team_of_another_tenant_takes_no_project(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        foreign = await a_team(other)
    for role in (Role.TENANT_ADMIN, Role.PLATFORM_ADMIN):
        async with plane.as_role(role) as admin:
            project = await make(admin)
            for team_id in (foreign, format_id("team", uuid7())):
                made = await admin.post("/api/v1/projects", json={"name": a_name(), "team_id": team_id})
                moved = await admin.patch(f"/api/v1/projects/{project['id']}", json={"team_id": team_id})
                assert [answer.status_code for answer in (made, moved)] == [404, 404]
                assert {answer.json()["detail"] for answer in (made, moved)} == {"There is no such team."}


async def test_other_tenants_projects_do_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        foreign = f"/api/v1/projects/{(await make(other))['id']}"
    unknown = f"/api/v1/projects/{format_id('prj', uuid7())}"
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for method, body in (("GET", None), ("PATCH", {"description": "x"}), ("DELETE", None)):
            answers = [await admin.request(method, path, json=body) for path in (foreign, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].json()["detail"] == answers[1].json()["detail"]
        assert not [item for item in (await admin.get("/api/v1/projects")).json()["data"] if item["id"] in foreign]


async def test_a_maintainer_manages_the_projects_of_their_team_alone(plane: ControlPlane) -> None:
    maintainer = await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        own, foreign = await a_team(admin, maintainer), await a_team(admin)
        outside, alone = await make(admin, team_id=foreign), await make(admin)
    async with plane.as_user(maintainer) as client:
        project = await make(client, team_id=own, allowed_models=["a"])
        path = f"/api/v1/projects/{project['id']}"
        assert (await client.patch(path, json={"allowed_models": None, "is_active": False})).status_code == 200
        for answer in (
            await client.post("/api/v1/projects", json={"name": a_name()}),
            await client.post("/api/v1/projects", json={"name": a_name(), "team_id": foreign}),
            await client.patch(path, json={"team_id": foreign}),
            await client.patch(path, json={"team_id": None}),
            await client.patch(f"/api/v1/projects/{outside['id']}", json={"team_id": own}),
            await client.patch(f"/api/v1/projects/{outside['id']}", json={"description": "mine"}),
            await client.patch(f"/api/v1/projects/{alone['id']}", json={"description": "mine"}),
            await client.delete(f"/api/v1/projects/{outside['id']}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_maintainer")
        flagged = await client.patch(path, json={"flags": {"provider_headers": True}})
        assert (flagged.status_code, flagged.json()["code"]) == (403, "beyond_authority")
        assert (await client.delete(path)).status_code == 204


async def test_a_flag_leaves_projects_to_who_manages_all(plane: ControlPlane) -> None:
    maintainer = await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_user(maintainer) as client:
        own = await a_team(admin, maintainer, flags={"maintainers_make_projects": False})
        refused = await client.post("/api/v1/projects", json={"name": a_name(), "team_id": own})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_maintainer")
        back = {"flags": {"maintainers_make_projects": None}}
        assert (await admin.patch(f"/api/v1/teams/{own}", json=back)).status_code == 200
        await make(client, team_id=own)


async def test_a_project_with_keys_is_not_deleted(plane: ControlPlane) -> None:
    owner = await plane.user(Role.DEVELOPER)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        project = await make(admin)
        path = f"/api/v1/projects/{project['id']}"
        key_id, _ = await plane.new_key(owner, project_id=parse_id("prj", project["id"]))
        refused = await admin.delete(path)
        assert (refused.status_code, refused.json()["code"], refused.json()["keys"]) == (409, "project_in_use", 1)
        assert (await admin.delete(f"/api/v1/keys/{key_id}")).status_code == 204
        assert (await admin.delete(path)).status_code == 204
        assert (await admin.get(path)).status_code == 404
    assert await plane.audited(project["id"]) == ["projects.create", "projects.delete"]


async def test_names_and_versions_are_guarded(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        project = await make(admin)
        again = await admin.post("/api/v1/projects", json={"name": project["name"].upper()})
        assert (again.status_code, again.json()["code"]) == (409, "name_taken")
        path = f"/api/v1/projects/{project['id']}"
        assert (await admin.patch(path, json={"description": "a"}, headers={"if-match": '"1"'})).status_code == 200
        assert (await admin.patch(path, json={"description": "b"}, headers={"if-match": '"1"'})).status_code == 412


async def test_every_column_a_client_may_not_write_is_refused(plane: ControlPlane) -> None:
    accepted = {
        "name", "description", "is_active", "allowed_models", "allowed_providers", "logging_policy", "tags", "flags",
    }  # fmt: skip
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        project = await make(admin)
        for column in [column.name for column in Project.__table__.c if column.name not in accepted]:
            made = await admin.post("/api/v1/projects", json={"name": a_name(), column: 1})
            changed = await admin.patch(f"/api/v1/projects/{project['id']}", json={column: 1})
            assert (made.status_code, changed.status_code) == (422, 422), column


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "a", "team_id": "prj_1"},
        {"name": "a", "is_active": None},
        {"name": "a", "flags": {"key_import": True}},
        {"name": "a", "logging_policy": "everything"},
        {"name": "a", "tags": {"": "x"}},
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        answer = await admin.post("/api/v1/projects", json=body)
    assert answer.status_code == 422, answer.text
