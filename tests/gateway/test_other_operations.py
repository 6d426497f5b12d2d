"""Moderations, pictures, speech, transcripts and rankings over sockets: relayed as they come, wrong calls refused by name."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.forms import HEADERS, TYPE, form, transcription
from tests.gateway.serving import KEY, Serving, events_of, provider, route, serving, snapshot
from tests.gateway.upstream import (
    FakeUpstream,
    Script,
    Seen,
    answer,
    answer_json,
    answer_raw,
    event,
    stream,
)
from tollkeeper.contracts.chat import MODEL_OPERATIONS, Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.dialect import CallerDialect, VendorDialect
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.simulator import media
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

PICTURE = base64.b64encode(media.png(b"abc")).decode()
MODERATION = {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": False, "categories": {}}]}
IMAGES = {"created": 1, "data": [{"b64_json": PICTURE}]}
RANKING = {
    "id": "r",
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
    "meta": {"billed_units": {"search_units": 1}},
}
TRANSCRIPT = {"text": "hello", "usage": {"type": "duration", "seconds": 1}}
SPEECH = {"model": "m", "input": "Hello", "voice": "alloy"}
WAV = media.wav(1.0)


@pytest.fixture
async def gateway(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    routes = [route("m", ("one", "theirs")), route("omni-moderation-latest", ("one", "*")), route("sim", ("sim", "*"))]
    simulated = provider("sim", None, kind="simulated", credentials=())
    snap = snapshot([provider("one", vendor.base_url), simulated], routes)
    async with serving(tmp_path, snap, http=partial(HttpProtocol, Connections(HttpLimits()))) as running:
        yield running


async def post_form(gateway: Serving, path: str, content: bytes) -> httpx.Response:
    return await gateway.post(path, content, headers=TYPE)


# Whole answers in JSON

WHOLE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("moderations", {"model": "m", "input": ["a", "b"]}, MODERATION),
    ("images/generations", {"model": "m", "prompt": "a cat", "n": 1}, IMAGES),
    ("images/edits", {"model": "m", "prompt": "a cat", "images": [{"image_url": "https://x.test/a.png"}]}, IMAGES),
    ("rerank", {"model": "m", "query": "q", "documents": ["a", {"text": "b"}]}, RANKING),
]


@pytest.mark.parametrize(("path", "body", "document"), WHOLE, ids=[row[0] for row in WHOLE])
@pytest.mark.parametrize("prefix", ["/v1/", "/api/v1/"])
async def test_call_in_json_reaches_the_vendor_and_its_answer_the_caller(
    gateway: Serving, vendor: FakeUpstream, prefix: str, path: str, body: dict[str, Any], document: dict[str, Any]
) -> None:
    vendor.script = answer_json(document)
    response = await gateway.post(prefix + path, {**body, "unknown_field": {"kept": True}})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == document
    (seen,) = vendor.seen
    assert seen.path == "/v1/" + path
    assert seen.json() == {**body, "model": "theirs", "unknown_field": {"kept": True}}


async def test_moderation_without_a_model_goes_to_openais_own(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(MODERATION)
    assert (await gateway.post("/v1/moderations", {"input": "a"})).status_code == 200
    assert vendor.seen[0].json()["model"] == "omni-moderation-latest"


async def test_ranking_is_where_coheres_clients_look_for_it(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(RANKING)
    body = {"model": "m", "query": "q", "documents": ["a", "b"]}
    assert (await gateway.post("/v2/rerank", body)).json() == RANKING
    assert vendor.seen[0].path == "/v1/rerank"
    codes = []
    for endpoint in ("chat/completions", "rerank"):
        key = new_key().token
        gateway.keys.add(key, allowed_endpoints=frozenset({endpoint}))
        codes.append((await gateway.post("/v2/rerank", body, headers={"authorization": f"Bearer {key}"})).status_code)
    assert codes == [403, 200]


async def test_voyages_ranking_is_shown_as_coheres(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"object": "list", "data": RANKING["results"], "usage": {"total_tokens": 7}})
    response = await gateway.post("/v1/rerank", {"model": "m", "query": "q", "documents": ["a", "b"]})
    assert response.json()["results"] == RANKING["results"]
    (settlement,) = await gateway.settled()
    assert settlement.usage.input == 7


# Forms


async def test_form_reaches_the_vendor_with_its_name_for_the_model(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(TRANSCRIPT)
    content = transcription(WAV, ("timestamp_granularities[]", "word"), ("temperature", "0.2"), model="m")
    response = await post_form(gateway, "/v1/audio/transcriptions", content)
    assert response.json() == TRANSCRIPT
    (seen,) = vendor.seen
    assert seen.header("content-type") == 'multipart/form-data; boundary="----tollkeeper-test"'
    assert seen.body == content.replace(b"\r\n\r\nm\r\n", b"\r\n\r\ntheirs\r\n").replace(
        b'Content-Disposition: form-data; name="model"', b'content-disposition: form-data; name="model"'
    )


async def test_form_whose_model_has_no_other_name_goes_out_byte_by_byte(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(TRANSCRIPT)
    content = transcription(WAV, model="omni-moderation-latest")
    assert (await post_form(gateway, "/v1/audio/translations", content)).status_code == 200
    assert vendor.seen[0].body == content


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("images/edits", [("prompt", "a hat"), ("image[]", media.png(b"abc"), "a.png"), ("image[]", b"x", "b.png")]),
        ("images/variations", [("image", media.png(b"abc"), "a.png"), ("n", "2")]),
    ],
)
async def test_pictures_are_taken_in_forms(
    gateway: Serving, vendor: FakeUpstream, path: str, fields: list[Any]
) -> None:
    vendor.script = answer_json(IMAGES)
    response = await post_form(gateway, f"/v1/{path}", form(("model", "m"), *fields))
    assert response.json() == IMAGES
    assert vendor.seen[0].path == f"/v1/{path}"


@pytest.mark.parametrize("kind", ["text", "srt", "vtt"])
async def test_transcript_as_text_is_text(gateway: Serving, vendor: FakeUpstream, kind: str) -> None:
    vendor.script = answer(200, "Grüße\n".encode(), content_type="text/plain")
    content = transcription(WAV, ("response_format", kind), model="m")
    response = await post_form(gateway, "/v1/audio/transcriptions", content)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "Grüße\n"


async def test_vendor_that_knows_json_alone_gives_text_all_the_same(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(TRANSCRIPT)
    content = transcription(WAV, ("response_format", "text"), model="m")
    assert (await post_form(gateway, "/v1/audio/transcriptions", content)).text == "hello"


# Streams

PARTIAL = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": PICTURE}
COMPLETED = {
    "type": "image_generation.completed",
    "b64_json": PICTURE,
    "usage": {"input_tokens": 3, "output_tokens": 272, "total_tokens": 275},
}
DELTA = {"type": "transcript.text.delta", "delta": "hello"}
DONE = {"type": "transcript.text.done", "text": "hello", "usage": {"input_tokens": 10, "output_tokens": 2}}


async def test_pictures_stream_with_their_events_names(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(event(PARTIAL), event(COMPLETED))
    response = await gateway.post("/v1/images/generations", {"model": "m", "prompt": "x", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in response.text.split("\n\n") if frame and not frame.startswith(":")]
    assert [frame[0] for frame in frames] == [f"event: {PARTIAL['type']}", f"event: {COMPLETED['type']}"]
    assert [json.loads(frame[1].removeprefix("data: ")) for frame in frames] == [PARTIAL, COMPLETED]
    assert "stream_options" not in vendor.seen[0].json()
    (settlement,) = await gateway.settled()
    assert (settlement.usage.input, settlement.usage.output_image) == (3, 272)


async def test_transcript_streams(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(event(DELTA), event(DONE), b"data: [DONE]\n\n")
    content = transcription(WAV, ("stream", "true"), model="m")
    response = await post_form(gateway, "/v1/audio/transcriptions", content)
    assert [json.loads(data) for data in events_of(response.text)] == [DELTA, DONE]


@pytest.mark.parametrize(
    ("path", "content", "document", "kinds"),
    [
        ("images/generations", {"model": "m", "prompt": "x", "stream": True}, IMAGES, ["image_generation.completed"]),
        ("audio/transcriptions", transcription(WAV, ("stream", "1"), model="m"), TRANSCRIPT, ["transcript.text.done"]),
    ],
)
async def test_vendor_that_does_not_stream_is_shown_as_a_stream(
    gateway: Serving, vendor: FakeUpstream, path: str, content: Any, document: dict[str, Any], kinds: list[str]
) -> None:
    vendor.script = answer_json(document)
    headers = TYPE if isinstance(content, bytes) else {}
    response = await gateway.post(f"/v1/{path}", content, headers=headers)
    data = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert [json.loads(one)["type"] for one in data] == kinds


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"])
async def test_stream_without_its_proper_end_is_an_error(gateway: Serving, vendor: FakeUpstream, done: bytes) -> None:
    vendor.script = stream(event(PARTIAL), done)
    response = await gateway.post("/v1/images/generations", {"model": "m", "prompt": "x", "stream": True})
    last = response.text.rstrip().split("\n\n")[-1].split("\n")
    assert last[0] == "event: error"
    assert json.loads(last[1].removeprefix("data: "))["error"]["code"] == "upstream_cut"


# Speech


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(None, "audio/mpeg"), ("wav", "audio/wav"), ("pcm", "audio/pcm"), ("mulaw", "application/octet-stream")],
)
async def test_speech_is_relayed_as_it_comes(
    gateway: Serving, vendor: FakeUpstream, wanted: str | None, shown: str
) -> None:
    pieces = (b"ID3\x04", b"\xff\xfb\x00" * 1000, b"data: x\n\n")
    vendor.script = stream(*pieces)
    body = {**SPEECH, **({} if wanted is None else {"response_format": wanted})}
    response = await gateway.post("/v1/audio/speech", body)
    assert response.headers["content-type"] == shown
    assert response.content == b"".join(pieces)
    assert vendor.seen[0].json() == {**body, "model": "theirs"}


async def test_speech_arrives_before_it_is_over(gateway: Serving, vendor: FakeUpstream) -> None:
    go = asyncio.Event()

    async def slow(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 6\r\n\r\nfirst")
        await writer.drain()
        await go.wait()
        writer.write(b"!")

    vendor.script = slow
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with gateway.client.stream("POST", "/v1/audio/speech", json=SPEECH, headers=headers) as response:
        parts = response.aiter_bytes()
        assert await anext(parts) == b"first"
        go.set()
        assert [part async for part in parts] == [b"!"]


async def test_speech_that_breaks_is_cut_and_never_looks_whole(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(b"ID3\x04", b"more", pause=0.02, ends=False)
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.post("/v1/audio/speech", SPEECH)
    (settlement,) = await gateway.settled()
    assert settlement.error_code == "upstream_cut"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (answer_json({"error": {"message": "no", "code": "nope"}}), "nope"),
        (answer(200, b"<html>"), "upstream_garbage"),
        (answer(200, b""), "upstream_cut"),
        (answer_raw(b""), "upstream_disconnected"),
    ],
    ids=["error under 200", "html", "empty", "closed"],
)
async def test_speech_that_is_none_is_an_error_with_a_name(
    gateway: Serving, vendor: FakeUpstream, script: Script, code: str
) -> None:
    vendor.script = script
    response = await gateway.post("/v1/audio/speech", SPEECH)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == code


async def test_speech_in_events_is_relayed(gateway: Serving, vendor: FakeUpstream) -> None:
    events = [
        {"type": "speech.audio.delta", "audio": "AAAA"},
        {"type": "speech.audio.done", "usage": {"input_tokens": 2, "output_tokens": 9, "total_tokens": 11}},
    ]
    vendor.script = stream(*map(event, events))
    response = await gateway.post("/v1/audio/speech", {**SPEECH, "stream_format": "sse"})
    assert [json.loads(data) for data in events_of(response.text)] == events
    (settlement,) = await gateway.settled()
    assert settlement.usage.completion_tokens == 9


# Vendors that answer nonsense

GARBAGE = [
    ("moderations", {"model": "m", "input": "a"}, {"results": "none"}),
    ("images/generations", {"model": "m", "prompt": "x"}, {"data": {}}),
    ("rerank", {"model": "m", "query": "q", "documents": ["a"]}, {"results": [{"index": "0", "relevance_score": 1}]}),
    ("audio/transcriptions", transcription(WAV, model="m"), {"words": 1}),
]


@pytest.mark.parametrize(("path", "content", "document"), GARBAGE, ids=[row[0] for row in GARBAGE])
@pytest.mark.parametrize("is_json", [True, False])
async def test_answer_that_is_none_is_an_error_with_a_name(
    gateway: Serving, vendor: FakeUpstream, path: str, content: Any, document: dict[str, Any], is_json: bool
) -> None:
    vendor.script = answer_json(document) if is_json else answer(200, b"<html>no")
    headers = TYPE if isinstance(content, bytes) else {}
    response = await gateway.post(f"/v1/{path}", content, headers=headers)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_garbage"


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_LISTEN = OpenAITranscriptions().read_call(transcription(WAV), HEADERS, "")
_ANSWERS: list[tuple[VendorDialect, Call, dict[str, Any]]] = [
    (OpenAIModerations(), Call(Operation.MODERATIONS, "m", is_stream=False, body={}), MODERATION),
    (OpenAIImages(), Call(Operation.IMAGE_GENERATIONS, "m", is_stream=False, body={}), {**IMAGES, **COMPLETED}),
    (OpenAIRerank(), Call(Operation.RERANK, "m", is_stream=False, body={}), {**RANKING, "usage": {}}),
    (OpenAITranscriptions(), _LISTEN, {**TRANSCRIPT, **DONE, "duration": 1.0}),
]


@given(st.sampled_from(_ANSWERS), st.data())
async def test_mutated_answers_are_answers_or_named_errors(
    which: tuple[VendorDialect, Call, dict[str, Any]], data: st.DataObject
) -> None:
    dialect, call, good = which
    document = dict(good)
    for name in data.draw(st.lists(st.sampled_from([*sorted(good), "error", "svg_usage", "data"]), max_size=3)):
        document[name] = data.draw(_ANYTHING)
    body = json.dumps(document).encode()

    async def reads(content: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(content), 17):
            yield content[at : at + 17]

    with suppress(UpstreamError):
        assert dialect.read_whole(body, call).is_final
    for content in (body, b"data: %b\r\n\r\n" % body):
        with suppress(UpstreamError):
            async for batch in dialect.read_stream(reads(content), call):
                OpenAIImages().writer(call).batch(batch)


# Callers that send nonsense

_GOOD_OF: dict[str, tuple[CallerDialect, dict[str, Any]]] = {
    "moderations": (
        OpenAIModerations(),
        {"model": "m", "input": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
    ),
    "images": (OpenAIImages(), {"model": "m", "prompt": "x", "n": 2, "size": "1024x1024", "partial_images": 1}),
    "edits": (OpenAIImages(Operation.IMAGE_EDITS), {"model": "m", "prompt": "x", "images": [{"image_url": "u"}]}),
    "speech": (OpenAISpeech(), {**SPEECH, "speed": 1.5, "response_format": "wav", "stream_format": "audio"}),
    "rerank": (OpenAIRerank(), {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}),
}
_WRONG = [
    ("moderations", "input", 5),
    ("moderations", "input", []),
    ("moderations", "input", ["a", 5]),
    ("moderations", "input", [{"type": "audio"}]),
    ("moderations", "input", [{"type": "text", "text": 5}]),
    ("moderations", "input", [{"type": "image_url", "image_url": "u"}]),
    ("moderations", "stream", True),
    ("images", "prompt", None),
    ("images", "prompt", ["x"]),
    ("images", "n", "2"),
    ("images", "n", 0),
    ("images", "size", 5),
    ("images", "quality", {}),
    ("images", "partial_images", 4),
    ("images", "stream", "yes"),
    ("edits", "images", None),
    ("edits", "images", []),
    ("edits", "images", [5]),
    ("edits", "images", 5),
    ("speech", "input", ""),
    ("speech", "input", 5),
    ("speech", "voice", None),
    ("speech", "voice", 5),
    ("speech", "speed", "fast"),
    ("speech", "stream_format", "words"),
    ("speech", "response_format", 5),
    ("rerank", "query", ""),
    ("rerank", "query", 5),
    ("rerank", "documents", []),
    ("rerank", "documents", "a"),
    ("rerank", "documents", [5]),
    ("rerank", "top_n", 0),
    ("rerank", "model", 5),
    ("rerank", "stream", True),
]


@pytest.mark.parametrize(("kind", "name", "value"), _WRONG)
def test_wrong_fields_are_refused_by_name(kind: str, name: str, value: Any) -> None:
    dialect, good = _GOOD_OF[kind]
    with pytest.raises(BadRequest) as refused:
        dialect.read_call(json.dumps({**good, name: value}).encode(), {}, "")
    assert refused.value.status == 400
    assert refused.value.param is not None
    assert refused.value.param.startswith(name)


@given(st.sampled_from(sorted(_GOOD_OF)), st.data())
def test_mutated_documents_are_calls_or_refusals(kind: str, data: st.DataObject) -> None:
    dialect, good = _GOOD_OF[kind]
    body = dict(good)
    for name in data.draw(st.lists(st.sampled_from(sorted(good)), max_size=3)):
        body[name] = data.draw(_ANYTHING)
    try:
        call = dialect.read_call(json.dumps(body).encode(), {}, "")
    except BadRequest:
        return
    assert isinstance(call, Call)


@pytest.mark.parametrize(
    ("path", "content", "status", "param"),
    [
        ("audio/transcriptions", form(("model", "m")), 400, "file"),
        ("audio/transcriptions", form(("model", "m"), ("file", "text")), 400, "file"),
        ("audio/transcriptions", form(("model", "m"), ("file", b"", "x")), 400, "file"),
        ("audio/transcriptions", form(("model", "m"), ("file", b"x", "x"), ("file", b"y", "y")), 400, "file"),
        ("audio/transcriptions", form(("file", WAV, "x")), 400, "model"),
        ("audio/transcriptions", form(("model", "m"), ("model", "n"), ("file", WAV, "x")), 400, "model"),
        ("audio/transcriptions", form(("model", b"m", "f"), ("file", WAV, "x")), 400, "model"),
        ("audio/transcriptions", transcription(WAV, ("stream", "maybe"), model="m"), 400, "stream"),
        ("audio/transcriptions", transcription(WAV, ("temperature", "warm"), model="m"), 400, "temperature"),
        ("audio/translations", transcription(WAV, ("stream", "true"), model="m"), 400, "stream"),
        ("audio/transcriptions", b"nonsense", 400, None),
        ("audio/transcriptions", b"", 400, None),
        ("audio/transcriptions", form(("model", "m"), ("file", bytes(25 * 1024 * 1024 + 1), "x")), 413, "file"),
        ("images/edits", form(("model", "m"), ("image", b"x", "x")), 400, "prompt"),
        ("images/edits", form(("model", "m"), ("prompt", "x")), 400, "image"),
        ("images/edits", form(("model", "m"), ("prompt", "x"), ("image", b"x", "x"), ("n", "many")), 400, "n"),
        ("images/variations", form(("model", "m"), ("image", b"x", "x"), ("image", b"x", "x")), 400, "image"),
        ("images/generations", form(("model", "m"), ("prompt", "x")), 415, "content-type"),
    ],
)
async def test_wrong_forms_are_refused_by_name(
    gateway: Serving, vendor: FakeUpstream, path: str, content: bytes, status: int, param: str | None
) -> None:
    response = await post_form(gateway, f"/v1/{path}", content)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param
    assert vendor.seen == []


@pytest.mark.parametrize("path", ["audio/transcriptions", "images/variations"])
async def test_json_where_a_form_is_needed_is_refused(gateway: Serving, path: str) -> None:
    response = await gateway.post(f"/v1/{path}", {"model": "m"})
    assert response.status_code == 415


async def test_form_larger_than_the_limit_is_refused(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url)], [route("m", ("one", "a"))])
    async with serving(tmp_path, snap, max_body_bytes=2_000) as gateway:
        response = await post_form(gateway, "/v1/audio/transcriptions", transcription(bytes(3_000), model="m"))
        assert response.status_code == 413


# Vendors


@pytest.mark.parametrize("kind", PROVIDERS)
def test_every_provider_has_an_operation_or_says_that_it_has_not(kind: str) -> None:
    config = provider("p", "https://p.test", kind=kind)
    has, refused = set(), set()
    for operation in MODEL_OPERATIONS:
        call = Call(operation, "m", is_stream=False, body={"model": "m"})
        try:
            PROVIDERS[kind].dialect(config, call, Target("p", "*"))
        except BadRequest as error:
            refused.add(error.code)
        else:
            has.add(operation)
            assert PROVIDERS[kind].url(config, call, Target("p", "*"))
    assert Operation.CHAT in has
    assert refused <= {"unsupported_operation"}


async def test_vendor_without_the_operation_is_not_asked(tmp_path: Path, vendor: FakeUpstream) -> None:
    snap = snapshot([provider("one", vendor.base_url, kind="deepseek")], [route("m", ("one", "a"))])
    async with serving(tmp_path, snap) as gateway:
        response = await gateway.post("/v1/audio/speech", SPEECH)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_operation")
        assert vendor.seen == []


def test_coheres_ranking_is_at_another_address() -> None:
    config = provider("p", None, kind="cohere")
    call = Call(Operation.RERANK, "m", is_stream=False, body={"model": "m"})
    assert PROVIDERS["cohere"].url(config, call, Target("p", "*")) == "https://api.cohere.ai/v2/rerank"
