"""The search finds a canary however it is written down, also across the pieces of a large file, and says nothing else."""

import base64
import json
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from tests import canaries
from tests.canaries import Canary, Sweep, canary, keep, noted, remember

SECRET = Canary("password", "Cnry a+b/c=é 0123456789 pass")


@pytest.mark.parametrize("lead", range(4))
def test_canary_is_found_in_every_spelling(lead: int) -> None:
    sweep = Sweep([SECRET])
    before = "x" * lead
    whole = f"{before}{SECRET.value} and more"
    for text in (
        whole,
        whole.encode().hex(),
        json.dumps({"detail": whole}),
        urllib.parse.quote(whole, safe=""),
        base64.b64encode(whole.encode()).decode(),
        base64.urlsafe_b64encode(whole.encode()).decode(),
    ):
        [find] = sweep.search(text.encode(), "a log")
        assert str(find) == "a canary of kind 'password' in a log"


def test_nothing_else_is_found() -> None:
    sweep = Sweep([SECRET, Canary("api_key", canary("api_key"))])
    assert sweep.search(b"tk-cnry- and Cnry, but no secret of ours \0\xff" * 1000, "a log") == []


def test_canary_across_two_pieces_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "_CHUNK", 16)
    path = tmp_path / "log"
    path.write_text("0123456789" + SECRET.value + "rest" * 20)
    assert [find.kind for find in Sweep([SECRET]).search_file(path)] == ["password"]
    assert Sweep([SECRET]).search_file(tmp_path / "gone") == []


def test_run_searches_what_was_kept_for_what_was_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(canaries.FOLDER, str(tmp_path))
    value = canary("credential")
    remember("session_token", "eyJhbGciOiJIUzI1NiJ9.claims.signature")
    log = tmp_path / "gateway.log"
    log.write_text("all is well")
    keep(log, tmp_path / "absent", name="faults")
    assert {item.kind for item in noted(tmp_path)} == {"credential", "session_token"}

    def search() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.canaries", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert value not in done.stdout + done.stderr
        return done.returncode, done.stdout

    assert search() == (0, "2 canaries, 1 files, 0 found\n")
    log.write_text(f"upstream said: {value}")
    keep(log, name="faults")
    code, said = search()
    assert code == 1
    assert "a canary of kind 'credential' in kept/faults-" in said


def test_run_that_searched_nothing_fails(tmp_path: Path) -> None:
    assert canaries.main(tmp_path) == 1
