"""How long a start takes on a data directory that exists, and how much memory each process holds after some calls.

`python -m bench.footprint`: no load figures, no pinning to cores; the whole machine is the gateway's, as after an install.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from bench import processes
from bench.processes import Child
from bench.rig import free_port
from bench.targets import HOST, Tollkeeper

_MODEL = "mock-fast"
_AT_ONCE = 16


def start(target: Tollkeeper, command: list[str], port: int) -> tuple[Child, float]:
    cores = os.sched_getaffinity(0)
    child = Child(target.name, command, min(cores), target.environment())
    # Before it has started anything: what it starts inherits this.
    os.sched_setaffinity(child.pid, cores)
    try:
        return child, child.wait_until_ready(f"http://{HOST}:{port}{target.ready_path}", target.ready_timeout_seconds)
    except BaseException:
        child.stop()
        raise


async def call_many(base_url: str, headers: dict[str, str], count: int) -> None:
    """Raises on the first call that is not answered 200."""
    document = {"model": _MODEL, "messages": [{"role": "user", "content": "Say five words."}]}
    turn = asyncio.Semaphore(_AT_ONCE)

    async def call(session: aiohttp.ClientSession) -> None:
        async with turn, session.post(f"{base_url}/v1/chat/completions", json=document) as answer:
            await answer.read()
            answer.raise_for_status()

    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(call(session) for _ in range(count)))


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def workers_of(pid: int) -> list[int]:
    return [
        each for each in processes.descendants(pid) if b"serve_worker" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def measure(folder: Path, *, starts: int, calls: int, workers: int) -> dict[str, Any]:
    mock_port, port = free_port(), free_port()
    cores = os.sched_getaffinity(0)
    mock = Child("mock", [sys.executable, "-m", "bench.mock_upstream", "--port", str(mock_port)], max(cores), {})
    try:
        mock.wait_until_ready(f"http://{HOST}:{mock_port}/stats", 20)
        target = Tollkeeper([_MODEL])
        command = target.command(port, f"http://{HOST}:{mock_port}/v1", folder)
        command[command.index("--workers") + 1] = str(workers)
        child, first = start(target, command, port)
        again: list[float] = []
        try:
            for _ in range(starts):
                child.stop()
                child, seconds = start(target, command, port)
                again.append(round(seconds, 2))
            idle = [round(resident_mb(pid), 1) for pid in workers_of(child.pid)]
            asyncio.run(call_many(f"http://{HOST}:{port}", target.headers(), calls))
            return {
                "first_start_seconds": round(first, 2),
                "warm_start_seconds": again,
                "calls": calls,
                "worker_rss_mb_idle": idle,
                "worker_rss_mb_after_calls": [round(resident_mb(pid), 1) for pid in workers_of(child.pid)],
                "supervisor_rss_mb": round(resident_mb(child.pid), 1),
            }
        finally:
            child.stop()
    finally:
        mock.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.footprint", description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="warm starts to time")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollkeeper-footprint-") as name:
        folder = Path(name)
        # Passable: started by root, the embedded servers run as another account.
        folder.chmod(0o711)
        figures = measure(folder, starts=options.starts, calls=options.calls, workers=options.workers)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
