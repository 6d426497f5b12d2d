"""`tollkeeper serve`: what stops a start, each with a sentence; one gateway for a folder; an orderly end."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands.conftest import Gateway, Process, Tollkeeper
from tollkeeper.serve import StartError, embedded_master_key

Spawn = Callable[..., Process]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_port_in_use_is_told(alone: Tollkeeper, tmp_path: Path, taken_port: int) -> None:
    said = alone("serve", "--port", str(taken_port), "--data-dir", str(tmp_path / "data"))
    assert said.code == 1
    assert f"cannot listen on 127.0.0.1:{taken_port} (Address already in use)" in said.error
    assert "--port" in said.error


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nothing/here"])
def test_folder_that_cannot_be_written_is_told(alone: Tollkeeper, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    said = alone("serve", "--port", "0", "--data-dir", str(tmp_path / place))
    assert said.code == 1
    assert said.error.startswith("tollkeeper: ")
    assert "--data-dir" in said.error
    assert "Traceback" not in said.error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_of_somebody_else_is_told(alone: Tollkeeper, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    assert "--data-dir" in alone("serve", "--port", "0", "--data-dir", str(tmp_path / "data")).error


def test_second_gateway_on_a_folder_is_refused_with_pid_and_port(alone: Tollkeeper, gateway: Gateway) -> None:
    said = alone("serve", "--port", "0", "--data-dir", str(gateway.data_dir))
    assert said.code == 1
    assert f"pid {gateway.process.child.pid}" in said.error
    assert f"port {gateway.origin.rpartition(':')[2]}" in said.error
    assert httpx.get(f"{gateway.origin}/health/ready").status_code == 200


def test_bad_configuration_stops_the_start_with_file_and_line(alone: Tollkeeper, tmp_path: Path) -> None:
    config = tmp_path / "tollkeeper.yaml"
    config.write_text("providers:\n  - name: local\n    kind: openai_compatibel\n")
    said = alone("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--config", str(config))
    assert said.code == 2
    assert "tollkeeper.yaml:3" in said.error
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOLLKEEPER_WORKERS", "many"), ("TOLLKEEPER_DATABASE_POOL_SIZE", "0"), ("TOLLKEEPER_PORT", "-1")],
)
def test_bad_variable_is_named(
    alone: Tollkeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    said = alone("serve", "--data-dir", str(tmp_path / "data"))
    assert said.code == 2
    assert name in said.error or name.removeprefix("TOLLKEEPER_").lower() in said.error


def test_database_of_ones_own_needs_the_master_key(
    alone: Tollkeeper, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLKEEPER_DATABASE_URL", database_url)
    monkeypatch.setenv("TOLLKEEPER_REDIS_URL", "redis://127.0.0.1:1")
    said = alone("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert said.code == 1
    assert "TOLLKEEPER_MASTER_KEY is not set" in said.error
    assert "openssl rand -hex 32" in said.error


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_database_that_cannot_be_reached_is_named_with_the_reason(
    spawn: Spawn, tmp_path: Path, valkey_url: str, command: str
) -> None:
    said = spawn(
        *((command, "--port", "0", "--data-dir", str(tmp_path / "data")) if command == "serve" else (command,)),
        TOLLKEEPER_DATABASE_URL="postgresql://somebody:hidden@127.0.0.1:1/x",
        TOLLKEEPER_REDIS_URL=valkey_url,
        TOLLKEEPER_MASTER_KEY="0" * 64,
    ).wait()
    assert said.code == 1
    [line] = [line for line in said.error.splitlines() if "The database at" in line]
    assert line.startswith("tollkeeper: The database at 127.0.0.1:1 cannot be used: ")
    assert "111" in line or "refused" in line.lower() or "connect" in line.lower()
    assert "hidden" not in said.error


def test_master_key_that_is_too_short_is_a_sentence(
    spawn: Spawn, tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    said = spawn(
        *("serve", "--port", "0", "--data-dir", str(tmp_path / "data")),
        TOLLKEEPER_DATABASE_URL=database_url,
        TOLLKEEPER_REDIS_URL=valkey_url,
        TOLLKEEPER_MASTER_KEY="short",
    ).wait()
    assert said.code == 1
    assert "TOLLKEEPER_MASTER_KEY must have at least 32 characters" in said.error
    assert "Traceback" not in said.error


def test_schema_that_is_not_there_is_told_with_the_command_that_makes_it(
    spawn: Spawn, tmp_path: Path, empty_database_url: str, valkey_url: str
) -> None:
    said = spawn(
        *("serve", "--port", "0", "--data-dir", str(tmp_path / "data")),
        TOLLKEEPER_DATABASE_URL=empty_database_url,
        TOLLKEEPER_REDIS_URL=valkey_url,
        TOLLKEEPER_MASTER_KEY="0" * 64,
        TOLLKEEPER_MIGRATE_AT_START="false",
    ).wait()
    assert said.code == 1
    assert "tollkeeper migrate" in said.error


def test_servers_of_ones_own_serve_and_sigterm_ends_it_with_0(
    spawn: Spawn, tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    secret = "tk-" + "x" * 32
    process = spawn(
        *("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json"),
        TOLLKEEPER_DATABASE_URL=database_url,
        TOLLKEEPER_REDIS_URL=valkey_url,
        TOLLKEEPER_MASTER_KEY="0" * 64,
        TOLLKEEPER_INIT_API_KEY=secret,
    )
    process.until(lambda: '"ready"' in "".join(process.out))
    ready = json.loads("".join(process.out))
    assert ready["event"] == "ready"
    assert secret not in "".join(process.out)
    answer = httpx.get(f"{ready['base_url']}/models", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    assert process.stop().code == 0
    assert not (tmp_path / "data" / "postgres").exists()


def test_first_run_is_readable_by_its_owner_alone(gateway: Gateway) -> None:
    path = gateway.data_dir / "first-run.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(path.read_text())) == {"base_url", "api_key", "admin_email", "admin_password"}


def test_master_key_is_made_once_and_whole(tmp_path: Path) -> None:
    key = embedded_master_key(tmp_path)
    assert len(key) == 64
    assert embedded_master_key(tmp_path) == key
    path = tmp_path / "master.key"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")
    with pytest.raises(StartError, match="is damaged"):
        embedded_master_key(tmp_path)
