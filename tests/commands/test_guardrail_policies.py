"""`tollkeeper guardrails policies`: from a file to calls that are held against it, by a running gateway."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.commands.conftest import Gateway, Said, Tollkeeper

POLICY = """
name: {name}
rules:
  - {{rule: pii, name: personal, action: block, directions: [input], settings: {{only: [email]}}}}
"""
CARRIED = "write to bob@example.com"
_PATIENCE = 30.0


def sooner_or_later(status: int, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Each worker hears of a change by itself: three answers in a row that agree."""
    ends, agreed = time.monotonic() + _PATIENCE, 0
    while True:
        answer = ask()
        agreed = agreed + 1 if answer.status_code == status else 0
        if agreed == 3 or time.monotonic() > ends:
            assert answer.status_code == status, answer.text
            return answer
        time.sleep(0.05)


@pytest.fixture
def policies(tollkeeper: Tollkeeper) -> Callable[..., Said]:
    def run(*words: str) -> Said:
        said = tollkeeper("guardrails", "policies", *words)
        assert said.code == 0, said.error
        return said

    return run


def test_calls_are_held_against_a_policy_as_it_is_published_attached_and_exempted_from(
    tollkeeper: Tollkeeper, policies: Callable[..., Said], gateway: Gateway, tmp_path: Path
) -> None:
    source, change, texts = tmp_path / "policy.yaml", tmp_path / "change.json", tmp_path / "texts.txt"
    source.write_text(POLICY.format(name="by-hand"), encoding="utf-8")
    change.write_text(json.dumps({"mode": "monitor"}), encoding="utf-8")
    texts.write_text(f"{CARRIED}\nnothing here\n", encoding="utf-8")
    model = "simulated-reasoning"
    headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    call = {"model": model, "messages": [{"role": "user", "content": CARRIED}]}
    with httpx.Client(base_url=gateway.origin, headers=headers, timeout=30) as client:

        def ask() -> httpx.Response:
            return client.post("/v1/chat/completions", json=call)

        made = policies("create", str(source), "--json").json
        assert (made["draft_version"], made["published_version"]) == (1, None)
        attached = policies("attach", "by-hand", "simulated-reas*", "--json").json
        assert (attached["level"], attached["model"]) == ("model", "simulated-reas*")
        sooner_or_later(200, ask)
        policies("publish", "by-hand")
        refused = sooner_or_later(400, ask)
        assert refused.json()["error"]["code"] == "guardrail_blocked"

        draft = policies("change", "by-hand", str(change), "--json").json
        assert (draft["draft_version"], draft["mode"]) == (2, "monitor")
        assert "1 of 2 would be treated otherwise" in policies("dry-run", "by-hand", str(texts)).out
        sooner_or_later(400, ask)
        policies("publish", "by-hand")
        sooner_or_later(200, ask)
        policies("rollback", "by-hand")
        sooner_or_later(400, ask)

        listed = tollkeeper("keys", "list", "--json").json
        key_id = next(one["id"] for one in listed if gateway.first_run["api_key"].startswith(one["display_prefix"]))
        until = ("--until", "1h", "--reason", "support export")
        exempted = policies("exempt", "by-hand", "personal", key_id, *until, "--json").json
        sooner_or_later(200, ask)
        assert exempted["id"] in policies("exemptions", "by-hand").out
        policies("end-exemption", "by-hand", exempted["id"])
        sooner_or_later(400, ask)

        def noted() -> list[dict[str, object]]:
            query = ("--rule", "personal", "--action", "block", "--json")
            found: list[dict[str, object]] = tollkeeper("guardrails", "events", *query).json
            return [one for one in found if one["policy"] == "by-hand"]

        ends = time.monotonic() + _PATIENCE
        while not noted() and time.monotonic() < ends:
            time.sleep(0.1)
        (event, *_) = noted()
        assert (event["label"], event["direction"], event["api_key_id"]) == ("email", "input", key_id)
        assert "bob@example.com" not in json.dumps(noted())

        policies("detach", "by-hand", "simulated-reas*")
        sooner_or_later(200, ask)
    assert [row["number"] for row in policies("versions", "by-hand", "--json").json] == [2, 1]
    assert policies("attachments", "by-hand", "--json").json == []
    assert "by-hand" in policies("list").out
    policies("show", "by-hand")
    policies("delete", "by-hand", "--yes")
    missing = tollkeeper("guardrails", "policies", "show", "by-hand")
    assert missing.code == 1
    assert "no guardrail policy" in missing.error


def test_faults_are_told_with_their_path(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source = tmp_path / "policy.yaml"
    source.write_text("{name: wrong, rules: [{rule: pii}, {rule: regex, settings: {patterns: {p: '(?=a)'}}}]}")
    refused = tollkeeper("guardrails", "policies", "create", str(source))
    assert refused.code == 4
    assert "rules[1]" in refused.error
    source.write_text("- a list")
    assert tollkeeper("guardrails", "policies", "create", str(source)).code == 2
    for moment in ("soon", "12"):
        wrong = tollkeeper(
            "guardrails", "policies", "exempt", "grp_" + "0" * 32, "pii", "key_x", "--reason", "why", "--until", moment
        )
        assert wrong.code == 2
