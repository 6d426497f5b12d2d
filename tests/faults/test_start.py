"""What `serve` refuses to start on, and the sentence it says; and what may run side by side."""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.calls import Caller
from tests.faults.gateway import Gateway

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("faults-start")]


@pytest.fixture(scope="module")
def gateway(new_gateway: Callable[..., Gateway]) -> Gateway:
    return new_gateway()


@pytest.fixture(scope="module")
def kept(new_gateway: Callable[..., Gateway]) -> Gateway:
    """A second data directory; tests start and end it as they need."""
    return new_gateway()


@pytest.fixture
def other(kept: Gateway) -> Gateway:
    """The second gateway, running."""
    if not kept.is_running:
        kept.start()
    return kept


@pytest.fixture
def ended(kept: Gateway) -> Gateway:
    """The second gateway after a clean end."""
    if kept.is_running:
        kept.terminate()
        assert kept.wait(20) == 0
    return kept


def refusal(gateway: Gateway, command: list[str], **environment: str) -> str:
    """What a `serve` that must not start says on standard error."""
    done = subprocess.run(
        command,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=gateway.folder,
        env={**gateway.environment(), **environment},
        timeout=60,
        text=True,
    )
    assert done.returncode not in {0, -6, -9, -11}, done
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    return " ".join(done.stderr.split())


def test_second_serve_on_the_same_data_is_refused_with_pid_and_port(gateway: Gateway) -> None:
    said = refusal(gateway, gateway.serve_words(port=0))
    assert str(gateway.process.pid) in said
    assert str(gateway.port) in said
    assert gateway.get("/health/live").status_code == 200


def test_port_in_use_is_said(new_gateway: Callable[..., Gateway]) -> None:
    other = new_gateway(is_started=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refusal(other, other.serve_words(port=port))
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


def test_data_directory_that_is_a_file_is_said(new_gateway: Callable[..., Gateway]) -> None:
    other = new_gateway(is_started=False)
    other.data_dir.write_text("not a folder")
    said = refusal(other, other.serve_words())
    assert str(other.data_dir) in said
    assert "--data-dir" in said


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/sys").exists(), reason="needs a folder root cannot write to")
def test_unwritable_data_directory_is_said(new_gateway: Callable[..., Gateway]) -> None:
    other = new_gateway(is_started=False)
    # Root may write to any folder of a disk; not to this one.
    other.data_dir = Path("/proc/sys/tollkeeper") if os.geteuid() == 0 else other.folder / "closed" / "data"
    if os.geteuid() != 0:
        other.data_dir.parent.mkdir(mode=0o500)
    said = refusal(other, other.serve_words())
    assert str(other.data_dir) in said
    assert "--data-dir" in said


def test_broken_configuration_is_said_with_file_and_line(new_gateway: Callable[..., Gateway]) -> None:
    other = new_gateway(is_started=False)
    other.config = other.folder / "tollkeeper.yaml"
    other.config.write_text("providers:\n  - name: local\n    kind: openai_compatible\n    base_uri: http://x/v1\n")
    said = refusal(other, other.serve_words())
    assert "tollkeeper.yaml:4" in said
    assert "base_url" in said


def test_missing_configuration_file_is_said(new_gateway: Callable[..., Gateway]) -> None:
    other = new_gateway(is_started=False)
    other.config = other.folder / "absent.yaml"
    assert "absent.yaml" in refusal(other, other.serve_words())


def test_first_key_that_is_no_key_is_said(ended: Gateway) -> None:
    said = refusal(ended, ended.serve_words(), TOLLKEEPER_INIT_API_KEY="brief")
    assert "TOLLKEEPER_INIT_API_KEY" in said
    assert "brief" not in said


def test_lost_master_key_is_refused_and_not_replaced(ended: Gateway) -> None:
    path = ended.data_dir / "master.key"
    kept = path.read_text()
    path.write_text("0" * 64)
    try:
        said = refusal(ended, ended.serve_words())
        assert "key" in said.lower()
        assert path.read_text() == "0" * 64
    finally:
        path.write_text(kept)


def test_files_with_secrets_are_for_their_owner_alone(gateway: Gateway) -> None:
    for name in ("first-run.json", "master.key", "postgres/passwords.json"):
        assert (gateway.data_dir / name).stat().st_mode & 0o077 == 0, name
    document = json.loads((gateway.data_dir / "first-run.json").read_text())
    assert document["api_key"] == gateway.key
    assert document["base_url"].endswith(f":{gateway.port}/v1")


async def test_two_gateways_side_by_side_keep_apart(gateway: Gateway, other: Gateway) -> None:
    assert other.port != gateway.port
    async with Caller(other.origin, other.key) as caller:
        assert (await caller.call()).is_whole
    async with Caller(gateway.origin, other.key) as stranger:
        refused = await stranger.call()
        assert (refused.status, refused.code) == (401, "invalid_api_key")
    other.terminate()
    assert other.wait(20) == 0
    async with Caller(gateway.origin, gateway.key) as caller:
        assert (await caller.call()).is_whole


def test_second_start_keeps_key_and_data(other: Gateway) -> None:
    made = other.new_key(name="kept")
    other.terminate()
    assert other.wait(20) == 0
    other.start()
    listed = other.ask("GET", "/api/v1/keys")["data"]
    assert made["id"] in {key["id"] for key in listed}
    assert other.log_path.read_text().count(other.key) <= 1, "a secret that is shown once"
