"""`tollkeeper keys`: from making one to revoking it, and what is never shown twice."""

import hashlib
import json
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.commands.conftest import Gateway, Tollkeeper


def answer_of(gateway: Gateway, secret: str) -> httpx.Response:
    return httpx.get(f"{gateway.origin}/v1/models", headers={"authorization": f"Bearer {secret}"})


def test_key_lives_from_creation_to_revocation(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    made = tollkeeper("keys", "create", "--name", "build", "--rpm", "7", "--model", "simulated", "--json").json
    assert (made["rate_limit_override"], made["allowed_models_override"]) == (7, ["simulated"])
    assert answer_of(gateway, made["key"]).status_code == 200
    shown = tollkeeper("keys", "show", made["id"], "--json")
    assert shown.json["name"] == "build"
    assert made["key"] not in shown.out
    rotated = tollkeeper("keys", "rotate", made["id"], "--json").json
    assert answer_of(gateway, rotated["key"]).status_code == 200
    assert answer_of(gateway, made["key"]).status_code == 401
    revoked = tollkeeper("keys", "revoke", made["id"], "--yes", "--json")
    assert revoked.code == 0
    assert answer_of(gateway, rotated["key"]).status_code == 401


def test_former_secret_works_during_the_grace(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    made = tollkeeper("keys", "create", "--name", "graceful", "--json").json
    rotated = tollkeeper("keys", "rotate", made["id"], "--grace", "60", "--json").json
    assert rotated["key"] != made["key"]
    assert [answer_of(gateway, key).status_code for key in (made["key"], rotated["key"])] == [200, 200]


def test_key_is_exchanged_for_a_run_key_that_ends_when_told(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    made = tollkeeper("keys", "create", "--name", "agent", "--json").json
    run = tollkeeper(
        "keys", "run", made["id"], "--expires-in", "60", "--budget", "0.5", "--model", "simulated", "--json"
    ).json
    assert (run["budget_usd"], run["models"]) == ("0.5", ["simulated"])
    quiet = tollkeeper("keys", "run", made["id"], "--quiet").out
    assert quiet.startswith("tk-run_")
    assert quiet.count("\n") == 1
    told = tollkeeper("keys", "run", made["id"])
    assert "tk-run_" in told.out
    assert "shown once" in told.error
    assert [answer_of(gateway, key).status_code for key in (run["key"], quiet.strip())] == [200, 200]
    assert tollkeeper("keys", "run", made["id"], "--end", run["run_id"]).code == 0
    deadline = time.monotonic() + 5
    while answer_of(gateway, run["key"]).status_code == 200:
        assert time.monotonic() < deadline
    assert [answer_of(gateway, key).status_code for key in (run["key"], quiet.strip())] == [401, 200]


def test_list_shows_the_keys_and_no_secret(tollkeeper: Tollkeeper) -> None:
    made = tollkeeper("keys", "create", "--name", "listed", "--json").json
    as_json, as_table = tollkeeper("keys", "list", "--json"), tollkeeper("keys", "list")
    assert made["id"] in {row["id"] for row in as_json.json}
    assert made["id"] in as_table.out
    for said in (as_json, as_table):
        assert made["key"] not in said.out


def test_quiet_prints_the_secret_alone(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("keys", "create", "--name", "quiet", "--environment", "test", "--quiet")
    assert said.out.startswith("tk-test_")
    assert said.out.count("\n") == 1
    assert answer_of(gateway, said.out.strip()).status_code == 200


def test_table_says_that_the_secret_is_shown_once(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("keys", "create", "--name", "told")
    assert "tk-live_" in said.out
    assert "shown once" in said.error


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_revoking_asks_first(tollkeeper: Tollkeeper, gateway: Gateway, answer: str) -> None:
    made = tollkeeper("keys", "create", "--name", "kept", "--json").json
    said = tollkeeper("keys", "revoke", made["id"], stdin=answer)
    assert said.code == 1
    assert f"Revoke {made['id']}?" in said.error
    assert answer_of(gateway, made["key"]).status_code == 200


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["keys", "show", f"key_{0:032x}"], "There is no such key."),
        (["keys", "revoke", f"key_{0:032x}", "--yes"], "There is no such key."),
        (["keys", "show", "nonsense"], "expected an id of the form key_"),
        (["keys", "create", "--name", "x", "--environment", "prod"], "environment"),
        (["keys", "create", "--name", "x", "--scope", "root"], "scopes"),
    ],
)
def test_what_the_gateway_refuses_is_told_with_its_request_id(
    tollkeeper: Tollkeeper, words: list[str], sentence: str
) -> None:
    said = tollkeeper(*words)
    assert said.code == 4
    assert said.out == ""
    assert sentence in said.error
    assert ", request req_" in said.error


def test_names_of_other_people_cannot_write_on_the_terminal(tollkeeper: Tollkeeper) -> None:
    tollkeeper("keys", "create", "--name", "[red]loud[/red]")
    assert "[red]loud[/red]" in tollkeeper("keys", "list").out


# ── Keys of another gateway ──


def test_keys_of_another_gateway_are_taken_over(tollkeeper: Tollkeeper, gateway: Gateway, tmp_path: Path) -> None:
    tokens = [f"sk-{uuid4().hex}" for _ in range(3)]
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    lines = tmp_path / "keys.jsonl"
    lines.write_text(
        f"{json.dumps({'sha256': hashes[0], 'name': 'first'})}\n\n{json.dumps({'key': tokens[1], 'name': '2'})}\n"
    )
    made = tollkeeper("keys", "import", str(lines), "--json")
    assert [(row["place"], row["name"]) for row in made.json] == [("line 1", "first"), ("line 3", "2")]
    table = tmp_path / "keys.csv"
    table.write_text(
        "sha256,name,scopes,rate_limit_override,tags,allowed_models_override\n"
        f"{hashes[2]},third,inference admin,7,from=old;team=a b,simulated;gpt-4o\n"
    )
    third = tollkeeper("keys", "show", tollkeeper("keys", "import", str(table), "--json").json[0]["id"], "--json").json
    assert (third["scopes"], third["rate_limit_override"]) == (["inference", "admin"], 7)
    assert third["tags"] == {"from": "old", "team": "a b"}
    assert third["allowed_models_override"] == ["simulated", "gpt-4o"]
    assert [answer_of(gateway, token).status_code for token in tokens] == [200, 200, 200]
    again = tollkeeper("keys", "import", str(lines))
    assert again.code != 0
    assert "line 1: This key is known already" in again.error
    assert "line 3: This key is known already" in again.error
    for said in (made, again):
        assert tokens[1] not in said.out + said.error


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", "\n[1]", "line 2 is not a JSON object"),
        ("a.jsonl", "", "holds no keys"),
        ("a.jsonl", '{"key": "sk-1", "sha256": "0"}', "line 1: give either"),
        ("a.csv", "sha256,name\n0", "line 2 has not as many cells"),
        ("a.csv", "name,rate_limit_override\nx,ten", "line 2: rate_limit_override is not a number"),
        ("missing.jsonl", None, "cannot read"),
    ],
)
def test_file_that_cannot_be_read_is_said_by_line(
    tollkeeper: Tollkeeper, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    answer = tollkeeper("keys", "import", str(path))
    assert answer.code == 2
    assert said in answer.error
