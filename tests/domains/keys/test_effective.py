"""`/api/v1/keys/{id}/effective`: what holds for a key and where it comes from, as the data plane sees it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.flags import FLAGS
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Project, Team, Tenant


async def a_level(client: httpx.AsyncClient, noun: str, **body: object) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{noun}", json={"name": f"{noun} {uuid7().hex}", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def source(kind: str, row: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": kind, "id": None if row is None else row["id"], "name": None if row is None else row["name"]}


async def test_every_value_names_the_level_it_comes_from(plane: ControlPlane) -> None:
    owner = await plane.new_user(Role.DEVELOPER)
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        await admin.patch(
            f"/api/v1/tenants/{format_id('ten', plane.tenant_id)}",
            json={"rate_limit": 600, "logging_policy": "full", "allowed_providers": ["openai", "simulated"]},
        )
        team = await a_level(
            admin, "teams", allowed_models=["gpt-*", "claude-*"], tags={"team": "search", "cost": "1"},
            flags={"provider_headers": False},
        )  # fmt: skip
        project = await a_level(
            admin,
            "projects",
            team_id=team["id"],
            allowed_models=["gpt-*"],
            logging_policy="metadata",
            tags={"cost": "2"},
        )
        key_id, _ = await plane.new_key(
            owner,
            project_id=parse_id("prj", project["id"]),
            rate_limit_override=60,
            allowed_models_override=["gpt-4o", "other"],
            tags={"app": "shop"},
        )
        answer = await admin.get(f"/api/v1/keys/{key_id}/effective")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    key = {"id": key_id, "name": "a key"}
    tenant = {"id": format_id("ten", plane.tenant_id), "name": shown["levels"][0]["name"]}
    assert [level["kind"] for level in shown["levels"]] == ["tenant", "team", "project", "user", "key"]
    assert shown["allowed_models"] == {
        "value": ["gpt-4o"],
        "source": source("key", key),
        "chain": [
            {**source("team", team), "value": ["claude-*", "gpt-*"]},
            {**source("project", project), "value": ["gpt-*"]},
            {**source("key", key), "value": ["gpt-4o", "other"]},
        ],
    }
    assert (shown["allowed_providers"]["value"], shown["allowed_providers"]["source"]) == (
        ["openai", "simulated"],
        source("tenant", tenant),
    )
    assert (shown["logging_policy"]["value"], shown["logging_policy"]["source"]) == (
        "metadata",
        source("project", project),
    )
    assert (shown["requests_per_minute"]["value"], shown["requests_per_minute"]["source"]) == (60, source("key", key))
    assert [step["value"] for step in shown["requests_per_minute"]["chain"]] == [600, 60]
    assert shown["tags"]["value"] == {"team": "search", "cost": "2", "app": "shop"}
    assert {name: by["kind"] for name, by in shown["tags"]["sources"].items()} == {
        "team": "team",
        "cost": "project",
        "app": "key",
    }
    assert shown["flags"]["value"] == {name: flag.default for name, flag in FLAGS.items()} | {"provider_headers": False}
    assert shown["flags"]["sources"]["provider_headers"] == source("team", team)
    assert shown["flags"]["sources"]["key_import"] == source("default")
    assert shown["permissions"]["value"] == ["budgets:view", "gateway:use", "limits:view", "me:view"]
    assert shown["scopes"]["value"] == ["inference"]
    assert shown["permissions"]["source"] == source("key", key)
    assert shown["allowed_origins"] == {"value": None, "source": source("default"), "chain": []}
    assert (shown["is_active"]["value"], shown["refusal"]) == (True, None)


async def test_the_role_is_the_source_of_permissions_where_it_holds_less_than_the_scope(plane: ControlPlane) -> None:
    key_id, _ = await plane.new_key(await plane.new_user(Role.VIEWER), "admin", "inference")
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()["permissions"]
    by_role, by_key = shown["chain"]
    assert (by_role["kind"], by_role["name"], by_key["kind"]) == ("role", "viewer", "key")
    assert set(shown["value"]) == set(by_role["value"]) & set(by_key["value"])


async def test_the_level_that_is_off_is_named_with_what_callers_are_told(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        team = await a_level(admin, "teams")
        owner = await plane.new_user(Role.DEVELOPER)
        key_id, secret = await plane.new_key(owner, "admin", team_id=parse_id("team", team["id"]))
        async with plane.client(authorization=f"Bearer {secret}") as client:
            assert (await client.get("/api/v1/me")).status_code == 200
            await admin.patch(f"/api/v1/teams/{team['id']}", json={"is_active": False})
            refused = await client.get("/api/v1/me")
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()
    assert shown["is_active"]["source"] == source("team", team)
    assert [step["value"] for step in shown["is_active"]["chain"]] == [True, False, True, True]
    assert (refused.status_code, refused.json()["detail"]) == (401, shown["refusal"])


async def test_an_expired_key_is_said_to_be_over_in_the_words_callers_are_told(plane: ControlPlane) -> None:
    expires_at = datetime.now(UTC) - timedelta(seconds=1)
    key_id, secret = await plane.new_key(await plane.user(Role.TENANT_ADMIN), "admin", expires_at=expires_at)
    async with plane.client(authorization=f"Bearer {secret}") as client, plane.as_role(Role.TENANT_ADMIN) as admin:
        refused = await client.get("/api/v1/me")
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()
    assert (shown["is_active"]["value"], shown["is_active"]["source"]["kind"]) == (False, "key")
    assert (refused.status_code, refused.json()["detail"]) == (401, shown["refusal"])


async def test_a_key_moves_with_its_project(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        first, second = await a_level(admin, "teams"), await a_level(admin, "teams", allowed_models=["a"])
        project = await a_level(admin, "projects", team_id=first["id"])
        key_id, _ = await plane.new_key(await plane.user(Role.DEVELOPER), project_id=parse_id("prj", project["id"]))
        await admin.patch(f"/api/v1/projects/{project['id']}", json={"team_id": second["id"]})
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()
    assert shown["levels"][1] == source("team", second)
    assert shown["allowed_models"]["value"] == ["a"]


async def test_a_key_of_somebody_else_or_of_another_tenant_is_not_found(plane: ControlPlane) -> None:
    foreign, _ = await plane.new_key(await plane.user(Role.DEVELOPER, other=True))
    colleagues, _ = await plane.new_key(await plane.user(Role.TENANT_ADMIN))
    unknown = format_id("key", uuid7())
    async with plane.as_role(Role.DEVELOPER) as developer:
        answers = [await developer.get(f"/api/v1/keys/{key}/effective") for key in (foreign, colleagues, unknown)]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.json()["detail"] for answer in answers}) == 1


LISTS = st.none() | st.lists(st.sampled_from(["*", "a*", "ab*", "ab", "b"]), max_size=3)
POLICIES = st.none() | st.sampled_from(["none", "metadata", "redacted", "full"])
FLAG_MAPS = st.dictionaries(st.sampled_from([*FLAGS, "retired"]), st.booleans(), max_size=3)
LEVELS = st.fixed_dictionaries(
    {
        "allowed_models": LISTS,
        "allowed_providers": LISTS,
        "logging_policy": POLICIES,
        "tags": st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=2),
        "flags": FLAG_MAPS,
        "is_active": st.booleans(),
    }
)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    # Shrinking would make objects in the database for a minute.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(team=st.none() | LEVELS, project=st.none() | LEVELS, models=LISTS, flags=FLAG_MAPS)
async def test_the_explanation_is_what_the_data_plane_sees(
    plane: ControlPlane,
    team: dict[str, Any] | None,
    project: dict[str, Any] | None,
    models: list[str] | None,
    flags: dict[str, bool],
) -> None:
    owner = await plane.user(Role.DEVELOPER, other=True)
    columns: dict[str, UUID] = {}
    async with plane.database.platform() as session:
        tenant = await session.get(Tenant, plane.other_tenant_id)
        assert tenant is not None
        tenant.flags = flags
        common = {"tenant_id": plane.other_tenant_id}
        if team is not None:
            columns["team_id"] = uuid7()
            session.add(Team(id=columns["team_id"], name=uuid7().hex, **common, **team))
            await session.flush()
        if project is not None:
            columns["project_id"] = uuid7()
            team_id = columns.pop("team_id", None)
            row = Project(id=columns["project_id"], name=uuid7().hex, team_id=team_id, **common, **project)
            session.add(row)
    key_id, secret = await plane.new_key(owner, allowed_models_override=models, tags={"x": "9"}, **columns)
    record = await plane.services.key_lookup.find_by_public_id(plane.services.key_hasher.public_id(secret) or "")
    assert record is not None
    async with plane.as_role(Role.TENANT_ADMIN, other=True) as admin:
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()
    principal = record.principal
    for name in ("allowed_models", "allowed_providers"):
        value = getattr(principal, name)
        assert shown[name]["value"] == (None if value is None else sorted(value))
    assert shown["logging_policy"]["value"] == principal.logging_policy
    assert shown["tags"]["value"] == dict(principal.tags)
    assert shown["flags"]["value"] == dict(principal.flags)
    assert shown["permissions"]["value"] == sorted(principal.permissions)
    assert shown["refusal"] == record.refusal
    assert shown["is_active"]["value"] == (record.refusal is None)


async def test_the_rules_that_calls_meet_are_shown_with_whom_they_are_about(plane: ControlPlane) -> None:
    owner = await plane.new_user(Role.DEVELOPER)
    key_id, _ = await plane.new_key(owner, rate_limit_override=60)
    other_key, _ = await plane.new_key(owner)
    terms = {"unit": "total_tokens", "period": "day", "amount": 1000}
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        for scope in (
            {"kind": "user", "id": format_id("usr", owner)},
            {"kind": "key", "id": other_key},
            {"kind": "team"},
            {"kind": "tag", "value": "a=b"},
        ):
            assert (await admin.post("/api/v1/limits", json={"scope": scope, **terms})).status_code == 201
        budget = {"amount_usd": "3", "window": "month"}
        made = await admin.post("/api/v1/budgets", json={"scope": {"kind": "key"}, **budget})
        pool = {"scope": {"kind": "provider", "value": "openai"}, "is_platform": True}
        hidden = await admin.post("/api/v1/budgets", json={**budget, **pool})
        shown = (await admin.get(f"/api/v1/keys/{key_id}/effective")).json()
        assert (await admin.delete(f"/api/v1/budgets/{hidden.json()['id']}")).status_code == 204
    limits = {(rule["scope"]["kind"], rule["unit"]): rule for rule in shown["limits"]}
    assert limits["key", "requests"]["source"]["id"] == key_id
    assert limits["user", "total_tokens"]["source"]["id"] == format_id("usr", owner)
    assert limits["tag", "total_tokens"]["source"] is None
    assert {("key", "total_tokens"), ("team", "total_tokens")}.isdisjoint(limits)
    (shown_budget,) = [rule for rule in shown["budgets"] if rule["scope"]["kind"] == "key"]
    assert (shown_budget["id"], shown_budget["source"]["id"], shown_budget["amount_usd"]) == (
        made.json()["id"],
        key_id,
        "3",
    )
    assert hidden.json()["id"] not in {rule["id"] for rule in shown["budgets"]}
