"""`tollkeeper ledger` verifies and repairs the sums of a gateway that is running."""

import time

from tests.commands.conftest import Gateway, Tollkeeper


def test_ledger_of_a_running_gateway_is_verified_and_rebuilt(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("chat", "hello")
    assert said.code == 0, said.error
    deadline = time.monotonic() + 20
    calls = 0
    while not calls and time.monotonic() < deadline:
        verified = tollkeeper("ledger", "verify", "--json")
        assert verified.code == 0, verified.error
        calls = sum(entry["requests"] for entry in verified.json)
        time.sleep(0.2)
    assert calls >= 1
    assert {entry["wrong_rollups"] for entry in verified.json} == {0}
    assert "drift 0" in tollkeeper("ledger", "verify").out
    day = verified.json[-1]["day"]
    assert tollkeeper("ledger", "rebuild", "--day", day, "--json").json == {day: 0}
    assert "0 sums were wrong" in tollkeeper("ledger", "rebuild", "--all").out


def test_mistakes_of_use_are_named(alone: Tollkeeper) -> None:
    assert alone("ledger", "verify", "--day", "yesterday").code == 2
    assert alone("ledger", "rebuild").code == 2
    assert alone("ledger", "rebuild", "--all", "--day", "2026-01-01").code == 2
