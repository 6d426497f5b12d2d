"""Processes of the embedded servers: spawn one that cannot outlive us, and find those that did.

A child is tied to the *thread* that spawns it (that is how `PR_SET_PDEATHSIG` works), so the supervisor starts servers
from its main thread. The spawning itself goes through `become.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_BECOME = Path(__file__).with_name("become.py")


@dataclass(frozen=True)
class Account:
    """Whose rights a server has; `inside` is the name it goes by in a user namespace of its own."""

    uid: int
    gid: int
    inside: tuple[int, int] | None = None

    @classmethod
    def own(cls) -> "Account":
        return cls(os.geteuid(), os.getegid())


@dataclass(frozen=True)
class Access:
    enters: bool
    runs: bool


def spawn(
    argv: Sequence[str],
    *,
    account: Account,
    cwd: Path,
    death_signal: signal.Signals,
    output: IO[bytes] | int,
    config: bytes = b"",
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` as `account`; it gets `config` on standard input and `death_signal` when this thread ends."""
    child = subprocess.Popen(  # noqa: S603 -- our own programs
        _command(account, death_signal, argv=list(argv), cwd=str(cwd)),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment(),
        pass_fds=list(keep_open),
        # Its own session: Ctrl-C at the terminal must reach the gateway, which drains first, and not the database.
        start_new_session=True,
    )
    assert child.stdin is not None
    try:
        child.stdin.write(config)
        child.stdin.close()
    except BrokenPipeError:
        pass  # It has ended already; whoever waits for it reads why in its log.
    return child


def ask_access(
    account: Account, *, enter: Sequence[Path] = (), run: Sequence[Path] = (), read: Sequence[Path] = ()
) -> Access:
    """What `account` may do, found by becoming it; an account that cannot be had may do nothing."""
    if account == Account.own():
        runs = all(os.access(path, os.R_OK | os.X_OK) for path in run) and all(
            os.access(path, os.R_OK) for path in read
        )
        return Access(enters=all(os.access(path, os.X_OK) for path in enter), runs=runs)
    command = _command(account, signal.SIGKILL, enter=[*map(str, enter)], run=[*map(str, run)], read=[*map(str, read)])
    answer = subprocess.run(  # noqa: S603 -- our own script
        command, capture_output=True, check=False, cwd="/", env=environment(), timeout=30
    )
    if answer.returncode != 0:
        return Access(enters=False, runs=False)
    return Access(**json.loads(answer.stdout))


def environment() -> dict[str, str]:
    """A clean one: `PGOPTIONS`, `PGSERVICE`, `LC_*` and their like must not bend a server."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def processes_at(directory: Path, program: str) -> list[int]:
    """Process ids of `program` working in `directory` (Linux; elsewhere none are found)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            at_home = (entry / "cwd").readlink() == directory
            name = (entry / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            continue  # Gone meanwhile, or another account's, and so not ours.
        if at_home and name == program:
            found.append(int(entry.name))
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may already be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(true: Callable[[], bool], *, seconds: float) -> bool:
    """Poll real processes with a deadline; there is nothing to be notified by."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _command(account: Account, death_signal: signal.Signals, **rest: object) -> list[str]:
    spec = {
        "uid": account.uid,
        "gid": account.gid,
        "inside": account.inside,
        "death_signal": int(death_signal),
        "parent": os.getpid(),
        "argv": [],
        **rest,
    }
    return [sys.executable, "-I", "-S", str(_BECOME), json.dumps(spec)]
