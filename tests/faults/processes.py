"""What the kernel says of processes and connections, read from /proc; only descendants of our own are looked at."""

import os
import signal
import sys
import time
from pathlib import Path

# Told in the new process itself, whatever else this one is doing: it ends with whoever started it, even one killed.
_TIED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"


def tied(command: list[str]) -> list[str]:
    """The command as a process that gets SIGTERM when ours is gone, so that a run that was killed leaves nothing."""
    return [sys.executable, "-ISc", _TIED, *command] if sys.platform == "linux" else command


def stat_of(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; None for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def is_alive(pid: int) -> bool:
    fields = stat_of(pid)
    return fields is not None and fields[0] not in {"Z", "X"}


def started_at(pid: int) -> str | None:
    """With the pid it names a process for good: a pid alone is given out again."""
    fields = stat_of(pid)
    return fields[19] if fields else None


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = stat_of(int(entry.name))
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def crowding() -> float:
    """How many times slower this machine is than one with nothing else to do; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until_gone(pids: list[tuple[int, str | None]], *, seconds: float) -> list[str]:
    """The commands of those still there when the time is over."""
    began = time.monotonic()
    while True:
        left = [pid for pid, started in pids if is_alive(pid) and started_at(pid) == started]
        if not left or time.monotonic() >= began + seconds * crowding():
            return [f"{pid} {command_of(pid)}" for pid in left]
        time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)


def socket_inode(local_port: int, remote_port: int) -> str | None:
    """The inode of the connection from `local_port` to `remote_port` on this machine's loopback."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(name).read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
            if ports == [local_port, remote_port]:
                return fields[9]
    return None


def holds(pid: int, inode: str) -> bool:
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if str(entry.readlink()) == f"socket:[{inode}]":
                return True
        except OSError:
            continue  # Closed meanwhile.
    return False
