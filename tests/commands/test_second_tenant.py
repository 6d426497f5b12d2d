"""A second tenant is set up and cleared away again by its name, with the command alone."""

import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.commands.conftest import Gateway, Tollkeeper


@pytest.fixture
def slug(tollkeeper: Tollkeeper) -> str:
    return str(tollkeeper("tenants", "create", f"Second {uuid4().hex[:8]}", "--json").json["slug"])


def test_people_come_into_a_tenant_by_its_slug(tollkeeper: Tollkeeper, slug: str) -> None:
    tenant_id = tollkeeper("tenants", "show", slug, "--json").json["id"]
    invited = tollkeeper("users", "invite", f"ann@{slug}.example", "--tenant", slug, "--json").json
    assert invited["tenant_id"] == tenant_id
    words = ("users", "create", f"bob@{slug}.example", "--role", "developer", "--password-stdin", "--json")
    made = tollkeeper(*words, "--tenant", tenant_id, stdin="correct horse battery\n").json
    assert made["tenant_id"] == tenant_id
    for named in (slug, tenant_id):
        assert made["id"] in {row["id"] for row in tollkeeper("users", "list", "--tenant", named, "--json").json}
    assert made["id"] not in {row["id"] for row in tollkeeper("users", "list", "--json").json}
    assert tollkeeper("users", "show", made["id"], "--tenant", slug, "--json").json["id"] == made["id"]
    assert tollkeeper("users", "remove", made["id"], "--tenant", slug, "--yes", "--json").json["is_removed"] is True


def test_key_of_another_tenant_is_made_with_its_bounds_and_tags(tollkeeper: Tollkeeper, slug: str) -> None:
    tenant_id = tollkeeper("tenants", "show", slug, "--json").json["id"]
    words = ("--provider", "simulated", "--tag", "app=shop", "--tag", "cost=a=b", "--tenant", slug, "--json")
    made = tollkeeper("keys", "create", "--name", "theirs", *words).json
    assert (made["tenant_id"], made["allowed_providers_override"]) == (tenant_id, ["simulated"])
    assert made["tags"] == {"app": "shop", "cost": "a=b"}
    assert [row["id"] for row in tollkeeper("keys", "list", "--tenant", slug, "--json").json] == [made["id"]]
    assert made["id"] not in {row["id"] for row in tollkeeper("keys", "list", "--json").json}


@pytest.mark.parametrize("words", [["users", "list"], ["keys", "list"], ["keys", "create", "--name", "x"]])
def test_slug_that_no_tenant_has_is_said(tollkeeper: Tollkeeper, words: list[str]) -> None:
    said = tollkeeper(*words, "--tenant", "nobody-of-that-name")
    assert said.code == 1
    assert said.out == ""
    assert "no tenant that this key sees has the slug nobody-of-that-name" in said.error


@pytest.mark.parametrize("tag", ["app", "=shop"])
def test_tag_without_name_or_value_is_wrong_use(tollkeeper: Tollkeeper, tag: str) -> None:
    said = tollkeeper("keys", "create", "--name", "x", "--tag", tag)
    assert said.code == 2
    assert "name=value" in said.error


def test_team_is_shown_archived_resumed_emptied_and_removed(tollkeeper: Tollkeeper, slug: str) -> None:
    team = tollkeeper("teams", "create", "Search", "--tenant", slug, "--json").json
    account = tollkeeper("service-accounts", "create", "builds", "--tenant", slug, "--json").json
    assert tollkeeper("teams", "show", team["id"], "--json").json["name"] == "Search"
    tollkeeper("teams", "add", team["id"], account["id"])
    assert [row["user_id"] for row in tollkeeper("teams", "members", team["id"], "--json").json] == [account["id"]]
    gone = tollkeeper("teams", "remove-member", team["id"], account["id"], "--yes")
    assert gone.error == f"{account['id']} is taken out of {team['id']}.\n"
    assert tollkeeper("teams", "members", team["id"], "--json").json == []
    assert tollkeeper("teams", "archive", team["id"], stdin="n\n").code == 1
    assert tollkeeper("teams", "archive", team["id"], "--yes", "--json").json["is_active"] is False
    assert tollkeeper("teams", "resume", team["id"], "--json").json["is_active"] is True
    assert tollkeeper("teams", "remove", team["id"], "--yes", "--json").json == {"id": team["id"], "is_removed": True}
    assert tollkeeper("teams", "show", team["id"]).code == 4


def test_project_is_moved_archived_resumed_and_removed(tollkeeper: Tollkeeper, slug: str) -> None:
    team = tollkeeper("teams", "create", "Crew", "--tenant", slug, "--json").json
    project = tollkeeper("projects", "create", "Shop", "--tenant", slug, "--json").json
    assert tollkeeper("projects", "move", project["id"]).code == 2
    assert tollkeeper("projects", "move", project["id"], "--team", team["id"], "--json").json["team_id"] == team["id"]
    assert tollkeeper("projects", "show", project["id"], "--json").json["team_id"] == team["id"]
    assert tollkeeper("projects", "move", project["id"], "--no-team", "--json").json["team_id"] is None
    assert tollkeeper("projects", "archive", project["id"], "--yes", "--json").json["is_active"] is False
    assert tollkeeper("projects", "resume", project["id"], "--json").json["is_active"] is True
    assert tollkeeper("projects", "remove", project["id"], "--yes").error == f"{project['id']} is removed.\n"


def test_service_account_calls_until_it_is_removed(tollkeeper: Tollkeeper, gateway: Gateway, slug: str) -> None:
    account = tollkeeper("service-accounts", "create", "builds", "--role", "developer", "--tenant", slug, "--json").json
    listed = tollkeeper("service-accounts", "list", "--tenant", slug, "--json").json
    assert account["id"] in {row["id"] for row in listed}
    made = tollkeeper("keys", "create", "--name", "builds", "--tenant", slug, "--user", account["id"], "--json").json
    headers = {"authorization": f"Bearer {made['key']}"}
    assert httpx.get(f"{gateway.origin}/v1/models", headers=headers).status_code == 200
    assert tollkeeper("service-accounts", "remove", account["id"], "--yes").code == 0
    assert httpx.get(f"{gateway.origin}/v1/models", headers=headers).status_code == 401


def test_role_is_made_given_and_removed(tollkeeper: Tollkeeper, slug: str) -> None:
    words = ("--permission", "me:view", "--permission", "usage:view", "--description", "Reads", "--tenant", slug)
    role = tollkeeper("roles", "create", "Reader", *words, "--json").json
    assert (role["permissions"], role["description"]) == (["me:view", "usage:view"], "Reads")
    assert role["id"] in {row["id"] for row in tollkeeper("roles", "list", "--tenant", slug, "--json").json}
    assert role["id"] not in {row["id"] for row in tollkeeper("roles", "list", "--json").json}
    assert tollkeeper("roles", "remove", role["id"], "--yes").code == 0
    unknown = tollkeeper("roles", "create", "Odd", "--permission", "all:things")
    assert (unknown.code, "permissions" in unknown.error) == (4, True)


def test_identity_provider_is_made_of_a_file_tested_and_removed(
    tollkeeper: Tollkeeper, slug: str, tmp_path: Path
) -> None:
    file = tmp_path / "login.json"
    document = {"name": "Login", "issuer": "https://login.invalid", "client_id": "x", "client_secret": "geheim-4711"}
    file.write_text(json.dumps(document))
    said = tollkeeper("identity-providers", "create", str(file), "--tenant", slug, "--json")
    made = said.json
    assert made["redirect_uri"].endswith("/callback")
    assert "geheim-4711" not in said.out + said.error
    listed = tollkeeper("identity-providers", "list", "--tenant", slug, "--json").json
    assert [row["id"] for row in listed] == [made["id"]]
    tested = tollkeeper("identity-providers", "test", made["id"], "--json")
    assert (tested.code, tested.json["ok"]) == (1, False)
    assert tollkeeper("identity-providers", "remove", made["id"], "--yes").error == f"{made['id']} is removed.\n"
    assert tollkeeper("identity-providers", "list", "--tenant", slug, "--json").json == []


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "is not JSON, line 1"), ("[]", "is not a JSON object"), ('{"name": "geheim-4711}', "is not JSON, line 1")],
)
def test_file_that_is_no_json_object_is_said_without_its_content(
    tollkeeper: Tollkeeper, tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "login.json"
    file.write_text(content)
    said = tollkeeper("identity-providers", "create", str(file))
    assert said.code == 2
    assert told in said.error
    assert "geheim" not in said.error


def test_trail_is_searched_by_the_names_of_the_api(tollkeeper: Tollkeeper) -> None:
    team = tollkeeper("teams", "create", f"Trail {uuid4().hex[:8]}", "--json").json
    for option in ("--object", "--object-id"):
        assert [row["action"] for row in tollkeeper("audit", "list", option, team["id"], "--json").json] == [
            "teams.create"
        ]
    actor = tollkeeper("audit", "list", "--object-id", team["id"], "--json").json[0]["actor"]["id"]
    assert tollkeeper("audit", "list", "--actor-id", actor, "--limit", "1", "--json").json
