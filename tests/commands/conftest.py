"""The command line against a real gateway: one `tollkeeper serve` for all these tests, which share an xdist worker.

`tollkeeper` runs a command inside this process; `spawn` starts one of its own, where the process itself is looked at.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.canaries import keep, remember
from tollkeeper.cli import app

_HERE = Path(__file__).parent
START_SECONDS = 120.0
STOP_SECONDS = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("commands"))


@dataclass(frozen=True)
class Said:
    """What a command printed, and the code it ended with."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tollkeeper = Callable[..., Said]


@dataclass
class Process:
    """A command in a process of its own; what it prints is collected while it runs."""

    child: "subprocess.Popen[str]"
    out: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def collect(self) -> None:
        for stream, lines in ((self.child.stdout, self.out), (self.child.stderr, self.error)):
            assert stream is not None
            thread = threading.Thread(target=lines.extend, args=[stream])
            thread.start()
            self.threads.append(thread)

    def wait(self, seconds: float = START_SECONDS) -> Said:
        try:
            self.child.wait(seconds)
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            for thread in self.threads:
                thread.join()
            for stream in (self.child.stdout, self.child.stderr):
                assert stream is not None
                stream.close()
        return Said(self.child.returncode, "".join(self.out), "".join(self.error))

    def stop(self) -> Said:
        self.child.send_signal(signal.SIGTERM)
        return self.wait(STOP_SECONDS)

    def until(self, is_there: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := is_there()):
            assert self.child.poll() is None, "".join(self.error)
            assert time.monotonic() < deadline, "".join(self.error)
            time.sleep(0.02)
        return found


def clean_environment() -> dict[str, str]:
    """Nothing of the developer's own configuration or keys."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TOLLKEEPER_") and not name.endswith("_API_KEY")
    }


def start(*words: str, folder: Path, **environment: str) -> Process:
    child = subprocess.Popen(
        [sys.executable, "-m", "tollkeeper", *words],
        cwd=folder,
        env={**clean_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = Process(child)
    process.collect()
    return process


@dataclass(frozen=True)
class Gateway:
    process: Process
    data_dir: Path
    first_run: dict[str, str]

    @property
    def origin(self) -> str:
        return self.first_run["base_url"].removesuffix("/v1")


def passable_folder() -> Path:
    """Unlike pytest's own temporary folders: started by root, the embedded servers run as another account."""
    folder = Path(tempfile.mkdtemp(prefix="tollkeeper-commands-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    folder = passable_folder()
    data_dir = folder / "data"
    process = start("serve", "--port", "0", "--data-dir", str(data_dir), "--json", folder=folder)
    try:
        process.until(lambda: '"ready"' in "".join(process.out))
        first_run = json.loads((data_dir / "first-run.json").read_text())
        for name in ("api_key", "admin_password"):
            remember(name, first_run[name])
        yield Gateway(process, data_dir, first_run)
    finally:
        said = process.stop()
        (folder / "gateway.log").write_text(said.out + said.error)
        keep(folder / "gateway.log", name="commands")
        shutil.rmtree(folder)


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Processes that are stopped with the test at the latest."""
    with ExitStack() as stack:

        def spawn(*words: str, **environment: str) -> Process:
            process = start(*words, folder=tmp_path, **environment)
            stack.callback(lambda: process.stop() if process.child.returncode is None else None)
            return process

        yield spawn


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tollkeeper:
    """Commands of somebody who has set nothing and whose folder is empty."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*words: str, stdin: str | None = None) -> Said:
        result = runner.invoke(app, list(words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def tollkeeper(alone: Tollkeeper, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Tollkeeper:
    """Commands in the folder of a running gateway."""
    monkeypatch.setenv("TOLLKEEPER_DATA_DIR", str(gateway.data_dir))
    return alone
