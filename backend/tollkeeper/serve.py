"""The supervisor behind `tollkeeper serve`: it owns the socket, the embedded servers and the workers, and stays small.

It imports neither FastAPI nor SQLAlchemy, runs one thread (the kernel ties children to the thread that forked them) and
restarts whatever dies. What a worker serves is built in `serve_worker.py`; what is printed, in `banner.py`.
"""

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tollkeeper.core.config import Settings
from tollkeeper.core.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedServer,
    EmbeddedValkey,
    make_data_dir,
    start_together,
)
from tollkeeper.core.embedded.lock import FileLock
from tollkeeper.core.key_file import KeyFileError, read_key_texts

Say = Callable[[str], None]
Report = dict[str, Any]

_RESTART_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_STABLE_SECONDS: Final = 30.0
# Between two tries to start an embedded server that ended.
_REVIVE_PAUSE: Final = 1.0
# A worker drains by itself; past its own bound plus this it is ended.
_KILL_AFTER_DRAIN: Final = 5.0


class StartError(Exception):
    """The gateway cannot start; the message is a sentence for the person at the terminal."""


@dataclass
class Worker:
    number: int
    process: subprocess.Popen[bytes]
    control: int  # our end of the pipe on which it reports
    started: float
    is_ready: bool = False
    buffer: bytes = b""


@dataclass
class Slot:
    """A place for a worker; keeps count of how often the one in it died young."""

    number: int
    worker: Worker | None = None
    failures: int = 0
    restart_at: float = 0.0


@dataclass
class Supervisor:
    """`on_ready` is called once, with the first worker's report, when every worker serves."""

    settings: Settings
    say: Say
    on_ready: Callable[[Report], None]
    overrides: Mapping[str, str] = field(default_factory=dict)
    _slots: list[Slot] = field(default_factory=list)
    _stores: list[EmbeddedServer] = field(default_factory=list)
    _signals: list[int] = field(default_factory=list)
    _worker_settings: dict[str, Any] = field(default_factory=dict)
    _failure: str | None = None
    _first_report: Report | None = None
    _is_announced: bool = False
    _revive_at: dict[str, float] = field(default_factory=dict)
    _early: list[Worker] = field(default_factory=list)
    _metrics: Path = field(init=False)

    def run(self) -> int:
        """Serve until a signal says stop; returns the exit code. Raises `StartError` before anything listens."""
        data_dir = prepare_data_dir(self.settings.data_dir)
        lock = self._lock(data_dir)
        try:
            with (
                bind(self.settings) as listener,
                self._signals_caught() as wake,
                selectors.DefaultSelector() as selector,
            ):
                try:
                    # They load while the servers start; what they serve with is told to them afterwards.
                    self._clear_metrics(data_dir)
                    # Before anything is started: what is wrong with them is said at once.
                    keys = self._master_keys(data_dir)
                    self._early.extend(self._launch(number, listener) for number in range(self.settings.workers))
                    self._start_stores(data_dir)
                    self._prepare_workers(data_dir, listener, keys)
                    selector.register(wake, selectors.EVENT_READ)
                    self._slots = [Slot(number) for number in range(self.settings.workers)]
                    code = self._watch(selector, listener)
                finally:
                    # Workers close theirs as they drain; while anybody holds it, new callers would wait in its queue.
                    listener.close()
                    self._stop_workers()
                    self._end_early()
                    for store in reversed(self._stores):
                        store.stop()
                return code
        except EmbeddedError as error:
            raise StartError(error.message) from error
        finally:
            lock.release()

    def _lock(self, data_dir: Path) -> FileLock:
        lock = FileLock(data_dir / "serve.lock")
        if not lock.acquire():
            note = _read_note(data_dir)
            raise StartError(
                f"another gateway already serves from {data_dir} (pid {lock.holder() or note.get('pid', '?')}, "
                f"port {note.get('port', '?')}). Stop it, or choose another folder with --data-dir."
            )
        return lock

    def _start_stores(self, data_dir: Path) -> None:
        if self.settings.is_redis_embedded:
            self._stores.append(EmbeddedValkey(data_dir, say=self.say))
        if self.settings.is_database_embedded:
            self._stores.append(EmbeddedPostgres(data_dir, say=self.say))
        start_together(self._stores)

    def _prepare_workers(self, data_dir: Path, listener: socket.socket, keys: dict[str, Any]) -> None:
        """What every worker gets over its standard input: the settings with the embedded servers filled in."""
        values: dict[str, Any] = {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
            for name, value in self.settings
            if value is not None
        }
        for store in self._stores:
            name = "redis_url" if isinstance(store, EmbeddedValkey) else "database_url"
            values[name] = store.endpoint.url
        values.update(keys)
        values["data_dir"] = str(data_dir)
        values["migrate_at_start"] = self.settings.migrate_at_start or self.settings.is_database_embedded
        values["port"] = listener.getsockname()[1]
        self._worker_settings = json.loads(json.dumps(values, default=str))
        note = {"pid": os.getpid(), "port": values["port"], "origin": self.settings.origin_at(values["port"])}
        (data_dir / "serve.json").write_text(json.dumps(note))

    def _master_keys(self, data_dir: Path) -> dict[str, Any]:
        """Read once: every worker, also one that is started later, has the same."""
        settings = self.settings
        try:
            texts = read_key_texts(
                settings.master_key.get_secret_value() if settings.master_key else None,
                settings.master_key_file,
                settings.master_keys_previous.get_secret_value() if settings.master_keys_previous else None,
                settings.master_keys_previous_file,
            )
        except KeyFileError as error:
            raise StartError(str(error)) from error
        if texts.current is None and not settings.is_database_embedded:
            raise StartError(
                "TOLLKEEPER_MASTER_KEY is not set. Every secret in your database is derived from it: "
                "set it to 32 random bytes in hexadecimal (openssl rand -hex 32) and keep it as you keep the database."
            )
        return {
            "master_key": texts.current or embedded_master_key(data_dir),
            "master_key_file": None,
            "master_keys_previous": texts.joined,
            "master_keys_previous_file": None,
        }

    def _clear_metrics(self, data_dir: Path) -> None:
        """What an earlier run's workers counted is over."""
        self._metrics = data_dir / "metrics"
        shutil.rmtree(self._metrics, ignore_errors=True)
        self._metrics.mkdir(mode=0o700)

    def _watch(self, selector: selectors.BaseSelector, listener: socket.socket) -> int:
        while True:
            self._start_missing(selector, listener)
            for key, _ in selector.select(timeout=0.5):
                if isinstance(key.data, Slot):
                    self._read_reports(selector, key.data)
                else:
                    os.read(key.fd, 512)
            self._reap(selector)
            if self._failure is not None:
                raise StartError(self._failure)
            while self._signals:
                number = self._signals.pop(0)
                if number in {signal.SIGTERM, signal.SIGINT}:
                    return 0
                if number == signal.SIGHUP:
                    self.say("reloading the configuration ...")
                    self._signal_workers(signal.SIGHUP)
            self._revive_stores()

    def _revive_stores(self) -> None:
        """Without waiting for it to be ready: meanwhile workers are watched, and serve whom they know."""
        now = time.monotonic()
        for store in self._stores:
            if now < self._revive_at.get(store.NAME, 0.0) or store.poll():
                continue
            self._revive_at[store.NAME] = now + _REVIVE_PAUSE
            self.say(f"the embedded {store.TITLE} ended; starting it again ...")
            try:
                store.launch()
            except EmbeddedError as error:
                self.say(error.message)

    def _start_missing(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        for slot in self._slots:
            if slot.worker is None and time.monotonic() >= slot.restart_at:
                slot.worker = self._spawn(slot.number, listener)
                selector.register(slot.worker.control, selectors.EVENT_READ, slot)

    def _spawn(self, number: int, listener: socket.socket) -> Worker:
        """A worker that is told its settings: one that is loading already, or a new one."""
        worker = self._early.pop(0) if self._early else self._launch(number, listener)
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.write(json.dumps(self._worker_settings).encode())
            worker.process.stdin.close()
        return worker

    def _launch(self, number: int, listener: socket.socket) -> Worker:
        """Start a worker's process; it loads, and then waits for its settings."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
        }
        words = [str(listener.fileno()), str(theirs), str(os.getpid()), str(number)]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own words
                [sys.executable, "-m", "tollkeeper.serve_worker", *words],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno(), theirs],
                env=environment,
                # Its own session: Ctrl-C reaches the supervisor alone, which tells the workers to drain.
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return Worker(number, process, ours, time.monotonic())

    def _end_early(self) -> None:
        """Workers that never got their settings, because the start failed."""
        while self._early:
            worker = self._early.pop()
            worker.process.kill()
            worker.process.communicate()
            os.close(worker.control)

    def _read_reports(self, selector: selectors.BaseSelector, slot: Slot) -> None:
        worker = slot.worker
        assert worker is not None
        with contextlib.suppress(BlockingIOError):
            data = os.read(worker.control, 65_536)
            if not data:
                selector.unregister(worker.control)
                return
            worker.buffer += data
        *lines, worker.buffer = worker.buffer.split(b"\n")
        for line in lines:
            self._take_report(worker, json.loads(line))

    def _take_report(self, worker: Worker, report: Report) -> None:
        match report["event"]:
            case "ready":
                worker.is_ready = True
                if self._first_report is None or report.get("first_run"):
                    self._first_report = {**(self._first_report or {}), **report}
                if not self._is_announced and all(slot.worker and slot.worker.is_ready for slot in self._slots):
                    self._is_announced = True
                    self.on_ready(self._first_report)
            case "failed":
                # A worker that says why it cannot start will not start the next time either.
                if self._first_report is None:
                    self._failure = report["message"]
                else:
                    self.say(f"worker {worker.number}: {report['message']}")
            case "reloaded":
                self.say(f"worker {worker.number}: {report['message']}")

    def _reap(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for slot in self._slots:
            worker = slot.worker
            if worker is None:
                continue
            code = worker.process.poll()
            if code is None:
                if slot.failures and now - worker.started > _STABLE_SECONDS:
                    slot.failures = 0
                continue
            with contextlib.suppress(KeyError, ValueError):
                self._read_reports(selector, slot)
                selector.unregister(worker.control)
            os.close(worker.control)
            slot.worker = None
            pause = _RESTART_PAUSES[min(slot.failures, len(_RESTART_PAUSES) - 1)]
            slot.failures += 1
            slot.restart_at = now + pause
            _forget_metrics(self._metrics, worker.process.pid)
            self.say(f"worker {worker.number} ended with {_name_of(code)}; starting another ...")
            if self._first_report is None and slot.failures > len(_RESTART_PAUSES):
                self._failure = "the workers end before they are ready; the lines above say why."

    def _signal_workers(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.worker is not None:
                with contextlib.suppress(ProcessLookupError):
                    slot.worker.process.send_signal(number)

    def _stop_workers(self) -> None:
        """Drain: each worker takes no new calls and finishes the running ones; past the bound it is ended."""
        self._signal_workers(signal.SIGTERM)
        deadline = time.monotonic() + self.settings.drain_seconds + _KILL_AFTER_DRAIN
        for slot in self._slots:
            if slot.worker is None:
                continue
            try:
                slot.worker.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"worker {slot.number} did not finish in time and is ended.")
                slot.worker.process.kill()
                slot.worker.process.wait()

    @contextlib.contextmanager
    def _signals_caught(self) -> Iterator[int]:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        old = {number: signal.signal(number, lambda number, _: self._signals.append(number)) for number in numbers}
        # Only to wake the loop when a child ends.
        old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in old.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)


def prepare_data_dir(path: Path) -> Path:
    """Make the folder and prove that it can be written to. Raises `StartError`."""
    try:
        make_data_dir(path)
        probe = path / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except EmbeddedError as error:
        raise StartError(error.message) from error
    except OSError as error:
        raise StartError(
            f"cannot write to the data folder {path} ({error.strerror}). Choose another with --data-dir, or change its owner."
        ) from error
    return path.resolve()


def embedded_master_key(data_dir: Path) -> str:
    """The generated root of our secrets, beside the embedded database it belongs to; 0600, made once."""
    path = data_dir / "master.key"
    if not path.exists():
        if (data_dir / "serve.json").exists():
            raise StartError(
                f"{path} is gone, and the stored secrets of this folder need it. Put it back from a backup, or set "
                "TOLLKEEPER_MASTER_KEY to what it held."
            )
        # Whole or not at all: a start that was killed here must not leave half a key.
        fresh = data_dir / f"master.key.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    key = path.read_text().strip()
    if len(key) != 64:
        raise StartError(f"{path} is damaged. Put the key back from a backup: the stored secrets need it.")
    return key


@contextlib.contextmanager
def bind(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket that every worker inherits."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(2048)
        except OSError as error:
            raise StartError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
                "Stop what uses that port, or choose another with --port."
            ) from error
        yield listener
    finally:
        listener.close()


def _read_note(data_dir: Path) -> dict[str, Any]:
    try:
        note = json.loads((data_dir / "serve.json").read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _forget_metrics(folder: Path, pid: int) -> None:
    """What a dead worker's gauges showed is no longer true (its counters still count)."""
    for path in folder.glob(f"gauge_live*_{pid}.db"):
        path.unlink(missing_ok=True)


def _name_of(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
