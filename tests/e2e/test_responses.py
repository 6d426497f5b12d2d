"""OpenAI's Responses API with the official Python SDK, unmodified, over a provider that speaks chat and the built-in one."""

import json
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from tests.e2e.processes import Product

MODELS = ["priced-chat", "simulated"]
ASKED = "What does the gateway do?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
TIME: Any = {
    "type": "function",
    "name": "get_time",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
EVENTS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)


class Step(pydantic.BaseModel):
    explanation: str
    output: int


class Solution(pydantic.BaseModel):
    steps: list[Step]
    answer: str | None


def strictly(response: Response) -> None:
    """The SDK constructs without checking; this checks every field and type of what it was given."""
    Response.model_validate_json(response.model_dump_json(exclude_unset=True))


@pytest.mark.parametrize("model", MODELS)
def test_whole_answer(client: OpenAI, model: str) -> None:
    answer = client.responses.create(model=model, input=ASKED, instructions="Be brief.")
    strictly(answer)
    assert ASKED in answer.output_text
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert answer._request_id


@pytest.mark.parametrize("model", MODELS)
def test_streamed_answer_is_the_whole_one_in_pieces(client: OpenAI, model: str) -> None:
    whole = client.responses.create(model=model, input=ASKED)
    events = list(client.responses.create(model=model, input=ASKED, stream=True))
    for event in events:
        EVENTS.validate_json(event.model_dump_json(exclude_unset=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage == whole.usage


@pytest.mark.parametrize("model", MODELS)
def test_stream_helper_puts_the_answer_together(client: OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input=ASKED, text_format=Solution) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.created", "response.output_text.delta", "response.completed"} <= kinds
    assert isinstance(final.output_parsed, Solution)


@pytest.mark.parametrize("model", MODELS)
def test_json_schema_through_parse(client: OpenAI, model: str) -> None:
    answer = client.responses.parse(model=model, input=ASKED, text_format=Solution)
    assert isinstance(answer.output_parsed, Solution)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_stored", [True, False])
def test_loop_of_tools(client: OpenAI, model: str, *, is_stored: bool) -> None:
    """With the turns kept here, and with a caller that sends everything again."""
    answer = client.responses.create(
        model=model, input=ASKED, tools=[WEATHER, TIME], parallel_tool_calls=True, store=is_stored
    )
    strictly(answer)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].arguments)["unit"] in {"celsius", "fahrenheit"}
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"18 degrees {call.name}"} for call in calls
    ]
    if is_stored:
        after = client.responses.create(
            model=model, input=outputs, previous_response_id=answer.id, tools=[WEATHER, TIME]
        )
    else:
        said: list[Any] = [item.model_dump(exclude_unset=True) for item in answer.output]
        everything: Any = [{"role": "user", "content": ASKED}, *said, *outputs]
        after = client.responses.create(model=model, input=everything, tools=[WEATHER, TIME], store=False)
    assert "18 degrees" in after.output_text


@pytest.mark.parametrize("model", MODELS)
def test_tools_through_the_stream_helper(client: OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input=ASKED, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        [call] = stream.get_final_response().output
    assert "response.function_call_arguments.delta" in kinds
    assert call.type == "function_call"
    assert json.loads(call.arguments)["unit"] in {"celsius", "fahrenheit"}


def test_conversation_is_kept_looked_at_and_deleted(client: OpenAI, product: Product) -> None:
    first = client.responses.create(model="priced-chat", input="My name is Ada.", metadata={"topic": "names"})
    stored = client.responses.retrieve(first.id)
    assert stored == first
    assert stored.metadata == {"topic": "names"}
    before = product.upstream.last_sequence()
    second = client.responses.create(model="priced-chat", input="Who am I?", previous_response_id=first.id)
    [record] = product.upstream.stats(before)["records"]
    assert [message["role"] for message in record["body"]["messages"]] == ["user", "assistant", "user"]
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.type for item in items] == ["message", "message", "message"]
    counted = client.responses.input_tokens.count(model="priced-chat", input="And?", previous_response_id=second.id)
    alone = client.responses.input_tokens.count(model="priced-chat", input="And?")
    assert counted.input_tokens > alone.input_tokens > 0
    client.responses.delete(second.id)
    for gone in (lambda: client.responses.retrieve(second.id), lambda: client.responses.cancel(second.id)):
        with pytest.raises(openai.NotFoundError):
            gone()
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="priced-chat", input="x", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(first.id)


def test_another_projects_conversation_is_unknown(client: OpenAI, product: Product) -> None:
    answer = client.responses.create(model="simulated", input="My secret.")
    project = product.admin("POST", "/projects", json={"name": "elsewhere"}).json()
    other = product.new_key("elsewhere", project_id=project["id"], scopes=["inference"])["key"]
    with (
        OpenAI(base_url=product.base_url, api_key=other, max_retries=0) as stranger,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        stranger.responses.retrieve(answer.id)
    assert caught.value.code == "response_not_found"


def test_cut_refused_and_reasoned(client: OpenAI) -> None:
    cut = client.responses.create(model="priced-chat", input=ASKED, max_output_tokens=3)
    strictly(cut)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    refused = client.responses.create(model="up/simulated-refuse", input=ASKED)
    strictly(refused)
    [message] = refused.output
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    thought = client.responses.create(model="up/simulated-reasoning", input=ASKED, reasoning={"effort": "low"})
    strictly(thought)
    assert thought.usage is not None
    assert thought.usage.output_tokens_details.reasoning_tokens == 16


def test_errors_are_the_sdks_own(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nobodys-model", input="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="priced-chat", input="x", tools=[{"type": "web_search"}])
    assert refused.value.param == "tools[0].type"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="priced-chat", input="x", background=True)


async def test_asynchronous_client(async_client: AsyncOpenAI) -> None:
    answer = await async_client.responses.create(model="simulated", input=ASKED)
    stream = await async_client.responses.create(model="simulated", input=ASKED, stream=True)
    text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
    assert text == answer.output_text
