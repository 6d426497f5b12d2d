"""`/api/v1/keys` through the whole control plane."""

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AnnouncementRow, ApiKey


async def make(client: httpx.AsyncClient, **body: object) -> dict[str, str]:
    answer = await client.post("/api/v1/keys", json={"name": "app", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def works(plane: ControlPlane, secret: str) -> bool:
    async with plane.client(authorization=f"Bearer {secret}") as client:
        return (await client.get("/api/v1/me")).status_code == 200


async def test_a_key_is_made_with_its_secret_shown_once(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        assert key["key"].startswith("tk-live_")
        assert (key["environment"], key["scopes"], key["status"]) == ("live", ["inference"], "active")
        shown = await client.get(f"/api/v1/keys/{key['id']}")
        listed = await client.get("/api/v1/keys")
        trail = await client.get("/api/v1/audit")
        patched = await client.patch(f"/api/v1/keys/{key['id']}", json={"name": "another"})
        revoked = await client.post(f"/api/v1/keys/{key['id']}/revoke")
    assert "key" not in shown.json()
    for answer in (shown, listed, trail, patched, revoked):
        assert answer.status_code == 200
        assert key["key"] not in answer.text
        assert key["key"][-38:-6] not in answer.text
        assert "digest" not in answer.text
    assert await plane.audited(key["id"]) == ["keys.create", "keys.update", "keys.revoke"]


async def test_every_change_of_a_key_is_announced(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        key_id = parse_id("key", key["id"])
        for change in (
            client.patch(f"/api/v1/keys/{key['id']}", json={"rate_limit_override": 5}),
            client.post(f"/api/v1/keys/{key['id']}/rotate"),
            client.post(f"/api/v1/keys/{key['id']}/revoke"),
        ):
            before = await announced(plane, key_id)
            assert (await change).status_code == 200
            assert await announced(plane, key_id) == before + 1


async def announced(plane: ControlPlane, subject: UUID) -> int:
    async with plane.database.platform() as session:
        return await session.scalar(select(func.count()).where(AnnouncementRow.subject == subject)) or 0


async def test_seed_fields_are_taken_and_read_back(plane: ControlPlane) -> None:
    wanted = {
        "environment": "test",
        "scopes": ["inference", "admin"],
        "expires_at": "2999-01-01T00:00:00Z",
        "rate_limit_override": 10,
        "allowed_models_override": ["gpt-4o", "claude-*"],
        "tags": {"team": "search"},
    }
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client, **wanted)
        shown = (await client.get(f"/api/v1/keys/{key['id']}")).json()
        cleared = await client.patch(
            f"/api/v1/keys/{key['id']}",
            json={"expires_at": None, "rate_limit_override": None, "allowed_models_override": None},
        )
    assert {name: shown[name] for name in wanted} == wanted
    assert key["key"].startswith("tk-test_")
    assert [cleared.json()[name] for name in ("expires_at", "rate_limit_override", "allowed_models_override")] == [
        None,
        None,
        None,
    ]


async def test_every_column_a_client_may_not_write_is_refused(plane: ControlPlane) -> None:
    accepted = {"name", "environment", "scopes", "expires_at", "rate_limit_override", "allowed_models_override", "tags",
                "tenant_id", "user_id"}  # fmt: skip
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        for column in [column.name for column in ApiKey.__table__.c]:
            if column not in accepted:
                created = await client.post("/api/v1/keys", json={"name": "x", column: "1"})
                assert created.status_code == 422, column
            if column not in accepted - {"tenant_id", "user_id", "environment"}:
                changed = await client.patch(f"/api/v1/keys/{key['id']}", json={column: "1"})
                assert changed.status_code == 422, column


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": None},
        {"name": "a" * 201},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "a", "scopes": "inference"},
        {"name": "a", "environment": "prod"},
        {"name": "a", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "a", "expires_at": "2999-01-01T00:00:00"},
        {"name": "a", "expires_at": "soon"},
        {"name": "a", "rate_limit_override": 0},
        {"name": "a", "rate_limit_override": 2**31},
        {"name": "a", "rate_limit_override": "ten"},
        {"name": "a", "allowed_models_override": ["*a"]},
        {"name": "a", "allowed_models_override": ["a b"]},
        {"name": "a", "allowed_models_override": ["m"] * 501},
        {"name": "a", "tags": {"": "x"}},
        {"name": "a", "tags": {"a": 1}},
        {"name": "a", "tags": {f"t{n}": "x" for n in range(33)}},
        {"name": "a", "user_id": "usr_1"},
        {"name": "a", "tenant_id": str(uuid7())},
        ["name"],
    ],
)
async def test_bad_bodies_are_422(plane: ControlPlane, body: object) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.post("/api/v1/keys", json=body)
    assert answer.status_code == 422, answer.text


async def test_revoking_is_for_good_and_repeatable(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        assert await works(plane, key["key"])
        assert (await client.post(f"/api/v1/keys/{key['id']}/revoke")).json()["status"] == "revoked"
        assert not await works(plane, key["key"])
        assert (await client.post(f"/api/v1/keys/{key['id']}/revoke")).status_code == 200
        assert (await client.delete(f"/api/v1/keys/{key['id']}")).status_code == 204
        for answer in (
            await client.patch(f"/api/v1/keys/{key['id']}", json={"name": "b"}),
            await client.post(f"/api/v1/keys/{key['id']}/rotate"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
        assert (await client.get("/api/v1/keys", params={"status": "revoked"})).json()["data"][0]["id"] == key["id"]
        other = await make(client)
        assert (await client.delete(f"/api/v1/keys/{other['id']}")).status_code == 204
        assert not await works(plane, other["key"])
    assert (await plane.audited(key["id"])).count("keys.revoke") == 1


async def test_rotation_ends_the_old_secret_at_once_or_after_its_grace(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        first = await make(client)
        second = (await client.post(f"/api/v1/keys/{first['id']}/rotate")).json()
        assert [await works(plane, key["key"]) for key in (first, second)] == [False, True]
        third = (await client.post(f"/api/v1/keys/{first['id']}/rotate", json={"grace_seconds": 60})).json()
        assert third["id"] == first["id"]
        assert [await works(plane, key["key"]) for key in (first, second, third)] == [False, True, True]
        plane.clock.ahead = 61
        assert [await works(plane, key["key"]) for key in (second, third)] == [False, True]
        for grace in (-1, 10**9, "1", True):
            body = {"grace_seconds": grace}
            assert (await client.post(f"/api/v1/keys/{first['id']}/rotate", json=body)).status_code == 422


async def test_rotations_at_once_leave_one_valid_secret_and_the_one_before(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        answers = await asyncio.gather(
            *(client.post(f"/api/v1/keys/{key['id']}/rotate", json={"grace_seconds": 60}) for _ in range(6))
        )
    secrets = [answer.json()["key"] for answer in answers if answer.status_code == 200]
    assert len(secrets) == 6
    assert sum([await works(plane, secret) for secret in [key["key"], *secrets]]) == 2


async def test_an_expired_key_is_refused_and_shown_as_expired(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client, expires_at=(plane.clock.now() + timedelta(hours=1)).isoformat())
        assert await works(plane, key["key"])
        plane.clock.ahead = 3601
        assert not await works(plane, key["key"])
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        assert (await client.get(f"/api/v1/keys/{key['id']}")).json()["status"] == "expired"
        expired = (await client.get("/api/v1/keys", params={"status": "expired"})).json()["data"]
    assert key["id"] in [item["id"] for item in expired]


async def test_a_developer_sees_and_manages_only_their_own_keys(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.DEVELOPER) as developer:
        theirs, own = await make(admin), await make(developer)
        listed = [item["id"] for item in (await developer.get("/api/v1/keys")).json()["data"]]
        assert own["id"] in listed
        assert theirs["id"] not in listed
        unknown = await developer.get(f"/api/v1/keys/{format_id('key', uuid7())}")
        for answer in (
            await developer.get(f"/api/v1/keys/{theirs['id']}"),
            await developer.patch(f"/api/v1/keys/{theirs['id']}", json={"name": "x"}),
            await developer.post(f"/api/v1/keys/{theirs['id']}/rotate"),
            await developer.post(f"/api/v1/keys/{theirs['id']}/revoke"),
            await developer.delete(f"/api/v1/keys/{theirs['id']}"),
        ):
            assert answer.status_code == 404
            assert answer.json()["detail"] == unknown.json()["detail"]
        assert (await admin.patch(f"/api/v1/keys/{own['id']}", json={"name": "y"})).status_code == 200
        refused = await developer.post(
            "/api/v1/keys", json={"name": "x", "user_id": format_id("usr", await plane.user(Role.TENANT_ADMIN))}
        )
        assert refused.status_code == 403


async def test_another_tenants_keys_do_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.TENANT_ADMIN, other=True) as stranger:
        key = await make(admin)
        for answer in (
            await stranger.get(f"/api/v1/keys/{key['id']}"),
            await stranger.patch(f"/api/v1/keys/{key['id']}", json={"name": "x"}),
            await stranger.post(f"/api/v1/keys/{key['id']}/rotate"),
            await stranger.post(f"/api/v1/keys/{key['id']}/revoke"),
            await stranger.delete(f"/api/v1/keys/{key['id']}"),
            await stranger.post("/api/v1/keys", json={"name": "x", "tenant_id": format_id("ten", plane.tenant_id)}),
            await stranger.post(
                "/api/v1/keys", json={"name": "x", "user_id": format_id("usr", await plane.user(Role.DEVELOPER))}
            ),
        ):
            assert answer.status_code == 404, answer.text
        listed = (await stranger.get("/api/v1/keys", params={"limit": 100})).json()["data"]
        assert key["id"] not in [item["id"] for item in listed]
    assert await works(plane, key["key"])


async def test_a_platform_administrator_works_in_every_tenant(plane: ControlPlane) -> None:
    tenant = format_id("ten", plane.other_tenant_id)
    owner = format_id("usr", await plane.user(Role.TENANT_ADMIN, other=True))
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        key = await make(platform, tenant_id=tenant)
        assert (key["tenant_id"], key["user_id"]) == (tenant, owner)
        assert (await platform.get(f"/api/v1/keys/{key['id']}")).status_code == 200
        assert (await platform.patch(f"/api/v1/keys/{key['id']}", json={"name": "b"})).status_code == 200
        listed = (await platform.get("/api/v1/keys", params={"tenant_id": tenant})).json()["data"]
    assert key["id"] in [item["id"] for item in listed]
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as admin:
        trail = (await admin.get("/api/v1/audit", params={"object_id": key["id"]})).json()["data"]
    assert [item["action"] for item in trail] == ["keys.update", "keys.create"]


async def test_nobody_manages_the_key_of_somebody_above_them(plane: ControlPlane) -> None:
    key_id, secret = await plane.new_key(await plane.user(Role.PLATFORM_ADMIN), "admin")
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for answer in (
            await admin.post(f"/api/v1/keys/{key_id}/rotate"),
            await admin.patch(f"/api/v1/keys/{key_id}", json={"scopes": ["inference", "admin"]}),
            await admin.delete(f"/api/v1/keys/{key_id}"),
            await admin.post(
                "/api/v1/keys", json={"name": "x", "user_id": format_id("usr", await plane.user(Role.PLATFORM_ADMIN))}
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")
    assert await works(plane, secret)


async def test_a_limited_key_makes_only_keys_within_its_limits(plane: ControlPlane) -> None:
    end = plane.clock.now() + timedelta(hours=1)
    _, secret = await plane.new_key(
        await plane.user(Role.TENANT_ADMIN),
        "admin",
        environment="test",
        expires_at=end,
        rate_limit_override=10,
        allowed_models_override=["gpt-*"],
    )
    free_id, _ = await plane.new_key(await plane.user(Role.TENANT_ADMIN), "admin")
    late = (end + timedelta(hours=1)).isoformat()
    async with plane.client(authorization=f"Bearer {secret}") as client:
        child = await make(client, environment="test")
        assert child["rate_limit_override"] == 10
        assert child["allowed_models_override"] == ["gpt-*"]
        assert child["expires_at"] is not None
        narrower = await make(client, environment="test", rate_limit_override=5, allowed_models_override=["gpt-4o"])
        assert narrower["rate_limit_override"] == 5
        for answer in (
            await client.post("/api/v1/keys", json={"name": "x"}),
            await client.post("/api/v1/keys", json={"name": "x", "environment": "test", "expires_at": late}),
            await client.post("/api/v1/keys", json={"name": "x", "environment": "test", "rate_limit_override": 11}),
            await client.post(
                "/api/v1/keys", json={"name": "x", "environment": "test", "allowed_models_override": ["*"]}
            ),
            await client.patch(f"/api/v1/keys/{child['id']}", json={"expires_at": None}),
            await client.patch(f"/api/v1/keys/{child['id']}", json={"rate_limit_override": None}),
            await client.post(f"/api/v1/keys/{free_id}/rotate"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority"), answer.text


async def test_if_match_guards_a_change(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        key = await make(client)
        tag = (await client.get(f"/api/v1/keys/{key['id']}")).headers["etag"]
        first = await client.patch(f"/api/v1/keys/{key['id']}", json={"name": "b"}, headers={"if-match": tag})
        stale = await client.patch(f"/api/v1/keys/{key['id']}", json={"name": "c"}, headers={"if-match": tag})
        gone = await client.delete(f"/api/v1/keys/{key['id']}", headers={"if-match": tag})
    assert (first.status_code, stale.status_code, gone.status_code) == (200, 412, 412)
    assert first.headers["etag"] != tag


async def test_creating_twice_with_one_idempotency_key_makes_one_key_and_stores_no_secret(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as client:
        headers = {"idempotency-key": "create-once"}
        first = await client.post("/api/v1/keys", json={"name": "once"}, headers=headers)
        again = await client.post("/api/v1/keys", json={"name": "once"}, headers=headers)
    assert first.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    assert again.json()["object_id"] == first.json()["id"]


async def test_keys_are_paged_newest_first(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    async with plane.as_user(user_id) as client:
        ids = [(await make(client))["id"] for _ in range(5)]
        first = (await client.get("/api/v1/keys", params={"limit": 3})).json()
        second = (await client.get("/api/v1/keys", params={"limit": 3, "cursor": first["next_cursor"]})).json()
        for limit in ("0", "101", "x"):
            assert (await client.get("/api/v1/keys", params={"limit": limit})).status_code == 422
    assert [item["id"] for item in first["data"] + second["data"]] == ids[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("role", "listing", "making"),
    [
        (Role.PLATFORM_ADMIN, 200, 201),
        (Role.TENANT_ADMIN, 200, 201),
        (Role.DEVELOPER, 200, 201),
        (Role.FINANCE, 403, 403),
        (Role.AUDITOR, 200, 403),
        (Role.VIEWER, 200, 403),
    ],
)
async def test_each_role_may_what_it_may(plane: ControlPlane, role: Role, listing: int, making: int) -> None:
    async with plane.as_role(role) as client:
        assert (await client.get("/api/v1/keys")).status_code == listing
        assert (await client.post("/api/v1/keys", json={"name": "x"})).status_code == making
