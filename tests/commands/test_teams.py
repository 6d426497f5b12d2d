"""Tenants that are suspended, teams and projects."""

import time

import httpx

from tests.commands.conftest import Gateway, Tollkeeper


def test_a_team_and_its_project_are_made_and_listed(tollkeeper: Tollkeeper) -> None:
    team = tollkeeper("teams", "create", "Search", "--model", "gpt-*", "--description", "They search.", "--json").json
    assert (team["name"], team["allowed_models"], team["description"]) == ("Search", ["gpt-*"], "They search.")
    project = tollkeeper("projects", "create", "Shop", "--team", team["id"], "--provider", "simulated", "--json").json
    assert (project["team_id"], project["allowed_providers"]) == (team["id"], ["simulated"])
    assert "Search" in tollkeeper("teams", "list").out
    assert [row["id"] for row in tollkeeper("projects", "list", "--team", team["id"], "--json").json] == [project["id"]]
    again = tollkeeper("projects", "create", "shop")
    assert again.code == 4
    assert "name_taken" in again.error


def test_somebody_is_put_into_a_team(tollkeeper: Tollkeeper) -> None:
    team = tollkeeper("teams", "create", "Crew", "--json").json
    person = tollkeeper("users", "list", "--json").json[0]
    added = tollkeeper("teams", "add", team["id"], person["id"], "--maintainer", "--json").json
    assert (added["user_id"], added["role"]) == (person["id"], "maintainer")


def test_a_tenant_is_suspended_with_a_reason_and_resumed(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    tenant = tollkeeper("tenants", "create", "Late payer", "--json").json
    headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    body = {"name": "theirs", "tenant_id": tenant["id"], "scopes": ["admin"]}
    made = httpx.post(f"{gateway.origin}/api/v1/keys", json=body, headers=headers).json()
    theirs = {"authorization": f"Bearer {made['key']}"}
    declined = tollkeeper("tenants", "suspend", tenant["id"], "--reason", "Invoice 7 is open", stdin="n\n")
    assert declined.code == 1
    suspended = tollkeeper("tenants", "suspend", tenant["id"], "--reason", "Invoice 7 is open", "--yes", "--json").json
    assert (suspended["is_active"], suspended["suspension_reason"]) == (False, "Invoice 7 is open")
    refused = httpx.get(f"{gateway.origin}/api/v1/me", headers=theirs)
    assert refused.status_code == 401
    assert "Invoice 7 is open" in refused.json()["detail"]
    assert tollkeeper("tenants", "resume", tenant["id"], "--json").json["is_active"] is True
    assert httpx.get(f"{gateway.origin}/api/v1/me", headers=theirs).status_code == 200


def test_a_key_is_explained_with_the_level_of_each_value(tollkeeper: Tollkeeper) -> None:
    project = tollkeeper("projects", "create", "Explained", "--model", "gpt-*", "--json").json
    made = tollkeeper("keys", "create", "--name", "shop", "--project", project["id"], "--json").json
    explained = tollkeeper("keys", "explain", made["id"])
    row = next(line.split() for line in explained.out.splitlines() if line.startswith("allowed_models"))
    assert row == ["allowed_models", "gpt-*", "project", "Explained"]
    assert tollkeeper("keys", "explain", made["id"], "--json").json["allowed_models"]["value"] == ["gpt-*"]


def test_what_lies_below_an_archived_level_is_refused_within_a_second(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    admin = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    team = tollkeeper("teams", "create", "Archived", "--json").json
    project = tollkeeper("projects", "create", "Archived", "--team", team["id"], "--json").json
    made = tollkeeper("keys", "create", "--name", "shop", "--project", project["id"], "--json").json
    for path, told in (
        (f"/api/v1/projects/{project['id']}", "The project of this API key is archived."),
        (f"/api/v1/teams/{team['id']}", "The team of this API key is archived."),
    ):
        assert call(gateway, made["key"]).status_code == 200
        httpx.patch(f"{gateway.origin}{path}", json={"is_active": False}, headers=admin).raise_for_status()
        refused = until(gateway, made["key"], 401)
        assert told in refused.json()["error"]["message"]
        httpx.patch(f"{gateway.origin}{path}", json={"is_active": True}, headers=admin).raise_for_status()
        until(gateway, made["key"], 200)


def call(gateway: Gateway, key: str) -> httpx.Response:
    body = {"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]}
    return httpx.post(
        f"{gateway.origin}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=10
    )


def until(gateway: Gateway, key: str, status: int) -> httpx.Response:
    """The first answer of that status, which has to come within a second."""
    deadline = time.monotonic() + 1.0
    while (answer := call(gateway, key)).status_code != status:
        assert time.monotonic() < deadline, answer.text
    return answer
