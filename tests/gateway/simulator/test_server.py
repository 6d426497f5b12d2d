"""The simulator as a process of its own: OpenAI's wire format, real cuts, and a true account of what was served."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.processes import UPSTREAM_KEY, Upstream
from tests.gateway.simulator.server import last
from tollkeeper.simulate import serve

MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(server: Upstream) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.origin}/v1", api_key=UPSTREAM_KEY, max_retries=0) as client:
        yield client


def test_the_sdk_talks_to_it(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="simulated", messages=MESSAGES)
    chunks = client.chat.completions.create(model="simulated", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert client.completions.create(model="simulated", prompt="x").choices[0].text
    assert len(client.embeddings.create(model="simulated-embedding", input="x").data[0].embedding) == 1536
    assert [model.id for model in client.models.list()] == ["simulated", "simulated-embedding", "simulated-reasoning"]
    assert client.models.retrieve("vendor/simulated-pace-5ms").id == "vendor/simulated-pace-5ms"


def test_errors_are_openais(server: Upstream, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("simulated-nonsense")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="simulated", messages=[])
    with OpenAI(base_url=f"{server.origin}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.models.list()
        assert caught.value.code == "invalid_api_key"
        assert caught.value.request_id
    headers = {"authorization": f"Bearer {UPSTREAM_KEY}"}
    assert httpx.get(f"{server.origin}/v1/chat/completions", headers=headers).status_code == 405
    assert httpx.post(f"{server.origin}/v1/nothing", headers=headers).status_code == 404
    assert httpx.post(f"{server.origin}/v1/chat/completions", headers=headers, content=b"{").status_code == 400


def test_it_stands_in_for_models_of_any_name(client: OpenAI) -> None:
    plain = client.chat.completions.create(model="simulated", messages=MESSAGES)
    other = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert other.model == "gpt-4o-mini"
    assert other.choices[0].message.content == plain.choices[0].message.content
    assert client.embeddings.create(model="text-embedding-3-small", input="x").data[0].embedding
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"


def test_stats_count_what_was_served(server: Upstream, client: OpenAI) -> None:
    before = server.last_sequence()
    client.chat.completions.create(model="simulated-length-11-cached-2", messages=MESSAGES, user="me")
    list(client.chat.completions.create(model="simulated-length-11", messages=MESSAGES, stream=True))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="simulated-status-429", messages=MESSAGES)
    whole, streamed, refused = server.stats(before)["records"]
    assert (whole["completion_tokens"], whole["tokens_sent"], whole["cached_tokens"]) == (11, 11, 2)
    assert (streamed["tokens_sent"], streamed["chunks_sent"], streamed["is_stream"]) == (11, 14, True)
    assert (refused["status"], refused["outcome"], refused["tokens_sent"]) == (429, "refused", 0)
    assert whole["headers"]["authorization"].startswith("sha256:")
    assert whole["headers"]["user-agent"].startswith("OpenAI/Python")
    assert whole["body"]["user"] == "me"


def test_the_header_chooses_faults(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="simulated", messages=MESSAGES, extra_headers={"x-simulate": "status-500"})


def test_times_counts_identical_requests(server: Upstream) -> None:
    with OpenAI(base_url=f"{server.origin}/v1", api_key=UPSTREAM_KEY, max_retries=2) as client:
        model = "simulated-status-503-times-2-retry-after-5ms"
        answer = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    assert answer.retries_taken == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_is_a_closed_connection(server: Upstream, stream: bool) -> None:
    body = {"model": "simulated-cut-after-3", "messages": MESSAGES, "stream": stream}
    headers = {"authorization": f"Bearer {UPSTREAM_KEY}"}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{server.origin}/v1/chat/completions", json=body, headers=headers)
    assert last(server, "simulated-cut-after-3")["outcome"] == "cut"


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("simulated-pace-20ms-length-500", lambda stream: [next(stream) for _ in range(4)]),
        ("simulated-hang-after-3", lambda stream: [next(stream) for _ in range(3)]),
    ],
)
def test_a_caller_who_goes_away_is_noticed(
    server: Upstream, client: OpenAI, model: str, read: Callable[[Any], Any]
) -> None:
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    read(stream)
    stream.close()
    record = last(server, model)
    assert record["outcome"] == "cancelled"
    assert 0 < record["tokens_sent"] < 50


def test_pace_and_slowness_are_kept(client: OpenAI) -> None:
    began = time.monotonic()
    stream = client.chat.completions.create(
        model="simulated-slow-150ms-pace-10ms-length-20", messages=MESSAGES, stream=True
    )
    first = time.monotonic() - began
    list(stream)
    assert first >= 0.15
    assert time.monotonic() - began >= 0.15 + 0.2


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve("127.0.0.1", taken.getsockname()[1])
