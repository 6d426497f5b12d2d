"""Feature flags of a key's tenant, team or project that the data plane reads."""

import pytest

from tests.gateway.serving import Serving
from tollkeeper.core.flags import PROVIDER_HEADERS
from tollkeeper.core.secrets import new_key

_OF_THE_PROVIDER = {"x-tollkeeper-provider", "x-tollkeeper-model", "x-tollkeeper-attempts"}


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ({}, _OF_THE_PROVIDER),
        ({PROVIDER_HEADERS.name: True}, _OF_THE_PROVIDER),
        ({PROVIDER_HEADERS.name: False}, set()),
    ],
)
async def test_a_flag_keeps_the_provider_out_of_the_headers(
    gateway: Serving, flags: dict[str, bool], shown: set[str]
) -> None:
    token = new_key().token
    gateway.keys.add(token, flags=flags)
    response = await gateway.post(headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200, response.text
    assert response.headers.keys() & _OF_THE_PROVIDER == shown
    assert "x-tollkeeper-cost-usd" in response.headers
