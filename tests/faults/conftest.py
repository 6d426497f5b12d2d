"""Gateways as real processes. One per module where the fault allows it; each has a data directory of its own.

upstream      the vendor with its log of the truth                (module)
new_gateway   call it for a gateway that is stopped at the end    (module)
"""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.gateway import Gateway, UpstreamProcess

_OPEN = pytest.StashKey[list[Gateway]]()
# Of a test that ran to its end and passed, from then on.
PASSED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    process = UpstreamProcess()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def dead_port() -> Iterator[int]:
    """A port on which nothing listens, and which nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def new_folder() -> Iterator[Callable[[], Path]]:
    with ExitStack() as stack:

        def make() -> Path:
            # Passable, unlike pytest's own folders: started by root, the servers run as another account.
            folder = Path(tempfile.mkdtemp(prefix="tollkeeper-tests-"))
            folder.chmod(0o711)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            return folder

        yield make


@pytest.fixture(scope="module")
def new_gateway(
    upstream: UpstreamProcess, dead_port: int, new_folder: Callable[[], Path], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Gateway]]:
    opened = request.config.stash.setdefault(_OPEN, [])
    with ExitStack() as stack:

        def start(*, is_started: bool = True, **options: Any) -> Gateway:
            gateway = Gateway(new_folder(), upstream.port, dead_port=dead_port, **options)
            opened.append(gateway)
            stack.callback(opened.remove, gateway)
            stack.callback(gateway.stop)
            if is_started:
                gateway.start()
                # The first look-up of a key on a busy machine may be late; what is tested comes after it. A listener
                # with TLS answers only those who ask for it.
                with suppress(httpx.RemoteProtocolError):
                    gateway.ask("GET", "/v1/models")
            return gateway

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows what its gateways said."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = bool(report.passed)
    if report.failed:
        for gateway in item.config.stash.get(_OPEN, []):
            if gateway.log_path.exists():
                report.sections.append((f"log of the gateway in {gateway.folder.name}", gateway.log_tail()))
    return report
