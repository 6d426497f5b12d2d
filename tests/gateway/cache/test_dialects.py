"""Every operation, whole and streamed, in every caller's dialect: the answer given again is the one that was given."""

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.cache.caching import HEADER, Worker, attached, policy, with_caches, worker
from tests.gateway.serving import KEY, chat, provider, route, snapshot
from tollkeeper.core.redis import RedisLink

QUESTION = [{"role": "user", "content": "Say hello."}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", chat(model="m")),
    "chat streamed": ("/v1/chat/completions", chat(model="m", stream=True, stream_options={"include_usage": True})),
    "chat, several": ("/v1/chat/completions", chat(model="m", n=2)),
    "completion": ("/v1/completions", {"model": "m", "prompt": "Say hello.", "max_tokens": 500}),
    "completion streamed": (
        "/v1/completions",
        {"model": "m", "prompt": "Say hello.", "max_tokens": 500, "stream": True},
    ),
    "embedding": ("/v1/embeddings", {"model": "e", "input": ["a", "b"]}),
    "embedding in base64": ("/v1/embeddings", {"model": "e", "input": "a", "encoding_format": "base64"}),
    "moderation": ("/v1/moderations", {"model": "m", "input": "a"}),
    "rerank": ("/v1/rerank", {"model": "m", "query": "a", "documents": ["a", "b"]}),
    "picture": ("/v1/images/generations", {"model": "m", "prompt": "a", "response_format": "b64_json"}),
    "speech": ("/v1/audio/speech", {"model": "m", "input": "a", "voice": "alloy"}),
    "message": ("/v1/messages", {"model": "m", "messages": QUESTION, "max_tokens": 100}),
    "message streamed": ("/v1/messages", {"model": "m", "messages": QUESTION, "max_tokens": 100, "stream": True}),
    "response": ("/v1/responses", {"model": "m", "input": "Say hello.", "store": False}),
    "response streamed": ("/v1/responses", {"model": "m", "input": "Say hello.", "store": False, "stream": True}),
    "generateContent": ("/v1beta/models/m:generateContent", GEMINI),
    "streamGenerateContent": ("/v1beta/models/m:streamGenerateContent?alt=sse", GEMINI),
}
# What is each call's own: its id and its moment.
_OWN = re.compile(
    rb'"(id|item_id|response_id|responseId|created|created_at|completed_at|obfuscation)":("[^"]*"|[0-9.]+),?'
)
_COMMENTS = re.compile(rb"(?m)^: .*\n\n?")


@pytest.fixture
async def simulated(tmp_path: Path, link: RedisLink) -> AsyncIterator[Worker]:
    """Every operation is there at the simulated provider; its answers are drawn by chance."""
    snap = snapshot(
        [provider("simulated", None, kind="simulated", credentials=())],
        [route("m", ("simulated", "simulated")), route("e", ("simulated", "simulated-embedding"))],
    )
    async with worker(tmp_path, with_caches(snap, attached(policy())), link) as one:
        yield one


def seen(answer: httpx.Response) -> bytes:
    return _OWN.sub(b"", _COMMENTS.sub(b"", answer.content))


@pytest.mark.parametrize("name", WAYS)
async def test_it_is_the_same_answer(simulated: Worker, name: str) -> None:
    path, body = WAYS[name]
    first = await simulated.ask(path=path, json=body)
    assert (first.status_code, first.headers[HEADER]) == (200, "miss"), first.text
    # From this worker's memory, and as Redis has it.
    for _ in range(2):
        again = await simulated.ask(path=path, json=body)
        assert (again.status_code, again.headers[HEADER]) == (200, "exact")
        assert again.headers["content-type"] == first.headers["content-type"]
        assert seen(again) == seen(first)
        simulated.memory.clear()
    assert len(await simulated.gateway.settled(3)) == 3


async def test_a_form_is_known_by_its_bytes(simulated: Worker) -> None:
    sound = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")
    results = []
    for content in (sound, sound, sound + b"\0\0"):
        answer = await simulated.gateway.client.post(
            "/v1/audio/transcriptions",
            data={"model": "m"},
            files={"file": ("a.wav", content, "audio/wav")},
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert answer.status_code == 200, answer.text
        results.append(answer.headers[HEADER])
    assert results == ["miss", "exact", "miss"]


async def test_a_sound_in_events_is_no_sound_in_one_piece(simulated: Worker) -> None:
    for path, body in (
        ("/v1/audio/speech", {"model": "m", "input": "a", "voice": "alloy"}),
        ("/v1/images/generations", {"model": "m", "prompt": "a", "response_format": "b64_json"}),
    ):
        streamed = {**body, "stream": True, "stream_format": "sse"}
        for asked in (body, streamed):
            first = await simulated.ask(path=path, json=asked)
            assert (first.status_code, first.headers[HEADER]) == (200, "miss"), first.text
            again = await simulated.ask(path=path, json=asked)
            assert (again.status_code, again.headers[HEADER]) == (200, "exact")
            assert seen(again) == seen(first)


async def test_what_is_stored_at_the_vendor_or_here_is_passed_by(simulated: Worker) -> None:
    for body in ({"store": True}, {}):
        answer = await simulated.ask(path="/v1/responses", json={"model": "m", "input": "Hello.", **body})
        assert answer.headers[HEADER] == "bypass"


async def test_answers_of_one_dialect_are_none_of_another(simulated: Worker) -> None:
    for name in ("chat", "message", "response", "generateContent"):
        path, body = WAYS[name]
        assert (await simulated.ask(path=path, json=body)).headers[HEADER] == "miss"


async def test_the_field_is_taken_out_of_every_dialect(simulated: Worker) -> None:
    for name in ("chat", "message", "response", "generateContent", "embedding"):
        path, body = WAYS[name]
        await simulated.ask(path=path, json=body)
        again = await simulated.ask(path=path, json={**body, "cache": {"max-age": 60}})
        assert again.headers[HEADER] == "exact", name
