"""The processes that the end-to-end suite runs against: the whole product, and the provider behind it."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import yaml

from tests.canaries import keep, remember

# Long enough for a first start on a machine that is busy with the rest of the suite.
START_SECONDS = 120.0
STOP_SECONDS = 30.0
UPSTREAM_KEY = remember("credential", "upstream-key-of-the-end-to-end-suite")
# Dollars per million tokens. Odd on purpose: a rounding that is off by one shows.
PRICE = {"input_per_million": "0.157", "cached_input_per_million": "0.031", "output_per_million": "1.213"}
# Providers that speak other formats than OpenAI's; each serves `<name>/simulated…`.
VENDORS = ("claude", "gemini", "bedrock", "azure")
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a process with threads must not load anything.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class DidNotStart(Exception):
    pass


@dataclass
class Upstream:
    """`tollkeeper simulate` as a process, and what it says it served."""

    origin: str
    process: "subprocess.Popen[str]"

    def stats(self, after: int = 0) -> dict[str, Any]:
        found = httpx.get(f"{self.origin}/stats", params={"after": after}, timeout=10).json()
        assert isinstance(found, dict)
        return found

    def records(self, model: str, after: int = 0) -> list[dict[str, Any]]:
        """The requests for one model, oldest first."""
        return [record for record in self.stats(after)["records"] if record["model"] == model]

    def last_sequence(self) -> int:
        return int(self.stats(after=10**9)["last_sequence"])


@dataclass
class Product:
    """The gateway as a caller sees it."""

    origin: str
    api_key: str
    admin_email: str
    admin_password: str
    upstream: Upstream
    data_dir: Path
    process: "subprocess.Popen[str]"
    _token: str | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def base_urls(self) -> tuple[str, str]:
        """Both places that every inference path is served under."""
        return f"{self.origin}/v1", f"{self.origin}/api/v1"

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call of the control plane as the first administrator."""
        if self._token is None:
            login = {"email": self.admin_email, "password": self.admin_password}
            answer = httpx.post(f"{self.origin}/api/v1/auth/login", json=login, timeout=30)
            answer.raise_for_status()
            self._token = answer.json()["access_token"]
        headers = {"authorization": f"Bearer {self._token}"}
        answer = httpx.request(method, f"{self.origin}/api/v1{path}", headers=headers, timeout=30, **options)
        answer.raise_for_status()
        return answer

    def new_key(self, name: str, **fields: Any) -> dict[str, Any]:
        created = self.admin("POST", "/keys", json={"name": name, **fields}).json()
        assert isinstance(created, dict)
        return created

    def usage_records(self) -> list[dict[str, Any]]:
        """Every record of the ledger, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"limit": 100, **({"cursor": cursor} if cursor else {})}
            page = self.admin("GET", "/usage/records", params=params).json()
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found[::-1]


@contextlib.contextmanager
def running_upstream() -> Iterator[Upstream]:
    command = [sys.executable, "-m", "tollkeeper", "simulate", "--port", "0", "--api-key", UPSTREAM_KEY]
    with _running(command, {}) as process:
        assert process.stdout is not None
        line = _read_line(process, process.stdout)
        found = re.search(r"(http://\S+)/v1", line)
        assert found is not None, line
        yield Upstream(found[1], process)


@contextlib.contextmanager
def running_product(upstream: Upstream) -> Iterator[Product]:
    """`tollkeeper serve` with its embedded servers, in a fresh data directory, with everything left as it ships."""
    with tempfile.TemporaryDirectory(prefix="tollkeeper-e2e-") as name:
        folder = Path(name)
        # Started by root, the embedded servers run as another account and must pass.
        folder.chmod(0o711)
        config = folder / "tollkeeper.yaml"
        # Through JSON: shared values would become anchors, which the reader refuses.
        config.write_text(yaml.safe_dump(json.loads(json.dumps(configuration(upstream)))))
        data_dir = folder / "data"
        command = [sys.executable, "-m", "tollkeeper", "serve", "--port", "0", "--json"]
        command += ["--data-dir", str(data_dir), "--config", str(config)]
        with _running(command, {"OPENAI_API_KEY": ""}, folder) as process:
            wait_for(lambda: (data_dir / "first-run.json").exists(), process, START_SECONDS)
            first_run = json.loads((data_dir / "first-run.json").read_text())
            for name in ("api_key", "admin_password"):
                remember(name, first_run[name])
            origin = first_run["base_url"].removesuffix("/v1").replace("localhost", "127.0.0.1")
            yield Product(
                origin,
                first_run["api_key"],
                first_run["admin_email"],
                first_run["admin_password"],
                upstream,
                data_dir,
                process,
            )


def configuration(upstream: Upstream) -> dict[str, Any]:
    """One good provider behind several names, and the bad ones that failures need."""
    here = {
        "kind": "openai_compatible",
        "allow_private_address": True,
        "timeouts": {"first_byte": 1.5, "idle": 5},
        # What nobody waits for any more is cancelled, as at most vendors: else it would be read to its end and paid.
        "options": {"cancel_stops_billing": True},
    }
    base_url = f"{upstream.origin}/v1"

    def model(name: str, *targets: tuple[str, str], price: Mapping[str, str] | None = PRICE) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": name, "targets": [{"provider": p, "model": m} for p, m in targets]}
        return entry if price is None else {**entry, "price": dict(price)}

    return {
        "providers": [
            {
                "name": "upstream",
                "base_url": base_url,
                "api_key": UPSTREAM_KEY,
                **here,
                "passthrough": {"allow": ["GET /fine_tuning/jobs"], "per_request_usd": "0.002"},
                "fine_tuning": {"per_job_usd": "25"},
            },
            {"name": "rejected", "base_url": base_url, "api_key": "a-key-that-was-revoked", **here},
            {"name": "nowhere", "base_url": "http://127.0.0.1:9/v1", **here},
            # The same upstream in other vendors' formats.
            {"name": "claude", **here, "kind": "anthropic", "base_url": upstream.origin, "api_key": UPSTREAM_KEY},
            {"name": "gemini", **here, "kind": "gemini", "base_url": upstream.origin, "api_key": UPSTREAM_KEY},
            {"name": "bedrock", **here, "kind": "bedrock", "base_url": upstream.origin, "api_key": UPSTREAM_KEY},
            {
                "name": "azure",
                **here,
                "kind": "azure",
                "base_url": upstream.origin,
                "api_key": UPSTREAM_KEY,
                "options": {**here["options"], "api_version": "2024-10-21"},
            },
        ],
        "models": [
            model("priced-chat", ("upstream", "simulated")),
            model("vendor/priced-chat:latest", ("upstream", "simulated")),
            model("priced-embedding", ("upstream", "simulated-embedding")),
            # `up/simulated-status-429` reaches the upstream under its whole name, which chooses the fault.
            model("up/*", ("upstream", "*")),
            *(model(f"{vendor}/*", (vendor, "*")) for vendor in VENDORS),
            model("unpriced-chat", ("upstream", "simulated"), price=None),
            model("rejected-chat", ("rejected", "simulated")),
            model("nowhere-chat", ("nowhere", "simulated")),
            model("failover-chat", ("nowhere", "simulated"), ("upstream", "simulated-status-500"), ("upstream", "simulated")),
        ],
        "settings": {
            "commit_after_seconds": 0.5,
            "keepalive_comment_seconds": 0.2,
        },
    }  # fmt: skip


def wait_for(is_there: Any, process: "subprocess.Popen[str] | None" = None, seconds: float = 20.0) -> Any:
    """Poll until the answer is true and return it; for what another process does in its own time."""
    deadline = time.monotonic() + seconds
    while True:
        found = is_there()
        if found:
            return found
        if process is not None and process.poll() is not None:
            raise DidNotStart(f"the process ended with {process.returncode}; its output stands above")
        if time.monotonic() > deadline:
            raise DidNotStart(f"nothing came within {seconds} s")
        time.sleep(0.02)


@contextlib.contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], folder: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The process, ended by SIGTERM; by SIGKILL and a failure when that does not help. Its log goes to ours."""
    with tempfile.NamedTemporaryFile("w+", prefix="tollkeeper-e2e-", suffix=".log") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env={**_clean_environment(), **environment},
            preexec_fn=_die_with_the_tests,
        )
        try:
            yield process
        except BaseException:
            _show(log)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                _show(log)
                raise
            finally:
                assert process.stdout is not None
                process.stdout.close()
                keep(Path(log.name), name="e2e")


def _die_with_the_tests() -> None:
    """A run of pytest that is killed leaves nothing behind."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _clean_environment() -> dict[str, str]:
    """Nothing of the developer's own configuration or keys, and no measuring of coverage, which halves the speed."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOLLKEEPER_", "COVERAGE_")) and not name.endswith("_API_KEY")
    }


def _read_line(process: "subprocess.Popen[str]", stream: IO[str]) -> str:
    line = stream.readline()
    if not line:
        process.wait(STOP_SECONDS)
        raise DidNotStart(f"the process ended with {process.returncode}")
    return line


def _show(log: IO[str]) -> None:
    log.seek(0)
    sys.stderr.write(log.read()[-20_000:])
