"""`tollkeeper config`: checking a file, showing settings with their origin, the schema."""

from pathlib import Path

import pytest

from tests.commands.conftest import Tollkeeper
from tollkeeper.core.config import Settings

GOOD = """\
providers:
  - name: local
    kind: openai_compatible
    base_url: http://127.0.0.1:9101/v1
    api_key: ${LOCAL_KEY:-none}
    allow_private_address: true
models:
  - name: fast
    targets: [{provider: local, model: small}]
settings:
  drain_seconds: 12
"""
BAD = GOOD.replace("model: small", "modell: small").replace("strategy", "x")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "tollkeeper.yaml"
    path.write_text(GOOD)
    return path


def test_good_file_is_called_fine(alone: Tollkeeper, good: Path) -> None:
    assert alone("config", "validate").code == 0
    assert alone("config", "validate", str(good), "--json").json == {"ok": True, "providers": 1, "models": 1}


def test_bad_file_is_refused_with_line_path_and_reason(alone: Tollkeeper, good: Path) -> None:
    good.write_text(BAD)
    said = alone("config", "validate", str(good))
    assert said.code == 1
    assert "tollkeeper.yaml:9: models[0].targets[0]" in said.error
    as_json = alone("config", "validate", str(good), "--json")
    assert as_json.code == 1
    assert as_json.json["ok"] is False
    assert all(problem.startswith("tollkeeper.yaml:9: ") for problem in as_json.json["problems"])


def test_file_that_is_not_there_is_told(alone: Tollkeeper) -> None:
    said = alone("config", "validate", "nowhere.yaml")
    assert said.code == 1
    assert "nowhere.yaml" in said.error


def test_origin_of_each_value_is_shown(alone: Tollkeeper, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLKEEPER_WORKERS", "3")
    rows = {row["name"]: row for row in alone("config", "show", "--origin", "--config", str(good), "--json").json}
    assert rows.keys() == Settings.model_fields.keys()
    assert (rows["workers"]["value"], rows["workers"]["origin"]) == (3, "environment TOLLKEEPER_WORKERS")
    assert rows["drain_seconds"]["value"] == 12
    assert rows["drain_seconds"]["origin"] == "file tollkeeper.yaml:11"
    assert rows["port"]["origin"] == "default"
    assert all(row["description"] for row in rows.values())
    assert "environment TOLLKEEPER_WORKERS" in alone("config", "show", "--origin").out


def test_secrets_are_never_shown(alone: Tollkeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "TOLLKEEPER_MASTER_KEY": "canary-master-" + "0" * 32,
        "TOLLKEEPER_DATABASE_URL": "postgresql://u:canary-password@db/x",
        "TOLLKEEPER_REDIS_URL": "redis://:canary-redis@r",
        "TOLLKEEPER_INIT_API_KEY": "tk-canary" + "0" * 32,
        "TOLLKEEPER_INIT_ADMIN_PASSWORD": "canary-admin",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "show", "--origin"]):
        said = alone(*words)
        assert said.code == 0
        assert "canary" not in said.out + said.error
        assert "set, hidden" in said.out


def test_schema_is_printed_for_editors(alone: Tollkeeper) -> None:
    assert alone("config", "schema").json["$schema"].startswith("https://json-schema.org/")
