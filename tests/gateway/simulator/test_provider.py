"""The provider `simulated` through the whole data plane: in process, without a socket to anywhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.serving import Serving, provider, route, serving, snapshot
from tollkeeper.contracts.chat import MODEL_OPERATIONS, Call
from tollkeeper.contracts.routing import Target
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.provider import UpstreamRequest
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.gateway.providers.simulated import Simulated, SimulatedChannel

MESSAGES = [{"role": "user", "content": "Hello"}]
CONFIG = provider("simulated", None, kind="simulated", credentials=())


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Serving]:
    snap = snapshot(
        [CONFIG],
        [route("simulated", ("simulated", "simulated")), route("simulated-*", ("simulated", "*")), route("mine", ("simulated", "simulated-length-4"))],
    )  # fmt: skip
    async with serving(tmp_path, snap) as running:
        yield running


def chat(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, **fields}


def request(model: str, *, seconds: float = 5.0, **fields: Any) -> UpstreamRequest:
    call = OpenAIChat().read_call(json.dumps(chat(model, **fields)).encode(), {}, "")
    simulated = Simulated()
    prepared = simulated.prepare(CONFIG, call, Target("simulated", "*"))
    return UpstreamRequest(
        method="POST",
        url=simulated.url(CONFIG, prepared, Target("simulated", "*")),
        headers={},
        body=OpenAIChat().write_call(prepared),
        config=CONFIG,
        deadline=asyncio.get_running_loop().time() + seconds,
        is_stream=call.is_stream,
    )


def test_the_registry_has_it_last_and_without_a_credential() -> None:
    assert PROVIDERS["simulated"].kind == "simulated"
    kind = provider_kinds()[-1]
    assert (kind.kind, kind.needs_credential, kind.needs_base_url, kind.env_var) == ("simulated", False, False, None)


async def test_a_call_is_answered_and_settled(gateway: Serving) -> None:
    answer = await gateway.post(body=chat("mine"))
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "This is a simulate"
    assert answer.headers["x-tollkeeper-provider"] == "simulated"
    assert answer.headers["x-tollkeeper-model"] == "simulated-length-4"
    [settlement] = gateway.settlements
    assert (settlement.status, settlement.usage.output, settlement.usage.is_estimated) == (CallStatus.OK, 4, False)


async def test_a_streams_usage_is_counted_and_hidden(gateway: Serving) -> None:
    answer = await gateway.post(body=chat("simulated-length-7", stream=True))
    assert '"usage":{' not in answer.text
    assert gateway.settlements[0].usage.output == 7
    assert not gateway.settlements[0].usage.is_estimated


async def test_the_callers_header_chooses_faults(gateway: Serving) -> None:
    answer = await gateway.post(body=chat("simulated"), headers={"x-simulate": "status-429, retry-after-3s"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_operations_other_than_chat(gateway: Serving) -> None:
    vectors = await gateway.post("/v1/embeddings", {"model": "simulated-embedding", "input": "x", "dimensions": 3})
    assert len(vectors.json()["data"][0]["embedding"]) == 3
    text = await gateway.post("/v1/completions", {"model": "simulated", "prompt": "x", "max_tokens": 2})
    assert text.json()["usage"]["completion_tokens"] == 2
    wrong = await gateway.post(body=chat("simulated-embedding"))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "unsupported_model")


async def test_hanging_ends_with_the_deadline() -> None:
    with pytest.raises(UpstreamTimeout):
        await SimulatedChannel().send(request("simulated-hang", seconds=0.05))
    with pytest.raises(UpstreamTimeout):
        await SimulatedChannel().send(request("simulated-slow-2s", seconds=0.05))


async def test_silence_inside_a_stream_ends_with_the_deadline() -> None:
    response = await SimulatedChannel().send(request("simulated-hang-after-2", seconds=0.05, stream=True))
    with pytest.raises(UpstreamTimeout):
        await response.read()


async def test_a_cut_is_an_error_and_never_an_end() -> None:
    for is_stream in (True, False):
        response = await SimulatedChannel().send(request("simulated-cut-after-2", stream=is_stream))
        with pytest.raises(UpstreamError) as caught:
            await response.read()
        assert caught.value.code == "upstream_cut"


async def test_pace_spreads_the_chunks() -> None:
    response = await SimulatedChannel().send(request("simulated-pace-10ms-length-6", stream=True))
    reads = [data async for data in response.reads()]
    # The opening, six tokens, the finish, and the usage with the end.
    assert len(reads) == 9


async def test_a_long_answer_leaves_the_event_loop_its_turns() -> None:
    response = await SimulatedChannel().send(request("simulated-length-20000", stream=True))
    turns = 0
    is_over = False

    async def count() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    size = sum([len(data) async for data in response.reads()])
    is_over = True
    await counting
    assert size > 1_000_000
    assert turns > 50


async def test_closing_ends_the_work() -> None:
    response = await SimulatedChannel().send(request("simulated-length-20000", stream=True))
    reads = response.reads()
    await anext(reads)
    await response.aclose()
    assert len([data async for data in reads]) <= 1


def test_every_operation_has_its_place() -> None:
    simulated = Simulated()
    # Counting is done here, and no provider's.
    asked = MODEL_OPERATIONS
    calls = [Call(operation, "m", is_stream=False, body={}) for operation in asked]
    names = {simulated.dialect(CONFIG, call, Target("simulated", "*")).NAME for call in calls}
    assert names == {
        "openai_chat",
        "openai_completions",
        "openai_embeddings",
        "openai_images",
        "openai_moderations",
        "openai_rerank",
        "openai_speech",
        "openai_transcriptions",
    }
    assert simulated.headers(None) == {}
