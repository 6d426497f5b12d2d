"""The vendors that speak OpenAI's format: the registry, and what each row changes of a call."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.addresses import is_public
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.addresses import locate
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.gateway.providers.compatible import Compatible
from tollkeeper.gateway.providers.vendors import VENDORS

NAMED = (
    "openai", "xai", "groq", "mistral", "deepseek", "openrouter", "together", "fireworks", "ollama", "vllm", "llamacpp", "lmstudio",
)  # fmt: skip


def prepared(kind: str, body: dict[str, Any], *, operation: Operation = Operation.CHAT, model: str = "*") -> Call:
    call = Call(
        operation,
        "asked",
        is_stream=bool(body.get("stream")),
        body={"model": "asked", **body},
        raw=b"as it came",
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )
    return PROVIDERS[kind].prepare(provider("p", None, kind=kind), call, Target("p", model))


def dialect_of(kind: str, operation: Operation) -> VendorDialect:
    call = Call(operation, "m", is_stream=False, body={})
    return PROVIDERS[kind].dialect(provider("p", None, kind=kind), call, Target("p", "m"))


def test_registry_has_the_promised_vendors() -> None:
    assert len(VENDORS) >= 40
    assert set(NAMED) <= set(PROVIDERS)
    assert len({vendor.kind for vendor in VENDORS}) == len(VENDORS)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.kind)
def test_row_is_usable(vendor: Any) -> None:
    assert vendor.title
    assert vendor.kind.replace("_", "").isalnum()
    if vendor.base_url is not None:
        location = locate(vendor.base_url)
        assert location.scheme == "https" or not is_public(location.host)
        assert not vendor.base_url.endswith("/")
        assert (vendor.env_var is not None) == vendor.needs_credential
    entry = Compatible(vendor)
    call = Call(Operation.CHAT, "m", is_stream=False, body={"model": "m"})
    config = provider("p", vendor.base_url or "https://example.com/v1", kind=vendor.kind)
    assert entry.url(config, call, Target("p", "m")) == f"{config.base_url}/chat/completions"
    assert entry.headers(config.credentials[0]) == {"authorization": "Bearer secret-of-p"}
    assert entry.headers(None) == {}


def test_kinds_are_listed_for_the_control_plane_in_order() -> None:
    kinds = provider_kinds()
    assert [kind.kind for kind in kinds][:2] == ["openai", "xai"]
    assert kinds[0].env_var == "OPENAI_API_KEY"
    generic = next(kind for kind in kinds if kind.kind == "openai_compatible")
    assert (generic.needs_base_url, generic.needs_credential) == (True, False)


@pytest.mark.parametrize("kind", ["openai", "openai_compatible", "vllm", "mistral", "groq"])
def test_call_that_needs_no_change_keeps_its_bytes(kind: str) -> None:
    assert prepared(kind, {"messages": [], "temperature": 1}).raw == b"as it came"


def test_generic_server_gets_unknown_fields_and_nulls_as_they_are() -> None:
    body = {"messages": [], "top_k": 5, "stop": None, "store": True, "max_tokens": 1}
    assert prepared("openai_compatible", body).body == {"model": "asked", **body}


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("openai", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("openai", {"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("mistral", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("deepseek", {"max_completion_tokens": 5, "max_tokens": None}, {"max_tokens": 5}),
        ("ollama", {"max_tokens": 5}, {"max_tokens": 5}),
        ("ollama", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("vllm", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ],
)
def test_output_cap_reaches_the_vendor_under_the_name_it_knows(
    kind: str, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    """54."""
    assert {name: value for name, value in prepared(kind, sent).body.items() if name != "model"} == expected


def test_usage_is_asked_for_where_the_vendor_takes_the_question() -> None:
    assert prepared("openai", {"stream": True}).body["stream_options"] == {"include_usage": True}
    kept = prepared("openai", {"stream": True, "stream_options": {"include_obfuscation": False}}).body
    assert kept["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    assert prepared("openai", asked).raw == b"as it came"
    assert "stream_options" not in prepared("mistral", asked).body


def test_parallel_tool_calls_needs_tools() -> None:
    assert "parallel_tool_calls" not in prepared("openai", {"parallel_tool_calls": False}).body
    assert "parallel_tool_calls" in prepared("openai", {"parallel_tool_calls": False, "tools": [{}]}).body


def test_operation_a_vendor_does_not_have_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        dialect_of("groq", Operation.EMBEDDINGS)
    assert refused.value.code == "unsupported_operation"
    with pytest.raises(BadRequest):
        dialect_of("mistral", Operation.COMPLETIONS)


def test_provider_without_an_address_is_an_error_of_the_configuration() -> None:
    call = Call(Operation.CHAT, "m", is_stream=False, body={})
    with pytest.raises(UpstreamError) as refused:
        PROVIDERS["databricks"].url(provider("p", None, kind="databricks"), call, Target("p", "m"))
    assert refused.value.code == "upstream_configuration"


async def test_dropped_fields_are_reported(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url, kind="mistral")], [route("gpt-4o-mini", ("one", "m"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post(body=chat(store=True, user="u", max_completion_tokens=9, temperature=1))
        kept = await gateway.post()
    assert response.headers["x-tollkeeper-dropped"] == "store,user"
    assert vendor.seen[0].json() == chat(model="m", max_tokens=9, temperature=1)
    assert "x-tollkeeper-dropped" not in kept.headers


async def test_unknown_kind_is_told_without_a_call(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url, kind="nobody")], [route("gpt-4o-mini", ("one", "m"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post()
    assert response.status_code == 502
    assert "nobody" in response.json()["error"]["message"]
    assert vendor.seen == []


@pytest.mark.parametrize("kind", ["openai", "openai_compatible", "simulated"])
def test_usage_of_a_stream_is_asked_for_also_for_callers_whose_dialect_always_shows_it(kind: str) -> None:
    call = Call(Operation.CHAT, "m", is_stream=True, body={"model": "m", "messages": []}, wants_usage=True)
    call.dialect = "anthropic_messages"
    config = provider("p", "http://127.0.0.1/v1", kind=kind)
    assert PROVIDERS[kind].prepare(config, call, Target("p", "*")).body["stream_options"] == {"include_usage": True}
