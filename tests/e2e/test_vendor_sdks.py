"""Other vendors' official Python SDKs, unmodified, against models of every provider: chat, streams, tools, schemas, errors."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from anthropic import Anthropic
from google import genai
from google.genai import errors, types
from openai import OpenAI

from tests.e2e.processes import VENDORS, Product, wait_for
from tests.e2e.test_zz_ledger import cost_usd, tokens

PROVIDERS = ("up", *VENDORS)
QUESTION = "What does the gateway do?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
CLAUDE_TOOL: Any = {"name": "get_weather", "description": "The weather in a city.", "input_schema": SCHEMA}
GOOGLE_TOOL: Any = {"function_declarations": [{"name": "get_weather", "parameters_json_schema": SCHEMA}]}
OPENAI_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": SCHEMA},
}


class Place(pydantic.BaseModel):
    city: str
    population: int


@pytest.fixture
def claude(product: Product) -> Iterator[Anthropic]:
    with Anthropic(base_url=product.origin, api_key=product.api_key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def google(product: Product) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=product.origin, timeout=30_000)
    with genai.Client(api_key=product.api_key, http_options=options) as client:
        yield client


def generate(google: genai.Client, model: str, contents: Any = QUESTION, **config: Any) -> Any:
    manual: Any = {"automatic_function_calling": {"disable": True}}
    return google.models.generate_content(model=model, contents=contents, config={**manual, **config})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_anthropics_sdk_asks_and_streams(claude: Anthropic, provider: str) -> None:
    asked: Any = {"model": f"{provider}/simulated", "max_tokens": 300, "messages": MESSAGES}
    whole = claude.messages.create(**asked)
    assert (whole.type, whole.role, whole.stop_reason) == ("message", "assistant", "end_turn")
    [block] = whole.content
    assert block.type == "text"
    assert QUESTION in block.text
    with claude.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == block.text
        final = stream.get_final_message()
    assert (final.usage.input_tokens, final.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )
    assert whole._request_id
    capped = claude.messages.create(**{**asked, "max_tokens": 3})
    assert (capped.stop_reason, capped.usage.output_tokens) == ("max_tokens", 3)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_anthropics_sdk_uses_tools_and_schemas(claude: Anthropic, provider: str) -> None:
    asked: Any = {"model": f"{provider}/simulated", "max_tokens": 300, "messages": MESSAGES, "tools": [CLAUDE_TOOL]}
    whole = claude.messages.create(**asked)
    assert whole.stop_reason == "tool_use"
    use = whole.content[-1]
    assert use.type == "tool_use"
    assert use.input["unit"] in {"celsius", "fahrenheit"}
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message().content[-1]
    assert streamed.type == "tool_use"
    assert (streamed.name, streamed.input) == (use.name, use.input)
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "18 degrees"}]}
    turns: Any = [*MESSAGES, {"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    after = claude.messages.create(**{**asked, "messages": turns})
    assert "18 degrees" in after.content[0].text  # type: ignore[union-attr]
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    shaped = claude.messages.create(model=asked["model"], max_tokens=300, messages=MESSAGES, output_config=form)
    assert json.loads(shaped.content[0].text).keys() == {"city", "unit"}  # type: ignore[union-attr]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_googles_sdk_asks_and_streams(google: genai.Client, provider: str) -> None:
    model = f"{provider}/simulated"
    whole = generate(google, model)
    assert QUESTION in whole.text
    assert whole.candidates[0].finish_reason is types.FinishReason.STOP
    chunks = list(google.models.generate_content_stream(model=model, contents=QUESTION))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count  # type: ignore[union-attr]
    capped = generate(google, model, max_output_tokens=3)
    assert capped.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS


@pytest.mark.parametrize("provider", PROVIDERS)
def test_googles_sdk_uses_tools_and_schemas(google: genai.Client, provider: str) -> None:
    model = f"{provider}/simulated"
    first = generate(google, model, tools=[GOOGLE_TOOL])
    [call] = first.function_calls
    assert call.args["unit"] in {"celsius", "fahrenheit"}
    streamed = google.models.generate_content_stream(model=model, contents=QUESTION, config={"tools": [GOOGLE_TOOL]})
    called = [found for chunk in streamed for found in chunk.function_calls or ()]
    assert [(found.name, found.args) for found in called] == [("get_weather", call.args)]
    result = types.Part.from_function_response(name="get_weather", response={"result": "18 degrees"})
    if result.function_response is not None:
        result.function_response.id = call.id
    turns = [types.UserContent(QUESTION), first.candidates[0].content, types.UserContent([result])]
    assert "18 degrees" in generate(google, model, turns, tools=[GOOGLE_TOOL]).text
    shaped = generate(google, model, response_mime_type="application/json", response_schema=Place)
    assert isinstance(shaped.parsed, Place)


@pytest.mark.parametrize("provider", VENDORS)
def test_openais_sdk_reaches_other_vendors(client: OpenAI, provider: str) -> None:
    model = f"{provider}/simulated"
    whole = client.chat.completions.create(model=model, messages=MESSAGES)
    assert QUESTION in (whole.choices[0].message.content or "")
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    called = client.chat.completions.create(model=model, messages=MESSAGES, tools=[OPENAI_TOOL]).choices[0]
    assert called.finish_reason == "tool_calls"
    [call] = called.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["unit"] in {"celsius", "fahrenheit"}
    turns: Any = [*MESSAGES, called.message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}]
    after = client.chat.completions.create(model=model, messages=turns, tools=[OPENAI_TOOL])
    assert "18 degrees" in (after.choices[0].message.content or "")
    parsed = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Place)
    assert isinstance(parsed.choices[0].message.parsed, Place)
    many = client.chat.completions.create(model=f"{model}-parallel", messages=MESSAGES, tools=[OPENAI_TOOL])
    assert len({call.id for call in many.choices[0].message.tool_calls or []}) == 2


@pytest.mark.parametrize("provider", VENDORS)
def test_thinking_of_every_vendor_is_shown_and_may_come_back(claude: Anthropic, provider: str) -> None:
    if provider == "azure":
        pytest.skip("Azure's models do not show what they think")
    asked: Any = {"model": f"{provider}/simulated-reasoning", "max_tokens": 3000, "messages": MESSAGES}
    asked |= {"tools": [CLAUDE_TOOL], "thinking": {"type": "adaptive"}}
    first = claude.messages.create(**asked)
    use = first.content[-1]
    assert use.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"}
    turns: Any = [*MESSAGES, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    # The simulator refuses signatures that are not its own, and calls of Gemini's without them.
    after = claude.messages.create(**{**asked, "messages": turns})
    assert "18 degrees" in after.content[-1].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("status-429", anthropic.RateLimitError, 429),
        ("status-500", anthropic.InternalServerError, None),
        ("status-503", anthropic.APIStatusError, None),
        ("context", anthropic.BadRequestError, 400),
        ("garbage", anthropic.InternalServerError, None),
        ("hang", anthropic.APIStatusError, None),
        ("cut-after-2", anthropic.InternalServerError, None),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_failures_are_anthropics_sdks_own_errors(
    claude: Anthropic, provider: str, fault: str, kind: type[anthropic.APIStatusError], status: int | None
) -> None:
    with pytest.raises(kind) as caught:
        claude.messages.create(model=f"{provider}/simulated-{fault}", max_tokens=50, messages=MESSAGES)
    assert caught.value.request_id
    assert caught.value.body["type"] == "error"  # type: ignore[index]
    assert status is None or caught.value.status_code == status


def test_strangers_and_unknown_models_are_refused_in_each_dialect(
    product: Product, claude: Anthropic, google: genai.Client
) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="no-such-model", max_tokens=5, messages=MESSAGES)
    stranger = claude.with_options(api_key="tk-nobody")
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="up/simulated", max_tokens=5, messages=MESSAGES)
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(model="up/simulated", max_tokens=5, messages=[{"role": "nobody", "content": "x"}])  # type: ignore[typeddict-item]
    with pytest.raises(errors.ClientError) as caught:
        generate(google, "no-such-model")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as limited:
        generate(google, "gemini/simulated-status-429")
    assert limited.value.status == "RESOURCE_EXHAUSTED"
    with pytest.raises(errors.ServerError):
        generate(google, "claude/simulated-status-500")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["cut-after-5", "error-after-5"])
def test_a_stream_that_breaks_is_an_error_in_every_sdk(
    claude: Anthropic, client: OpenAI, provider: str, fault: str
) -> None:
    model = f"{provider}/simulated-{fault}"
    with pytest.raises(anthropic.APIError):
        for _ in claude.messages.create(model=model, max_tokens=100, messages=MESSAGES, stream=True):
            pass
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        # Claude's streams without `message_stop` are whole once they have said why they stop, as OpenAI's without `[DONE]`.
        ("gemini", "no-done"),
        ("bedrock", "no-done"),
        *((provider, fault) for provider in ("claude", "gemini", "bedrock") for fault in ("garbage", "hang-after-5")),
    ],
)
def test_a_stream_without_its_end_is_no_success(client: OpenAI, provider: str, fault: str) -> None:
    if fault == "hang-after-5":
        client = client.with_options(timeout=20)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model=f"{provider}/simulated-{fault}", messages=MESSAGES, stream=True))
    assert caught.value.code in {"upstream_cut", "upstream_garbage", "upstream_timeout", "upstream_error"}


def test_tokens_are_counted_and_models_listed(claude: Anthropic, google: genai.Client) -> None:
    assert claude.messages.count_tokens(model="up/simulated", messages=MESSAGES).input_tokens > 0
    assert "priced-chat" in {model.id for model in claude.models.list()}
    assert claude.models.retrieve("priced-chat").type == "model"
    counted = google.models.count_tokens(model="gemini/simulated", contents=QUESTION)
    assert (counted.total_tokens or 0) > 0
    assert "models/priced-chat" in {model.name for model in google.models.list()}


@pytest.mark.parametrize("provider", VENDORS)
def test_the_ledger_has_the_tokens_that_the_vendor_told(product: Product, client: OpenAI, provider: str) -> None:
    model = f"{provider}/simulated-cached-5-length-21"
    before = product.upstream.last_sequence()
    client.chat.completions.create(model=model, messages=MESSAGES)
    list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    served = product.upstream.stats(before)["records"]
    assert len(served) == 2

    def settled() -> Any:
        found = [record for record in product.usage_records() if record["model"] == model]
        return found if len(found) >= 2 else None

    for record, truth in zip(wait_for(settled), served, strict=True):
        assert (record["status"], record["estimated"]) == ("ok", False)
        assert tokens(record) == tokens(truth)
        assert Decimal(record["cost_usd"]) == cost_usd(truth)
