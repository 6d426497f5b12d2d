"""A policy from its draft to its end: what calls follow, what is refused, who sees what, and what the file decides."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.callers import someone
from tests.domains.route_policies.site import Site, running_site
from tollkeeper.core.ids import format_id, parse_id
from tollkeeper.core.permissions import Role
from tollkeeper.db.session import Database

ONE = {"provider": "simulated", "model": "simulated"}
TWO = {"provider": "simulated", "model": "simulated-two"}


@pytest.fixture
async def site(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(new_database(), pool_size=3)
    async with running_site(database, tmp_path) as site:
        yield site
    await database.close()


async def leads_to(site: Site, model: str) -> list[str]:
    """Where calls of a model may go now."""
    route = (await site.world.snapshot()).models[None, model]
    return [target.model for target in route.targets]


async def test_calls_follow_what_is_published_and_nothing_else(site: Site) -> None:
    policy = await site.made("steps", ONE)
    at = f"/route-policies/{policy['id']}"
    assert (policy["published_version"], policy["draft_version"], policy["managed_by"]) == (None, 1, "api")
    early = await site.client.post("/catalog/models", json={"name": "m", "policy": "steps"})
    assert (early.status_code, early.json()["code"]) == (400, "unknown_policy")

    published = await site.client.post(f"{at}/publish")
    assert (published.json()["published_version"], published.json()["draft_version"]) == (1, None)
    model = await site.client.post("/catalog/models", json={"name": "m", "policy": "steps"})
    assert (model.status_code, model.json()["policy"], model.json()["targets"]) == (201, "steps", [])
    assert await leads_to(site, "m") == ["simulated"]

    draft = await site.client.patch(at, json={"branches": [TWO, ONE], "strategy": "weighted"})
    assert (draft.json()["published_version"], draft.json()["draft_version"]) == (1, 2)
    assert await leads_to(site, "m") == ["simulated"]
    again = await site.client.patch(at, json={"retry": {"most_attempts": 4}})
    assert (again.json()["draft_version"], again.json()["strategy"]) == (2, "weighted")
    await site.client.post(f"{at}/publish")
    assert await leads_to(site, "m") == ["simulated-two", "simulated"]
    route = (await site.world.snapshot()).models[None, "m"]
    assert route.policy is not None
    assert (route.policy.version, route.policy.retry.most_attempts) == (2, 4)

    back = await site.client.post(f"{at}/rollback", json={})
    assert (back.json()["published_version"], back.json()["draft_version"]) == (1, None)
    assert await leads_to(site, "m") == ["simulated"]
    forth = await site.client.post(f"{at}/rollback", json={"version": 2})
    assert forth.json()["published_version"] == 2
    versions = (await site.client.get(f"{at}/versions", params={"limit": 1})).json()
    assert [(one["number"], one["is_published"], one["strategy"]) for one in versions["data"]] == [
        (2, True, "weighted")
    ]
    rest = (await site.client.get(f"{at}/versions", params={"cursor": versions["next_cursor"]})).json()["data"]
    assert [(one["number"], one["is_published"]) for one in rest] == [(1, False)]


async def test_what_is_in_use_stays(site: Site) -> None:
    inner = await site.made("inner", ONE, publish=True)
    outer = await site.made("outer", {"policy": "inner"}, publish=True)
    model = (await site.client.post("/catalog/models", json={"name": "m", "policy": "outer"})).json()
    for policy, who in ((inner, "outer"), (outer, "m")):
        refused = await site.client.delete(f"/route-policies/{policy['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "policy_in_use")
        assert who in refused.json()["detail"]
    moved = await site.client.patch(f"/catalog/models/{model['id']}", json={"targets": [ONE]})
    assert (moved.status_code, moved.json()["policy"]) == (200, None)
    for policy in (outer, inner):
        assert (await site.client.delete(f"/route-policies/{policy['id']}")).status_code == 204
        assert (await site.client.get(f"/route-policies/{policy['id']}")).status_code == 404


async def test_a_model_or_provider_that_a_policy_leads_to_is_not_deleted(site: Site) -> None:
    provider = (
        await site.client.post("/catalog/providers", json={"name": "acme", "kind": "openai", "api_key": "k"})
    ).json()
    model = (await site.client.post("/catalog/models", json={"name": "named", "targets": [ONE]})).json()
    await site.made("p", {"model": "named"}, {"provider": "acme", "model": "x"}, publish=True)
    for at in (f"/catalog/providers/{provider['id']}", f"/catalog/models/{model['id']}"):
        refused = await site.client.delete(at)
        assert (refused.status_code, refused.json()["code"]) == (409, "policy_in_use")
        assert (await site.client.get(at)).status_code == 200


async def test_publishing_what_breaks_another_policy_is_refused(site: Site) -> None:
    inner = await site.made("inner", ONE, publish=True)
    await site.made(
        "outer",
        *[{"provider": "simulated", "model": f"simulated-{n}"} for n in range(60)],
        {"policy": "inner"},
        publish=True,
    )
    grown = [{"provider": "simulated", "model": f"simulated-x{n}"} for n in range(10)]
    assert (await site.client.patch(f"/route-policies/{inner['id']}", json={"branches": grown})).status_code == 200
    refused = await site.client.post(f"/route-policies/{inner['id']}/publish")
    assert (refused.status_code, refused.json()["policy"]) == (409, "outer")
    shown = (await site.client.get(f"/route-policies/{inner['id']}")).json()
    assert (shown["published_version"], shown["draft_version"]) == (1, 2)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"branches": [{"provider": "nobody", "model": "m"}]}, "branches[0].provider"),
        ({"branches": [ONE, {"policy": "self"}]}, "branches[1].policy"),
        ({"branches": [{**ONE, "weight": 0}], "strategy": "weighted"}, "branches"),
        ({"branches": [ONE], "fallbacks": {"context_window": [ONE]}}, "fallbacks.context_window"),
        ({"branches": [{**ONE, "when": {"tenants": [format_id("ten", parse_id("ten", "ten_" + "0" * 32))]}}]},
         "branches[0].when.tenants[0]"),
    ],
)  # fmt: skip
async def test_a_fault_is_refused_when_it_is_saved(site: Site, fields: dict[str, Any], path: str) -> None:
    refused = await site.client.post("/route-policies", json={"name": "self", **fields})
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["param"]) == (400, "invalid_route_policy", path)
    assert problem["faults"][0]["path"] == path
    kept = await site.made("self", ONE)
    changed = await site.client.patch(f"/route-policies/{kept['id']}", json=fields)
    assert (changed.status_code, changed.json()["code"], changed.json()["param"]) == (400, "invalid_route_policy", path)


async def test_an_old_version_is_not_overwritten(site: Site) -> None:
    policy = await site.made("p", ONE)
    at = f"/route-policies/{policy['id']}"
    shown = await site.client.get(at)
    assert shown.headers["etag"] == '"1"'
    await site.client.patch(at, json={"description": "newer"}, headers={"if-match": '"1"'})
    for method, path, body in (
        ("PATCH", at, {"description": "x"}),
        ("POST", f"{at}/publish", None),
        ("DELETE", at, None),
    ):
        stale = await site.client.request(method, path, json=body, headers={"if-match": '"1"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (await site.client.post(f"{at}/publish", headers={"if-match": '"2"'})).status_code == 200
    nothing = await site.client.post(f"{at}/publish")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_publish")
    earlier = await site.client.post(f"{at}/rollback", json={})
    assert (earlier.status_code, earlier.json()["code"]) == (409, "nothing_to_publish")


async def test_every_change_is_on_record(site: Site) -> None:
    policy = await site.made("p", ONE)
    at = f"/route-policies/{policy['id']}"
    await site.client.post(f"{at}/publish")
    await site.client.patch(at, json={"branches": [TWO]})
    await site.client.post(f"{at}/publish")
    await site.client.post(f"{at}/rollback", json={})
    await site.client.delete(at)
    actions = [row.action for row in await site.world.audited() if row.object_id == policy["id"]]
    assert actions == [
        f"catalog.route_policies.{verb}" for verb in ("create", "publish", "update", "publish", "rollback", "delete")
    ]


async def test_a_tenant_sees_shared_and_own_policies_and_no_other_tenant_in_them(site: Site) -> None:
    world = site.world
    ours, theirs = format_id("ten", world.tenant_id), format_id("ten", world.other_tenant_id)
    await site.made(
        "shared", {**ONE, "when": {"tenants": [ours, theirs]}}, {"branches": [{**TWO, "when": {"tenants": [theirs]}}]}
    )
    own = await site.made("own", ONE, tenant_id=ours)
    other = await site.made("other", ONE, tenant_id=theirs)
    site.caller = someone(world.tenant_id, Role.TENANT_ADMIN)
    listed = await site.client.get("/route-policies")
    assert [one["name"] for one in listed.json()["data"]] == ["from-file", "own", "shared"]
    assert theirs not in listed.text
    assert ours in listed.text
    assert (await site.client.get(f"/route-policies/{own['id']}")).status_code == 200
    missing = await site.client.get(f"/route-policies/{other['id']}")
    unknown = await site.client.get("/route-policies/rtp_" + "0" * 32)
    assert missing.status_code == unknown.status_code == 404
    assert (await site.client.get(f"/route-policies/{other['id']}/versions")).status_code == 404
    refused = await site.client.post("/route-policies", json={"name": "mine", "branches": [ONE]})
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")


async def test_a_tenants_policy_serves_its_own_models_alone(site: Site) -> None:
    ours = format_id("ten", site.world.tenant_id)
    await site.made("mine", TWO, tenant_id=ours, publish=True)
    shared = await site.client.post("/catalog/models", json={"name": "m", "policy": "mine"})
    assert (shared.status_code, shared.json()["code"]) == (400, "unknown_policy")
    own = await site.client.post("/catalog/models", json={"name": "m", "policy": "mine", "tenant_id": ours})
    assert own.status_code == 201
    route = (await site.world.snapshot()).models[site.world.tenant_id, "m"]
    assert [target.model for target in route.targets] == ["simulated-two"]


async def test_what_stands_in_the_file_is_shown_and_not_changed(site: Site) -> None:
    (filed,) = [one for one in (await site.client.get("/route-policies")).json()["data"] if one["name"] == "from-file"]
    assert (filed["managed_by"], filed["declared_at"], filed["version"]) == ("file", "tollkeeper.yaml:3", None)
    at = f"/route-policies/{filed['id']}"
    assert (await site.client.get(at)).json() == filed
    for answer in (
        await site.client.patch(at, json={"description": "x"}),
        await site.client.delete(at),
        await site.client.post(f"{at}/publish"),
        await site.client.post("/route-policies", json={"name": "From-File", "branches": [ONE]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "managed_elsewhere")
    assert (await site.client.get(f"{at}/versions")).json()["data"] == []
    assert await leads_to(site, "filed-model") == ["gpt-4o"]
    # A stored policy may build on it.
    policy = await site.made("on-top", {"policy": "from-file"}, publish=True)
    assert policy["published_version"] == 1


@pytest.mark.parametrize("body", [{}, {"targets": [ONE], "policy": "p"}])
async def test_a_model_has_targets_or_a_policy(site: Site, body: dict[str, Any]) -> None:
    refused = await site.client.post("/catalog/models", json={"name": "m", **body})
    assert refused.status_code == 422
