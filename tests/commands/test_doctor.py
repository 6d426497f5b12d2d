"""`tollkeeper doctor`: each finding, its fix, and the exit code."""

from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Gateway, Said, Tollkeeper


def findings(said: Said) -> dict[str, dict[str, Any]]:
    return {finding["subject"].strip(): finding for finding in said.json}


def test_healthy_gateway_is_found_by_its_folder(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("doctor", "--json")
    found = findings(said)
    assert said.code == 0
    assert {finding["verdict"] for finding in found.values()} == {"ok"}
    assert gateway.origin in found["gateway"]["message"]
    assert {"postgres", "redis"} <= {name.lower().replace("postgresql", "postgres") for name in found}
    as_table = tollkeeper("doctor")
    assert as_table.code == 0
    assert "✓ gateway" in as_table.out


def test_no_gateway_is_a_warning_with_its_fix(alone: Tollkeeper) -> None:
    said = alone("doctor", "--json", "--url", "http://127.0.0.1:1")
    found = findings(said)["gateway"]
    assert said.code == 0
    assert (found["verdict"], found["fix"]) == ("warning", "start it: tollkeeper serve")


def test_servers_of_ones_own_are_signed_in_to(
    alone: Tollkeeper, database_url: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLKEEPER_DATABASE_URL", database_url)
    monkeypatch.setenv("TOLLKEEPER_REDIS_URL", valkey_url)
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEY", "0" * 64)
    said = alone("doctor", "--json", "--url", "http://127.0.0.1:1")
    found = findings(said)
    assert said.code == 0
    assert {found[name]["verdict"] for name in ("PostgreSQL", "Redis", "master key")} == {"ok"}
    assert "answers in" in found["PostgreSQL"]["message"]


def test_servers_that_do_not_answer_are_bad_and_no_password_is_shown(
    alone: Tollkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLKEEPER_DATABASE_URL", "postgresql://u:canary@127.0.0.1:1/x")
    monkeypatch.setenv("TOLLKEEPER_REDIS_URL", "redis://:canary@127.0.0.1:1")
    said = alone("doctor", "--json", "--url", "http://127.0.0.1:1")
    found = findings(said)
    assert said.code == 1
    assert {found[name]["verdict"] for name in ("PostgreSQL", "Redis", "master key")} == {"bad"}
    assert "127.0.0.1:1" in found["PostgreSQL"]["message"]
    assert "openssl rand" in found["master key"]["fix"]
    assert "canary" not in said.out


def test_wrong_password_is_bad(alone: Tollkeeper, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLKEEPER_REDIS_URL", f"redis://:wrong@{valkey_url.rpartition('@')[2]}")
    assert findings(alone("doctor", "--json"))["Redis"]["verdict"] == "bad"


def test_schema_that_is_behind_is_bad_with_the_command_that_helps(
    alone: Tollkeeper, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLKEEPER_DATABASE_URL", empty_database_url)
    found = findings(alone("doctor", "--json"))["PostgreSQL"]
    assert (found["verdict"], found["fix"]) == ("bad", "run: tollkeeper migrate")


def test_weak_master_key_is_bad(alone: Tollkeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEY", "short")
    assert findings(alone("doctor", "--json"))["master key"]["verdict"] == "bad"


def test_folder_that_cannot_hold_data_is_bad(alone: Tollkeeper, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = alone("doctor", "--json", "--data-dir", str(tmp_path / "file"))
    assert said.code == 1
    assert findings(said)["data folder"]["verdict"] == "bad"


def test_bad_configuration_is_told_with_its_line(alone: Tollkeeper, tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_text("models: 5\n")
    said = alone("doctor", "--config", str(path))
    assert said.code == 2
    assert "tollkeeper.yaml:1" in said.error


def test_good_configuration_is_counted(alone: Tollkeeper, tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_text("models: [{name: m, targets: [{provider: simulated, model: simulated}]}]\n")
    assert "1 models" in findings(alone("doctor", "--config", str(path), "--json"))["configuration"]["message"]
