"""The life of one embedded server: start or adopt, prove, watch, stop. What differs is in `postgres` and `valkey`.

Two locks in the control folder carry it. `starter.lock` is held by the process that owns the server, for as long as it
lives; whoever finds it taken adopts the server, after a proof. `server.lock` is inherited by the server and all its
children, so it is free only when the last of them is gone, whatever killed them.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ClassVar, Self

from tollkeeper.core.embedded.binaries import Binaries, Package, installed, usable
from tollkeeper.core.embedded.error import EmbeddedError, writing_to
from tollkeeper.core.embedded.home import Home, find_home, make_control
from tollkeeper.core.embedded.lock import FileLock
from tollkeeper.core.embedded.port import free_port
from tollkeeper.core.embedded.process import ask_access, processes_at, send, spawn, wait_until

_PORT_ATTEMPTS = 10
# Both servers say it in the words of the C library, and `LC_ALL=C` keeps them.
_PORT_TAKEN = "Address already in use"
_LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Endpoint:
    """A server that answers; `url` holds its password and stays out of `repr`."""

    url: str = field(repr=False)
    pid: int
    port: int
    data_dir: Path


@dataclass(frozen=True)
class Address:
    pid: int
    port: int


@dataclass(frozen=True)
class Site:
    """What a server is started from."""

    home: Home
    binaries: Binaries


@dataclass(frozen=True)
class Running:
    """A server of our own, not necessarily ready."""

    child: subprocess.Popen[bytes]
    address: Address
    site: Site
    log_offset: int
    attempt: int


class EmbeddedServer(ABC):
    """Start it from the main thread: it is ended when the thread that started it ends."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    DEATH_SIGNAL: ClassVar[signal.Signals]
    # In order, each with the seconds it is given to work.
    STOP_SIGNALS: ClassVar[Sequence[tuple[signal.Signals, float]]]
    # How long processes of an earlier run may take to end by themselves.
    LEFTOVER_SECONDS: ClassVar[float]

    def __init__(self, data_dir: Path, *, package: Package, say: Callable[[str], None], elsewhere: Path) -> None:
        """`elsewhere` is where root's servers live when the data directory is closed to them (see `home`)."""
        self._data_dir = data_dir
        self._package = package
        self._say = say
        self._elsewhere = elsewhere
        self._control = data_dir / self.NAME
        self._starter: FileLock | None = None
        self._running: Running | None = None
        self._endpoint: Endpoint | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> Endpoint:
        assert self._endpoint is not None, "start() comes first"
        return self._endpoint

    @property
    def is_adopted(self) -> bool:
        """Another process owns it, and stops it."""
        return self._endpoint is not None and self._running is None

    def start(self, *, timeout_seconds: float = 120) -> Endpoint:
        """Start the server, or adopt the one another process runs on the same data directory.

        Called again after a crash it starts anew, on the same port, so that addresses handed out stay true.
        """
        return start_together([self], timeout_seconds=timeout_seconds)[0]

    def launch(self) -> None:
        """The first half of `start`: returns while the server is still starting. Use `start_together`, which cleans up."""
        if self._running is not None and self._running.child.poll() is None:
            return
        self._control = make_control(self._data_dir, self.NAME)
        if self._starter is None:
            self._starter = FileLock(self._control / "starter.lock")
        with writing_to(self._data_dir):
            is_owner = self._starter.is_held or self._starter.acquire()
        if is_owner:
            self._launch_own()

    def wait_ready(self, *, timeout_seconds: float = 120) -> Endpoint:
        """The second half of `start`: returns when the server has proved itself over an authenticated connection."""
        assert self._starter is not None, "launch() comes first"
        deadline = time.monotonic() + timeout_seconds
        patience = time.monotonic() + 5
        while True:
            endpoint = self._ready_own(self._running) if self._running else self._adopt()
            if endpoint is not None:
                self._endpoint = endpoint
                return endpoint
            if time.monotonic() > patience:
                self._say(f"{self.TITLE} is still starting ({self._control})")
                patience = deadline
            if time.monotonic() > deadline:
                raise EmbeddedError(self._late())
            time.sleep(0.005)

    def poll(self) -> bool:
        """Whether the server is alive."""
        if self._running is not None:
            return self._running.child.poll() is None
        if self._endpoint is None:
            return False
        try:
            socket.create_connection(("127.0.0.1", self._endpoint.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop our server and wait for its end; let go of an adopted one."""
        running, self._running, self._endpoint = self._running, None, None
        try:
            if running is not None:
                self._end(running.child)
                self._await_last_run(running.site.home).release()
        finally:
            if self._starter is not None:
                self._starter.release()

    @abstractmethod
    def _program(self) -> str:
        """Name of the server's program in its package."""

    @abstractmethod
    def _prepare(self, site: Site, server_lock: int) -> None:
        """Bring the storage into a state to start from. Every process of an earlier run is gone.

        What is spawned meanwhile inherits `server_lock`, so that the next start waits for its end.
        """

    @abstractmethod
    def _command(self, site: Site, port: int) -> tuple[list[str], bytes]:
        """Arguments, and what the server reads from standard input."""

    @abstractmethod
    def _is_up(self, running: Running) -> bool:
        """Whether our own server takes connections and is fit for use. Raises when it never will be."""

    @abstractmethod
    def _proves_itself(self, address: Address) -> bool:
        """Whether the server of this data directory, and no other, answers there."""

    @abstractmethod
    def _url(self, port: int) -> str: ...

    def _launch_own(self) -> None:
        self._endpoint = None
        home = find_home(self._control, self._say, elsewhere=self._elsewhere)
        with writing_to(self._data_dir):
            binaries = self._find_binaries(home)
            self._spawn(Site(home, binaries), attempt=1)

    def _find_binaries(self, home: Home) -> Binaries:
        def may_run(binaries: Binaries) -> bool:
            return ask_access(home.account, run=binaries.programs(), read=binaries.data()).runs

        return usable(installed(self._package), self.NAME, home.runtime, may_run=may_run)

    def _spawn(self, site: Site, *, attempt: int) -> None:
        lock = self._await_last_run(site.home)
        try:
            self._prepare(site, lock.descriptor)
            last = self._last_address()
            port = free_port(last.port if last and attempt == 1 else None)
            argv, config = self._command(site, port)
            with self._open_log() as log:
                offset = log.seek(0, os.SEEK_END)
                child = spawn(
                    argv,
                    account=site.home.account,
                    cwd=site.home.storage,
                    death_signal=self.DEATH_SIGNAL,
                    output=log,
                    config=config,
                    keep_open=[lock.descriptor],
                )
            self._running = Running(child, Address(child.pid, port), site, offset, attempt)
            write_private(self._control / "address.json", json.dumps({"pid": child.pid, "port": port}))
        finally:
            lock.release()  # The server has inherited it.

    def _ready_own(self, running: Running) -> Endpoint | None:
        if running.child.poll() is None:
            try:
                return self._make_endpoint(running.address) if self._is_up(running) else None
            except EmbeddedError:
                # One that dies while it is asked is not at fault for its answer; its log says more.
                if not wait_until(lambda: running.child.poll() is not None, seconds=0.2):
                    raise
                return None
        if self._endpoint is not None:  # It was ready, and died since.
            self._endpoint = None
            self._spawn(running.site, attempt=1)
            return None
        why = self._log_tail(running.log_offset)
        if _PORT_TAKEN in why and running.attempt < _PORT_ATTEMPTS:
            self._spawn(running.site, attempt=running.attempt + 1)
            return None
        raise EmbeddedError(f"{self.TITLE} did not start. Its last words, from {self._control}/server.log:\n{why}")

    def _adopt(self) -> Endpoint | None:
        assert self._starter is not None
        if self._starter.acquire():  # Its owner has ended.
            self._launch_own()
            return None
        address = self._last_address()
        return self._make_endpoint(address) if address and self._proves_itself(address) else None

    def _make_endpoint(self, address: Address) -> Endpoint:
        return Endpoint(self._url(address.port), address.pid, address.port, self._control)

    def _late(self) -> str:
        if self._running is not None:
            why = self._log_tail(self._running.log_offset)
            return f"{self.TITLE} takes too long to start. Its last words, from {self._control}/server.log:\n{why}"
        holder = self._starter.holder() if self._starter else None
        return (
            f"Process {holder} is using {self._control}, but the {self.TITLE} it started does not answer. "
            "Stop that process, or choose another --data-dir."
        )

    def _await_last_run(self, home: Home) -> FileLock:
        """Take `server.lock`: wait for processes of an earlier run to end, then end them."""
        lock = FileLock(self._control / "server.lock")
        if wait_until(lock.acquire, seconds=self.LEFTOVER_SECONDS):
            return lock
        for number in (signal.SIGQUIT, signal.SIGKILL):
            pids = self._leftovers(home)
            self._say(f"Ending what an earlier {self.TITLE} left behind: {pids}")
            for pid in pids:
                send(pid, number)
            if wait_until(lock.acquire, seconds=5):
                return lock
        message = (
            f"Processes of an earlier {self.TITLE} still use {home.storage} (started by process {lock.holder()}) "
            "and do not end. Stop them, or choose another --data-dir."
        )
        raise EmbeddedError(message)

    def _leftovers(self, home: Home) -> list[int]:
        return processes_at(home.storage, self._program())

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        for number, seconds in self.STOP_SIGNALS:
            if child.poll() is not None:
                return
            child.send_signal(number)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                self._say(f"{self.TITLE} has not stopped within {seconds:g} s of {number.name}")
        child.wait()

    def _last_address(self) -> Address | None:
        try:
            return Address(**json.loads((self._control / "address.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _open_log(self) -> IO[bytes]:
        path = self._control / "server.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "wb")

    def _log_tail(self, offset: int) -> str:
        with (self._control / "server.log").open("rb") as log:
            log.seek(offset)
            return b"\n".join(log.read().splitlines()[-12:]).decode(errors="replace")


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for the owner's eyes only."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def start_together(servers: Iterable[EmbeddedServer], *, timeout_seconds: float = 120) -> list[Endpoint]:
    """Start several at once, in the time of the slowest; none is left running when one fails."""
    servers = list(servers)
    try:
        for server in servers:
            server.launch()
        return [server.wait_ready(timeout_seconds=timeout_seconds) for server in servers]
    except BaseException:
        for server in servers:
            server.stop()
        raise
