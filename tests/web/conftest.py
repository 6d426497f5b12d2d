"""`serve`: a listener of our HTTP protocol in a thread of its own, for clients of raw bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.web.serving import LIMITS, App, Served, ServerThread, echo


@pytest.fixture(scope="module")
def server_thread() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.close()


@pytest.fixture
def serve(server_thread: ServerThread) -> Iterator[Callable[..., Served]]:
    """`serve(app, header_seconds=1)`: a listener with limits of its own and a clock that stands still."""
    with ExitStack() as stack:

        def start(app: App = echo, **changes: Any) -> Served:
            return stack.enter_context(server_thread.serve(app, replace(LIMITS, **changes)))

        yield start
