"""Azure OpenAI over sockets: addresses, credentials, what its filters say, and the ledger's row."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gateway.clouds.token_service import config, entra, origin, tokens_in_turn
from tests.gateway.serving import chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    DONE,
    FakeUpstream,
    answer,
    answer_json,
    chunk,
    completion,
    event,
    good_stream,
    running_upstream,
    stream,
)
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.provider import FailureClass
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds

AZURE = PROVIDERS["azure"]
CLASSIC = {"api_version": "2024-10-21"}
# A prompt that was filtered, as the reference shows it ("Content filtering", Azure OpenAI).
FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "hate": {"filtered": True, "severity": "high"},
                "self_harm": {"filtered": False, "severity": "safe"},
            },
        },
    }
}
SAFE = {"hate": {"filtered": False, "severity": "safe"}}


@pytest.fixture
async def service() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as running:
        yield running


def azure(vendor: FakeUpstream, document: Any = "resource-key", **options: Any) -> Any:
    return config("azure", origin(vendor), document, options=options)


def one_model(owner: Any, *targets: tuple[str, str]) -> Any:
    return snapshot([owner], [route("gpt-4o-mini", *(targets or (("cloud", "my-deployment"),)))])


def url(operation: Operation, base: str, model: str = "dep", **options: Any) -> str:
    call = Call(operation, model, is_stream=False, body={"model": model})
    return AZURE.url(provider("p", base, kind="azure", options=options), call, Target("p", "*"))


@pytest.mark.parametrize(
    "base", ["https://r.openai.azure.com", "https://r.openai.azure.com/openai", "https://r.openai.azure.com/openai/v1"]
)
def test_both_apis_are_found_from_any_form_of_the_address(base: str) -> None:
    root = "https://r.openai.azure.com/openai"
    assert url(Operation.CHAT, base) == f"{root}/v1/chat/completions"
    assert url(Operation.EMBEDDINGS, base) == f"{root}/v1/embeddings"
    for operation, path in (
        (Operation.CHAT, "chat/completions"),
        (Operation.COMPLETIONS, "completions"),
        (Operation.EMBEDDINGS, "embeddings"),
    ):
        assert url(operation, base, **CLASSIC) == f"{root}/deployments/dep/{path}?api-version=2024-10-21"


def test_pictures_and_sound_are_deployments_too() -> None:
    base = "https://r.openai.azure.com"
    assert url(Operation.SPEECH, base) == f"{base}/openai/v1/audio/speech"
    assert url(Operation.IMAGE_GENERATIONS, base, **CLASSIC) == (
        f"{base}/openai/deployments/dep/images/generations?api-version=2024-10-21"
    )
    config, call = provider("p", base, kind="azure"), Call(Operation.RERANK, "m", is_stream=False, body={})
    with pytest.raises(BadRequest):
        AZURE.dialect(config, call, Target("p", "m"))


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "/openai/v1/responses"),
        ({"api": "chat"}, "/openai/v1/chat/completions"),
        (CLASSIC, "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"),
        ({**CLASSIC, "api": "both"}, "/openai/responses?api-version=2024-10-21"),
    ],
)
async def test_responses_go_where_they_are_spoken(
    tmp_path: Path, vendor: FakeUpstream, options: dict[str, str], path: str
) -> None:
    vendor.script = answer_json({"error": {"message": "no", "code": "x"}}, 400)
    async with serving(tmp_path, one_model(azure(vendor, **options))) as gateway:
        await gateway.post("/v1/responses", {"model": "gpt-4o-mini", "input": "Hi", "store": False})
    assert [seen.path for seen in vendor.seen] == [path]
    assert vendor.seen[0].json()["model"] == "my-deployment"


def test_name_of_a_deployment_cannot_change_the_path() -> None:
    found = url(Operation.CHAT, "https://r.openai.azure.com", model="a/../b?c=d#e", **CLASSIC)
    assert urlsplit(found).path == "/openai/deployments/a%2F..%2Fb%3Fc%3Dd%23e/chat/completions"


@pytest.mark.parametrize("version", ["2024-10-21&x=y", 7, "../v1", ""])
def test_api_version_that_is_none_is_an_error_of_the_configuration(version: Any) -> None:
    with pytest.raises(UpstreamError) as told:
        url(Operation.CHAT, "https://r.openai.azure.com", api_version=version)
    assert told.value.code == "upstream_configuration"


def test_deployment_of_a_priced_model_is_an_option() -> None:
    owner = provider("p", "https://r.openai.azure.com", kind="azure", options={"deployments": {"gpt-5": "prod-5"}})
    call = Call(Operation.CHAT, "asked", is_stream=False, body={"model": "asked", "messages": []})
    assert AZURE.prepare(owner, call, Target("p", "gpt-5")).model == "prod-5"
    assert AZURE.prepare(owner, call, Target("p", "other")).model == "other"


def test_old_versions_get_the_fields_they_know() -> None:
    def prepared(version: str) -> dict[str, Any]:
        owner = provider("p", "https://r.openai.azure.com", kind="azure", options={"api_version": version})
        body = {"model": "m", "messages": [], "stream": True, "max_completion_tokens": 5}
        return AZURE.prepare(owner, Call(Operation.CHAT, "m", is_stream=True, body=body), Target("p", "*")).body

    assert prepared("2024-02-01") == {"model": "m", "messages": [], "stream": True, "max_tokens": 5}
    modern = prepared("2024-10-21")
    assert (modern["max_completion_tokens"], modern["stream_options"]) == (5, {"include_usage": True})


async def test_classic_call_with_the_resources_key(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion("hi"), headers=[("apim-request-id", "apim-7")])
    async with serving(tmp_path, one_model(azure(vendor, **CLASSIC))) as gateway:
        response = await gateway.post(body=chat(max_tokens=9))
        (row,) = await gateway.settled()
    (seen,) = vendor.seen
    assert response.json()["choices"][0]["message"]["content"] == "hi"
    assert seen.path == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert seen.header("api-key") == "resource-key"
    assert seen.header("authorization") is None
    assert seen.json() == chat(model="my-deployment", max_completion_tokens=9)
    assert row.usage == Usage(input=10, output=5)
    assert row.upstream_request_id == "apim-7"


async def test_v1_call_with_a_token_of_entra(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    service.script = tokens_in_turn("entra.token")
    async with serving(tmp_path, one_model(azure(vendor, entra(service)))) as gateway:
        for _ in range(3):
            assert (await gateway.post()).status_code == 200
    assert [seen.path for seen in vendor.seen] == ["/openai/v1/chat/completions"] * 3
    assert {seen.header("authorization") for seen in vendor.seen} == {"Bearer entra.token"}
    assert {seen.header("api-key") for seen in vendor.seen} == {None}
    assert len(service.seen) == 1
    assert vendor.connections == 1


async def test_renewed_token_takes_no_new_route(tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream) -> None:
    """The channel keeps one route for all tokens, and the head of one request is not the next one's."""
    service.script = tokens_in_turn("first.token", "second.token")
    async with serving(tmp_path, one_model(azure(vendor, entra(service)))) as gateway:
        await gateway.post()
        gateway.clock.ahead += 3599
        await gateway.post()
    assert [seen.header("authorization") for seen in vendor.seen] == ["Bearer first.token", "Bearer second.token"]
    assert all(len([1 for name, _ in seen.headers if name == "authorization"]) == 1 for seen in vendor.seen)


async def test_outage_of_the_token_service_moves_on_before_anything_is_written_down(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer(503, b"down")
    snap = snapshot(
        [azure(vendor, entra(service)), provider("two", vendor.base_url)],
        [route("gpt-4o-mini", ("cloud", "dep"), ("two", "gpt-4o-mini")), route("alone", ("cloud", "dep"))],
    )
    async with serving(tmp_path, snap) as gateway:
        served = await gateway.post()
        alone = await gateway.post(body=chat(model="alone"))
        rows = await gateway.settled(1)
    assert served.status_code == 200
    assert served.headers["x-tollkeeper-provider"] == "two"
    assert [seen.path for seen in vendor.seen] == ["/v1/chat/completions"]
    assert alone.status_code == 503
    assert alone.json()["error"]["code"] == "upstream_identity_unavailable"
    assert [row.intent.provider for row in rows] == ["two"]


async def test_credential_that_entra_refuses_is_ours_and_not_the_callers(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer_json(
        {"error": "invalid_client", "error_description": "AADSTS7000215 entra-client-secret"}, 401
    )
    async with serving(tmp_path, one_model(azure(vendor, entra(service)))) as gateway:
        response = await gateway.post()
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_authentication"
    assert "AADSTS" not in response.text
    assert vendor.seen == []


async def test_second_credential_serves_when_the_first_cannot(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = answer(500, b"")
    first = azure(vendor, entra(service))
    second = azure(vendor, "resource-key")
    owner = azure(vendor)
    object.__setattr__(owner, "credentials", (*first.credentials, *second.credentials))
    async with serving(tmp_path, one_model(owner)) as gateway:
        assert (await gateway.post()).status_code == 200
    assert vendor.seen[0].header("api-key") == "resource-key"


async def test_echoed_token_does_not_reach_the_caller(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = tokens_in_turn("entra.token.of.ours")
    body = {"error": {"message": "bad header Authorization: Bearer entra.token.of.ours", "code": "x"}}
    vendor.script = answer_json(body, 400)
    async with serving(tmp_path, one_model(azure(vendor, entra(service)))) as gateway:
        response = await gateway.post()
    assert response.status_code == 400
    assert "entra.token.of.ours" not in response.text


async def test_operators_own_header_cannot_stand_beside_the_token(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = tokens_in_turn("entra.token")
    owner = config("azure", origin(vendor), entra(service), headers={"Authorization": "Bearer other"})
    async with serving(tmp_path, one_model(owner)) as gateway:
        response = await gateway.post()
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_configuration"
    assert vendor.seen == []


async def test_token_goes_to_the_credentials_origin_only(
    tmp_path: Path, vendor: FakeUpstream, service: FakeUpstream
) -> None:
    service.script = tokens_in_turn("entra.token")
    owner = azure(vendor, entra(service))
    bound = owner.credentials[0]
    object.__setattr__(bound, "origins", frozenset({"https://r.openai.azure.com:443"}))
    async with serving(tmp_path, one_model(owner)) as gateway:
        response = await gateway.post()
    assert response.json()["error"]["code"] == "upstream_origin"
    assert vendor.seen == []


# What the filters say


def test_filtered_prompt_is_a_matter_of_content_with_what_was_found() -> None:
    failure = AZURE.failure(400, {}, json.dumps(FILTERED).encode())
    assert failure.kind is FailureClass.CONTENT_POLICY
    assert failure.error.code == "content_filter"
    assert failure.error.details == {"innererror": FILTERED["error"]["innererror"]}


async def test_filtered_prompt_reaches_the_caller_with_what_was_found(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(FILTERED, 400)
    async with serving(tmp_path, one_model(azure(vendor, **CLASSIC))) as gateway:
        response = await gateway.post()
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["code"], error["param"]) == ("content_filter", "prompt")
    assert error["innererror"]["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"error":7}', b'{"error":{"innererror":7}}', b"<html>", b'{"error":null}']
)
def test_other_refusals_are_read_like_openais(body: bytes) -> None:
    assert AZURE.failure(400, {}, body).kind is FailureClass.REQUEST


async def test_filters_events_reach_no_strict_client(tmp_path: Path, vendor: FakeUpstream) -> None:
    """48."""
    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
    }
    offsets = {
        "id": "",
        "object": "",
        "created": 0,
        "model": "",
        "choices": [
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
                "content_filter_results": SAFE,
            }
        ],
    }
    head, *rest = good_stream("Hello", " you")
    vendor.script = stream(event(first), head, event(offsets), *rest)
    async with serving(tmp_path, one_model(azure(vendor, **CLASSIC))) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    *events, done = events_of(response.text)
    assert done == "[DONE]"
    chunks = [json.loads(data) for data in events]
    assert {one["id"] for one in chunks} == {"chatcmpl-1"}
    assert all(one["choices"] and "delta" in one["choices"][0] for one in chunks)
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks) == "Hello you"
    assert row.usage == Usage(input=10, output=5)


async def test_filtered_answer_ends_as_filtered(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = stream(
        event(chunk({"role": "assistant", "content": "I"})),
        event(chunk({}, "content_filter")),
        event(chunk(None, usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4})),
        DONE,
    )
    async with serving(tmp_path, one_model(azure(vendor, **CLASSIC))) as gateway:
        response = await gateway.post(body=chat(stream=True))
        (row,) = await gateway.settled()
    assert json.loads(events_of(response.text)[-2])["choices"][0]["finish_reason"] == "content_filter"
    assert row.usage == Usage(input=3, output=1)


async def test_embeddings_go_to_their_deployment(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 2, "total_tokens": 2},
        }
    )
    async with serving(tmp_path, one_model(azure(vendor, **CLASSIC))) as gateway:
        response = await gateway.post("/v1/embeddings", {"model": "gpt-4o-mini", "input": [[1, 2]]})
        (row,) = await gateway.settled()
    assert response.json()["data"][0]["embedding"] == [0.5]
    assert vendor.seen[0].path == "/openai/deployments/my-deployment/embeddings?api-version=2024-10-21"
    assert row.usage == Usage(input=2)


def test_kind_is_listed_with_what_it_takes() -> None:
    kind = next(kind for kind in provider_kinds() if kind.kind == "azure")
    assert (kind.needs_base_url, kind.needs_credential, kind.document) == (True, True, "entra")
