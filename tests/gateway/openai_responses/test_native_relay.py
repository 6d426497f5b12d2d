"""A Responses caller and a vendor that has the API: handed on as it is, counted, settled and cut like any other call."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.openai_responses.responses_payloads import (
    call_events,
    frame,
    llama_events,
    message,
    numbered,
    response,
    text_events,
)
from tests.gateway.openai_responses.stored import FakeResponses
from tests.gateway.serving import KEY, Serving, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream, Seen, answer_json, stream
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.gateway.simulator.directed import direct
from tollkeeper.gateway.simulator.vendors.responses import ResponsesWire


@pytest.fixture
async def native(tmp_path: Path, vendor: FakeUpstream) -> AsyncIterator[Serving]:
    config = provider("one", vendor.base_url, kind="openai")
    async with serving(tmp_path, snapshot([config], [route("ours", ("one", "gpt-5-mini"))])) as running:
        yield running


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "ours", "input": "Hi", "store": False, **fields}


def client_of(gateway: Serving) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.origin}/v1", api_key=KEY, max_retries=0)


def events_of(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    for block in blocks:
        name, data = block.split("\n", 1)
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    return [json.loads(block.split("\ndata: ", 1)[1]) for block in blocks]


async def test_call_reaches_the_vendor_as_it_was_sent(native: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(response([message("Hello!")]))
    tools = [{"type": "web_search", "vendor_field": {"a": [1]}}]
    answer = await native.post("/v1/responses", body=asked(tools=tools, top_logprobs=2, brand_new={"x": 1}))
    assert answer.status_code == 200, answer.text
    seen = vendor.seen[0]
    assert seen.path == "/v1/responses"
    sent = seen.json()
    assert (sent["model"], sent["tools"], sent["brand_new"], sent["store"]) == ("gpt-5-mini", tools, {"x": 1}, False)
    assert sent["include"] == ["reasoning.encrypted_content"]
    assert "x-tollkeeper-dropped" not in answer.headers
    assert answer.json()["output"][0]["content"][0]["text"] == "Hello!"
    (row,) = await native.settled()
    assert (row.usage.prompt_tokens, row.usage.completion_tokens, row.usage.cache_read) == (37, 11, 7)
    assert not row.usage.is_estimated


@pytest.mark.parametrize("size", [17, 100_000])
async def test_stream_is_relayed_event_by_event_and_billed_by_its_count(
    native: Serving, vendor: FakeUpstream, size: int
) -> None:
    sent = b"".join(numbered(text_events("Hi", " there", "!")))
    vendor.script = stream(*(sent[start : start + size] for start in range(0, len(sent), size)))
    answer = await native.post("/v1/responses", body=asked(stream=True))
    theirs, ours = text_events("Hi", " there", "!"), events_of(answer.text)
    assert [event["type"] for event in ours] == [event["type"] for event in theirs]
    assert [event["sequence_number"] for event in ours] == list(range(len(theirs)))
    for own, event in zip(ours, theirs, strict=True):
        if "response" not in event:
            assert own == {**event, "sequence_number": own["sequence_number"]}
    (row,) = await native.settled()
    assert (row.usage.prompt_tokens, row.usage.completion_tokens) == (37, 11)


async def test_events_that_nobody_here_knows_are_passed_on(native: Serving, vendor: FakeUpstream) -> None:
    # 59: CLIProxyAPI#3798
    early = {"type": "codex.rate_limits", "rate_limits": {"primary": 1}}
    search = {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1", "sequence_number": 2}
    first, second, *rest = numbered(text_events("Hi"))
    vendor.script = stream(frame(early), first, second, frame(search), *rest)
    answer = await native.post("/v1/responses", body=asked(stream=True))
    ours = events_of(answer.text)
    assert ours[0] == early
    assert search in ours
    assert ours[-1]["type"] == "response.completed"


async def test_stream_that_fails_ends_with_an_error_and_a_bill(native: Serving, vendor: FakeUpstream) -> None:
    failed = {"type": "response.failed", "response": response(status="failed", error={"message": "No.", "code": "x"})}
    vendor.script = stream(*numbered([*text_events("Hi")[:5], failed]))
    ours = events_of((await native.post("/v1/responses", body=asked(stream=True))).text)
    assert ours[-1]["type"] in {"response.failed", "error"}
    numbers = [event["sequence_number"] for event in ours]
    assert numbers == list(range(len(ours)))
    (row,) = await native.settled()
    assert row.status is CallStatus.ERROR
    assert row.usage.is_estimated


async def test_stream_that_is_cut_is_no_success(native: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*numbered(text_events("Hi", "!")[:5]), ends=False)
    ours = events_of((await native.post("/v1/responses", body=asked(stream=True))).text)
    assert ours[-1]["type"] in {"response.failed", "error"}
    assert not any(event["type"] == "response.completed" for event in ours)


async def test_server_that_leaves_numbers_out_is_read_by_a_strict_client(tmp_path: Path, vendor: FakeUpstream) -> None:
    config = provider("one", vendor.base_url, kind="llamacpp", options={"api": "both"})
    vendor.script = stream(*map(frame, llama_events("Hi", "!")))
    async with serving(tmp_path, snapshot([config], [route("ours", ("one", "local"))])) as gateway:
        async with client_of(gateway) as client, client.responses.stream(model="ours", input="Hi") as events:
            kinds = [event.type async for event in events]
            final = await events.get_final_response()
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert final.output_text == "Hi!"
        assert vendor.seen[0].path == "/v1/responses"


async def test_openais_own_client_sees_calls_of_tools(native: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*numbered(call_events('{"loc', 'ation":"Paris"}')))
    async with client_of(native) as client, client.responses.stream(model="ours", input="Hi") as events:
        arguments = [e.arguments async for e in events if e.type == "response.function_call_arguments.done"]
        final = await events.get_final_response()
    assert arguments == ['{"location":"Paris"}']
    assert final.output[0].type == "function_call"


async def simulated(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """The simulator's Responses API, as strict as OpenAI's."""
    script = direct(ResponsesWire(), seen.body, header="", tries=lambda _: 1, stands_in=False)
    body = b"".join(part.data for part in script.parts)
    kind = script.headers["content-type"]
    head = f"HTTP/1.1 {script.status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    "strict": False,
}


@pytest.mark.parametrize("continues", [True, False], ids=["by its id", "by its items"])
async def test_agent_of_ten_turns_keeps_its_arguments_and_its_reasoning(
    continues: bool, tmp_path: Path, vendor: FakeUpstream
) -> None:
    vendor.script = simulated
    config = provider("one", vendor.base_url, options={"api": "both"})
    snap = snapshot([config], [route("ours", ("one", "simulated-reasoning"))])
    async with serving(tmp_path, snap, responses=FakeResponses()) as gateway, client_of(gateway) as client:
        history: list[Any] = [{"role": "user", "content": "Look ten words up."}]
        previous: str | None = None
        given: list[Any] = history
        for turn in range(10):
            async with client.responses.stream(
                model="ours",
                input=given,
                tools=[TOOL],
                tool_choice="required",
                include=["reasoning.encrypted_content"],
                previous_response_id=previous if previous and continues else openai.omit,
            ) as events:
                final: Any = await events.get_final_response()
            thought, call = final.output
            assert (thought.type, call.type) == ("reasoning", "function_call")
            assert isinstance(json.loads(call.arguments)["word"], str)
            result = {"type": "function_call_output", "call_id": call.call_id, "output": f"{turn}"}
            history += [thought.to_dict(), call.to_dict(), result]
            previous, given = final.id, [result] if continues else history
        # The vendor got it all, and nothing that only it could look up.
        sent = vendor.seen[-1].json()["input"]
        assert [item.get("type", "message") for item in sent] == [
            "message", *["reasoning", "function_call", "function_call_output"] * 9,
        ]  # fmt: skip
        arguments = [item["arguments"] for item in sent if item.get("type") == "function_call"]
        assert arguments == [item["arguments"] for item in history if item.get("type") == "function_call"][:9]
        assert all("previous_response_id" not in seen.json() for seen in vendor.seen)
        assert len(await gateway.settled(10)) == 10


async def test_vendors_refusal_keeps_its_words_and_its_status(native: Serving, vendor: FakeUpstream) -> None:
    problem = {
        "message": "Invalid 'input'.",
        "type": "invalid_request_error",
        "param": "input",
        "code": "invalid_value",
    }
    vendor.script = answer_json({"error": problem}, status=400)
    answer = await native.post("/v1/responses", body=asked(stream=True))
    assert answer.status_code == 400
    assert (answer.json()["error"]["message"], answer.json()["error"]["param"]) == ("Invalid 'input'.", "input")
