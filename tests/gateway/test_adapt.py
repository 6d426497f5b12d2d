"""What a model's operator sets for its calls, and what the model cannot do: obeyed and refused before any provider is
called.
"""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.gateway.serving import TENANT, Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream
from tollkeeper.contracts.catalog import REST, ModelRoute
from tollkeeper.contracts.chat import ABSENT
from tollkeeper.contracts.parameters import ModelParameters
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.terms import Terms
from tollkeeper.gateway.native_parameters import with_native
from tollkeeper.gateway.stage import Exchange

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
KNOWN = dict.fromkeys(("vision", "audio", "tools", "json_schema", "reasoning"), False)


def parameters(
    *, refuses_dropped: bool = False, defaults: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None
) -> ModelParameters:
    return ModelParameters(refuses_dropped, MappingProxyType(defaults or {}), MappingProxyType(overrides or {}))


def served(folder: Path, vendor: FakeUpstream, *routes: ModelRoute, kind: str = "openai_compatible") -> Any:
    return serving(folder, snapshot([provider("one", vendor.base_url, kind=kind)], routes))


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


async def refused(gateway: Serving, body: dict[str, Any]) -> tuple[str, str]:
    answer = await gateway.post(body=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error["code"], error["param"]


# Defaults and overrides


async def test_default_holds_where_the_caller_says_nothing_and_is_told(tmp_path: Path, vendor: FakeUpstream) -> None:
    given = parameters(defaults={"temperature": 0.2, "seed": 7, "max_completion_tokens": 50})
    async with served(tmp_path, vendor, route("m", ("one", "m"), parameters=given)) as gateway:
        answer = await gateway.post(body=chat(model="m"))
        sent = vendor.seen[-1].json()
        assert (sent["temperature"], sent["seed"], sent["max_completion_tokens"]) == (0.2, 7, 50)
        assert answer.headers["x-tollkeeper-applied-params"] == (
            "max_completion_tokens=default,seed=default,temperature=default"
        )
        # The older name of the cap is the same thing, null is nothing.
        answer = await gateway.post(body=chat(model="m", temperature=1, seed=None, max_tokens=9))
        sent = vendor.seen[-1].json()
        assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (1, 7, 9)
        assert "max_completion_tokens" not in sent
        assert answer.headers["x-tollkeeper-applied-params"] == "seed=default"
        answer = await gateway.post(body=chat(model="m", temperature=1, seed=1, max_tokens=9))
        assert "x-tollkeeper-applied-params" not in answer.headers


async def test_override_holds_whatever_the_caller_says_and_is_told(tmp_path: Path, vendor: FakeUpstream) -> None:
    given = parameters(
        defaults={"top_p": 0.5}, overrides={"temperature": 0, "top_p": 1, "logit_bias": None, "max_tokens": 5}
    )
    async with served(tmp_path, vendor, route("m", ("one", "m"), parameters=given)) as gateway:
        body = chat(model="m", temperature=2, logit_bias={"1": 1}, max_completion_tokens=900)
        answer = await gateway.post(body=body)
        assert vendor.seen[-1].json() == {
            "model": "m", "messages": body["messages"], "temperature": 0, "top_p": 1, "max_tokens": 5,
        }  # fmt: skip
        assert answer.headers["x-tollkeeper-applied-params"] == (
            "logit_bias=override,max_tokens=override,temperature=override,top_p=override"
        )
        answer = await gateway.post(body=chat(model="m"))
        assert "logit_bias" not in answer.headers["x-tollkeeper-applied-params"]


async def test_call_of_a_model_with_nothing_configured_keeps_its_bytes(gateway: Serving, vendor: FakeUpstream) -> None:
    body = json.dumps(chat(), indent=1).encode()
    await gateway.post(body=body)
    assert vendor.seen[0].body == body


@pytest.mark.parametrize("name", ["openai/*", "openai/gpt", "alias"])
async def test_wildcards_and_aliases_have_parameters_of_their_own(
    name: str, tmp_path: Path, vendor: FakeUpstream
) -> None:
    target = ("one", REST) if name.endswith("*") else ("one", "gpt-4o")
    asked = "openai/gpt-9" if name.endswith("*") else name
    own = route(name, target, parameters=parameters(overrides={"temperature": 0}), capabilities={"vision": False})
    async with served(tmp_path, vendor, own, route("other", ("one", "gpt-4o"))) as gateway:
        await gateway.post(body=chat(model=asked))
        assert vendor.seen[0].json()["temperature"] == 0
        assert vendor.seen[0].json()["model"] == ("gpt-9" if name.endswith("*") else "gpt-4o")
        assert (await refused(gateway, chat(model=asked, messages=said(IMAGE))))[0] == "unsupported_capability"
        assert (await gateway.post(body=chat(model="other", messages=said(IMAGE)))).status_code == 200
        assert "temperature" not in vendor.seen[-1].json()


async def test_wildcard_passes_on_the_whole_name_or_what_its_star_stands_for(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    routes = (route("whole/*", ("one", "*")), route("openai/*", ("one", REST)), route("openai/ft-*", ("one", "tuned")))
    async with served(tmp_path, vendor, *routes) as gateway:
        for asked in ("whole/a", "openai/a/b:c", "openai/ft-1"):
            assert (await gateway.post(body=chat(model=asked))).status_code == 200
        assert [seen.json()["model"] for seen in vendor.seen] == ["whole/a", "a/b:c", "tuned"]
        nothing = await gateway.post(body=chat(model="openai/"))
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "model_not_found")


async def test_streams_and_completions_are_given_the_same(tmp_path: Path, vendor: FakeUpstream) -> None:
    given = parameters(overrides={"temperature": 0})
    async with served(tmp_path, vendor, route("m", ("one", "m"), parameters=given)) as gateway:
        await gateway.post(body=chat(model="m", stream=True))
        await gateway.post("/v1/completions", body={"model": "m", "prompt": "Hi"})
        assert [seen.json()["temperature"] for seen in vendor.seen] == [0, 0]


class Looking:
    """Appraises nothing, and keeps what it was asked about."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, exchange: Exchange) -> Appraisal:
        self.seen.append(exchange.call.body)
        return Appraisal(0, 0, 0, 0)

    async def exactly(self, exchange: Exchange) -> Appraisal:
        return self(exchange)


async def test_appraisal_sees_the_call_that_goes_out(tmp_path: Path, vendor: FakeUpstream) -> None:
    given = parameters(overrides={"max_completion_tokens": 7})
    snap = snapshot([provider("one", vendor.base_url)], [route("m", ("one", "m"), parameters=given)])
    looking = Looking()
    async with serving(tmp_path, snap, appraise=looking) as gateway:
        # As near the end of a budget: each call is counted.
        near = Terms(TENANT, near_until=float("inf"))
        gateway.admission.terms = lambda *_: [near]  # type: ignore[method-assign]
        assert (await gateway.post(body=chat(model="m", max_tokens=10**6))).status_code == 200
    assert [body["max_completion_tokens"] for body in looking.seen] == [7]
    assert "max_tokens" not in looking.seen[0]
    assert vendor.seen[0].json()["max_completion_tokens"] == 7


# Documents in other dialects


@pytest.mark.parametrize(
    ("dialect", "document", "changes", "expected"),
    [
        (
            "openai_responses",
            {"input": "Hi", "reasoning": {"summary": "auto"}},
            {"temperature": 0, "max_completion_tokens": 5, "reasoning_effort": "low"},
            {"input": "Hi", "reasoning": {"summary": "auto", "effort": "low"}, "temperature": 0, "max_output_tokens": 5},
        ),
        (
            "anthropic_messages",
            {"max_tokens": 9, "top_k": 1, "system": "S"},
            {"max_tokens": ABSENT, "max_completion_tokens": 5, "top_k": ABSENT},
            {"max_tokens": 5, "system": "S"},
        ),
        ("gemini", {"contents": []}, {"top_p": 0.5}, {"contents": [], "generationConfig": {"topP": 0.5}}),
        ("gemini", {"contents": []}, {"logit_bias": {}}, None),
        ("other", {}, {"temperature": 1}, None),
    ],
)  # fmt: skip
def test_parameter_goes_to_its_place_in_the_callers_own_document(
    dialect: str, document: dict[str, Any], changes: dict[str, Any], expected: Any
) -> None:
    before = json.dumps(document)
    assert with_native(dialect, document, changes) == expected
    assert json.dumps(document) == before


# Capabilities


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": said(IMAGE)}, "messages[0].content[1]"),
        ({"messages": said(SOUND)}, "messages[0].content[1]"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [TOOL]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": SCHEMA}, "response_format"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_before_it_is_called(
    fields: dict[str, Any], param: str, tmp_path: Path, vendor: FakeUpstream
) -> None:
    routes = (route("lacks", ("one", "m"), capabilities=KNOWN), route("unknown", ("one", "m")))
    async with served(tmp_path, vendor, *routes) as gateway:
        assert await refused(gateway, chat(model="lacks", **fields)) == ("unsupported_capability", param)
        assert not vendor.seen
        assert not gateway.settlements
        # What nobody knows is the provider's to judge.
        assert (await gateway.post(body=chat(model="unknown", **fields))).status_code == 200


async def test_model_that_does_not_reason_is_not_asked_to_think(tmp_path: Path, vendor: FakeUpstream) -> None:
    routes = (route("lacks", ("one", "m"), capabilities=KNOWN), route("unknown", ("one", "m")))
    async with served(tmp_path, vendor, *routes) as gateway:
        thinking = {"type": "enabled", "budget_tokens": 2000}
        answer = await gateway.post(
            "/v1/messages",
            body={
                "model": "lacks",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Hi"}],
                "thinking": thinking,
            },
        )
        assert answer.status_code == 200
        assert "thinking" in answer.headers["x-tollkeeper-dropped"]
        assert not {"thinking", "reasoning_effort"} & vendor.seen[0].json().keys()


async def test_ordinary_calls_of_a_model_with_few_capabilities_go_through(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with served(tmp_path, vendor, route("m", ("one", "m"), capabilities=KNOWN)) as gateway:
        ordinary = chat(
            model="m", tools=[], response_format={"type": "json_object"}, reasoning_effort="none", modalities=["text"]
        )
        assert (await gateway.post(body=ordinary)).status_code == 200
        odd = chat(model="m", messages=[{"role": "user", "content": [{"type": ["image_url"]}, "text", None]}])
        assert (await gateway.post(body=odd)).status_code == 200


async def test_types_that_are_no_text_are_the_providers_to_refuse(gateway: Serving) -> None:
    odds: list[Any] = [[], {}, 7, None]
    for odd in odds:
        body = chat(messages=said({"type": odd}), tools=[{"type": odd, "function": {"name": "f"}}], stream=True)
        assert (await gateway.post(body=body)).status_code == 200


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_longer_answer_than_the_model_gives_is_refused(name: str, tmp_path: Path, vendor: FakeUpstream) -> None:
    async with served(tmp_path, vendor, route("m", ("one", "m"), max_output_tokens=100)) as gateway:
        assert await refused(gateway, chat(model="m", **{name: 101})) == ("unsupported_capability", name)
        told = (await gateway.post(body=chat(model="m", **{name: 101}))).json()["error"]["message"]
        assert "at most 100 tokens" in told
        assert "or for another model" in told
        assert not vendor.seen
        assert (await gateway.post(body=chat(model="m", **{name: 100}))).status_code == 200


async def test_caller_whose_dialect_demands_a_cap_gets_the_models(tmp_path: Path, vendor: FakeUpstream) -> None:
    """Claude Code asks every model for 32,000 tokens."""
    body = {"model": "m", "max_tokens": 32_000, "messages": [{"role": "user", "content": "Hi"}]}
    async with served(tmp_path, vendor, route("m", ("one", "m"), max_output_tokens=16_384)) as gateway:
        answer = await gateway.post("/v1/messages", body=body)
        assert answer.status_code == 200
        assert answer.headers["x-tollkeeper-applied-params"].endswith("=model")
        sent = vendor.seen[0].json()
        assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 16_384
        answer = await gateway.post("/v1/messages", body={**body, "max_tokens": 16_384})
        assert "x-tollkeeper-applied-params" not in answer.headers


async def test_more_than_the_model_reads_is_refused_in_openais_words(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with served(tmp_path, vendor, route("m", ("one", "gpt-4o"), context_tokens=1_000)) as gateway:
        long = [{"role": "user", "content": "word " * 1_200}]
        assert await refused(gateway, chat(model="m", messages=long)) == ("context_length_exceeded", "messages")
        assert not vendor.seen
        # 5,000 bytes, and fewer tokens than that; a picture's bytes are no text.
        fits = [{"role": "user", "content": "word " * 900}]
        assert (await gateway.post(body=chat(model="m", messages=fits))).status_code == 200
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000}}
        assert (await gateway.post(body=chat(model="m", messages=said(picture)))).status_code == 200


async def test_long_call_of_any_shape_is_counted(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with served(tmp_path, vendor, route("m", ("one", "gpt-4o"), context_tokens=100)) as gateway:
        calls: list[Any] = [True, 7, {}, [None]]
        for odd in calls:
            said_so = {"role": "assistant", "content": None, "tool_calls": odd}
            body = chat(model="m", messages=[{"role": "user", "content": "a" * 200}, said_so])
            assert (await gateway.post(body=body)).status_code == 200


# What providers cannot take


async def test_dropped_parameter_is_reported_or_refused_as_the_model_says(tmp_path: Path, vendor: FakeUpstream) -> None:
    routes = (
        route("reports", ("one", "m")),
        route("refuses", ("one", "m"), parameters=parameters(refuses_dropped=True)),
    )
    async with served(tmp_path, vendor, *routes, kind="mistral") as gateway:
        reported = await gateway.post(body=chat(model="reports", logprobs=True, metadata={"a": "b"}))
        assert reported.status_code == 200
        assert reported.headers["x-tollkeeper-dropped"] == "logprobs,metadata"
        assert await refused(gateway, chat(model="refuses", logprobs=True)) == ("unsupported_parameter", "logprobs")
        assert len(vendor.seen) == 1
        assert (await gateway.post(body=chat(model="refuses", temperature=1))).status_code == 200


async def test_target_that_takes_the_parameter_is_tried_where_another_does_not(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    strict, wide = provider("strict", vendor.base_url, kind="mistral"), provider("wide", vendor.base_url)
    refusing = ModelRoute(
        id=route("m").id,
        name="m",
        targets=(Target("strict", "a"), Target("wide", "b")),
        price=route("m").price,
        parameters=parameters(refuses_dropped=True),
    )
    async with serving(tmp_path, snapshot([strict, wide], [refusing])) as gateway:
        assert (await gateway.post(body=chat(model="m", logprobs=True))).status_code == 200
        assert [seen.json()["model"] for seen in vendor.seen] == ["b"]
