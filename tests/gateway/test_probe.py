"""A probe tells an operator whether a provider answers, and if not why, in words and without a secret."""

from typing import Any

import pytest

from tests.gateway.serving import provider
from tests.gateway.upstream import FakeUpstream, answer_json
from tollkeeper.contracts.ports import ProbeResult
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.gateway.probe import Probe
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.upstream import Upstream


async def probe(base_url: str, **fields: Any) -> ProbeResult:
    clock = SystemClock()
    upstream = Upstream(Settings(), clock)
    try:
        (result,) = await Probe(PROVIDERS, upstream, clock).probe(provider("one", base_url, **fields))
    finally:
        await upstream.aclose()
    return result


async def test_a_provider_that_answers_is_counted_and_timed(vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})

    result = await probe(vendor.base_url)

    assert result.ok
    assert result.models == 2
    assert result.latency_ms is not None
    assert vendor.seen[0].path == "/v1/models"
    assert vendor.seen[0].method == "GET"


async def test_an_answer_that_is_no_list_of_models_points_at_the_base_url(vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"hello": "world"})

    result = await probe(vendor.base_url)

    assert not result.ok
    assert "base_url" in result.message


async def test_a_refused_credential_is_told_with_its_status(vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"error": {"message": "bad key", "type": "x", "code": "invalid_api_key"}}, status=401)

    result = await probe(vendor.base_url)

    assert not result.ok
    assert "401" in result.message


async def test_a_provider_that_is_not_there_is_a_sentence_not_an_exception() -> None:
    result = await probe("http://127.0.0.1:9/v1")

    assert not result.ok
    assert result.message.startswith("The provider cannot be reached. 127.0.0.1: ")
    assert "refused" in result.message.lower()


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [("openai", {"api": "soap"}, "'api'"), ("vertex", {"project": 7}, "project and location")],
)
async def test_options_that_no_call_could_go_out_with_are_told(
    vendor: FakeUpstream, kind: str, options: dict[str, Any], word: str
) -> None:
    vendor.script = answer_json({"object": "list", "data": []})

    result = await probe(vendor.base_url, kind=kind, options=options)

    assert not result.ok
    assert word in result.message
    assert not vendor.seen
