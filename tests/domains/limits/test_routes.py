"""`/api/v1/limits` through the whole control plane."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from tests.domains.control_plane import ControlPlane
from tollkeeper.contracts.money import PLATFORM
from tollkeeper.contracts.ports import RateState
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AnnouncementRow, Limit, Team

PER_MINUTE: dict[str, Any] = {"unit": "requests", "period": "minute", "amount": 60}


async def make(
    client: httpx.AsyncClient, kind: str = "tenant", named: str | None = None, **body: Any
) -> dict[str, Any]:
    scope = {"kind": kind} if named is None else {"kind": kind, "id": named}
    answer = await client.post("/api/v1/limits", json={**PER_MINUTE, "scope": scope, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def announced(plane: ControlPlane, subject: UUID) -> int:
    async with plane.database.platform() as session:
        query = select(func.count()).where(AnnouncementRow.subject == subject, AnnouncementRow.kind == "rules")
        return await session.scalar(query) or 0


async def test_what_is_sent_is_kept_and_shown(plane: ControlPlane) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    wanted = {
        "name": "Search at night",
        "description": "Slow down.",
        "scope": {"kind": "tag", "value": "team=search"},
        "unit": "output_tokens",
        "amount": 1000,
        "period": "hour",
        "burst": 100,
        "models": ["gpt-*"],
        "is_per_model": True,
        "is_shadow": True,
        "override_amount": 5000,
        "override_until": until.isoformat().replace("+00:00", "Z"),
    }
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await admin.post("/api/v1/limits", json=wanted)
        shown = await admin.get(f"/api/v1/limits/{made.json()['id']}")
    assert made.status_code == 201, made.text
    assert shown.json() == made.json()
    kept = {name: shown.json()[name] for name in wanted}
    assert kept == {**wanted, "scope": {"kind": "tag", "id": None, "value": "team=search"}}
    assert (shown.json()["managed_by"], shown.json()["origin"], shown.json()["is_platform"]) == ("api", None, False)
    assert await plane.audited(made.json()["id"]) == ["limits.create"]


async def test_rules_are_found_by_whom_they_are_about(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(user_id)
    user = format_id("usr", user_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        of_key, of_user = await make(admin, "key", key_id), await make(admin, "user", user)
        each = await make(admin, "key", "*")
        listed = {
            named: [row["id"] for row in (await admin.get("/api/v1/limits", params=params)).json()["data"]]
            for named, params in {
                "key": {"scope_kind": "key", "scope_id": key_id},
                "user": {"scope_kind": "user", "scope_id": user},
                "keys": {"scope_kind": "key"},
            }.items()
        }
        tenant = await admin.get(
            "/api/v1/limits", params={"scope_kind": "tenant", "scope_id": format_id("ten", plane.tenant_id)}
        )
    assert listed["key"] == [of_key["id"]]
    assert listed["user"] == [of_user["id"]]
    assert listed["keys"][:2] == [each["id"], of_key["id"]]
    assert each["scope"] == {"kind": "key", "id": None, "value": None}
    assert tenant.status_code == 200


async def test_changes_are_announced_to_whom_they_are_about(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(user_id)
    key = parse_id("key", key_id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin, "key", key_id)
        path = f"/api/v1/limits/{made['id']}"
        assert await announced(plane, key) == 1
        changed = await admin.patch(path, json={"amount": 5}, headers={"if-match": '"1"'})
        stale = await admin.patch(path, json={"amount": 6}, headers={"if-match": '"1"'})
        same = await admin.patch(path, json={"amount": 5})
        assert await announced(plane, key) == 2
        assert (await admin.delete(path)).status_code == 204
        assert await announced(plane, key) == 3
        assert (await admin.get(path)).status_code == 404
    assert (changed.json()["amount"], changed.headers["etag"]) == (5, '"2"')
    assert (stale.status_code, same.headers["etag"]) == (412, '"2"')
    assert await plane.audited(made["id"]) == ["limits.create", "limits.update", "limits.delete"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"scope": {"kind": "galaxy"}}, "scope"),
        ({"scope": {"kind": "key", "id": "usr_" + "0" * 32}}, "scope"),
        ({"scope": {"kind": "tag", "value": "team"}}, "scope"),
        ({"scope": {"kind": "tag"}}, "scope"),
        ({"scope": {"kind": "model", "id": "a", "value": "b"}}, "scope"),
        ({"scope": {"kind": "end_user", "value": "a\nb"}}, "scope"),
        ({"amount": 0}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": 10**13}, "amount"),
        ({"period": None}, ""),
        ({"unit": "parallel"}, ""),
        ({"unit": "parallel", "period": None, "burst": 2}, ""),
        ({"models": []}, ""),
        ({"is_platform": True, "scope": {"kind": "key"}}, ""),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_nonsense_is_refused_with_what_to_do(plane: ControlPlane, body: dict[str, Any], where: str) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        answer = await admin.post("/api/v1/limits", json={**PER_MINUTE, "scope": {"kind": "tenant"}, **body})
    assert answer.status_code == 422, answer.text
    if where:
        assert where in [part for error in answer.json()["errors"] for part in error["loc"]]


async def test_an_override_ends_in_the_future(plane: ControlPlane) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin)
        answers = [
            await admin.patch(f"/api/v1/limits/{made['id']}", json=body)
            for body in ({"override_amount": 5}, {"override_amount": 5, "override_until": past})
        ]
    assert [answer.status_code for answer in answers] == [422, 422]


async def test_what_the_tenant_does_not_have_has_no_limit(plane: ControlPlane) -> None:
    theirs = format_id("usr", await plane.user(Role.DEVELOPER, other=True))
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        for named in (theirs, format_id("usr", uuid7())):
            answer = await admin.post("/api/v1/limits", json={**PER_MINUTE, "scope": {"kind": "user", "id": named}})
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such user.")
        other = {"kind": "tenant", "id": format_id("ten", plane.other_tenant_id)}
        assert (await admin.post("/api/v1/limits", json={**PER_MINUTE, "scope": other})).status_code == 404


async def test_another_tenants_limit_does_not_exist(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin, plane.as_role(Role.TENANT_ADMIN, other=True) as other:
        path = f"/api/v1/limits/{(await make(admin))['id']}"
        unknown = await other.get(f"/api/v1/limits/{format_id('lim', uuid7())}")
        answers = [
            await other.get(path),
            await other.get(path + "/status"),
            await other.patch(path, json={"amount": 1}),
            await other.delete(path),
        ]
        listed = (await other.get("/api/v1/limits")).json()["data"]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["detail"] for answer in answers} == {unknown.json()["detail"]}
    assert format_id("ten", plane.tenant_id) not in {row["tenant_id"] for row in listed}


async def test_a_platforms_limit_is_the_platforms_business(plane: ControlPlane) -> None:
    other = format_id("ten", plane.other_tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform, plane.as_role(Role.TENANT_ADMIN) as admin:
        shared = await make(platform, "provider", "openai", is_platform=True)
        one = await make(platform, "tenant", other, is_platform=True)
        listed = (await platform.get("/api/v1/limits", params={"is_platform": "true"})).json()["data"]
        refused = await admin.post(
            "/api/v1/limits", json={**PER_MINUTE, "scope": {"kind": "provider"}, "is_platform": True}
        )
        hidden = await admin.get(f"/api/v1/limits/{shared['id']}")
        not_listed = await admin.get("/api/v1/limits", params={"is_platform": "true"})
        for made in (shared, one):
            assert (await platform.delete(f"/api/v1/limits/{made['id']}")).status_code == 204
    assert [row["id"] for row in listed] == [one["id"], shared["id"]]
    assert (shared["tenant_id"], shared["is_platform"], one["scope"]["id"]) == (None, True, other)
    assert (refused.status_code, hidden.status_code, not_listed.status_code) == (403, 404, 403)
    assert (await announced(plane, PLATFORM), await announced(plane, plane.other_tenant_id)) == (2, 2)


async def test_short_spellings_are_rules_that_are_changed_where_they_are_written(plane: ControlPlane) -> None:
    tenant = format_id("ten", plane.tenant_id)
    user_id = await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(user_id, rate_limit_override=7)
    async with plane.as_role(Role.PLATFORM_ADMIN) as platform:
        await platform.patch(f"/api/v1/tenants/{tenant}", json={"rate_limit": 90})
        found = {
            row["origin"]: row
            for kind, named in (("tenant", tenant), ("key", key_id))
            for row in (await platform.get("/api/v1/limits", params={"scope_kind": kind, "scope_id": named})).json()[
                "data"
            ]
        }
        of_tenant, of_key = found["rate_limit"], found["rate_limit_override"]
        refused = await platform.patch(f"/api/v1/limits/{of_tenant['id']}", json={"amount": 1})
        await platform.patch(f"/api/v1/keys/{key_id}", json={"rate_limit_override": None})
        await platform.patch(f"/api/v1/tenants/{tenant}", json={"rate_limit": None})
        gone = await platform.get(f"/api/v1/limits/{of_key['id']}")
    assert (of_tenant["amount"], of_tenant["period"], of_key["amount"]) == (90, "minute", 7)
    assert (refused.status_code, refused.json()["code"]) == (409, "managed_elsewhere")
    assert f"PATCH /api/v1/tenants/{tenant}" in refused.json()["detail"]
    assert gone.status_code == 404


async def test_a_developer_sees_what_their_own_calls_meet(plane: ControlPlane) -> None:
    mine, theirs = await plane.new_user(Role.DEVELOPER), await plane.new_user(Role.DEVELOPER)
    own_key, secret = await plane.new_key(mine)
    second_key, _ = await plane.new_key(mine)
    other_key, _ = await plane.new_key(theirs)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = {
            name: (await make(admin, kind, named))["id"]
            for name, kind, named in (
                ("tenant", "tenant", None),
                ("own", "key", own_key),
                ("second", "key", second_key),
                ("other", "key", other_key),
                ("user", "user", format_id("usr", mine)),
            )
        }
    async with plane.as_user(mine) as developer, plane.client(authorization=f"Bearer {secret}") as key:
        seen = {row["id"] for row in (await developer.get("/api/v1/limits?limit=100")).json()["data"]}
        by_key = {row["id"] for row in (await key.get("/api/v1/limits?limit=100")).json()["data"]}
        assert (await developer.get(f"/api/v1/limits/{made['other']}")).status_code == 404
        assert (
            await developer.post("/api/v1/limits", json={**PER_MINUTE, "scope": {"kind": "tenant"}})
        ).status_code == 403
        assert (await key.get(f"/api/v1/limits/{made['own']}/status")).status_code == 200
    assert {made[name] for name in ("tenant", "own", "second", "user")} <= seen
    assert made["other"] not in seen | by_key
    assert {made[name] for name in ("tenant", "own", "user")} <= by_key
    assert made["second"] not in by_key


async def test_nobody_widens_the_key_they_use(plane: ControlPlane) -> None:
    admin_id = await plane.new_user(Role.TENANT_ADMIN)
    key_id, secret = await plane.new_key(admin_id, "admin")
    async with plane.as_user(admin_id) as session, plane.client(authorization=f"Bearer {secret}") as key:
        made = await make(session, "key", key_id)
        path = f"/api/v1/limits/{made['id']}"
        answers = [await key.patch(path, json={"amount": 10**6}), await key.delete(path)]
        assert (await session.patch(path, json={"amount": 70})).status_code == 200
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "beyond_authority")] * 2


async def test_there_is_an_end_to_rules_that_every_call_is_held_against(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    named = format_id("usr", user_id)
    async with plane.database.platform() as session:
        session.add_all(
            [
                Limit(tenant_id=plane.tenant_id, scope="user", user_id=user_id, unit="requests", period="day", amount=1)
                for _ in range(50)
            ]
        )
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        answer = await admin.post("/api/v1/limits", json={**PER_MINUTE, "scope": {"kind": "user", "id": named}})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_rules")


async def test_rules_of_a_team_go_with_it(plane: ControlPlane) -> None:
    async with plane.database.platform() as session:
        team = Team(id=uuid7(), tenant_id=plane.tenant_id, name=f"team {uuid7().hex}")
        session.add(team)
    named = format_id("team", team.id)
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        made = await make(admin, "team", named)
        assert (await admin.delete(f"/api/v1/teams/{named}")).status_code == 204
        assert (await admin.get(f"/api/v1/limits/{made['id']}")).status_code == 404


async def test_status_tells_what_is_left(plane: ControlPlane) -> None:
    user_id = await plane.new_user(Role.DEVELOPER)
    counters = plane.services.counter_view
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        whole, each = (
            await make(admin, "provider", "openai"),
            await make(admin, "user", "*", unit="total_tokens", period="hour"),
        )
        away = (await admin.get(f"/api/v1/limits/{whole['id']}/status")).json()
        counters.is_away = False
        counters.rates[plane.tenant_id, parse_id("lim", each["id"]), user_id.hex] = RateState(12, 3.5)
        left = (await admin.get(f"/api/v1/limits/{whole['id']}/status")).json()
        path = f"/api/v1/limits/{each['id']}/status"
        one = (await admin.get(path, params={"subject": format_id("usr", user_id)})).json()
        none = (await admin.get(path)).json()
        wrong = await admin.get(f"/api/v1/limits/{whole['id']}/status", params={"subject": "x"})
    assert (away["is_live"], away["remaining"], away["amount"], away["burst"]) == (False, None, 60, 10)
    assert (left["is_live"], left["remaining"], left["reset_seconds"]) == (True, 60, 0.0)
    assert (one["remaining"], one["reset_seconds"], one["burst"]) == (12, 3.5, 60)
    assert one["subject"] == format_id("usr", user_id)
    assert (none["remaining"], none["subject"], wrong.status_code) == (None, None, 422)
