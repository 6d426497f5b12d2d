"""`provider`: an OpenID provider over sockets with three people, on the plane's clock."""

from collections.abc import AsyncIterator

import pytest

from tests.domains.control_plane import ControlPlane
from tests.oidc_provider import Provider, running_provider
from tollkeeper.core.ids import uuid7
from tollkeeper.core.outbound import Outbound
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.domains.identity_providers.issuers import Issuers


@pytest.fixture
async def provider(plane: ControlPlane) -> AsyncIterator[Provider]:
    # All tests come from one address, and some move the clock.
    plane.services.login_throttle = LoginThrottle(plane.clock)
    # A port may be one that another test's provider had; what that one published is forgotten.
    plane.services.issuers = Issuers(Outbound(total_seconds=5), plane.clock)
    async with running_provider(clock=plane.clock.unix) as provider:
        # The tests of a module share its database: each has people of its own.
        family = uuid7().hex
        for name in ("ann", "bob", "eve"):
            provider.add(name, email=f"{name}-{family}@example.com")
        yield provider
