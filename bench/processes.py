"""Real processes on chosen cores, and what the kernel says they cost. Linux reads /proc; elsewhere costs are None.

Only processes started here, and their descendants, are ever touched, each by its process id.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_STORES = ("postgres", "valkey", "redis")  # names of the embedded servers' processes


def our_environment() -> dict[str, str]:
    """The environment in which a child finds the bench and the gateway. It keeps what it compiles, as a user's does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backend")))}


class StartFailed(Exception):
    """A process ended or stayed silent before it was ready; the message carries the end of what it wrote."""


@dataclass(frozen=True)
class Cores:
    """Where things run: the server under test alone on one core, everything else on another."""

    server: int
    load: int

    @property
    def are_apart(self) -> bool:
        return self.server != self.load


def choose_cores() -> Cores:
    if not hasattr(os, "sched_getaffinity"):
        return Cores(0, 0)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[0], load=allowed[1] if len(allowed) > 1 else allowed[0])


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user and system) since the start: the gateway's own processes, and its embedded stores'."""

    own_seconds: float
    store_seconds: float

    def since(self, before: "Cost") -> "Cost":
        return Cost(self.own_seconds - before.own_seconds, self.store_seconds - before.store_seconds)


class Child:
    """One server process in its own session, pinned to a core, its output kept in a file."""

    def __init__(self, name: str, command: Sequence[str], core: int, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; `stop` closes it
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**our_environment(), **environment},
            start_new_session=True,
            preexec_fn=lambda: pin(0, core),  # noqa: PLW1509 - the harness has a single thread
        )
        self.pid = self._process.pid

    def wait_until_ready(self, url: str, timeout_seconds: float) -> float:
        """Seconds until `url` answered 200."""
        start = time.monotonic()
        while time.monotonic() - start < timeout_seconds:
            if self._process.poll() is not None:
                raise StartFailed(f"{self.name} ended with code {self._process.returncode}:\n{self.output_end()}")
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - start
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise StartFailed(f"{self.name} was not ready after {timeout_seconds:.0f} s:\n{self.output_end()}")

    def output_end(self, size: int = 3000) -> str:
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - size))
        return self._log.read().decode("utf-8", "replace")

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Ask, then insist; then the same for any descendant left behind."""
        left = [(pid, _started(pid)) for pid in descendants(self.pid)]
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout_seconds)
        self._log.close()
        for pid, started in left:
            # The start time tells our orphan from a stranger that was given the same number.
            if started is not None and _started(pid) == started:
                os.kill(pid, signal.SIGKILL)
                _wait_until_gone(pid, timeout_seconds)


def _wait_until_gone(pid: int, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while (fields := _stat(pid)) is not None and fields[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)


def free_core_of_stores(pid: int, core: int) -> int:
    """Move the embedded PostgreSQL and Redis servers below `pid` to `core`; how many were moved."""
    stores = [each for each in descendants(pid) if _is_store(each)]
    for each in stores:
        pin(each, core)
    return len(stores)


def pin(pid: int, core: int) -> None:
    if not hasattr(os, "sched_setaffinity"):
        return
    threads: Iterable[int] = (pid,)
    if pid:
        try:
            threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
        except FileNotFoundError:
            return
    for thread in threads:
        try:
            os.sched_setaffinity(thread, {core})
        except (ProcessLookupError, PermissionError):
            continue  # It ended, or belongs to another user; the report says how many were moved.


def cost(pid: int) -> Cost | None:
    if sys.platform != "linux":
        return None
    own = store = 0.0
    for each in [pid, *descendants(pid)]:
        seconds = _cpu_seconds(each)
        if _is_store(each):
            store += seconds
        else:
            own += seconds
    return Cost(own, store)


@dataclass(frozen=True)
class Moment:
    """What all cores and our own processes had worked by now, to tell later how quiet the machine was."""

    at: float
    busy_seconds: float
    own_seconds: float
    core_count: int

    def foreign_share_since(self, before: "Moment") -> float:
        """The share of all cores that processes other than ours used in between, 0 to 1."""
        foreign = (self.busy_seconds - before.busy_seconds) - (self.own_seconds - before.own_seconds)
        return min(1.0, max(0.0, foreign / ((self.at - before.at) * self.core_count)))


def look() -> Moment | None:
    if sys.platform != "linux":
        return None
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system, _idle, _wait, hard, soft = (int(field) for field in lines[0].split()[1:8])
    return Moment(
        at=time.monotonic(),
        busy_seconds=(user + nice + system + hard + soft) / _TICKS_PER_SECOND,
        own_seconds=sum(_cpu_seconds(each) for each in [os.getpid(), *descendants(os.getpid())]),
        core_count=sum(line.startswith("cpu") for line in lines) - 1,
    )


def resident_mb(pid: int) -> float | None:
    """The largest resident set among the gateway's own processes: that of a worker."""
    if sys.platform != "linux":
        return None
    sizes = [_resident_kb(each) for each in [pid, *descendants(pid)] if not _is_store(each)]
    return max(sizes, default=0) / 1024


def descendants(pid: int) -> list[int]:
    if sys.platform != "linux":
        return []
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and (fields := _stat(int(path.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found: list[int] = []
    waiting = list(children.get(pid, ()))
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting.extend(children.get(each, ()))
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name: state, parent, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _started(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[19] if fields else None


def _cpu_seconds(pid: int) -> float:
    """User, system and what ended children used."""
    fields = _stat(pid)
    return sum(int(fields[place]) for place in (11, 12, 13, 14)) / _TICKS_PER_SECOND if fields else 0.0


def _resident_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _is_store(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return name.startswith(_STORES)
