"""`tollkeeper requests` looks up what a running gateway has served."""

import time

from tests.commands.conftest import Gateway, Tollkeeper


def test_a_call_is_found_and_shown_with_its_attempts(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    assert tollkeeper("chat", "hello").code == 0
    deadline = time.monotonic() + 30
    rows = []
    while not rows and time.monotonic() < deadline:
        listed = tollkeeper("requests", "list", "--status", "ok", "--limit", "1", "--json")
        assert listed.code == 0, listed.error
        rows = listed.json["data"] if isinstance(listed.json, dict) else listed.json
        time.sleep(0.2)
    request_id = rows[0]["request_id"]
    found = tollkeeper("requests", "list", "--request", request_id, "--json")
    assert request_id in found.out
    shown = tollkeeper("requests", "show", request_id, "--json")
    assert shown.code == 0, shown.error
    assert (shown.json["request_id"], shown.json["status"], shown.json["attempts"]) == (request_id, "ok", 1)
    while not shown.json["billed"] and time.monotonic() < deadline:
        time.sleep(0.2)
        shown = tollkeeper("requests", "show", request_id, "--json")
    assert shown.json["billed"][0]["provider"] == shown.json["provider"]
    assert tollkeeper("requests", "list", "--min-latency-ms", "600000", "--json").code == 0


def test_a_call_that_is_not_there_is_named(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    missing = tollkeeper("requests", "show", "req_" + "0" * 32)
    assert missing.code != 0
    assert "no such call" in missing.error
