"""The bench itself: mock upstream, floor and target as real processes on their cores, and one load run at a time."""

import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.figures import Spread
from bench.generator import Measured
from bench.processes import ROOT, Child, Cores
from bench.scenarios import Scenario
from bench.targets import HOST, Floor, Target, ThinFloor


@dataclass(frozen=True)
class Side:
    """One server that load is put on; `child` is None for the upstream itself."""

    name: str
    base_url: str
    headers: dict[str, str]
    child: Child | None


@dataclass(frozen=True)
class Sample:
    """One load run against one side, and what it cost there."""

    measured: Measured
    served: int
    cpu_seconds: float | None
    store_cpu_seconds: float | None

    @property
    def cpu_us_per_call(self) -> float | None:
        return None if self.cpu_seconds is None or not self.served else self.cpu_seconds / self.served * 1e6

    @property
    def cpu_us_per_event(self) -> float | None:
        events = self.measured.events
        return None if self.cpu_seconds is None or not events else self.cpu_seconds / events * 1e6


@dataclass(frozen=True)
class Boot:
    first_seconds: float
    again_seconds: float | None
    stores_moved: int


@dataclass(frozen=True)
class KnownKey:
    """CPU of the stage that proves a key it has in memory: a plain one, and one with bounds of every kind."""

    plain_us: float
    bounded_us: float


@dataclass(frozen=True)
class Rig:
    direct: Side
    floor: Side
    thin: Side
    target: Side
    boot: Boot
    cores: Cores
    folder: Path
    generator: str

    def run(
        self,
        side: Side,
        scenario: Scenario,
        *,
        warmup_seconds: float,
        per_second: float | None = None,
        seconds: float | None = None,
        connections: int | None = None,
    ) -> Sample:
        body_file = self.folder / f"{scenario.name}.body"
        body_file.write_bytes(scenario.body)
        seconds = scenario.seconds if seconds is None else seconds
        command = [sys.executable, "-m", "bench.load", side.base_url + scenario.path, "--json"]
        command += ["--body-file", str(body_file), "--seconds", str(seconds), "--warmup", str(warmup_seconds)]
        command += ["--connections", str(connections or scenario.connections), "--generator", self.generator]
        command += [part for name, value in side.headers.items() for part in ("--header", f"{name}: {value}")]
        if scenario.is_stream:
            command.append("--stream")
        if per_second is not None:
            command += ["--per-second", f"{per_second:.1f}"]
        if side.child is not None:
            # Backends that a pool opened since the last run.
            processes.free_core_of_stores(side.child.pid, self.cores.load)
        served = self.stats()["requests"]
        before = processes.cost(side.child.pid) if side.child else None
        measured = self._load(command, timeout_seconds=seconds + warmup_seconds + 60)
        after = processes.cost(side.child.pid) if side.child else None
        spent = after.since(before) if after and before else None
        return Sample(
            measured=measured,
            served=self.stats()["requests"] - served,
            cpu_seconds=spent.own_seconds if spent else None,
            store_cpu_seconds=spent.store_seconds if spent else None,
        )

    def _load(self, command: list[str], timeout_seconds: float) -> Measured:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            preexec_fn=lambda: processes.pin(0, self.cores.load),
        )
        if ran.returncode != 0:
            raise processes.StartFailed(f"the load generator failed:\n{ran.stderr[-2000:]}")
        return _read_measured(ran.stdout)

    def measure_known_key(self) -> KnownKey:
        """In a process of its own, on the core where the gateway does the same."""
        ran = subprocess.run(
            [sys.executable, "-m", "bench.authenticate"],
            cwd=ROOT,
            env=processes.our_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=lambda: processes.pin(0, self.cores.server),
        )
        if ran.returncode != 0:
            raise processes.StartFailed(f"the stage could not be measured:\n{ran.stderr[-2000:]}")
        return KnownKey(**json.loads(ran.stdout))

    def stats(self) -> dict[str, int]:
        """What the mock upstream has served so far."""
        root = self.direct.base_url
        with urllib.request.urlopen(f"{root}/stats", timeout=5) as answer:
            stats: dict[str, int] = json.load(answer)
        return stats


def _read_measured(text: str) -> Measured:
    seen = json.loads(text.strip().splitlines()[-1])
    for name in ("latency_ms", "first_event_ms", "gap_ms"):
        if seen[name] is not None:
            seen[name] = Spread(**seen[name])
    return Measured(**seen)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def set_up(target: Target, folder: Path, *, generator: str = "auto") -> Iterator[Rig]:
    """Start everything, hand over the rig, stop everything, whatever happens between."""
    cores = processes.choose_cores()
    with contextlib.ExitStack() as stack:
        mock_port = free_port()
        mock = _start(
            stack, "mock", [sys.executable, "-m", "bench.mock_upstream", "--port", str(mock_port)], cores.load
        )
        mock_url = f"http://{HOST}:{mock_port}"
        mock.wait_until_ready(f"{mock_url}/stats", 20)
        floor, _ = _start_target(stack, Floor(), f"{mock_url}/v1", folder / "floor", cores)
        thin, _ = _start_target(stack, ThinFloor(), f"{mock_url}/v1", folder / "floor-thin", cores)
        side, boot = _start_target(stack, target, f"{mock_url}/v1", folder / target.name, cores, restart=True)
        yield Rig(Side("direct", mock_url, {}, None), floor, thin, side, boot, cores, folder, generator)


def _start(
    stack: contextlib.ExitStack, name: str, command: list[str], core: int, environment: dict[str, str] | None = None
) -> Child:
    child = Child(name, command, core, environment or {})
    stack.callback(child.stop)
    return child


def _start_target(
    stack: contextlib.ExitStack, target: Target, upstream: str, folder: Path, cores: Cores, *, restart: bool = False
) -> tuple[Side, Boot]:
    """Start a target; with `restart` start it twice, because the first boot creates its databases."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    base_url = f"http://{HOST}:{port}"
    command = target.command(port, upstream, folder)
    first_seconds, again_seconds = 0.0, None
    if restart:
        child, first_seconds = _start_once(target, base_url, command, cores.server)
        child.stop()
    child, seconds = _start_once(target, base_url, command, cores.server)
    stack.callback(child.stop)
    if restart:
        again_seconds = seconds
    else:
        first_seconds = seconds
    moved = processes.free_core_of_stores(child.pid, cores.load)
    name = target.name if not restart or target.name != Floor.name else "floor again"
    return Side(name, base_url, target.headers(), child), Boot(first_seconds, again_seconds, moved)


def _start_once(target: Target, base_url: str, command: list[str], core: int) -> tuple[Child, float]:
    child = Child(target.name, command, core, target.environment())
    try:
        return child, child.wait_until_ready(base_url + target.ready_path, target.ready_timeout_seconds)
    except BaseException:
        child.stop()
        raise
