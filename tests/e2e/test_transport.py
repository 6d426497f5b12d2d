"""Headers, connections and plain HTTP: what stands around the answers."""

import asyncio
import json
import shutil
import subprocess
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.processes import UPSTREAM_KEY, Product

MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


def test_raw_headers_of_an_answer(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="priced-chat", messages=MESSAGES)
    headers = raw.headers
    usage = raw.parse().usage
    assert usage is not None
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-tollkeeper-provider"] == "upstream"
    assert headers["x-tollkeeper-model"] == "simulated"
    assert headers["x-tollkeeper-attempts"] == "1"
    assert float(headers["x-tollkeeper-overhead-ms"]) < 500
    nano = (usage.prompt_tokens * 157 + usage.completion_tokens * 1213) / 1000
    assert float(headers["x-tollkeeper-cost-usd"]) == pytest.approx(nano * 1e-6, abs=2e-9)
    assert int(headers["openai-processing-ms"]) >= 0


def test_raw_headers_of_a_stream_and_its_cost_in_a_comment(product: Product) -> None:
    body = {"model": "priced-chat", "messages": MESSAGES, "stream": True}
    headers = {"authorization": f"Bearer {product.api_key}"}
    with httpx.stream("POST", f"{product.base_url}/chat/completions", json=body, headers=headers) as answer:
        text = answer.read().decode()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-tollkeeper-provider"] == "upstream"
    lines = text.split("\n\n")
    assert lines[-1] == ""
    assert lines[-2] == "data: [DONE]"
    assert any(line.startswith(": x-tollkeeper-cost-usd 0.0") for line in lines)
    assert all(line.startswith(("data: ", ":")) for line in lines[:-1])


def test_comments_keep_a_silent_stream_alive(product: Product) -> None:
    body = {"model": "up/simulated-pace-900ms-length-1", "messages": MESSAGES, "stream": True}
    headers = {"authorization": f"Bearer {product.api_key}"}
    text = httpx.post(f"{product.base_url}/chat/completions", json=body, headers=headers, timeout=20).text
    assert text.startswith(": ")
    assert text.endswith("data: [DONE]\n\n")


def test_no_answer_carries_the_upstreams_key_and_the_upstream_never_sees_ours(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    raw = client.chat.completions.with_raw_response.create(
        model="priced-chat", messages=MESSAGES, extra_headers={"cookie": "a=b", "x-secret-of-mine": "1"}
    )
    assert UPSTREAM_KEY not in raw.text
    [record] = product.upstream.stats(before)["records"]
    seen = record["headers"]
    assert "cookie" not in seen
    assert "x-secret-of-mine" not in seen
    assert not any(name.startswith("x-stainless") for name in seen)
    assert seen["authorization"].startswith("sha256:")


def test_one_connection_carries_fifty_calls(product: Product) -> None:
    before = product.upstream.last_sequence()
    opened: list[str] = []
    transport = httpx.HTTPTransport()
    with httpx.Client(transport=transport, timeout=30) as client:
        headers = {"authorization": f"Bearer {product.api_key}"}
        for number in range(50):
            body = {"model": "priced-chat", "messages": MESSAGES, "stream": number % 2 == 1}

            def trace(name: str, _info: Any) -> None:
                if name == "connection.connect_tcp.complete":
                    opened.append(name)

            answer = client.post(
                f"{product.base_url}/chat/completions", json=body, headers=headers, extensions={"trace": trace}
            )
            assert answer.status_code == 200
    assert len(opened) == 1
    peers = {record["peer"] for record in product.upstream.stats(before)["records"]}
    assert len(peers) <= 2


async def test_many_streams_at_once(product: Product) -> None:
    async with AsyncOpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=0) as client:

        async def one(number: int) -> str:
            stream = await client.chat.completions.create(
                model="up/simulated-pace-5ms-length-40",
                messages=[{"role": "user", "content": f"Number {number}."}],
                stream=True,
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        said = await asyncio.gather(*(one(number) for number in range(30)))
    assert all(f"Number {number}." in text for number, text in enumerate(said))


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
def test_every_credential_header_is_accepted(product: Product, header: str) -> None:
    value = f"Bearer {product.api_key}" if header == "authorization" else product.api_key
    body = {"model": "simulated", "messages": MESSAGES}
    for base_url in product.base_urls:
        assert httpx.post(f"{base_url}/chat/completions", json=body, headers={header: value}).status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_whole_and_streamed(product: Product) -> None:
    def curl(body: dict[str, Any]) -> str:
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--no-buffer",
            f"{product.base_url}/chat/completions",
        ]
        command += ["-H", f"Authorization: Bearer {product.api_key}", "-H", "Content-Type: application/json"]
        done = subprocess.run(
            [*command, "-d", json.dumps(body)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    body = {"model": "priced-chat", "messages": MESSAGES}
    assert json.loads(curl(body))["choices"][0]["message"]["content"]
    streamed = curl({**body, "stream": True})
    assert streamed.startswith("data: {")
    assert streamed.endswith("data: [DONE]\n\n")


def test_models_by_a_path_with_slashes_and_escapes(product: Product) -> None:
    headers = {"authorization": f"Bearer {product.api_key}"}
    for path in ("vendor/priced-chat:latest", "vendor%2Fpriced-chat%3Alatest", "up/simulated-refuse"):
        answer = httpx.get(f"{product.base_url}/models/{path}", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["object"] == "model"
