"""The simulator's Responses API: what OpenAI's own types read, and what our vendor's end makes of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.assemble import assemble
from tollkeeper.gateway.dialects.openai_responses import OpenAIResponsesVendor
from tollkeeper.gateway.simulator.directed import direct
from tollkeeper.gateway.simulator.script import Ending, Script
from tollkeeper.gateway.simulator.vendors.responses import ResponsesWire

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
CUSTOM = {"type": "custom", "name": "run"}


def asked(model: str = "simulated", **fields: Any) -> Script:
    body = json.dumps({"model": model, "input": "Hello", **fields}).encode()
    return direct(ResponsesWire(lambda: 1_700_000_000.0), body, header="", tries=lambda _: 1, stands_in=False)


def said(script: Script) -> bytes:
    return b"".join(part.data for part in script.parts)


def document(**fields: Any) -> dict[str, Any]:
    script = asked(**fields)
    content = said(script)
    assert script.status == 200, content
    found: dict[str, Any] = json.loads(content)
    Response.model_validate_json(content, strict=True)
    return found


def events(**fields: Any) -> list[dict[str, Any]]:
    found = []
    for block in said(asked(stream=True, **fields)).decode().strip().split("\n\n"):
        name, data = block.split("\n", 1)
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_json(json.dumps(event), strict=True)
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


FORMS: list[dict[str, Any]] = [
    {},
    {"tools": [TOOL], "tool_choice": "required"},
    {"tools": [CUSTOM], "tool_choice": {"type": "custom", "name": "run"}},
    {"model": "simulated-reasoning", "include": ["reasoning.encrypted_content"]},
    {"model": "simulated-refuse"},
    {"max_output_tokens": 3},
    {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object", "properties": {}}}}},
]


@pytest.mark.parametrize("fields", FORMS)
def test_openais_types_read_what_it_says_and_both_ways_say_the_same(fields: dict[str, Any]) -> None:
    whole, streamed = document(**fields), events(**fields)
    last = streamed[-1]["response"]
    assert {**last, "id": ""} == {**whole, "id": ""}
    assert last["status"] == ("incomplete" if "max_output_tokens" in fields else "completed")
    assert last["usage"]["total_tokens"] == last["usage"]["input_tokens"] + last["usage"]["output_tokens"]


@pytest.mark.parametrize("fields", FORMS)
async def test_our_vendors_end_reads_both_ways_alike(fields: dict[str, Any]) -> None:
    vendor = OpenAIResponsesVendor()
    call = Call(Operation.CHAT, "m", is_stream=True, body={"model": "m", "messages": []})

    async def reads() -> AsyncIterator[bytes]:
        data = said(asked(stream=True, **fields))
        for start in range(0, len(data), 17):
            yield data[start : start + 17]

    chunks = [chunk async for batch in vendor.read_stream(reads(), call) for chunk in batch]
    together = assemble(chunks, call)
    whole = vendor.read_whole(said(asked(**fields)), call)
    assert together.data["choices"] == whole.data["choices"]
    assert together.usage == whole.usage


def test_reasoning_comes_back_by_its_encrypted_content_alone() -> None:
    first = document(model="simulated-reasoning", include=["reasoning.encrypted_content"])
    thought, answer = first["output"]
    user = {"role": "user", "content": "And?"}
    history = [{"role": "user", "content": "Hello"}, thought, answer, user]
    assert document(model="simulated-reasoning", input=history)["output"]
    del thought["encrypted_content"]
    assert asked(model="simulated-reasoning", input=history).status == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"seed": 1}, "seed"),
        ({"input": []}, "input"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].strict"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"include": ["everything"]}, "include"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]}, "input"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, "input"),
    ],
)
def test_what_openai_refuses_is_refused(fields: dict[str, Any], param: str) -> None:
    script = asked(**fields)
    assert script.status == 400
    assert json.loads(said(script))["error"]["param"] == param


@pytest.mark.parametrize("model", ["simulated-cut-2", "simulated-error-2", "simulated-garbage", "simulated-no-done"])
async def test_every_fault_of_a_stream_is_an_error_of_ours(model: str) -> None:
    script = asked(model, stream=True)
    call = Call(Operation.CHAT, "m", is_stream=True, body={"model": "m", "messages": []})

    async def reads() -> AsyncIterator[bytes]:
        yield said(script)

    with pytest.raises(UpstreamError):
        [batch async for batch in OpenAIResponsesVendor().read_stream(reads(), call)]
    assert script.ending in (Ending.CUT, Ending.COMPLETE)
