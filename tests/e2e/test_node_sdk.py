"""The official Node SDKs, unmodified: `node/*.test.mjs` under Node's own runner, each of its tests reported here."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import Product

NODE = Path(__file__).parent / "node"
CACHE = Path(__file__).parents[2] / ".cache"
INSTALL_SECONDS = 300
RUN_SECONDS = 120
# TAP as `node --test` writes it: a test's line stands below its suites, one step of four spaces each.
_LINE = re.compile(r"^ *(ok|not ok) \d+ - (.*?)(?: # (SKIP|TODO).*)?$", re.MULTILINE)


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with the locked packages, installed once for each state of the lock."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm and node are not installed: the Node SDKs are not tested here")
    lock = (NODE / "package-lock.json").read_bytes()
    folder = CACHE / f"node-sdk-{hashlib.sha256(lock).hexdigest()[:16]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "node-sdk.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            if done.returncode != 0:
                if "ENOTFOUND" in done.stderr or "EAI_AGAIN" in done.stderr or "ECONNREFUSED" in done.stderr:
                    pytest.skip("the package registry cannot be reached: the Node SDKs are not tested here")
                pytest.fail(f"npm ci failed:\n{done.stderr[-3000:]}")
            (folder / "installed").touch()
    return folder


@pytest.mark.parametrize(("suite", "least"), [("sdk.test.mjs", 40), ("vendors.test.mjs", 60)])
def test_the_node_sdks_pass_their_suites(product: Product, packages: Path, suite: str, least: int) -> None:
    # Beside the packages, because Node looks for them from where the file lies.
    script = shutil.copy(NODE / suite, packages)
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(script)],
        cwd=packages,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        env={
            **os.environ,
            "TOLLKEEPER_BASE_URL": product.base_url,
            "TOLLKEEPER_KEY": product.api_key,
            "UPSTREAM_STATS": f"{product.upstream.origin}/stats",
        },
    )
    failed = [name for result, name, _ in _LINE.findall(done.stdout) if result == "not ok"]
    passed = [name for result, name, _ in _LINE.findall(done.stdout) if result == "ok"]
    assert not failed, f"{failed}\n{done.stdout[-8000:]}"
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert len(passed) >= least
