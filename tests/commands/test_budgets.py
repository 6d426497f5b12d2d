"""Limits and budgets on the command line."""

from tests.commands.conftest import Tollkeeper


def test_a_limit_is_set_changed_listed_and_taken_away(tollkeeper: Tollkeeper) -> None:
    key = tollkeeper("keys", "create", "--name", "limited", "--rpm", "7", "--json").json
    words = ("--on", key["id"], "--per", "minute", "--unit", "total_tokens", "--model", "gpt-*", "--name", "Slow")
    made = tollkeeper("limits", "create", "6000", *words, "--json").json
    assert (made["scope"], made["amount"], made["period"]) == (
        {"kind": "key", "id": key["id"], "value": None}, 6000, "minute",
    )  # fmt: skip
    changed = tollkeeper("limits", "update", made["id"], "--amount", "500", "--shadow", "--json").json
    assert (changed["amount"], changed["is_shadow"], changed["name"]) == (500, True, "Slow")
    listed = tollkeeper("limits", "list", "--on", key["id"])
    assert made["id"] in listed.out
    assert "rate_limit_override" in listed.out
    assert tollkeeper("limits", "show", made["id"], "--json").json == changed
    assert tollkeeper("limits", "status", made["id"], "--json").json["amount"] == 500
    declined = tollkeeper("limits", "delete", made["id"], stdin="n\n")
    assert declined.code == 1
    assert tollkeeper("limits", "delete", made["id"], "--yes", "--json").json["is_removed"] is True
    assert tollkeeper("limits", "show", made["id"]).code == 4


def test_a_budget_is_given_raised_and_asked_about(tollkeeper: Tollkeeper) -> None:
    key = tollkeeper("keys", "create", "--name", "thrifty", "--json").json
    made = tollkeeper("budgets", "create", "1.00", "--on", key["id"], "--window", "total", "--json").json
    assert (made["amount_usd"], made["window"], made["mode"]) == ("1", "total", "hard")
    raised = tollkeeper("budgets", "update", made["id"], "--amount", "2.5", "--threshold", "50", "--json").json
    assert (raised["amount_usd"], raised["thresholds"]) == ("2.5", [50])
    status = tollkeeper("budgets", "status", made["id"], "--json").json
    assert (status["spent_usd"], status["remaining_usd"]) == ("0", "2.5")
    assert "burn rate usd per hour" in tollkeeper("budgets", "status", made["id"]).out
    assert tollkeeper("budgets", "holds", made["id"], "--json").json == []
    assert made["id"] in tollkeeper("budgets", "list", "--on", key["id"]).out
    assert tollkeeper("budgets", "delete", made["id"], "--yes").code == 0
    wrong = tollkeeper("budgets", "create", "1.00", "--window", "fortnight")
    assert wrong.code == 4
