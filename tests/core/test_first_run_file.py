"""The file with the first start's secrets: for its owner alone, and never poorer after a later start."""

import json
from pathlib import Path

from tollkeeper.core.first_run_file import read_first_run, write_first_run

ORIGIN = "http://localhost:8000"


def test_it_holds_what_a_client_needs_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = write_first_run(tmp_path, ORIGIN, api_key="tk-1", admin_email="admin@localhost", admin_password="secret")
    assert json.loads(path.read_text()) == {
        "base_url": "http://localhost:8000/v1",
        "api_key": "tk-1",
        "admin_email": "admin@localhost",
        "admin_password": "secret",
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_administrator_added_later_does_not_lose_the_key(tmp_path: Path) -> None:
    write_first_run(tmp_path, ORIGIN, api_key="tk-1", admin_email="admin@localhost", admin_password="secret")
    write_first_run(tmp_path, ORIGIN, api_key="", admin_email="new@example.com", admin_password="other")
    assert read_first_run(tmp_path)["api_key"] == "tk-1"
    assert read_first_run(tmp_path)["admin_email"] == "new@example.com"


def test_key_added_later_does_not_lose_the_password(tmp_path: Path) -> None:
    write_first_run(tmp_path, ORIGIN, api_key="tk-1", admin_email="admin@localhost", admin_password="secret")
    write_first_run(tmp_path, ORIGIN, api_key="tk-2", admin_email="admin@localhost", admin_password="")
    assert read_first_run(tmp_path)["api_key"] == "tk-2"
    assert read_first_run(tmp_path)["admin_password"] == "secret"


def test_damaged_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "first-run.json").write_text("[")
    write_first_run(tmp_path, ORIGIN, api_key="tk-1", admin_email="admin@localhost", admin_password="secret")
    assert read_first_run(tmp_path)["api_key"] == "tk-1"
