"""`tollkeeper audit` reads and exports through the gateway, and verifies in the database itself."""

import json
from pathlib import Path

from tests.commands.conftest import Gateway, Tollkeeper


def test_trail_is_listed_and_exported(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    created = tollkeeper("keys", "create", "--name", "for the audit trail")
    assert created.code == 0, created.error
    listed = tollkeeper("audit", "list", "--action", "keys.*", "--json")
    assert listed.code == 0, listed.error
    assert listed.json[0]["after"]["name"] == "for the audit trail"
    assert "keys.create" in tollkeeper("audit", "list").out
    path = tmp_path / "trail.jsonl"
    said = tollkeeper("audit", "export", str(path))
    assert said.code == 0, said.error
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert f"{len(records)} records" in said.error
    assert [item.name for item in tmp_path.iterdir()] == ["trail.jsonl"]


def test_refused_export_leaves_no_file(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    said = tollkeeper("audit", "export", str(tmp_path / "trail.jsonl"), "--from", "yesterday")
    assert said.code == 4
    assert list(tmp_path.iterdir()) == []


def test_trail_of_a_running_gateway_is_verified_in_its_database(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("audit", "verify", "--json")
    assert said.code == 0, said.error
    # Other tests may have made more tenants than the first.
    report = max(said.json, key=lambda report: report["records"])
    assert all(report["is_intact"] for report in said.json)
    again = tollkeeper("audit", "verify", "--tenant", report["tenant_id"], "--head", report["head"])
    assert again.code == 0, again.error
    cut = tollkeeper("audit", "verify", "--tenant", report["tenant_id"], "--head", "0123" * 16)
    assert cut.code == 1
    assert "not as it was written" in cut.error


def test_options_that_cannot_be_are_a_mistake_of_use(alone: Tollkeeper) -> None:
    assert alone("audit", "verify", "--head", "00").code == 2
    assert alone("audit", "verify", "--tenant", "acme").code == 2
