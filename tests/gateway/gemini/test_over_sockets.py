"""The whole data plane over sockets: Gemini at the caller's end, at the vendor's end, and at both."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.gemini.wire import (
    KEY_INVALID,
    RETRY_INFO,
    SIGNATURE,
    USAGE,
    WEATHER,
    answer,
    call,
    candidate,
    error,
    event,
    response,
)
from tests.gateway.serving import KEY, Serving, chat, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    answer_json,
    answer_raw,
    chunk,
    good_stream,
    running_upstream,
    silent,
    stream,
)
from tests.gateway.upstream import answer as answer_bytes
from tests.gateway.upstream import event as openai_event
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.probe import Probe
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.upstream import Upstream

Json = dict[str, Any]
HI = {"contents": [{"role": "user", "parts": [{"text": "Hi."}]}]}
STREAM_OF_GEMINI = [
    event(response(candidate({"text": "Hm.", "thought": True}))),
    event(response(candidate({"text": "Grüße "}))),
    event(response(candidate({"text": "✓"}))),
    event(response(candidate(call(args={"city": "Rome"}, signature=SIGNATURE), finish="STOP"))),
]


@pytest.fixture
async def google() -> AsyncIterator[FakeUpstream]:
    async with running_upstream() as upstream:
        upstream.script = answer_json(answer("Hello."))
        yield upstream


@pytest.fixture
async def gateway(tmp_path: Path, google: FakeUpstream, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    """`gem` leads to Gemini, `gpt` to a vendor that speaks OpenAI's format."""
    origin = google.base_url.removesuffix("/v1")
    snap = snapshot(
        [provider("google", origin, kind="gemini"), provider("openai", vendor.base_url)],
        [
            route("gem", ("google", "gemini-2.5-flash"), context_tokens=1_000_000, max_output_tokens=65_536),
            route("gpt", ("openai", "gpt-4o-mini")),
            route("vendor/gpt:latest", ("openai", "gpt-4o-mini")),
            route("both", ("google", "gemini-2.5-flash"), ("openai", "gpt-4o-mini")),
            route("gpt-*", ("openai", "gpt-4o-mini")),
        ],
    )
    async with serving(tmp_path, snap, commit_after_seconds=0.1, keepalive_comment_seconds=0.1) as running:
        yield running


async def ask(
    gateway: Serving, model: str, method: str = "generateContent", body: Any = None, **options: Any
) -> httpx.Response:
    prefix = options.pop("prefix", "/v1beta")
    headers = {"x-goog-api-key": KEY, "content-type": "application/json", **options.pop("headers", {})}
    content = body if isinstance(body, bytes) else json.dumps(HI if body is None else body).encode()
    return await gateway.client.post(f"{prefix}/models/{model}:{method}", content=content, headers=headers, **options)


def pieces(*frames: bytes, size: int = 17) -> list[bytes]:
    data = b"".join(frames)
    return [data[at : at + size] for at in range(0, len(data), size)]


def documents(text: str) -> list[Json]:
    return [json.loads(block.removeprefix("data: ")) for block in text.split("\r\n\r\n") if block]


def text_of(found: list[Json]) -> str:
    parts = [part for one in found for each in one.get("candidates", ()) for part in each["content"]["parts"]]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def details_of(body: Json) -> dict[str, Json]:
    return {detail["@type"].rpartition(".")[2]: detail for detail in body["error"]["details"]}


# OpenAI in, Gemini out


async def test_chat_reaches_gemini_and_is_settled_with_its_usage(gateway: Serving, google: FakeUpstream) -> None:
    """40."""
    found = await gateway.post(body=chat(model="gem", user="u", temperature=0.5))
    assert found.status_code == 200
    body = found.json()
    assert body["choices"][0]["message"]["content"] == "Hello."
    assert body["usage"]["total_tokens"] == 623
    assert found.headers["x-tollkeeper-dropped"] == "user"
    (seen,) = google.seen
    assert seen.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert seen.header("x-goog-api-key") == "secret-of-google"
    assert seen.header("authorization") is None
    assert seen.json()["generationConfig"] == {"temperature": 0.5}
    (row,) = await gateway.settled()
    assert (row.usage.input, row.usage.output, row.usage.reasoning) == (20, 198, 405)
    assert row.status is CallStatus.OK


@pytest.mark.parametrize("size", [17, 10_000])
async def test_chat_streams_from_gemini(gateway: Serving, google: FakeUpstream, size: int) -> None:
    """34, 36."""
    google.script = stream(*pieces(*STREAM_OF_GEMINI, size=size))
    asked = chat(model="gem", stream=True, stream_options={"include_usage": True}, tools=[WEATHER])
    found = await gateway.post(body=asked)
    *chunks, done = events_of(found.text)
    assert done == "[DONE]"
    read = [json.loads(one) for one in chunks]
    choices = [one["choices"][0] for one in read if one["choices"]]
    assert "".join(one["delta"].get("content") or "" for one in choices) == "Grüße ✓"
    assert [one["finish_reason"] for one in choices] == [None, None, None, None, "tool_calls"]
    (called,) = choices[3]["delta"]["tool_calls"]
    assert called["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
    assert read[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 405
    assert google.seen[0].path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    (row,) = await gateway.settled()
    assert row.usage.reasoning == 405


async def test_embeddings_reach_gemini(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json({"embeddings": [{"values": [0.5]}, {"values": [1.0]}]})
    found = await gateway.post("/v1/embeddings", {"model": "gem", "input": ["a", "b"], "encoding_format": "base64"})
    assert [row["embedding"] for row in found.json()["data"]] == ["AAAAPw==", "AACAPw=="]
    assert google.seen[0].path == "/v1beta/models/gemini-2.5-flash:batchEmbedContents"
    (row,) = await gateway.settled()
    assert row.usage.is_estimated


async def test_rate_limit_of_gemini_is_told_with_its_wait(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json(error(429, "RESOURCE_EXHAUSTED", "Quota.", RETRY_INFO), 429)
    for asked in (chat(model="gem"), chat(model="gem", stream=True)):
        found = await gateway.post(body=asked)
        assert (found.status_code, found.headers["retry-after"]) == (429, "35")


async def test_refused_credential_moves_on_and_is_not_told(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json(error(400, "INVALID_ARGUMENT", "API key not valid: secret-of-google", KEY_INVALID), 400)
    assert (await gateway.post(body=chat(model="both"))).json()["choices"][0]["message"]["content"] == "hello"
    alone = await gateway.post(body=chat(model="gem"))
    assert (alone.status_code, alone.json()["error"]["code"]) == (502, "upstream_authentication")
    assert "secret" not in alone.text


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (stream(*STREAM_OF_GEMINI[:2]), "upstream_cut"),
        (stream(*STREAM_OF_GEMINI[:2], ends=False), "upstream_cut"),
        (stream(*STREAM_OF_GEMINI[:2], event(error(503, "UNAVAILABLE"))), "upstream_error"),
        (stream(*STREAM_OF_GEMINI[:2], b"data: {nonsense\r\n\r\n"), "upstream_garbage"),
    ],
)
async def test_broken_stream_is_an_error_event_in_the_callers_dialect(
    gateway: Serving, google: FakeUpstream, script: Any, code: str
) -> None:
    google.script = script
    openai = events_of((await gateway.post(body=chat(model="gem", stream=True))).text)
    assert json.loads(openai[-1])["error"]["code"] == code
    own = documents((await ask(gateway, "gem", "streamGenerateContent", params={"alt": "sse"})).text)
    assert details_of(own[-1])["ErrorInfo"]["metadata"]["code"] == code
    array = (await ask(gateway, "gem", "streamGenerateContent")).json()
    assert details_of(array[-1])["ErrorInfo"]["metadata"]["code"] == code
    rows = await gateway.settled(3)
    assert {row.status for row in rows} == {CallStatus.ERROR}


@pytest.mark.parametrize(
    "script",
    [
        answer_bytes(200, b"<html>proxy</html>", content_type="text/html"),
        answer_json({}),
        answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"),
        answer_json(error(500, "INTERNAL")),
        answer_json([error(500, "INTERNAL")], 500),
    ],
)
async def test_what_is_no_answer_is_a_named_error_settled_once(
    gateway: Serving, google: FakeUpstream, script: Any
) -> None:
    google.script = script
    found = await ask(gateway, "gem")
    assert found.status_code == 502
    assert found.json()["error"]["status"] == "UNAVAILABLE"
    assert len(await gateway.settled()) == 1


async def test_stream_that_is_cut_is_charged_for_the_input_that_google_counted(
    gateway: Serving, google: FakeUpstream
) -> None:
    used = {"promptTokenCount": 900, "cachedContentTokenCount": 600, "totalTokenCount": 900}
    google.script = stream(event(response(candidate({"text": "x" * 40}), usage=used)), ends=False)
    await gateway.post(body=chat(model="gem", stream=True))
    (row,) = await gateway.settled()
    assert (row.usage.input, row.usage.cache_read, row.usage.output) == (300, 600, 10)
    assert row.usage.is_estimated


# Gemini in, OpenAI out


@pytest.mark.parametrize("prefix", ["/v1beta", "/api/v1beta", "/v1", "/api/v1"])
async def test_gemini_call_reaches_a_vendor_of_openais_format(
    gateway: Serving, vendor: FakeUpstream, prefix: str
) -> None:
    body = {**HI, "systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": {"maxOutputTokens": 9}}
    found = await ask(gateway, "vendor/gpt:latest", body=body, prefix=prefix)
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-request-id"].startswith("req_")
    document = found.json()
    assert document["candidates"][0]["content"] == {"parts": [{"text": "hello"}], "role": "model"}
    assert document["usageMetadata"]["totalTokenCount"] == 15
    assert vendor.seen[0].json() == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
        "max_tokens": 9,
    }
    (row,) = await gateway.settled()
    assert (row.usage.input, row.usage.output) == (10, 5)


async def test_gemini_stream_from_a_vendor_of_openais_format(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*pieces(*good_stream("Grü", "ße ✓")))
    found = await ask(gateway, "gpt", "streamGenerateContent", params={"alt": "sse"})
    assert found.headers["content-type"].startswith("text/event-stream")
    read = documents(found.text)
    assert text_of(read) == "Grüße ✓"
    assert read[-1]["candidates"][0]["finishReason"] == "STOP"
    assert read[-1]["usageMetadata"]["totalTokenCount"] == 15
    assert vendor.seen[0].json()["stream_options"] == {"include_usage": True}


async def test_gemini_stream_without_sse_is_one_json_array(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*pieces(*good_stream("Grü", "ße ✓")))
    found = await ask(gateway, "gpt", "streamGenerateContent")
    assert found.headers["content-type"] == "application/json; charset=UTF-8"
    assert text_of(found.json()) == "Grüße ✓"
    assert found.json()[-1]["usageMetadata"]["totalTokenCount"] == 15


async def test_tool_call_of_another_vendor_leaves_whole(gateway: Serving, vendor: FakeUpstream) -> None:
    def piece(**inner: Any) -> bytes:
        return openai_event(chunk({"tool_calls": [{"index": 0, "function": inner}]}))

    first = {"index": 0, "id": "call_x", "type": "function", "function": {"name": "weather", "arguments": ""}}
    vendor.script = stream(
        openai_event(chunk({"role": "assistant", "content": None, "tool_calls": [first]})),
        piece(arguments='{"ci'),
        piece(arguments='ty":"Rome"}'),
        openai_event(chunk({}, "tool_calls")),
        *good_stream()[-2:],
    )
    (only,) = documents((await ask(gateway, "gpt", "streamGenerateContent", params={"alt": "sse"})).text)
    assert only["candidates"][0]["content"]["parts"] == [
        {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "call_x"}}
    ]


async def test_what_another_vendor_cannot_say_is_told(gateway: Serving) -> None:
    body = {**HI, "safetySettings": [], "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}
    dropped = (await ask(gateway, "gpt", body=body)).headers["x-tollkeeper-dropped"].split(",")
    assert set(dropped) == {"safetySettings", "generationConfig.mediaResolution"}
    assert "x-tollkeeper-dropped" not in (await ask(gateway, "gem", body=body)).headers


async def test_what_another_vendor_cannot_do_is_refused(gateway: Serving, vendor: FakeUpstream) -> None:
    body = {**HI, "tools": [{"codeExecution": {}}]}
    found = await ask(gateway, "gpt", body=body)
    assert found.status_code == 400
    assert details_of(found.json())["ErrorInfo"]["metadata"] == {
        "code": "unsupported_parameter",
        "param": "tools[0].codeExecution",
    }
    assert vendor.seen == []
    assert (await ask(gateway, "gem", body=body)).status_code == 200


async def test_embeddings_of_another_vendor(gateway: Serving, vendor: FakeUpstream) -> None:
    rows = [{"object": "embedding", "index": at, "embedding": [at + 0.5]} for at in range(2)]
    vendor.script = answer_json(
        {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    )
    content = {"parts": [{"text": "a"}]}
    found = await ask(gateway, "gpt", "batchEmbedContents", {"requests": [{"content": content}, {"content": content}]})
    assert [one["values"] for one in found.json()["embeddings"]] == [[0.5], [1.5]]
    one = await ask(gateway, "gpt", "embedContent", {"content": content})
    assert one.json()["embedding"] == {"values": [0.5]}


# Gemini at both ends


async def test_answer_and_request_are_relayed(gateway: Serving, google: FakeUpstream) -> None:
    body = json.dumps(answer("Grüße"), ensure_ascii=False, indent=1).encode()
    google.script = answer_bytes(200, body)
    document = {**HI, "x_unknown": [1.5, None], "model": "models/ignored"}
    found = await ask(gateway, "gem", body=document)
    assert found.content == body
    assert google.seen[0].json() == {**HI, "x_unknown": [1.5, None]}
    (row,) = await gateway.settled()
    assert row.usage.reasoning == 405


@pytest.mark.parametrize("size", [17, 10_000])
async def test_stream_is_relayed_byte_for_byte(gateway: Serving, google: FakeUpstream, size: int) -> None:
    sent = [*STREAM_OF_GEMINI, event({"hologram": True, "usageMetadata": USAGE})]
    google.script = stream(*pieces(*sent, size=size))
    found = await ask(gateway, "gem", "streamGenerateContent", params={"alt": "sse"})
    assert found.content == b"".join(sent)
    array = await ask(gateway, "gem", "streamGenerateContent")
    assert array.json() == [json.loads(frame[6:]) for frame in sent]
    assert {seen.path for seen in google.seen} == {"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"}
    rows = await gateway.settled(2)
    assert {(row.status, row.usage.reasoning) for row in rows} == {(CallStatus.OK, 405)}


async def test_embedding_is_relayed_under_the_vendors_name(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json({"embedding": {"values": [1, 2]}})
    body = {"model": "models/gem", "content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY"}
    found = await ask(gateway, "gem", "embedContent", body)
    assert found.json() == {"embedding": {"values": [1, 2]}}
    assert google.seen[0].json() == {**body, "model": "models/gemini-2.5-flash"}


async def test_blocked_prompt_is_relayed(gateway: Serving, google: FakeUpstream) -> None:
    """41."""
    document = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}}
    google.script = answer_json(document)
    assert (await ask(gateway, "gem")).json() == document
    google.script = stream(event(document))
    assert (await ask(gateway, "gem", "streamGenerateContent")).json() == [document]


async def test_vendors_refusal_is_in_googles_words(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json(error(400, "INVALID_ARGUMENT", "* contents: bad"), 400)
    found = await ask(gateway, "gem")
    assert (found.status_code, found.json()["error"]["message"]) == (400, "* contents: bad")
    assert details_of(found.json())["RequestInfo"]["requestId"] == found.headers["x-request-id"]


# Beside the calls


async def test_silent_vendor_leaves_an_array_whole(gateway: Serving, google: FakeUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    google.script = silent(0.5, first=head)
    for params in ({}, {"alt": "sse"}):
        found = await ask(gateway, "gem", "streamGenerateContent", params=params)
        assert found.status_code == 200
        assert b": keep" not in found.content
        blank = found.content[: len(found.content) - len(found.content.lstrip())]
        assert blank
        body = json.loads(found.content) if not params else documents(found.text.strip())
        assert body[-1]["error"]["status"] == "UNAVAILABLE"


async def test_tokens_are_counted_without_a_call(gateway: Serving, vendor: FakeUpstream) -> None:
    for body in (HI, {"generateContentRequest": {"model": "models/gpt", **HI}}):
        found = await ask(gateway, "gpt", "countTokens", body)
        assert found.status_code == 200
        assert found.json()["totalTokens"] > 0
    assert vendor.seen == []
    assert gateway.settlements == []


async def test_google_counts_its_own_tokens(gateway: Serving, google: FakeUpstream) -> None:
    google.script = answer_json({"totalTokens": 4711})
    found = await ask(gateway, "gem", "countTokens")
    assert found.json() == {"totalTokens": 4711}
    messages = {"model": "gem", "messages": [{"role": "user", "content": "Hi."}]}
    assert (await gateway.post("/v1/messages/count_tokens", messages)).json() == {"input_tokens": 4711}
    for seen in google.seen:
        assert seen.path == "/v1beta/models/gemini-2.5-flash:countTokens"
        assert seen.json() == {"generateContentRequest": {"model": "models/gemini-2.5-flash", **HI}}
    for script in (answer_json(error(500, "INTERNAL"), 500), answer_json({}), answer_bytes(200, b"<html>")):
        google.script = script
        assert 0 < (await ask(gateway, "gem", "countTokens")).json()["totalTokens"] < 4711
    assert gateway.settlements == []


async def test_models_in_googles_shape(gateway: Serving) -> None:
    headers = {"x-goog-api-key": KEY}
    found = (await gateway.client.get("/v1beta/models", headers=headers)).json()
    assert [one["name"] for one in found["models"]] == [
        "models/both",
        "models/gem",
        "models/gpt",
        "models/vendor/gpt:latest",
    ]
    assert found["models"][1]["inputTokenLimit"] == 1_000_000
    assert found["models"][1]["outputTokenLimit"] == 65_536
    assert "generateContent" in found["models"][1]["supportedGenerationMethods"]
    first = (await gateway.client.get("/v1beta/models?pageSize=3", headers=headers)).json()
    second = (await gateway.client.get(f"/v1beta/models?pageToken={first['nextPageToken']}", headers=headers)).json()
    assert len(first["models"]) == 3
    assert [one["name"] for one in second["models"]] == ["models/vendor/gpt:latest"]
    assert "nextPageToken" not in second
    one = await gateway.client.get("/v1beta/models/vendor/gpt:latest", headers=headers)
    assert one.json()["name"] == "models/vendor/gpt:latest"
    google = {**headers, "x-goog-api-client": "google-genai-sdk/3.3.0"}
    assert "models" in (await gateway.client.get("/v1/models", headers=google)).json()
    assert "data" in (await gateway.client.get("/v1/models", headers=headers)).json()
    bad = await gateway.client.get("/v1beta/models?pageSize=x", headers=headers)
    assert (bad.status_code, bad.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "/v1beta/models/nobody", 404, "NOT_FOUND"),
        ("GET", "/v1beta/models/gem:generateContent", 405, "UNIMPLEMENTED"),
        ("POST", "/v1beta/models/gem:predict", 405, "UNIMPLEMENTED"),
        ("GET", "/v1beta", 404, "NOT_FOUND"),
        ("POST", "/v1beta/files", 404, "NOT_FOUND"),
        ("POST", "/api/v1beta/models/nobody:generateContent", 404, "NOT_FOUND"),
    ],
)
async def test_paths_that_lead_nowhere_say_so_in_googles_shape(
    gateway: Serving, method: str, path: str, status: int, word: str
) -> None:
    headers = {"x-goog-api-key": KEY, "content-type": "application/json"}
    found = await gateway.client.request(
        method, path, headers=headers, content=json.dumps(HI) if method == "POST" else None
    )
    assert (found.status_code, found.json()["error"]["status"]) == (status, word)


@pytest.mark.parametrize(
    "path", ["/v1beta/models/gem:generateContent", "/v1/chat/completions", "/v1beta/models", "/v1/models"]
)
@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "KEY"])
async def test_key_in_the_address_is_refused_wherever_it_stands(
    gateway: Serving, google: FakeUpstream, path: str, name: str
) -> None:
    is_list = path.endswith("models")
    body = json.dumps(chat(model="gem") if "chat" in path else HI)
    for headers in ({}, {"x-goog-api-key": KEY}):
        found = await gateway.client.request(
            "GET" if is_list else "POST",
            path,
            params={name: KEY},
            headers={"content-type": "application/json", **headers},
            content=None if is_list else body,
        )
        assert found.status_code == 400
        assert "credential_in_query" in found.text
        assert KEY not in found.text
    assert google.seen == []


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"x-goog-api-key": "tk-live_wrong"}, 401)])
async def test_caller_without_a_good_key_is_unauthenticated(
    gateway: Serving, headers: dict[str, str], status: int
) -> None:
    found = await gateway.client.post(
        "/v1beta/models/gem:generateContent", json=HI, headers={"content-type": "application/json", **headers}
    )
    assert (found.status_code, found.json()["error"]["status"]) == (status, "UNAUTHENTICATED")


async def test_key_for_the_list_of_models_opens_no_call(gateway: Serving, google: FakeUpstream) -> None:
    lists, calls = new_key().token, new_key().token
    gateway.keys.add(lists, allowed_endpoints=frozenset({"models"}))
    gateway.keys.add(calls, allowed_endpoints=frozenset({"v1beta/models"}))
    for prefix in ("/v1beta", "/api/v1beta", "/v1", "/api/v1"):
        refused = await ask(gateway, "gem", prefix=prefix, headers={"x-goog-api-key": lists})
        assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        assert (await ask(gateway, "gem", prefix=prefix, headers={"x-goog-api-key": calls})).status_code == 200
    assert len(google.seen) == 4


async def test_bad_bodies_are_400_in_googles_shape(gateway: Serving) -> None:
    for body in (b"", b"{", b"[]", b"\x00", b'{"contents": 7}'):
        found = await ask(gateway, "gem", body=body)
        assert (found.status_code, found.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_whole_conversation_with_tools_keeps_signatures_between_openai_and_gemini(
    gateway: Serving, google: FakeUpstream
) -> None:
    """A client of OpenAI's plays back what it got; Gemini gets its own signature, byte for byte."""
    google.script = answer_json(
        response(candidate(call(args={"city": "Rome"}, signature=SIGNATURE, id="a"), finish="STOP"))
    )
    asked = chat(model="gem", tools=[WEATHER])
    message = (await gateway.post(body=asked)).json()["choices"][0]["message"]
    played = [*asked["messages"], message, {"role": "tool", "tool_call_id": "a", "content": "sunny"}]
    await gateway.post(body={**asked, "messages": played})
    contents = google.seen[1].json()["contents"]
    assert contents[1]["parts"] == [call(args={"city": "Rome"}, signature=SIGNATURE, id="a")]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "weather", "response": {"output": "sunny"}}}
    ]


async def test_failover_from_gemini_keeps_the_callers_dialect(
    gateway: Serving, google: FakeUpstream, vendor: FakeUpstream
) -> None:
    google.script = answer_json(error(503, "UNAVAILABLE"), 503)
    whole = await ask(gateway, "both")
    assert whole.json()["candidates"][0]["content"]["parts"] == [{"text": "hello"}]
    assert whole.headers["x-tollkeeper-attempts"] == "2"
    vendor.script = stream(*good_stream("hello"))
    found = await ask(gateway, "both", "streamGenerateContent", params={"alt": "sse"})
    assert text_of(documents(found.text)) == "hello"


async def test_probe_counts_geminis_models(google: FakeUpstream) -> None:
    google.script = answer_json({"models": [{"name": "models/gemini-2.5-flash"}]})
    for suffix in ("", "/v1beta", "/v1"):
        base = google.base_url.removesuffix("/v1")
        config = provider("google", base + suffix, kind="gemini")
        upstream = Upstream(Settings(_env_file=None), SystemClock())
        try:
            (found,) = await Probe(PROVIDERS, upstream, SystemClock()).probe(config)
        finally:
            await upstream.aclose()
        assert (found.ok, found.models) == (True, 1)
    assert [seen.path for seen in google.seen] == ["/v1beta/models", "/v1beta/models", "/v1/models"]
    assert {seen.header("x-goog-api-key") for seen in google.seen} == {"secret-of-google"}
