"""`tollkeeper keys`: from making one to revoking it, and what is never shown twice."""

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
