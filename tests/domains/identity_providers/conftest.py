"""`provider`: an OpenID provider over sockets with three people, on the plane's clock."""

from collections.abc import AsyncIterator

import pytest

from tests.domains.control_plane import ControlPlane
from tests.oidc_provider import Provider, running_provider
from tollkeeper.core.ids import uuid7


@pytest.fixture
async def provider(plane: ControlPlane) -> AsyncIterator[Provider]:
    async with running_provider(clock=plane.clock.unix) as provider:
        # The tests of a module share its database: each has people of its own.
        family = uuid7().hex
        for name in ("ann", "bob", "eve"):
            provider.add(name, email=f"{name}-{family}@example.com")
        yield provider
