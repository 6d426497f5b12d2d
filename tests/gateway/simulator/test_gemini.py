"""The simulator speaks Gemini's API: Google's own SDK parses it and raises its own errors."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.processes import UPSTREAM_KEY, Upstream
from tests.gateway.simulator.server import QUESTION, SCHEMA, last

WEATHER: Any = {"function_declarations": [{"name": "get_weather", "parameters_json_schema": SCHEMA}]}
BOTH: Any = {"function_declarations": [*WEATHER["function_declarations"], {"name": "get_time"}]}


@pytest.fixture(scope="module")
def client(server: Upstream) -> Iterator[genai.Client]:
    with genai.Client(api_key=UPSTREAM_KEY, http_options=types.HttpOptions(base_url=server.origin)) as client:
        yield client


def ask(client: genai.Client, model: str = "simulated", contents: Any = QUESTION, **config: Any) -> Any:
    return client.models.generate_content(model=model, contents=contents, config={**_MANUAL, **config})


_MANUAL: Any = {"automatic_function_calling": {"disable": True}}


def post(server: Upstream, body: Any, verb: str = "generateContent", model: str = "simulated") -> httpx.Response:
    headers = {"x-goog-api-key": UPSTREAM_KEY}
    return httpx.post(f"{server.origin}/v1beta/models/{model}:{verb}", json=body, headers=headers, timeout=10)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("simulated", {}),
        ("simulated", {"system_instruction": "Be brief."}),
        ("simulated", {"tools": [WEATHER]}),
        ("simulated-parallel", {"tools": [BOTH]}),
        ("simulated", {"response_mime_type": "application/json", "response_json_schema": SCHEMA}),
        ("simulated", {"thinking_config": {"include_thoughts": True, "thinking_budget": 512}}),
        ("simulated-reasoning", {}),
        ("simulated", {"max_output_tokens": 3}),
        ("simulated", {"stop_sequences": ["simulated"]}),
        ("simulated", {"candidate_count": 2}),
        ("simulated-cached-4", {}),
        ("simulated-filter", {}),
    ],
    ids=str,
)
def test_whole_and_streamed_answers_are_what_the_sdks_types_say(
    server: Upstream, client: genai.Client, model: str, config: Any
) -> None:
    whole = ask(client, model, **config)
    chunks = list(client.models.generate_content_stream(model=model, contents=QUESTION, config={**_MANUAL, **config}))

    def said(answers: list[Any], name: str) -> list[Any]:
        parts = [
            part for answer in answers for part in answer.candidates[0].content.parts if answer.candidates[0].index == 0
        ]
        return [getattr(part, name) for part in parts if getattr(part, name)]

    assert "".join(said(chunks, "text")) == "".join(said([whole], "text"))
    assert said(chunks, "function_call") == said([whole], "function_call")
    assert chunks[-1].candidates[0].finish_reason == whole.candidates[-1].finish_reason
    assert chunks[-1].usage_metadata == whole.usage_metadata
    usage = whole.usage_metadata
    record = last(server, model)
    assert record["vendor"] == "gemini"
    assert record["completion_tokens"] == (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    assert record["prompt_tokens"] == usage.prompt_token_count
    assert usage.total_token_count == record["prompt_tokens"] + record["completion_tokens"]


def test_finish_reasons_say_why(client: genai.Client) -> None:
    assert ask(client).candidates[0].finish_reason is types.FinishReason.STOP
    assert ask(client, max_output_tokens=3).candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert ask(client, "simulated-filter").candidates[0].finish_reason is types.FinishReason.SAFETY
    blocked = ask(client, "simulated-refuse")
    assert blocked.candidates is None
    assert blocked.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT


def test_calls_go_round_and_signatures_must_come_back(client: genai.Client) -> None:
    first = ask(client, "simulated-reasoning", tools=[WEATHER])
    content = first.candidates[0].content
    [part] = content.parts
    assert part.thought_signature
    assert part.function_call.id is None
    result = types.Part.from_function_response(name="get_weather", response={"result": "18 degrees"})
    turns = [types.UserContent(QUESTION), content, types.UserContent([result])]
    after = ask(client, "simulated-reasoning", turns, tools=[WEATHER])
    assert "18 degrees" in after.text
    bare = types.Content(role="model", parts=[types.Part(function_call=part.function_call)])
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        ask(client, "simulated-reasoning", [turns[0], bare, turns[2]], tools=[WEATHER])


CALLED: Any = {"role": "model", "parts": [{"functionCall": {"name": "a", "args": {}}}, {"functionCall": {"name": "b"}}]}
RESULT: Any = {"functionResponse": {"name": "a", "response": {}}}
ASKED: Any = {"role": "user", "parts": [{"text": "x"}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "contents"),
        ({"contents": [ASKED], "messages": []}, 'Unknown name "messages"'),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "model", "parts": [{"text": "x"}]}]}, "begin with a user turn"),
        ({"contents": [ASKED, {"role": "model", "parts": [{"text": "x"}]}]}, "end with a user role"),
        ({"contents": [ASKED, CALLED, {"role": "user", "parts": [RESULT]}]}, "equal to the number"),
        ({"contents": [ASKED], "generationConfig": {"maxTokens": 3}}, 'Unknown name "maxTokens"'),
        ({"contents": [ASKED], "generationConfig": {"maxOutputTokens": "3"}}, "TYPE_INT32"),
        ({"contents": [ASKED], "generationConfig": {"responseJsonSchema": SCHEMA}}, "mime type"),
        (
            {"contents": [ASKED], "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"$schema": "x"}}]}]},
            'Unknown name "$schema"',
        ),
        (
            {
                "contents": [ASKED],
                "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"properties": {"a": {"const": 1}}}}]}],
            },
            'Unknown name "const"',
        ),
    ],
    ids=str,
)
def test_what_gemini_refuses_is_refused(server: Upstream, body: Any, words: str) -> None:
    answer = post(server, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert words in answer.json()["error"]["message"]


def test_errors_are_the_sdks_own(server: Upstream, client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        ask(client, "simulated-status-429-retry-after-2s")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert caught.value.details["error"]["details"][0]["retryDelay"] == "2s"
    with pytest.raises(errors.ServerError):
        ask(client, "simulated-status-503")
    with pytest.raises(errors.ClientError):
        ask(client, "simulated-nonsense")
    assert httpx.post(f"{server.origin}/v1beta/models/simulated:generateContent?key=wrong", json={}).status_code == 401


def test_a_stream_without_sse_is_one_array(server: Upstream) -> None:
    body = {"contents": [ASKED]}
    documents = post(server, body, "streamGenerateContent").json()
    assert documents[-1]["candidates"][0]["finishReason"] == "STOP"
    events = post(server, body, "streamGenerateContent?alt=sse").text.split("\r\n\r\n")
    assert events[-1] == ""
    assert [json.loads(event.removeprefix("data: ")) for event in events[:-1]] == documents
    cut = [
        post(server, body, "streamGenerateContent?alt=sse", f"simulated-{fault}").text
        for fault in ("no-done", "error-after-2")
    ]
    assert "finishReason" not in cut[0]
    assert '"INTERNAL"' in cut[1]


def test_counting_and_embedding(client: genai.Client) -> None:
    counted = client.models.count_tokens(model="simulated", contents=QUESTION)
    assert counted.total_tokens == ask(client).usage_metadata.prompt_token_count
    embedded = client.models.embed_content(
        model="simulated-embedding", contents=["one", "two"], config={"output_dimensionality": 64}
    )
    assert [len(entry.values or ()) for entry in embedded.embeddings or ()] == [64, 64]
    assert [model.name for model in client.models.list()][:1] == ["models/simulated"]
