"""What the official Python SDK reads, unmodified: whole and streamed, with every shape an answer can have."""

import json
from typing import Any

import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.e2e.processes import Product

MODELS = ["priced-chat", "simulated"]
MESSAGES: list[Any] = [{"role": "user", "content": "What does the gateway do?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


class Step(pydantic.BaseModel):
    explanation: str
    output: int


class Solution(pydantic.BaseModel):
    steps: list[Step]
    answer: str | None
    confidence: float


def strictly(model: type[pydantic.BaseModel], value: pydantic.BaseModel) -> None:
    """The SDK constructs without checking; this checks every field and type of what it was given."""
    model.model_validate_json(value.model_dump_json(exclude_unset=True), strict=True)


@pytest.mark.parametrize("model", MODELS)
def test_whole_answer(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=MESSAGES)
    strictly(ChatCompletion, answer)
    assert "What does the gateway do?" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id


@pytest.mark.parametrize("model", MODELS)
def test_both_prefixes_serve_the_same(product: Product, model: str) -> None:
    said = []
    for base_url in product.base_urls:
        with OpenAI(base_url=base_url, api_key=product.api_key) as client:
            said.append(client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content)
    assert said[0] == said[1]


@pytest.mark.parametrize("model", MODELS)
def test_streamed_answer_is_the_whole_one_in_pieces(client: OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=MESSAGES)
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    for chunk in chunks:
        strictly(ChatCompletionChunk, chunk)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("model", MODELS)
def test_usage_comes_last_in_a_stream_when_asked_for(client: OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=MESSAGES)
    options: Any = {"include_usage": True}
    *chunks, last = client.chat.completions.create(model=model, messages=MESSAGES, stream=True, stream_options=options)
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="priced-chat", messages=MESSAGES, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    said: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="priced-chat", messages=MESSAGES, n=3, stream=True):
        for choice in chunk.choices:
            said[choice.index] = said.get(choice.index, "") + (choice.delta.content or "")
    assert said == {choice.index: choice.message.content for choice in answer.choices}


def test_caps_and_stops_are_obeyed(client: OpenAI) -> None:
    for cap in ({"max_tokens": 3}, {"max_completion_tokens": 3}):
        capped = client.chat.completions.create(model="priced-chat", messages=MESSAGES, **cap)
        assert capped.choices[0].finish_reason == "length"
        assert capped.usage is not None
        assert capped.usage.completion_tokens == 3
    stopped = client.chat.completions.create(model="priced-chat", messages=MESSAGES, stop=["simulated"])
    assert stopped.choices[0].message.content == "This is a "


@pytest.mark.parametrize("model", MODELS)
def test_tools_whole_and_back_again(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, tools=[WEATHER])
    strictly(ChatCompletion, answer)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments)["unit"] in {"celsius", "fahrenheit"}
    turns: list[Any] = [*MESSAGES, message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}]
    after = client.chat.completions.create(model=model, messages=turns, tools=[WEATHER])
    assert "18 degrees" in (after.choices[0].message.content or "")
    assert after.choices[0].message.tool_calls is None


@pytest.mark.parametrize("model", MODELS)
def test_parallel_tools_through_the_stream_helper(client: OpenAI, model: str) -> None:
    wanted: Any = {"model": model, "messages": MESSAGES, "tools": [WEATHER, TIME], "parallel_tool_calls": True}
    whole = client.chat.completions.create(**wanted)
    fragments = [
        call
        for chunk in client.chat.completions.create(stream=True, **wanted)
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert [call.index for call in fragments if call.id] == [0, 1]
    assert all(not (call.function and call.function.name) for call in fragments if not call.id)
    time_tool = {**TIME, "function": {**TIME["function"], "strict": True}}
    wanted["tools"] = [WEATHER, time_tool]
    with client.chat.completions.stream(**wanted) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    calls, expected = final.choices[0].message.tool_calls, whole.choices[0].message.tool_calls
    assert calls is not None
    assert expected is not None
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert all(json.loads(call.function.arguments) is not None for call in calls)
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("model", MODELS)
def test_json_schema_through_parse(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Solution)
    assert isinstance(answer.choices[0].message.parsed, Solution)
    with client.chat.completions.stream(model=model, messages=MESSAGES, response_format=Solution) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == answer.choices[0].message.parsed


def test_json_object(client: OpenAI) -> None:
    kind: Any = {"type": "json_object"}
    answer = client.chat.completions.create(model="priced-chat", messages=MESSAGES, response_format=kind)
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_refusal_reasoning_and_logprobs(client: OpenAI) -> None:
    refused = client.chat.completions.create(model="up/simulated-refuse", messages=MESSAGES).choices[0].message
    assert (refused.content, bool(refused.refusal)) == (None, True)
    thought = client.chat.completions.create(model="up/simulated-reasoning", messages=MESSAGES, reasoning_effort="low")
    assert thought.usage is not None
    assert thought.usage.completion_tokens_details is not None
    assert thought.usage.completion_tokens_details.reasoning_tokens == 16
    likely = client.chat.completions.create(model="priced-chat", messages=MESSAGES, logprobs=True, top_logprobs=2)
    strictly(ChatCompletion, likely)
    assert likely.choices[0].logprobs is not None
    assert likely.choices[0].logprobs.content


def test_images_and_unknown_fields_are_carried(client: OpenAI, product: Product) -> None:
    before = product.upstream.last_sequence()
    parts: Any = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "original"}},
    ]
    client.chat.completions.create(
        model="priced-chat", messages=[{"role": "user", "content": parts}], extra_body={"never_heard_of": {"a": None}}
    )
    [record] = product.upstream.stats(before)["records"]
    assert record["body"]["messages"] == [{"role": "user", "content": parts}]
    assert record["body"]["never_heard_of"] == {"a": None}


def test_comments_while_waiting_do_not_disturb_the_sdk(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="up/simulated-pace-800ms-length-2", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "This is"


@pytest.mark.parametrize("model", ["priced-embedding", "simulated-embedding"])
def test_embeddings_in_every_encoding(client: OpenAI, model: str) -> None:
    # Without encoding_format the SDK asks for base64 and decodes it itself.
    packed = client.embeddings.create(model=model, input=["one text", "another"], dimensions=64)
    floats = client.embeddings.create(
        model=model, input=["one text", "another"], dimensions=64, encoding_format="float"
    )
    strictly(CreateEmbeddingResponse, floats)
    assert [row.index for row in packed.data] == [0, 1]
    assert [row.embedding for row in packed.data] == [row.embedding for row in floats.data]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 3
    assert len(client.embeddings.create(model=model, input="x").data[0].embedding) == 1536
    assert len(client.embeddings.create(model=model, input=[[1, 2], [3]]).data) == 2


@pytest.mark.parametrize("model", MODELS)
def test_legacy_completions(client: OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt=["Once upon", "a time"], max_tokens=8)
    strictly(Completion, whole)
    said: dict[int, str] = {}
    for chunk in client.completions.create(model=model, prompt=["Once upon", "a time"], max_tokens=8, stream=True):
        assert chunk.object == "text_completion"
        for choice in chunk.choices:
            said[choice.index] = said.get(choice.index, "") + choice.text
    assert said == {choice.index: choice.text for choice in whole.choices}


def test_models_are_listed_and_retrieved_by_any_name(client: OpenAI) -> None:
    listed = list(client.models.list())
    for model in listed:
        strictly(Model, model)
    names = {model.id for model in listed}
    assert {"priced-chat", "vendor/priced-chat:latest", "simulated", "simulated-embedding"} <= names
    for name in ("priced-chat", "vendor/priced-chat:latest"):
        assert client.models.retrieve(name).id == name


async def test_async_client(async_client: AsyncOpenAI) -> None:
    whole = await async_client.chat.completions.create(model="priced-chat", messages=MESSAGES)
    stream = await async_client.chat.completions.create(model="priced-chat", messages=MESSAGES, stream=True)
    said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == whole.choices[0].message.content
    assert len((await async_client.embeddings.create(model="priced-embedding", input="x")).data) == 1
    assert "priced-chat" in [model.id async for model in async_client.models.list()]
