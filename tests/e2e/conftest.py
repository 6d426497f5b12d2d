"""The whole product over real sockets, started once for all end-to-end tests, which share one xdist worker."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.processes import Product, Upstream, running_product, running_upstream

_HERE = Path(__file__).parent


# First, because xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("e2e"))
    # The ledger is compared when every other test has made its calls.
    items.sort(key=lambda item: item.path.name == "test_zz_ledger.py" and _HERE in item.path.parents)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="session")
def product(upstream: Upstream) -> Iterator[Product]:
    with running_product(upstream) as running:
        yield running


@pytest.fixture
def client(product: Product) -> Iterator[OpenAI]:
    """The SDK as it comes, but for its retries: a test that wants them says so."""
    with OpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
async def async_client(product: Product) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=0, timeout=30) as client:
        yield client
