"""The mock upstream speaks OpenAI's wire format, as judged by OpenAI's own SDK, and counts what it served."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletionMessageParam

from bench import answers
from tests.bench.conftest import Upstream

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": 'say "stream": true and "model": "other"'}]


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=upstream.base_url, api_key="none", max_retries=0) as client:
        yield client


async def poll(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_whole_answer_is_valid_and_carries_usage(client, upstream):
    raw = await client.chat.completions.with_raw_response.create(model="mock", messages=MESSAGES)
    answer = raw.parse()
    assert answer.model == "mock"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage.prompt_tokens == answers.PROMPT_TOKENS
    assert answer.usage.total_tokens == answers.PROMPT_TOKENS + answers.WHOLE_COMPLETION_TOKENS
    assert 500 <= len(raw.content) <= 900


async def test_stream_has_the_chunks_its_model_name_asks_for(client, upstream):
    stream = await client.chat.completions.create(model="mock-7x1", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(texts) == 7
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert upstream.stats.streams == 1
    assert upstream.stats.streams_cancelled == 0


async def test_stream_ends_with_usage_when_asked(client, upstream):
    stream = await client.chat.completions.create(
        model="mock-5x0", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert upstream.stats.completion_tokens == 5
    assert upstream.stats.prompt_tokens == answers.PROMPT_TOKENS


async def test_words_in_the_prompt_do_not_choose_model_or_stream(client, upstream):
    answer = await client.chat.completions.create(model="mock", messages=MESSAGES)
    assert answer.model == "mock"
    assert upstream.stats.streams == 0


async def test_stream_that_the_caller_leaves_is_counted_as_cancelled(client, upstream):
    stream = await client.chat.completions.create(model="mock-1000x20", messages=MESSAGES, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await poll(lambda: upstream.stats.streams_cancelled == 1)
    assert 1 <= upstream.stats.completion_tokens < 1000


async def test_slow_reader_holds_the_stream_back_instead_of_filling_memory(upstream):
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    body = b'{"model": "mock-40000x0", "stream": true}'
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    await poll(lambda: upstream.stats.completion_tokens > 0)
    seen = -1
    while seen != upstream.stats.completion_tokens:
        seen = upstream.stats.completion_tokens
        await asyncio.sleep(0.05)
    assert seen < 40000
    received = bytearray()
    async with asyncio.timeout(10):
        while not received.endswith(b"\r\n0\r\n\r\n"):
            data = await reader.read(1 << 20)
            assert data
            received += data
    writer.close()
    await writer.wait_closed()
    assert received.count(b"data: ") == 40002
    assert upstream.stats.completion_tokens == 40000


async def test_first_byte_waits_when_the_model_name_says_so(client, upstream):
    answered = asyncio.create_task(client.chat.completions.create(model="mock-wait300", messages=MESSAGES))
    await poll(lambda: upstream.stats.requests == 1)
    assert upstream.stats.completion_tokens == 0
    await answered
    assert upstream.stats.completion_tokens == answers.WHOLE_COMPLETION_TOKENS


async def test_embeddings_are_the_same_as_base64_and_as_numbers(client, upstream):
    # The SDK asks for base64 by default and decodes it.
    decoded = await client.embeddings.create(model="mock-embedding", input=["one", "two"])
    numbers = await client.embeddings.create(model="mock-embedding", input="one", encoding_format="float")
    raw = await client.embeddings.create(model="mock-embedding", input=[1, 2, 3], encoding_format="base64")
    assert [entry.index for entry in decoded.data] == [0, 1]
    assert len(numbers.data[0].embedding) == answers.DEFAULT_DIMENSIONS
    assert decoded.data[1].embedding == pytest.approx(numbers.data[0].embedding)
    unpacked = struct.unpack(f"<{answers.DEFAULT_DIMENSIONS}f", base64.b64decode(raw.data[0].embedding))
    assert list(unpacked) == pytest.approx(numbers.data[0].embedding)
    assert len(raw.data) == 1
    assert upstream.stats.embeddings == 4
    assert upstream.stats.prompt_tokens == 4 * answers.PROMPT_TOKENS


async def test_embeddings_have_the_dimensions_asked_for(client):
    small = await client.embeddings.create(model="mock-embedding", input="one", dimensions=8)
    assert len(small.data[0].embedding) == 8


async def test_models_are_listed(client):
    assert "mock-20x0" in [model.id async for model in client.models.list()]


async def test_call_without_a_model_and_unknown_path_are_refused_and_counted(client, upstream):
    with pytest.raises(BadRequestError):
        await client.post("/chat/completions", cast_to=object, body={"messages": []})
    with pytest.raises(NotFoundError):
        await client.post("/nothing", cast_to=object, body={})
    assert upstream.stats.requests == 0
    assert upstream.stats.errors == 2


async def test_stats_are_served(upstream):
    async with httpx.AsyncClient(trust_env=False) as http:
        url = upstream.base_url.removesuffix("/v1")
        await http.post(f"{url}/v1/chat/completions", json={"model": "mock", "messages": []})
        assert (await http.get(f"{url}/stats")).json()["requests"] == 1


async def test_pipelined_calls_are_answered_in_order(upstream):
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    for model in (b"mock-3x1", b"mock-wait20", b"mock"):
        body = b'{"model": "%b", "stream": %b}' % (model, b"true" if b"x" in model else b"false")
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
    async with asyncio.timeout(5):
        await reader.readuntil(b"0\r\n\r\n")
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
    writer.close()
    await writer.wait_closed()
    assert upstream.stats.requests == 3


async def test_garbage_closes_the_connection(upstream):
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
    writer.write(b"nonsense\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert upstream.stats.errors == 1
