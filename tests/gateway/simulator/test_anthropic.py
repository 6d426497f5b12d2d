"""The simulator speaks Anthropic's Messages API: their own SDK parses it, strictly, and raises its own errors."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.e2e.processes import UPSTREAM_KEY, Upstream
from tests.gateway.simulator.server import QUESTION, SCHEMA, last

WEATHER: Any = {"name": "get_weather", "description": "The weather.", "input_schema": SCHEMA}
TIME: Any = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
ASKED: Any = {"model": "simulated", "max_tokens": 200, "messages": [{"role": "user", "content": QUESTION}]}
_EVENT: Any = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def client(server: Upstream) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.origin, api_key=UPSTREAM_KEY, max_retries=0) as client:
        yield client


def post(server: Upstream, body: Any, **headers: str) -> httpx.Response:
    given = {"x-api-key": UPSTREAM_KEY, "anthropic-version": "2023-06-01", **headers}
    return httpx.post(f"{server.origin}/v1/messages", json=body, headers=given, timeout=10)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "Be brief."},
        {"tools": [WEATHER]},
        {"tools": [WEATHER, TIME], "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
        {"tools": [TIME]},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"max_tokens": 3},
        {"stop_sequences": ["simulated"]},
        {"model": "simulated-refuse"},
        {"model": "simulated-cached-4"},
    ],
    ids=str,
)
def test_whole_and_streamed_answers_are_what_the_sdks_types_say(
    server: Upstream, client: Anthropic, fields: Any
) -> None:
    asked = {**ASKED, **fields}
    whole = client.messages.create(**asked)
    Message.model_validate_json(whole.model_dump_json(exclude_unset=True), strict=True)
    for event in client.messages.create(**asked, stream=True):
        _EVENT.validate_json(event.model_dump_json(exclude_unset=True), strict=True)
    with client.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert final.model_dump(exclude={"usage"}) == whole.model_dump(exclude={"usage"}) | {"id": final.id}
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
        assert getattr(final.usage, name) == getattr(whole.usage, name)
    record = last(server, asked["model"])
    assert record["vendor"] == "anthropic"
    assert record["completion_tokens"] == record["tokens_sent"] == final.usage.output_tokens
    assert record["prompt_tokens"] == whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0)


def test_stop_reasons_say_why(client: Anthropic) -> None:
    def reason(**fields: Any) -> Any:
        return client.messages.create(**{**ASKED, **fields}).stop_reason

    assert reason() == "end_turn"
    assert reason(max_tokens=3) == "max_tokens"
    assert reason(tools=[WEATHER]) == "tool_use"
    assert reason(model="simulated-refuse") == reason(model="simulated-filter") == "refusal"
    stopped = client.messages.create(**{**ASKED, "stop_sequences": ["simulated"]})
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "simulated")


def test_tools_go_round_and_signatures_must_come_back(client: Anthropic) -> None:
    asked = {**ASKED, "max_tokens": 3000, "tools": [WEATHER], "thinking": {"type": "adaptive"}}
    first = client.messages.create(**asked)
    [thinking, use] = first.content
    assert (thinking.type, use.type) == ("thinking", "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"}
    turns = [*asked["messages"], {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(**{**asked, "messages": turns})
    assert "18 degrees" in after.content[-1].text  # type: ignore[union-attr]
    spoiled = [
        {**block.model_dump(), **({"signature": "x"} if block.type == "thinking" else {})} for block in first.content
    ]
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
        client.messages.create(**{**asked, "messages": [turns[0], {"role": "assistant", "content": spoiled}, turns[2]]})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-empty"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"frequency_penalty": 1}, "Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice"),
        ({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}, "pattern"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "input_schema"),
        ({"tools": [WEATHER], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}}, "Extra inputs"),
        ({"stop_sequences": ["\n"]}, "non-whitespace"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "max_tokens"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
            "Thinking may not be enabled",
        ),
    ],
    ids=str,
)
def test_what_anthropic_refuses_is_refused(server: Upstream, fields: Any, words: str) -> None:
    answer = post(server, {name: value for name, value in {**ASKED, **fields}.items() if value is not None})
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert words in answer.json()["error"]["message"]
    assert answer.headers["request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    "content",
    [
        [{"role": "user", "content": "no result"}],
        [{"role": "user", "content": [{"type": "text", "text": "late"}, {"type": "tool_result", "tool_use_id": "t1"}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}] * 2}],
        [],
    ],
)
def test_a_tool_call_needs_its_one_result_at_once_and_first(server: Upstream, content: Any) -> None:
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_time", "input": {}}]}
    answer = post(server, {**ASKED, "tools": [TIME], "messages": [*ASKED["messages"], use, *content]})
    assert (answer.status_code, "tool_result" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("model", "kind", "status"),
    [
        ("simulated-status-429", anthropic.RateLimitError, 429),
        ("simulated-status-503", anthropic.APIStatusError, 503),
        ("simulated-status-529", anthropic.OverloadedError, 529),
        ("simulated-status-500", anthropic.InternalServerError, 500),
        ("simulated-context", anthropic.BadRequestError, 400),
        ("simulated-quota", anthropic.BadRequestError, 400),
        ("simulated-nonsense", anthropic.NotFoundError, 404),
        ("simulated-status-403", anthropic.PermissionDeniedError, 403),
    ],
)
def test_errors_are_the_sdks_own(
    client: Anthropic, model: str, kind: type[anthropic.APIStatusError], status: int
) -> None:
    with pytest.raises(kind) as caught:
        client.messages.create(**{**ASKED, "model": model})
    assert caught.value.status_code == status
    assert caught.value.request_id
    assert caught.value.body["type"] == "error"  # type: ignore[index]


def test_a_key_and_a_version_are_needed(server: Upstream) -> None:
    assert post(server, ASKED, **{"x-api-key": "wrong"}).json()["error"]["type"] == "authentication_error"
    bare = httpx.post(f"{server.origin}/v1/messages", json=ASKED, headers={"x-api-key": UPSTREAM_KEY})
    assert (bare.status_code, "anthropic-version" in bare.text) == (400, True)


def test_streams_break_as_they_are_told(server: Upstream, client: Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(**{**ASKED, "model": "simulated-error-after-2"}, stream=True))
    assert b"event: error" in post(server, {**ASKED, "model": "simulated-error-after-2", "stream": True}).content
    with pytest.raises(httpx.RemoteProtocolError):
        post(server, {**ASKED, "model": "simulated-cut-after-2", "stream": True})
    assert last(server, "simulated-cut-after-2")["outcome"] == "cut"
    text = post(server, {**ASKED, "model": "simulated-no-done", "stream": True}).text
    assert "message_delta" in text
    assert "message_stop" not in text
    assert "{not json}" in post(server, {**ASKED, "model": "simulated-garbage", "stream": True}).text


def test_tokens_are_counted_before_the_call(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="simulated", messages=ASKED["messages"], tools=[WEATHER])
    called = client.messages.create(**ASKED, tools=[WEATHER])
    assert counted.input_tokens == called.usage.input_tokens


def test_models_are_listed_in_anthropics_form(client: Anthropic) -> None:
    listed = client.models.list()
    assert [model.id for model in listed] == ["simulated", "simulated-embedding", "simulated-reasoning"]
    assert client.models.retrieve("simulated").type == "model"


def test_vertex_says_model_and_stream_in_the_path(server: Upstream) -> None:
    path = "/v1/projects/p/locations/l/publishers/anthropic/models/simulated:"
    body = {**{name: ASKED[name] for name in ("max_tokens", "messages")}, "anthropic_version": "vertex-2023-10-16"}
    headers = {"authorization": f"Bearer {UPSTREAM_KEY}"}
    whole = httpx.post(f"{server.origin}{path}rawPredict", json=body, headers=headers)
    assert whole.json()["type"] == "message"
    streamed = httpx.post(f"{server.origin}{path}streamRawPredict", json=body, headers=headers)
    assert streamed.text.startswith("event: message_start\n")
    assert json.loads(streamed.text.split("data: ")[1].split("\n")[0])["message"]["model"] == "simulated"
