from collections.abc import Iterator

import pytest

from tests.e2e.processes import Upstream, running_upstream


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running
