"""instructor and LlamaIndex, unmodified: they need an older OpenAI SDK, so they have a lock and an environment of their own."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import VENDORS, Product

CLIENTS = Path(__file__).parent / "clients"
CACHE = Path(__file__).parents[2] / ".cache"
INSTALL_SECONDS = 600
RUN_SECONDS = 400
MODELS = ("priced-chat", *(f"{vendor}/simulated" for vendor in VENDORS))


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of the locked packages, installed once for each state of the lock."""
    lock = (CLIENTS / "uv.lock").read_bytes()
    folder = CACHE / f"clients-{hashlib.sha256(lock + sys.version.encode()).hexdigest()[:16]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "clients.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            command = [
                find_installer(),
                "sync",
                "--frozen",
                "--no-python-downloads",
                "--python",
                sys.executable,
                "--quiet",
            ]
            environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)}
            environment.pop("VIRTUAL_ENV", None)
            environment.setdefault("UV_SYSTEM_CERTS", "true")
            done = subprocess.run(
                command,
                cwd=CLIENTS,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
            if done.returncode != 0:
                pytest.fail(f"the clients could not be installed:\n{done.stderr[-3000:]}")
            (folder / "installed").touch()
    return folder / "bin" / "python"


def find_installer() -> str:
    """The one that installed what these tests run on (`./tollkeeper test`), else one on the path."""
    if chosen := os.environ.get("TOLLKEEPER_UV"):
        return chosen
    fetched = sorted(CACHE.glob("uv-*/bin/uv"))
    found = str(fetched[-1]) if fetched else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed: run these tests with ./tollkeeper test, which fetches it")
    return found


def test_instructor_and_llamaindex_pass_their_checks(product: Product, python: Path) -> None:
    done = subprocess.run(
        [python, "-W", "ignore", CLIENTS / "suite.py", *MODELS],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/tmp"),
            "TOLLKEEPER_BASE_URL": product.base_url,
            "TOLLKEEPER_KEY": product.api_key,
        },
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout.splitlines()[-1])
    failed = {name: result for name, result in results.items() if result != "ok"}
    assert not failed, "\n".join(f"{name}:\n{result}" for name, result in failed.items())
    assert len(results) == 7 * len(MODELS)
