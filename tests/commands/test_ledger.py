"""`tollkeeper ledger` verifies and repairs the sums of a gateway that is running; `usage` holds them against a bill."""

import time
from pathlib import Path

from tests.commands.conftest import Gateway, Tollkeeper


def test_ledger_of_a_running_gateway_is_verified_and_rebuilt(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("chat", "hello")
    assert said.code == 0, said.error
    deadline = time.monotonic() + 20
    calls = 0
    while not calls and time.monotonic() < deadline:
        verified = tollkeeper("ledger", "verify", "--json")
        assert verified.code == 0, verified.error
        calls = sum(entry["requests"] for entry in verified.json["days"])
        time.sleep(0.2)
    assert calls >= 1
    assert {entry["wrong_rollups"] for entry in verified.json["days"]} == {0}
    assert verified.json["budgets"]["wrong"] == []
    assert tollkeeper("ledger", "verify").out.count("drift 0") == 2
    day = verified.json["days"][-1]["day"]
    assert tollkeeper("ledger", "rebuild", "--day", day, "--json").json == {"days": {day: 0}, "budgets": None}
    rebuilt = tollkeeper("ledger", "rebuild", "--all").out
    assert "0 sums were wrong" in rebuilt
    assert "0 counters of budgets were wrong" in rebuilt


def test_live_counters_of_a_running_gateway_are_verified_and_rebuilt(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    made = tollkeeper("budgets", "create", "100", "--window", "total", "--json")
    assert made.code == 0, made.error
    assert tollkeeper("chat", "hello").code == 0
    verified = tollkeeper("ledger", "verify", "--live", "--json")
    assert verified.code == 0, verified.error
    assert verified.json["counters"] + verified.json["uncounted"] >= 1
    assert verified.json["wrong"] == []
    assert "drift 0" in tollkeeper("ledger", "verify", "--live").out
    assert tollkeeper("ledger", "rebuild", "--live", "--json").json == {"live": 0}
    assert tollkeeper("budgets", "delete", made.json["id"], "--yes").code == 0


def test_mistakes_of_use_are_named(alone: Tollkeeper) -> None:
    assert alone("ledger", "verify", "--day", "yesterday").code == 2
    assert alone("ledger", "rebuild").code == 2
    assert alone("ledger", "rebuild", "--all", "--day", "2026-01-01").code == 2
    assert alone("ledger", "rebuild", "--all", "--live").code == 2
    assert alone("ledger", "verify", "--live", "--day", "2026-01-01").code == 2


def test_usage_is_reconciled_with_a_providers_export(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    export = tmp_path / "export.csv"
    export.write_text("date,model,input_tokens\n2020-01-31,gpt-4o,1000\n")
    said = tollkeeper("usage", "reconcile", str(export), "--provider", "openai", "--json")
    assert said.code == 1
    assert said.json["data"][0]["reasons"] == [
        "not in the ledger: called without this gateway, or a model by another name"
    ]
    assert "1 of 1 days and models differ" in said.error
    assert tollkeeper("usage", "reconcile", str(export), "--provider", "openai", "--tolerance", "x").code == 2
    export.write_text("nothing")
    assert "--column day=NAME" in tollkeeper("usage", "reconcile", str(export), "--provider", "openai").error
