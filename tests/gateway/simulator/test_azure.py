"""The simulator speaks as Azure OpenAI does: deployments in the path, filter marks in the answers, its own errors."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai import AzureOpenAI, OpenAI

from tests.e2e.processes import UPSTREAM_KEY, Upstream
from tests.gateway.simulator.server import QUESTION, last

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
VERSION = "2024-10-21"


def azure(server: Upstream) -> AzureOpenAI:
    return AzureOpenAI(azure_endpoint=server.origin, api_key=UPSTREAM_KEY, api_version=VERSION, max_retries=0)


def test_the_deployment_is_the_model_whatever_the_body_says(server: Upstream) -> None:
    with azure(server) as client:
        answer = client.chat.completions.create(model="simulated-length-7", messages=MESSAGES)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    headers = {"api-key": UPSTREAM_KEY}
    path = f"/openai/deployments/simulated-length-9/chat/completions?api-version={VERSION}"
    body = {"model": "something-else", "messages": MESSAGES}
    said = httpx.post(server.origin + path, json=body, headers=headers).json()
    assert said["usage"]["completion_tokens"] == 9
    assert said["prompt_filter_results"][0]["content_filter_results"]["hate"]["filtered"] is False
    assert (last(server, "simulated-length-9")["vendor"], last(server, "simulated-length-9")["tokens_sent"]) == (
        "azure",
        9,
    )


def test_the_v1_api_has_the_model_in_the_body_and_no_version(server: Upstream) -> None:
    with OpenAI(base_url=f"{server.origin}/openai/v1", api_key=UPSTREAM_KEY, max_retries=0) as client:
        assert client.chat.completions.create(model="simulated", messages=MESSAGES).model == "simulated"
        assert client.embeddings.create(model="simulated-embedding", input="x").data


def test_streams_carry_the_filters_odd_chunks(server: Upstream) -> None:
    path = f"/openai/deployments/simulated/chat/completions?api-version={VERSION}"
    body = {"messages": MESSAGES, "stream": True}
    text = httpx.post(server.origin + path, json=body, headers={"api-key": UPSTREAM_KEY}).text
    *events, done, end = text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert (chunks[0]["choices"], chunks[0]["id"], chunks[0]["model"]) == ([], "", "")
    assert "prompt_filter_results" in chunks[0]
    assert "delta" not in chunks[-1]["choices"][0]
    assert "content_filter_offsets" in chunks[-1]["choices"][0]


def test_errors_are_azures(server: Upstream) -> None:
    headers = {"api-key": UPSTREAM_KEY}
    path = "/openai/deployments/simulated-status-429/chat/completions"
    unversioned = httpx.post(server.origin + path, json={"messages": MESSAGES}, headers=headers)
    assert (unversioned.status_code, unversioned.json()["error"]["message"]) == (404, "Resource not found")
    stranger = httpx.post(f"{server.origin}{path}?api-version=x", json={"messages": MESSAGES}, headers={"api-key": "x"})
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "401")
    with azure(server) as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="simulated-status-429", messages=MESSAGES)
    assert caught.value.code == "429"
    assert caught.value.response.headers["retry-after"] == "1"
