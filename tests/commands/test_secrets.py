"""`tollkeeper secrets` works on the database of a running gateway, and on that of one that is not running."""

from pathlib import Path

import pytest

from tests.commands.conftest import Gateway, Tollkeeper
from tollkeeper.core.crypto import MasterKey

NEXT = "the-next-master-key-of-the-command-tests"


def test_status_of_a_running_gateway_names_no_secret(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    said = tollkeeper("secrets", "status", "--json")
    master = (gateway.data_dir / "master.key").read_text().strip()
    assert said.code == 0, said.error
    assert said.json["fingerprint"] == MasterKey(master).fingerprint()
    assert {row["state"] for row in said.json["rows"]} == {"current"}
    assert master not in said.out + said.error


def test_rotation_and_back_beside_a_running_gateway(
    tollkeeper: Tollkeeper, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = gateway.data_dir / "master.key"
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEY", NEXT)
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEYS_PREVIOUS_FILE", str(kept))
    before = tollkeeper("secrets", "status", "--json")
    assert not before.json["is_current"]
    rotated = tollkeeper("secrets", "rotate", "--json")
    assert rotated.code == 0, rotated.error
    assert rotated.json["is_complete"]
    assert rotated.json["keys_to_upgrade"] >= 1
    after = tollkeeper("secrets", "status")
    assert "API keys still need the former key" in after.error
    # The gateway of these tests goes on with its own key.
    monkeypatch.delenv("TOLLKEEPER_MASTER_KEYS_PREVIOUS_FILE")
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEY", kept.read_text())
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEYS_PREVIOUS", NEXT)
    assert tollkeeper("secrets", "rotate").code == 0
    assert tollkeeper("secrets", "status", "--json").json["is_current"]


def test_missing_key_and_missing_database_are_said(alone: Tollkeeper, tmp_path: Path) -> None:
    said = alone("secrets", "status", "--data-dir", str(tmp_path / "nowhere"))
    assert said.code == 1
    assert "holds no database" in said.error


def test_open_key_file_is_refused(tollkeeper: Tollkeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(NEXT)
    path.chmod(0o644)
    monkeypatch.setenv("TOLLKEEPER_MASTER_KEY_FILE", str(path))
    said = tollkeeper("secrets", "status")
    assert said.code == 1
    assert f"chmod 600 {path}" in said.error
    assert NEXT not in said.error
