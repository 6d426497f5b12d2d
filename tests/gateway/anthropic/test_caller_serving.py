"""`/v1/messages` over sockets before a vendor that speaks OpenAI's form; Anthropic's own SDK asks where it can."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.gateway.anthropic.callers import TOOL, Json, blocks_of, events_of, fragment, message, text, user
from tests.gateway.serving import KEY, FakeAdmission, Serving, provider, route, serving, snapshot
from tests.gateway.upstream import (
    DONE,
    FakeUpstream,
    Script,
    Seen,
    answer,
    answer_json,
    chunk,
    completion,
    event,
    good_stream,
    stream,
)
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import RateLimited
from tollkeeper.gateway.money import encodings
from tollkeeper.gateway.money.terms import Asked, Measured, Place, PlaceKind, Terms

HEADERS = {"anthropic-version": "2026-10-21"}
CALL_USAGE = {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}


@pytest.fixture
async def client(gateway: Serving) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=gateway.origin, api_key=KEY, max_retries=0) as made:
        yield made


async def post(gateway: Serving, document: Any = None, path: str = "/v1/messages", **options: Any) -> Any:
    return await gateway.post(path, message() if document is None else document, **options)


ASK: Json = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello."}]}


async def test_sdk_gets_a_message(gateway: Serving, vendor: FakeUpstream, client: AsyncAnthropic) -> None:
    got = await client.messages.create(**ASK, system="Be brief.", stop_sequences=["END"])
    assert [block.to_dict() for block in got.content] == [{"type": "text", "text": "hello"}]
    assert (got.stop_reason, got.usage.input_tokens, got.usage.output_tokens) == ("end_turn", 10, 5)
    assert got._request_id is not None
    assert got._request_id.startswith("req_")
    assert vendor.seen[0].json() == {
        "model": "gpt-4o-mini",
        "max_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}],
        "stop": ["END"],
    }
    assert (await gateway.settled())[0].usage.prompt_tokens == 10


async def test_sdk_gets_a_stream_with_its_counts(
    gateway: Serving, vendor: FakeUpstream, client: AsyncAnthropic
) -> None:
    vendor.script = stream(*good_stream("Hel", "lo"))
    async with client.messages.stream(**ASK) as running:
        first = await anext(aiter(running))
        got = await running.get_final_message()
    assert first.type == "message_start"
    assert first.message.usage.input_tokens > 0
    assert got.content[0].to_dict() == {"type": "text", "text": "Hello"}
    assert (got.usage.input_tokens, got.usage.output_tokens) == (10, 5)
    assert vendor.seen[0].json()["stream_options"] == {"include_usage": True}
    assert (await gateway.settled())[0].usage.completion_tokens == 5


async def test_stream_is_the_same_however_the_vendors_bytes_are_split(gateway: Serving, vendor: FakeUpstream) -> None:
    data = b"".join(good_stream("Grüße, ", "世界"))
    vendor.script = stream(*(data[at : at + 17] for at in range(0, len(data), 17)))
    response = await post(gateway, message(stream=True))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert blocks_of(events_of(response.text)) == [{"type": "text", "text": "Grüße, 世界"}]


async def test_sdk_takes_the_comments_of_a_long_silence_for_nothing(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hel", "lo"), pause=0.1)
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    async with (
        serving(tmp_path, snap, commit_after_seconds=0.01, keepalive_comment_seconds=0.02) as gateway,
        AsyncAnthropic(base_url=gateway.origin, api_key=KEY, max_retries=0) as client,
    ):
        async with client.messages.stream(**ASK) as running:
            assert await running.get_final_text() == "Hello"
        raw = await post(gateway, message(stream=True))
    assert b": keep-alive\n\n" in raw.content
    assert raw.content.index(b"cost-usd") < raw.content.index(b"event: message_delta")


async def test_beta_calls_are_ordinary_ones(gateway: Serving, vendor: FakeUpstream, client: AsyncAnthropic) -> None:
    got = await client.beta.messages.create(
        **ASK, betas=["context-management-2025-06-27"], context_management={"edits": []}
    )
    assert got.content[0].to_dict() == {"type": "text", "text": "hello"}
    counted = await client.beta.messages.count_tokens(model="gpt-4o-mini", messages=ASK["messages"])
    assert counted.input_tokens > 0
    assert "context_management" not in vendor.seen[0].json()


async def test_what_the_vendor_will_not_see_is_told(gateway: Serving) -> None:
    response = await post(gateway, message(fallbacks=[], thinking={"type": "adaptive"}, inference_geo="eu"))
    dropped = set(response.headers["x-tollkeeper-dropped"].split(","))
    assert {"fallbacks", "thinking", "inference_geo"} <= dropped


async def test_what_is_left_out_is_told_by_the_callers_names(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot(
        [provider("one", vendor.base_url, kind="mistral")], [route("gpt-4o-mini", ("one", "mistral-small"))]
    )
    async with serving(tmp_path, snap) as gateway:
        response = await post(gateway, message(metadata={"user_id": "u"}))
    assert response.headers["x-tollkeeper-dropped"] == "metadata.user_id"


async def test_what_is_said_in_other_words_is_not_said_to_be_dropped(gateway: Serving, vendor: FakeUpstream) -> None:
    response = await post(gateway, message(thinking={"type": "enabled", "budget_tokens": 2_000}, speed="fast", top_k=1))
    assert "x-tollkeeper-dropped" not in response.headers
    sent = vendor.seen[0].json()
    assert (sent["reasoning_effort"], sent["service_tier"], sent["top_k"]) == ("low", "fast", 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "tools[0].type"),
        ({"mcp_servers": [{"type": "url", "url": "https://x.test", "name": "x"}]}, "mcp_servers"),
    ],
)
async def test_what_only_anthropic_can_do_is_refused_and_not_left_out(
    gateway: Serving, vendor: FakeUpstream, fields: Any, param: str
) -> None:
    response = await post(gateway, message(**fields))
    assert response.status_code == 400
    assert response.json()["error"]["details"] == {"error_code": "unsupported_parameter", "param": param}
    assert "ask for a model whose provider speaks this API" in response.json()["error"]["message"]
    assert vendor.seen == []


async def test_file_by_its_address_is_refused(gateway: Serving, vendor: FakeUpstream) -> None:
    block = {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}}
    response = await post(gateway, message(messages=[user(block, text("?"))]))
    assert (response.status_code, response.json()["error"]["details"]["error_code"]) == (400, "unsupported_input")
    assert vendor.seen == []


def calling(turns: int) -> Script:
    """Calls a tool, twice at once, until there are so many results; then says what it heard."""

    async def script(seen: Seen, writer: Any) -> bool | None:
        messages = seen.json()["messages"]
        results = [entry["content"] for entry in messages if entry["role"] == "tool"]
        if len(results) >= 2 * turns:
            return await stream(*good_stream(" ".join(results)))(seen, writer)
        number = len(results)
        pieces = [
            event(chunk({"role": "assistant", "content": None})),
            *(
                event(chunk({"tool_calls": [entry]}))
                for at in (0, 1)
                for entry in (
                    fragment(at, call_id=f"call_{number + at}", name="get_weather"),
                    fragment(at, '{"city":'),
                    fragment(at, f'"{number + at} ü\\n\\""}}'),
                )
            ),
            event(chunk({}, "tool_calls")),
            event(chunk(None, usage=CALL_USAGE)),
            DONE,
        ]
        return await stream(*pieces)(seen, writer)

    return script


async def test_agent_calls_tools_for_ten_turns_and_its_arguments_are_intact(
    vendor: FakeUpstream, client: AsyncAnthropic
) -> None:
    vendor.script = calling(10)
    messages: list[Any] = [{"role": "user", "content": "Go."}]
    cities = []
    while True:
        async with client.messages.stream(
            model="gpt-4o-mini",
            max_tokens=100,
            messages=messages,
            tools=[TOOL],  # type: ignore[list-item]
        ) as running:
            got = await running.get_final_message()
        if got.stop_reason != "tool_use":
            break
        calls = [block for block in got.content if block.type == "tool_use"]
        cities += [call.input["city"] for call in calls]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": call.input["city"]} for call in reversed(calls)
        ]
        messages += [{"role": "assistant", "content": got.content}, {"role": "user", "content": results}]
    assert cities == [f'{number} ü\n"' for number in range(20)]
    last = vendor.seen[-1].json()["messages"]
    assert [entry["role"] for entry in last] == ["user", *["assistant", "tool", "tool"] * 10]
    assert [call["function"]["arguments"] for call in last[1]["tool_calls"]] == [
        json.dumps({"city": city}, ensure_ascii=False, separators=(",", ":")) for city in cities[:2]
    ]


# Errors


@pytest.mark.parametrize(
    ("status", "raised", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.InternalServerError, "api_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic._exceptions.OverloadedError, "overloaded_error"),
        (504, anthropic._exceptions.GatewayTimeoutError, "timeout_error"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_sdk_raises_its_own_class_for_a_vendors_refusal(
    vendor: FakeUpstream, client: AsyncAnthropic, status: int, raised: Any, kind: str, *, is_stream: bool
) -> None:
    vendor.script = answer_json({"error": {"message": "no", "type": "x"}}, status, [("retry-after", "7")])
    with pytest.raises(raised) as error:
        await client.messages.create(**ASK, stream=is_stream)
    assert error.value.type == kind
    assert error.value.error_code
    assert error.value.request_id == error.value.body["request_id"]  # type: ignore[index]
    if status == 429:
        assert error.value.response.headers["retry-after"] == "7"


async def test_sdk_hears_of_a_stream_that_breaks(vendor: FakeUpstream, client: AsyncAnthropic) -> None:
    vendor.script = stream(*good_stream("Hel")[:2], ends=False)
    with pytest.raises(anthropic.APIStatusError) as error:
        async with client.messages.stream(**ASK) as running:
            await running.get_final_message()
    assert error.value.error_code == "upstream_cut"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/messages", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/messages", 405, "method_not_allowed"),
        ("GET", "/v1/messages/count_tokens", 405, "method_not_allowed"),
        ("POST", "/v1/messages/batches", 404, "unknown_url"),
        ("POST", "/api/v1/messages/batches", 404, "unknown_url"),
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_wrong_paths_and_methods_are_told_in_anthropics_shape(
    gateway: Serving, method: str, path: str, status: int, code: str
) -> None:
    response = await gateway.client.request(method, path, headers={"x-api-key": KEY, **HEADERS})
    assert (response.status_code, response.json()["error"]["details"]["error_code"]) == (status, code)
    assert response.json()["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"authorization": "Bearer tk-nobody"}, b"{}", 401, "invalid_api_key"),
        ({"authorization": "Basic x"}, b"{}", 401, "invalid_api_key"),
        ({"x-api-key": "another"}, b"{}", 400, "conflicting_credentials"),
        ({}, b"{}", 400, "missing_required_parameter"),
        ({}, b"not json", 400, "invalid_json"),
        ({}, b"[]", 400, "invalid_json"),
        ({"content-type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ({"content-encoding": "gzip"}, b"{}", 415, "unsupported_media_type"),
    ],
)
async def test_refusals_before_the_model_have_anthropics_shape(
    gateway: Serving, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    response = await gateway.post(path, body, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert (document["type"], document["error"]["details"]["error_code"]) == ("error", code)
    assert document["request_id"] == response.headers["request-id"]


async def test_unknown_model_and_too_large_a_body(gateway: Serving, tmp_path: Path, client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as error:
        await client.messages.create(**{**ASK, "model": "nope"})
    assert error.value.error_code == "model_not_found"
    async with serving(tmp_path / "small", gateway.snapshots.snapshot, max_body_bytes=1024) as small:
        response = await post(small, message(system="x" * 2000))
    assert (response.status_code, response.json()["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", "tomorrow", None])
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_any_version_and_either_header_will_do(gateway: Serving, version: str | None, header: str) -> None:
    headers = {header: KEY if header == "x-api-key" else f"Bearer {KEY}", "content-type": "application/json"}
    if version is not None:
        headers["anthropic-version"] = version
    response = await gateway.client.post("/v1/messages", content=json.dumps(message()), headers=headers)
    assert response.status_code == 200


async def test_limits_are_told_on_answers_and_refusals(gateway: Serving) -> None:
    told = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s",
    }
    gateway.admission.headers = told
    good = await post(gateway)
    gateway.admission.refusal = RateLimited("Slow down.", retry_after_seconds=3, headers=told)
    refused = await post(gateway)
    assert (good.status_code, refused.status_code) == (200, 429)
    for response in (good, refused):
        assert response.headers["anthropic-ratelimit-requests-limit"] == "60"
        assert response.headers["anthropic-ratelimit-requests-remaining"] == "59"
        assert datetime.fromisoformat(response.headers["anthropic-ratelimit-requests-reset"]).tzinfo is not None
    assert refused.headers["retry-after"] == "3"


# 32: an ordinary key, an upstream of another vendor


async def test_tokens_are_counted_for_any_key_and_cost_nothing(
    gateway: Serving, vendor: FakeUpstream, client: AsyncAnthropic
) -> None:
    got = await client.messages.count_tokens(model="gpt-4o-mini", messages=ASK["messages"], tools=[TOOL], system="Be.")  # type: ignore[list-item]
    assert 20 < got.input_tokens < 300
    assert vendor.seen == []
    assert gateway.settlements == []
    assert gateway.log[-1]["operation"] == "count_tokens"


@pytest.mark.parametrize(
    "words", ["Say hello.", "The quick brown fox jumps over the lazy dog. " * 400, "{}\n\t" * 3000, "世界" * 500]
)
async def test_count_is_not_less_than_openai_counts(gateway: Serving, words: str) -> None:
    response = await post(gateway, message(messages=[user(text(words))]), "/v1/messages/count_tokens")
    exact = encodings.count(words)
    assert exact + 3 <= response.json()["input_tokens"] <= exact + 50


async def test_count_of_an_unknown_model_is_refused(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.count_tokens(model="nope", messages=ASK["messages"])


class Counted(FakeAdmission):
    """Under a rate of requests, one of tokens, a slot and a budget."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.under: list[Terms] = []

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        self.asked.append(asked)
        rates = (Place(b"r", PlaceKind.REQUESTS, 1, 1), Place(b"t", PlaceKind.TOKENS, 1, 1, measured=Measured.TOTAL))
        slots, budgets = (Place(b"p", PlaceKind.PARALLEL, 1, 1),), (Place(b"b", PlaceKind.HARD, 1, 1),)
        return [Terms(principal.tenant_id, rates, slots, budgets)]

    async def admit(self, terms: Sequence[Terms], *rest: Any, **kept: Any) -> Any:
        self.under += terms
        return await super().admit(terms, *rest, **kept)


async def test_counting_is_under_the_rates_of_requests_alone(tmp_path: Path) -> None:
    snap = snapshot([provider("one", None)], [route("gpt-4o-mini", ("one", "gpt-4o-mini"))])
    admission = Counted()
    async with serving(tmp_path, snap, admission=admission) as gateway:
        good = await post(gateway, None, "/api/v1/messages/count_tokens")
        admission.refusal = RateLimited("Slow down.", retry_after_seconds=3)
        refused = await post(gateway, None, "/v1/messages/count_tokens")
    assert (good.status_code, refused.status_code) == (200, 429)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert {asked.endpoint for asked in admission.asked} == {"messages/count_tokens"}
    for terms in admission.under:
        assert [place.key for place in terms.rates] == [b"r"]
        assert (terms.slots, terms.budgets) == ((), ())


# Models


async def test_sdk_lists_models_page_by_page(tmp_path: Path) -> None:
    routes = [route(f"model-{number:02}", ("one", "m"), created_unix=1_700_000_000) for number in range(25)]
    snap = snapshot([provider("one", None)], [*routes, route("any-*", ("one", "*"))])
    async with (
        serving(tmp_path, snap) as gateway,
        AsyncAnthropic(base_url=gateway.origin, api_key=KEY, max_retries=0) as client,
    ):
        page = await client.models.list()
        names = [model.id async for model in client.models.list(limit=7)]
        before = await client.models.list(before_id="model-03", limit=2)
        one = await client.models.retrieve("model-03")
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nope")
        with pytest.raises(anthropic.BadRequestError):
            await client.models.list(limit=0)
    assert (len(page.data), page.has_more, page.first_id, page.last_id) == (20, True, "model-00", "model-19")
    assert names == [f"model-{number:02}" for number in range(25)]
    assert ([model.id for model in before.data], before.has_more) == (["model-01", "model-02"], True)
    assert (one.type, one.display_name, one.lifecycle) == ("model", "model-03", "active")
    assert one.created_at.year == 2023


async def test_openais_clients_see_models_as_before(gateway: Serving) -> None:
    response = await gateway.client.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})
    assert response.json()["object"] == "list"


async def test_vendor_that_does_not_stream_is_a_stream_all_the_same(
    vendor: FakeUpstream, client: AsyncAnthropic
) -> None:
    vendor.script = answer_json(completion("whole"))
    async with client.messages.stream(**ASK) as running:
        assert await running.get_final_text() == "whole"


async def test_garbage_of_a_vendor_is_a_named_error(vendor: FakeUpstream, client: AsyncAnthropic) -> None:
    vendor.script = answer(200, b"<html>", content_type="text/html")
    with pytest.raises(anthropic.InternalServerError) as error:
        await client.messages.create(**ASK)
    assert error.value.error_code == "upstream_garbage"
