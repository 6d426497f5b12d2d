"""Teams, endpoints, addresses and origins of keys: who may set them, how wide, and that they hold here as well."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Tenant
from tollkeeper.db.models.teams import Project, Team, TeamMember

BOUNDS = {
    "allowed_models_override": ["gpt-4o*"],
    "allowed_providers_override": ["openai"],
    "allowed_endpoints": ["chat/completions", "keys"],
    "allowed_addresses": ["10.0.0.0/8", "127.0.0.0/8", "2001:db8::/32"],
    "allowed_origins": ["https://app.example.com"],
    "rate_limit_override": 10,
}
NARROWER = {
    "allowed_models_override": ["gpt-4o-mini"],
    "allowed_providers_override": ["openai"],
    "allowed_endpoints": ["chat/completions", "keys/key_1"],
    "allowed_addresses": ["10.9.0.0/16"],
    "allowed_origins": [],
    "rate_limit_override": 9,
}
WIDER = {
    "allowed_models_override": ["gpt-*"],
    "allowed_providers_override": ["openai", "azure"],
    "allowed_endpoints": ["chat"],
    "allowed_addresses": ["0.0.0.0/0"],
    "allowed_origins": ["https://app.example.com", "https://evil.example"],
    "rate_limit_override": 11,
}


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    answer = await client.post("/api/v1/keys", json={"name": "app", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def refusal(client: httpx.AsyncClient, **body: object) -> tuple[int, str]:
    answer = await client.post("/api/v1/keys", json={"name": "app", **body})
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["code"]


async def new_team(plane: ControlPlane, *members: object, other: bool = False) -> str:
    tenant_id, team_id = plane.other_tenant_id if other else plane.tenant_id, uuid7()
    async with plane.database.platform() as session:
        session.add(Team(id=team_id, tenant_id=tenant_id, name=f"team {team_id.hex}"))
        await session.flush()
        session.add_all(TeamMember(tenant_id=tenant_id, team_id=team_id, user_id=member) for member in members)
    return format_id("team", team_id)


async def new_project(plane: ControlPlane, team: str | None = None, *, other: bool = False) -> str:
    tenant_id, project_id = plane.other_tenant_id if other else plane.tenant_id, uuid7()
    team_id = None if team is None else parse_id("team", team)
    async with plane.database.platform() as session:
        session.add(Project(id=project_id, tenant_id=tenant_id, team_id=team_id, name=f"project {project_id.hex}"))
    return format_id("prj", project_id)


async def test_bounds_are_kept_in_one_spelling_and_changed(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(
            client,
            allowed_endpoints=["/v1/chat/completions", "/api/v1/chat/completions/", "models"],
            allowed_addresses=["10.1.2.3/8", "::ffff:192.0.2.7", "2001:DB8::/32"],
            allowed_origins=["https://App.Example.com:443/"],
        )
        assert key["allowed_endpoints"] == ["chat/completions", "models"]
        assert key["allowed_addresses"] == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]
        assert key["allowed_origins"] == ["https://app.example.com"]
        cleared = await client.patch(
            f"/api/v1/keys/{key['id']}", json={"allowed_endpoints": None, "allowed_origins": ["http://localhost:3000"]}
        )
    assert cleared.json()["allowed_endpoints"] is None
    assert cleared.json()["allowed_origins"] == ["http://localhost:3000"]
    assert cleared.json()["allowed_addresses"] == key["allowed_addresses"]


@pytest.mark.parametrize(
    "fields",
    [
        {"allowed_addresses": ["10.0.0.0/33"]},
        {"allowed_addresses": ["example.com"]},
        {"allowed_addresses": ["10.0.0.1"] * 101},
        {"allowed_origins": ["null"]},
        {"allowed_origins": ["*"]},
        {"allowed_origins": ["https://app.example.com/page"]},
        {"allowed_endpoints": ["../keys"]},
        {"allowed_endpoints": [""]},
        {"allowed_endpoints": ["chat completions"]},
        {"allowed_endpoints": ["a*b"]},
        {"allowed_endpoints": "chat"},
        {"last_used_at": "2026-01-01T00:00:00Z"},
        {"is_imported": True},
    ],
)
async def test_bound_that_is_none_is_refused(plane: ControlPlane, fields: dict[str, object]) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        assert await refusal(client, **fields) == (422, "malformed_payload")


@pytest.mark.parametrize("name", BOUNDS)
async def test_key_made_with_a_key_is_never_wider(plane: ControlPlane, name: str) -> None:
    admin = await plane.user(Role.TENANT_ADMIN)
    value = BOUNDS[name]
    endpoints = {"allowed_endpoints": ["*"]} if name != "allowed_endpoints" else {}
    _, secret = await plane.new_key(admin, "admin", **{**endpoints, name: value})
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert await refusal(client, **{name: WIDER[name]}) == (403, "beyond_authority")
        narrower = await make(client, **{name: NARROWER[name]})
        assert narrower[name] == NARROWER[name]
        plain = await make(client)
        assert plain[name] == value or sorted(plain[name]) == sorted(value)
        for wider in (WIDER[name], None):
            answer = await client.patch(f"/api/v1/keys/{plain['id']}", json={name: wider})
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")
        async with plane.as_user(admin) as console:
            wide = await make(console, **{name: WIDER[name]})
        answer = await client.post(f"/api/v1/keys/{wide['id']}/rotate")
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


@pytest.mark.parametrize(
    ("bound", "code"),
    [
        ({"allowed_endpoints": ["chat/completions", "usage"]}, "endpoint_not_allowed"),
        ({"allowed_addresses": ["192.0.2.0/24"]}, "address_not_allowed"),
        ({"allowed_origins": ["https://app.example.com"]}, "origin_not_allowed"),
    ],
)
async def test_bounds_hold_in_the_control_plane_too(plane: ControlPlane, bound: dict[str, Any], code: str) -> None:
    admin = await plane.user(Role.TENANT_ADMIN)
    _, secret = await plane.new_key(admin, "admin", **bound)
    async with plane.client(authorization=f"Bearer {secret}", origin="https://evil.example") as client:
        for method, path in (("GET", "/api/v1/keys"), ("GET", "/api/v1/me"), ("POST", "/api/v1/keys")):
            answer = await client.request(method, path, json={"name": "x"} if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (403, code)


async def test_key_works_inside_its_bounds_in_the_control_plane(plane: ControlPlane) -> None:
    admin = await plane.user(Role.TENANT_ADMIN)
    bounds = {**BOUNDS, "allowed_endpoints": ["keys"]}
    _, secret = await plane.new_key(admin, "admin", **bounds)
    async with plane.client(authorization=f"Bearer {secret}", origin="https://app.example.com") as client:
        assert (await client.get("/api/v1/keys")).status_code == 200
        assert (await client.get("/api/v1/users")).json()["code"] == "endpoint_not_allowed"


# ── Teams and projects ──


async def test_developer_puts_keys_into_their_own_teams_only(plane: ControlPlane) -> None:
    developer = await plane.new_user(Role.DEVELOPER)
    own, foreign = await new_team(plane, developer), await new_team(plane)
    in_own, in_foreign = await new_project(plane, own), await new_project(plane, foreign)
    async with plane.as_user(developer) as client:
        key = await make(client, team_id=own)
        assert (key["team_id"], key["project_id"]) == (own, None)
        placed = await make(client, project_id=in_own, team_id=own)
        assert (placed["team_id"], placed["project_id"]) == (own, in_own)
        assert await refusal(client, team_id=foreign) == (403, "not_in_team")
        assert await refusal(client, project_id=in_foreign) == (403, "not_in_team")
        moved = await client.patch(f"/api/v1/keys/{key['id']}", json={"team_id": foreign})
        assert (moved.status_code, moved.json()["code"]) == (403, "not_in_team")
        listed = (await client.get("/api/v1/keys", params={"team_id": own})).json()["data"]
    assert [entry["id"] for entry in listed] == [key["id"]]


async def test_key_an_administrator_put_into_a_team_stays_there(plane: ControlPlane) -> None:
    developer = await plane.new_user(Role.DEVELOPER)
    team = await new_team(plane)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client, user_id=format_id("usr", developer), team_id=team)
    async with plane.as_user(developer) as client:
        moved = await client.patch(f"/api/v1/keys/{key['id']}", json={"team_id": None})
        assert (moved.status_code, moved.json()["code"]) == (403, "not_in_team")
        renamed = await client.patch(f"/api/v1/keys/{key['id']}", json={"name": "mine"})
        assert renamed.status_code == 200


async def test_key_moves_between_teams_and_projects(plane: ControlPlane) -> None:
    first, second = await new_team(plane), await new_team(plane)
    project = await new_project(plane, second)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client, team_id=first)
        path = f"/api/v1/keys/{key['id']}"
        steps: list[tuple[dict[str, object], object]] = [
            ({"project_id": project}, (second, project)),
            ({"team_id": first}, "team_mismatch"),
            ({"project_id": None}, (None, None)),
            ({"team_id": second, "project_id": project}, (second, project)),
            ({"team_id": first, "project_id": project}, "team_mismatch"),
            ({"team_id": first, "project_id": None}, (first, None)),
            ({"team_id": None}, (None, None)),
        ]
        for change, expected in steps:
            answer = (await client.patch(path, json=change)).json()
            assert (answer.get("code") or (answer["team_id"], answer["project_id"])) == expected, change


async def test_key_of_a_project_is_shown_with_the_projects_team_everywhere(plane: ControlPlane) -> None:
    team, later = await new_team(plane), await new_team(plane)
    project, alone = await new_project(plane, team), await new_project(plane, None)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client, project_id=project)
        path = f"/api/v1/keys/{key['id']}"
        rotated = (await client.post(f"{path}/rotate")).json()
        read = (await client.get(path)).json()
        listed = (await client.get("/api/v1/keys", params={"project_id": project})).json()["data"][0]
        mine = next(row for row in (await client.get("/api/v1/me")).json()["keys"] if row["id"] == key["id"])
        assert {shown["team_id"] for shown in (key, rotated, read, listed, mine)} == {team}
        await client.patch(f"/api/v1/projects/{project}", json={"team_id": later})
        assert (await client.get(path)).json()["team_id"] == later
        assert (await make(client, project_id=alone))["team_id"] is None


async def test_another_tenants_team_and_project_are_not_found(plane: ControlPlane) -> None:
    team, project = await new_team(plane, other=True), await new_project(plane, other=True)
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        for fields in ({"team_id": team}, {"project_id": project}):
            foreign_answer = await client.post("/api/v1/keys", json={"name": "x", **fields})
            unknown_answer = await client.post(
                "/api/v1/keys",
                json={"name": "x", **{n: format_id(v.split("_")[0], uuid7()) for n, v in fields.items()}},
            )
            assert foreign_answer.status_code == unknown_answer.status_code == 404
            same = [{k: v for k, v in a.json().items() if k != "request_id"} for a in (foreign_answer, unknown_answer)]
            assert same[0] == same[1]


async def test_key_of_a_team_makes_keys_of_that_team(plane: ControlPlane) -> None:
    admin = await plane.user(Role.TENANT_ADMIN)
    team, other = await new_team(plane), await new_team(plane)
    _, secret = await plane.new_key(admin, "admin", team_id=parse_id("team", team))
    async with plane.client(authorization=f"Bearer {secret}") as client:
        assert (await make(client))["team_id"] == team
        assert await refusal(client, team_id=other) == (403, "beyond_authority")
        inside = await new_project(plane, team)
        assert (await make(client, project_id=inside))["project_id"] == inside


# ── How long keys live ──


async def test_tenant_says_how_long_its_keys_live(plane: ControlPlane) -> None:
    async with plane.database.platform() as session:
        query = update(Tenant).where(Tenant.id == plane.other_tenant_id)
        await session.execute(query.values(settings={"default_key_days": 7, "longest_key_days": 30}))
    try:
        async with plane.as_role(Role.TENANT_ADMIN, other=True) as client:
            key = await make(client)
            later = (plane.clock.now() + timedelta(days=31)).isoformat()
            assert await refusal(client, expires_at=later) == (403, "key_lives_too_long")
            sooner = await make(client, expires_at=(plane.clock.now() + timedelta(days=29)).isoformat())
            for value in (later, None):
                answer = await client.patch(f"/api/v1/keys/{sooner['id']}", json={"expires_at": value})
                assert (answer.status_code, answer.json()["code"]) == (403, "key_lives_too_long")
    finally:
        async with plane.database.platform() as session:
            await session.execute(update(Tenant).where(Tenant.id == plane.other_tenant_id).values(settings={}))
    ends = plane.clock.now() + timedelta(days=7)
    assert abs((ends - datetime.fromisoformat(key["expires_at"])).total_seconds()) < 60


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/keys", {"name": "x"}),
        ("PATCH", "/api/v1/keys/{id}", {"scopes": ["admin"]}),
        ("POST", "/api/v1/keys/{id}/rotate", {}),
    ],
)
async def test_credentials_need_a_recent_proof(plane: ControlPlane, method: str, path: str, body: object) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        plane.clock.ahead += 301
        answer = await client.request(method, path.format(id=key["id"]), json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")
        # Revoking is never held up.
        assert (await client.post(f"/api/v1/keys/{key['id']}/revoke")).status_code == 200
