"""Tenants, users, providers, models, the smoke test and the reload."""

import httpx

from tests.commands.conftest import Gateway, Tollkeeper


def test_tenant_is_made_shown_and_listed(tollkeeper: Tollkeeper) -> None:
    made = tollkeeper("tenants", "create", "Acme", "--email", "ops@acme.example", "--rpm", "90", "--json").json
    assert (made["name"], made["email"], made["rate_limit"]) == ("Acme", "ops@acme.example", 90)
    assert tollkeeper("tenants", "show", made["id"], "--json").json["id"] == made["id"]
    assert "Acme" in tollkeeper("tenants", "list").out
    assert made["id"] in {row["id"] for row in tollkeeper("tenants", "list", "--json").json}
    again = tollkeeper("tenants", "create", "Acme")
    assert again.code == 4
    assert "status 409" in again.error


def test_user_made_with_a_piped_password_can_sign_in(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    password = "correct horse battery staple"
    words = ["users", "create", "ann@acme.example", "--role", "developer", "--password-stdin", "--json"]
    made = tollkeeper(*words, stdin=f"{password}\n")
    assert made.json["role"] == "developer"
    assert password not in made.out + made.error
    login = {"email": "ann@acme.example", "password": password}
    assert httpx.post(f"{gateway.origin}/api/v1/auth/login", json=login).status_code == 200
    assert "ann@acme.example" in tollkeeper("users", "list").out


def test_password_is_asked_for_twice_and_never_shown(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("users", "create", "bob@acme.example", "--role", "viewer", stdin="secret one\nsecret two\n")
    assert said.code == 1
    assert "secret" not in said.out + said.error


def test_providers_are_listed_and_tested(tollkeeper: Tollkeeper) -> None:
    assert "simulated" in tollkeeper("providers", "list").out
    [tested] = tollkeeper("providers", "test", "simulated", "--json").json
    assert (tested["provider"], tested["ok"]) == ("simulated", True)
    unknown = tollkeeper("providers", "test", "nobody")
    assert unknown.code == 1
    assert "no provider is named nobody. There are: simulated" in unknown.error


def test_provider_that_does_not_answer_fails_the_test_with_a_reason(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    at = f"{gateway.origin}/api/v1/catalog/providers"
    headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    dead = {
        "name": "dead",
        "kind": "openai_compatible",
        "base_url": "http://127.0.0.1:1/v1",
        "allow_private_address": True,
    }
    made = httpx.post(at, json=dead, headers=headers).json()
    try:
        said = tollkeeper("providers", "test", "dead", "--json")
    finally:
        httpx.delete(f"{at}/{made['id']}", headers={**headers, "if-match": '"1"'}).raise_for_status()
    assert said.code == 1
    assert said.json[0]["ok"] is False
    assert said.json[0]["message"]


def test_models_are_listed(tollkeeper: Tollkeeper) -> None:
    assert {"simulated", "simulated-embedding"} <= {row["id"] for row in tollkeeper("models", "list", "--json").json}
    assert "simulated-embedding" in tollkeeper("models", "list").out


def test_chat_streams_an_answer(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("chat", "Hello", "there")
    assert "Hello there" in said.out
    assert "tokens in" in said.error
    answer = tollkeeper("chat", "Hello", "--json").json
    assert answer["content"]
    assert answer["usage"]["total_tokens"] > 0


def test_chat_with_an_unknown_model_is_refused_in_words(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("chat", "Hello", "--model", "nothing-of-that-name")
    assert said.code == 4
    assert "The model `nothing-of-that-name` does not exist" in said.error


def test_chat_that_breaks_off_fails(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("chat", "Hello", "--model", "simulated-cut")
    assert said.code != 0
    assert said.error.startswith("tollkeeper: ")


def test_reload_is_asked_for_and_done(tollkeeper: Tollkeeper) -> None:
    assert tollkeeper("config", "reload").error == "Reloaded.\n"
    assert tollkeeper("config", "reload", "--json").json["snapshot_version"] > 0
