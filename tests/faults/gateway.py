"""The whole product as a process: `python -m tollkeeper serve` with a data directory, and the upstream beside it."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import httpx

from tests.canaries import keep, remember
from tests.faults import processes

READY_SECONDS: Final = 60.0
# For tests that are not about how long a look-up may take: on a crowded machine it takes longer.
UNHURRIED: Final = {"TOLLKEEPER_DATABASE_LOOKUP_MS": "5000"}
PRICE: Final = {"input_per_million": "1", "output_per_million": "2"}
_ROOT: Final = Path(__file__).parents[2]
# What a developer's shell may hold and a test must not see. Coverage is measured where the code is looked at, not where
# whole gateways are killed: traced, they start at half the speed.
_FOREIGN: Final = ("TOLLKEEPER_", "PROMETHEUS_", "COVERAGE_")


def clean_environment(**changes: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.endswith("_API_KEY")
    }
    return {**kept, **changes}


async def eventually(holds: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """The first true value of `holds` (a function, or one that returns an awaitable); fails after `seconds`.

    A deadline is for a machine that does nothing else; on a crowded one it is longer by how crowded it is.
    """
    began = time.monotonic()
    while True:
        value = holds()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < began + seconds * processes.crowding(), f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.03)


class UpstreamProcess:
    """`upstream.py` on a port of its own."""

    def __init__(self, port: int = 0) -> None:
        command = processes.tied([sys.executable, "-m", "tests.faults.upstream", str(port)])
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment(), cwd=_ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def log(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{self.port}/log", trust_env=False).json()
        return answer

    def find(self, user: str) -> list[dict[str, Any]]:
        return [entry for entry in self.log() if entry["user"] == user]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Gateway:
    """One data directory and the process that serves from it. `start` again after its end goes on with the same data."""

    def __init__(
        self,
        folder: Path,
        upstream_port: int,
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        dead_port: int = 1,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "tollkeeper.json"
        self.log_path = folder / "gateway.log"
        self.key = remember("api_key", f"tk-test-{secrets.token_hex(20)}")
        self.admin_password = remember("password", secrets.token_hex(12))
        self.workers = workers
        self._environment = dict(environment or {})
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.scheme = "http"
        self.write_config(default_config(upstream_port, dead_port))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    # ── Life ──

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tollkeeper", *words]

    def environment(self) -> dict[str, str]:
        return clean_environment(
            TOLLKEEPER_INIT_API_KEY=self.key,
            TOLLKEEPER_INIT_ADMIN_EMAIL="admin@example.com",
            TOLLKEEPER_INIT_ADMIN_PASSWORD=self.admin_password,
            **self._environment,
        )

    def serve_words(self, *, port: int | None = None) -> list[str]:
        chosen = self.port if port is None else port
        words = ["serve", "--port", str(chosen), "--data-dir", str(self.data_dir), "--workers", str(self.workers)]
        return self.command(*words, "--config", str(self.config), "--json", *self._flags)

    def start(self, *, wait: bool = True) -> float:
        """Returns the seconds it took to be ready."""
        began = time.monotonic()
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                processes.tied(self.serve_words()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
            )
        if wait:
            self.wait_ready(offset)
        return time.monotonic() - began

    def wait_ready(self, offset: int = 0) -> None:
        began = time.monotonic()
        while b'"ready"' not in self.log_since(offset):
            code = self.process.poll()
            assert code is None, f"serve ended with {code}:\n{self.log_tail()}"
            assert time.monotonic() < began + READY_SECONDS * processes.crowding(), (
                f"serve is not ready:\n{self.log_tail()}"
            )
            time.sleep(0.03)
        self.port = json.loads((self.data_dir / "serve.json").read_text())["port"]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9 of the supervisor alone."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        return self.process.wait(seconds)

    def stop(self) -> None:
        """Ask, insist, and leave nothing behind, whatever state a test left it in."""
        if self._process is None:
            return
        left = self.family()
        for pid, _ in left:
            if (fields := processes.stat_of(pid)) is not None and fields[0] in {"T", "t"}:
                processes.send(pid, signal.SIGCONT)
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        processes.wait_until_gone(left, seconds=12)
        for pid, started in left:
            if processes.is_alive(pid) and processes.started_at(pid) == started:
                processes.send(pid, signal.SIGKILL)
        keep(self.log_path, *(self.data_dir / "journal").rglob("*.jsonl"), name="faults")

    # ── Processes ──

    def family(self) -> list[tuple[int, str | None]]:
        """Every process below the supervisor, each with its start time."""
        return [(pid, processes.started_at(pid)) for pid in processes.descendants(self.process.pid)]

    def worker_pids(self) -> list[int]:
        found = processes.descendants(self.process.pid)
        return sorted(pid for pid in found if "tollkeeper.serve_worker" in processes.command_of(pid))

    def postmaster_pid(self) -> int:
        return self._store_pid("postgres")

    def postgres_pids(self) -> list[int]:
        postmaster = self.postmaster_pid()
        return [postmaster, *processes.descendants(postmaster)]

    def valkey_pid(self) -> int:
        return self._store_pid("valkey")

    def _store_pid(self, name: str) -> int:
        """The server itself: what `become.py` turned into, or the child of the one that holds a namespace."""
        known = int(json.loads((self.data_dir / name / "address.json").read_text())["pid"])
        found = [known, *processes.descendants(known)]
        return next((pid for pid in found if "become" not in processes.command_of(pid)), known)

    def worker_of(self, client_port: int) -> int:
        """The worker that accepted the connection from `client_port`."""
        inode = processes.socket_inode(self.port, client_port)
        assert inode is not None, "the connection is gone"
        return next(pid for pid in self.worker_pids() if processes.holds(pid, inode))

    # ── Files ──

    def write_config(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document, indent=1)
        self.config.write_text(text)

    def read_config(self) -> dict[str, Any]:
        return dict(json.loads(self.config.read_text()))

    def log_since(self, offset: int) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(offset)
            return log.read()

    def log_tail(self, lines: int = 60) -> str:
        """The end of what it wrote, without the access log."""
        told = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join([line for line in told if '"event":"call"' not in line][-lines:])

    # ── Talking to it ──

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self._request("GET", path, params=parameters)

    def post(self, path: str, document: Any = None) -> httpx.Response:
        return self._request("POST", path, json=document)

    def patch(self, path: str, document: Any, **headers: str) -> httpx.Response:
        return self._request("PATCH", path, json=document, headers=headers)

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """As the first administrator, on a connection of its own."""
        headers = {"authorization": f"Bearer {self.key}", **arguments.pop("headers", {})}
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            return client.request(method, self.origin + path, headers=headers, **arguments)

    def ready(self) -> dict[str, Any]:
        try:
            return dict(self.get("/health/ready").json())
        except (httpx.HTTPError, ValueError) as error:
            return {"status": type(error).__name__}

    def ask(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        """The document of an answer that must be a success; a busy machine may be late for a look-up, which is a 503."""
        deadline = time.monotonic() + 10
        while (answer := self._request(method, path, json=document)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def new_key(self, **fields: Any) -> dict[str, Any]:
        return self.ask("POST", "/api/v1/keys", {"name": "a key", **fields})

    # ── The database ──

    def database_url(self) -> str:
        folder = self.data_dir / "postgres"
        password = json.loads((folder / "passwords.json").read_text())["login"]
        port = json.loads((folder / "address.json").read_text())["port"]
        return f"postgresql://tollkeeper:{password}@127.0.0.1:{port}/tollkeeper"

    async def sql(self, statement: str, *values: Any, role: str = "tk_platform") -> list[dict[str, Any]]:
        connection = await self._connect()
        try:
            async with connection.transaction():
                await connection.execute("SELECT set_config('role', $1, true)", role)
                return [dict(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A server that was killed takes a moment to come back."""
        deadline = time.monotonic() + 20 * processes.crowding()
        while True:
            try:
                return await asyncpg.connect(self.database_url(), timeout=10)
            except (asyncpg.CannotConnectNowError, ConnectionError):
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.1)

    async def ledger(self, prefix: str = "") -> list[dict[str, Any]]:
        """The rows of the calls whose `user` begins with `prefix`."""
        return await self.sql(
            "SELECT request_id, attempt, kind, status, http_status, error_code, model, provider, end_user, is_estimated, "
            "input_tokens, output_tokens, cost_nano FROM usage_logs WHERE end_user LIKE $1 || '%' ORDER BY created_at",
            prefix,
        )


def default_config(upstream_port: int, dead_port: int) -> dict[str, Any]:
    """`up-…` leads to the upstream, `dead` to a closed port, `spare-…` to the closed port first."""
    return {
        "providers": [
            _provider("up", upstream_port),
            _provider("dead", dead_port),
        ],
        "models": [
            {"name": "up-*", "targets": [{"provider": "up", "model": "*"}], "price": PRICE},
            {"name": "dead", "targets": [{"provider": "dead", "model": "dead"}], "price": PRICE},
            _spare("spare", "dead", "dead"),
            _spare("spare-garbage", "up", "up-garbage"),
            _spare("spare-500", "up", "up-status500"),
            _spare("spare-hang", "up", "up-hang"),
            _spare("spare-cut0", "up", "up-cut0"),
            _spare("spare-cut3", "up", "up-stream9x10-cut3"),
        ],
    }


def _provider(name: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "openai_compatible",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key": "none",
        "allow_private_address": True,
        "timeouts": {"connect": 2, "first_byte": 2, "idle": 2, "total": 60},
        # It works no longer than somebody listens; another would be read to its end.
        "options": {"cancel_stops_billing": True},
    }


def _spare(name: str, provider: str, model: str) -> dict[str, Any]:
    """A model whose first target fails and whose second is well."""
    targets = [{"provider": provider, "model": model}, {"provider": "up", "model": "up-spare"}]
    return {"name": name, "targets": targets, "price": PRICE}
