"""A probe of a cloud tries the credential first, and asks for models where the cloud lists them."""

from typing import Any

from tests.gateway.clouds.token_service import aws, config, entra, origin, service_account, tokens_in_turn
from tests.gateway.serving import ManualClock
from tests.gateway.upstream import FakeUpstream, answer_json
from tollkeeper.contracts.ports import ProbeResult
from tollkeeper.core.config import Settings
from tollkeeper.gateway.probe import Probe
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.upstream import Upstream


async def probe(owner: Any) -> ProbeResult:
    clock = ManualClock()
    upstream = Upstream(Settings(_env_file=None), clock)
    try:
        (result,) = await Probe(PROVIDERS, upstream, clock).probe(owner)
    finally:
        await upstream.aclose()
    return result


async def test_azure_is_asked_for_its_models_with_a_token(vendor: FakeUpstream, service: FakeUpstream) -> None:
    service.script = tokens_in_turn("entra.token")
    vendor.script = answer_json({"object": "list", "data": [{"id": "a"}]})

    result = await probe(config("azure", origin(vendor), entra(service), options={"api_version": "2024-10-21"}))

    assert (result.ok, result.models) == (True, 1)
    assert vendor.seen[0].path == "/openai/models?api-version=2024-10-21"
    assert vendor.seen[0].header("authorization") == "Bearer entra.token"


async def test_credential_of_the_others_is_tried_alone(vendor: FakeUpstream, service: FakeUpstream) -> None:
    service.script = tokens_in_turn("ya29.token")
    good = await probe(config("vertex", origin(vendor), service_account(service)))
    keys = await probe(config("bedrock", origin(vendor), aws(), options={"region": "eu-west-1"}))

    assert good.ok
    assert keys.ok
    assert len(service.seen) == 1
    assert vendor.seen == []


async def test_credential_that_gives_nothing_is_told_in_words(vendor: FakeUpstream, service: FakeUpstream) -> None:
    service.script = answer_json({"error": "invalid_grant"}, 400)
    refused = await probe(config("vertex", origin(vendor), service_account(service)))
    nowhere = await probe(config("bedrock", origin(vendor), aws()))

    assert not refused.ok
    assert "refused the gateway's own credential" in refused.message
    assert not nowhere.ok
    assert "no region" in nowhere.message
