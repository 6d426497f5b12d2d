"""`tollkeeper routing`: policies from a file to their end, and what a call would meet."""

import json
import time
from pathlib import Path

import httpx

from tests.commands.conftest import Gateway, Tollkeeper

POLICY = """
name: {name}
strategy: weighted
branches:
  - {{provider: simulated, model: simulated, weight: 3}}
  - {{provider: simulated, model: simulated-reasoning, when: {{tags: [gold]}}}}
"""


def test_a_policy_is_written_published_changed_and_rolled_back(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source, change = tmp_path / "policy.yaml", tmp_path / "change.json"
    source.write_text(POLICY.format(name="by-hand"), encoding="utf-8")
    change.write_text(json.dumps({"strategy": "priority"}), encoding="utf-8")
    made = tollkeeper("routing", "create", str(source), "--json").json
    assert (made["draft_version"], made["published_version"]) == (1, None)
    assert tollkeeper("routing", "publish", "by-hand", "--json").json["published_version"] == 1
    assert tollkeeper("routing", "change", "by-hand", str(change), "--json").json["draft_version"] == 2
    assert tollkeeper("routing", "publish", made["id"], "--json").json["strategy"] == "priority"
    assert tollkeeper("routing", "rollback", "by-hand", "--json").json["strategy"] == "weighted"
    assert [row["number"] for row in tollkeeper("routing", "versions", "by-hand", "--json").json] == [2, 1]
    assert "by-hand" in tollkeeper("routing", "policies").out
    assert tollkeeper("routing", "show", "by-hand").code == 0
    assert tollkeeper("routing", "delete", "by-hand", "--yes").code == 0
    missing = tollkeeper("routing", "show", "by-hand")
    assert missing.code == 1
    assert "no route policy" in missing.error


def test_calls_of_a_model_follow_its_policy_as_it_is_published(
    tollkeeper: Tollkeeper, gateway: Gateway, tmp_path: Path
) -> None:
    source = tmp_path / "policy.json"
    branches = [{"provider": "simulated", "model": "simulated", "when": {"headers": {"X-Env": ["test"]}}}]
    source.write_text(json.dumps({"name": "followed", "branches": branches}), encoding="utf-8")
    assert tollkeeper("routing", "create", str(source), "--publish").code == 0
    headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    with httpx.Client(base_url=gateway.origin, headers=headers, timeout=30) as client:
        made = client.post("/api/v1/catalog/models", json={"name": "by-policy", "policy": "followed"})
        assert made.status_code == 201, made.text
        call = {"model": "by-policy", "messages": [{"role": "user", "content": "hi"}]}

        def asked(**sent: str) -> httpx.Response:
            """Once the worker that answers knows the model."""
            ends = time.monotonic() + 30
            while True:
                answer = client.post("/v1/chat/completions", json=call, headers=sent)
                if answer.status_code != 404 or time.monotonic() > ends:
                    return answer
                time.sleep(0.05)

        served = asked(**{"x-env": "test"})
        assert (served.status_code, served.headers["x-tollkeeper-provider"]) == (200, "simulated")
        refused = asked()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_target_available")
        narrowed = asked(**{"x-env": "test", "x-tollkeeper-route": "followed"})
        assert narrowed.status_code == 200
    in_use = tollkeeper("routing", "delete", "followed", "--yes")
    assert in_use.code == 4
    assert "by-policy" in in_use.error


def test_a_fault_is_told_with_its_path(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source = tmp_path / "policy.yaml"
    source.write_text("{name: wrong, branches: [{provider: nobody, model: m}]}", encoding="utf-8")
    refused = tollkeeper("routing", "create", str(source))
    assert refused.code == 4
    assert "branches[0].provider there is no provider nobody" in refused.error
    source.write_text("- a list", encoding="utf-8")
    assert tollkeeper("routing", "create", str(source)).code == 2


def test_a_route_is_explained_for_people_and_for_programs(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    body = tmp_path / "call.json"
    body.write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}), encoding="utf-8")
    said = tollkeeper("routing", "explain", "simulated", "--body", str(body))
    assert said.code == 0
    assert "simulated: its own targets" in said.out
    assert "9 out" in said.out
    key = tollkeeper("keys", "create", "--name", "explained", "--json").json
    answer = tollkeeper("routing", "explain", "simulated", "--key", key["id"], "--json").json
    assert [target["provider"] for target in answer["targets"]] == ["simulated"]
    assert answer["refusal"] is None
    unknown = tollkeeper("routing", "explain", "nothing-such")
    assert unknown.code == 4
    assert tollkeeper("routing", "explain", "simulated", "--key", "key_" + "0" * 32).code == 4


def test_a_narrowed_call_is_explained_as_it_would_be_refused(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("routing", "explain", "simulated", "-H", "x-tollkeeper-route: elsewhere")
    assert "refused: 400 route_not_allowed" in said.out


def test_health_is_told_and_reset(tollkeeper: Tollkeeper) -> None:
    assert tollkeeper("chat", "--model", "simulated", "hello").code == 0
    rows = tollkeeper("routing", "health", "--provider", "simulated", "--json").json
    assert {(row["provider"], row["state"]) for row in rows} == {("simulated", "closed")}
    assert "simulated" in tollkeeper("routing", "health").out
    assert tollkeeper("routing", "reset", "simulated", "--model", "simulated", "--json").json["count"] == 0
    assert tollkeeper("routing", "reset", "nobody").code == 4
