"""LangChain and pydantic-ai, unmodified, before providers of every format: chat, stream, tools, structured output."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from anthropic import AsyncAnthropic
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import AsyncOpenAI
from pydantic import BaseModel, Field, SecretStr
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.e2e.processes import VENDORS, Product

MODELS = ("priced-chat", *(f"{vendor}/simulated" for vendor in VENDORS))
QUESTION = "How warm is it in Bern?"


class City(BaseModel):
    """A city and its people."""

    name: str
    people: int = Field(ge=1, le=9_999)
    kind: Literal["village", "town"]


@tool
def weather(city: str) -> str:
    """How the weather is in a city."""
    return f"18 degrees in {city}"


LangChainModel = ChatOpenAI | ChatAnthropic


def langchain_model(product: Product, dialect: str, model: str) -> LangChainModel:
    key = SecretStr(product.api_key)
    if dialect == "messages":
        return ChatAnthropic(
            model=model,
            base_url=product.origin,
            api_key=key,
            max_retries=0,
            timeout=30,
            max_tokens_to_sample=300,
            stop=None,
        )
    return ChatOpenAI(
        model=model,
        base_url=product.base_url,
        api_key=key,
        max_retries=0,
        timeout=30,
        max_completion_tokens=300,
        stream_usage=True,
        use_responses_api=dialect == "responses",
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
class TestLangChain:
    def test_chat_and_stream(self, product: Product, dialect: str, model: str) -> None:
        chat = langchain_model(product, dialect, model)
        turns = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
        whole = chat.invoke(turns)
        assert isinstance(whole, AIMessage)
        assert whole.text
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["output_tokens"] > 0
        pieces = [piece for piece in chat.stream(turns) if isinstance(piece, AIMessageChunk)]
        total = pieces[0]
        for piece in pieces[1:]:
            total += piece
        assert len(pieces) > 2
        assert total.text == whole.text
        assert total.usage_metadata is not None
        assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]

    def test_tool_and_its_result(self, product: Product, dialect: str, model: str) -> None:
        chat = langchain_model(product, dialect, model).bind_tools([weather])
        turns: list[Any] = [HumanMessage(QUESTION)]
        for answer in (chat.invoke(turns), _sum(list(chat.stream(turns)))):
            [call] = answer.tool_calls
            assert (call["name"], list(call["args"])) == ("weather", ["city"])
        after = chat.invoke([*turns, answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])])
        assert "18 degrees" in after.text
        assert after.tool_calls == []

    def test_structured_output(self, product: Product, dialect: str, model: str) -> None:
        chat = langchain_model(product, dialect, model)
        for method in ("function_calling", "json_schema"):
            found = chat.with_structured_output(City, method=method).invoke(QUESTION)
            assert isinstance(found, City)


def _sum(pieces: list[Any]) -> Any:
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    return total


def test_langchain_embeds_texts(product: Product) -> None:
    """It sends token ids unless it is told that the other side reads text alone."""
    embeddings = OpenAIEmbeddings(
        model="priced-embedding",
        base_url=product.base_url,
        api_key=SecretStr(product.api_key),
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 1


@asynccontextmanager
async def pydantic_model(product: Product, dialect: str, model: str) -> AsyncIterator[Model]:
    """Over a client that is closed, because a framework's own stays open for as long as its program runs."""
    if dialect == "messages":
        async with AsyncAnthropic(base_url=product.origin, api_key=product.api_key) as anthropic:
            yield AnthropicModel(model, provider=AnthropicProvider(anthropic_client=anthropic))
        return
    async with AsyncOpenAI(base_url=product.base_url, api_key=product.api_key) as openai:
        provider = OpenAIProvider(openai_client=openai)
        kind = OpenAIResponsesModel if dialect == "responses" else OpenAIChatModel
        yield kind(model, provider=provider)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
class TestPydanticAI:
    async def test_agent_with_a_tool(self, product: Product, dialect: str, model: str) -> None:
        asked: list[str] = []

        def weather(city: str) -> str:
            """How the weather is in a city."""
            asked.append(city)
            return "18 degrees"

        async with pydantic_model(product, dialect, model) as served:
            agent = Agent(served, system_prompt="Be brief.", tools=[weather])
            result = await agent.run(QUESTION)
            assert "18 degrees" in result.output
            assert len(asked) == 1
            assert result.usage.output_tokens > 0
            async with agent.run_stream(QUESTION) as stream:
                assert "18 degrees" in await stream.get_output()
            assert len(asked) == 2

    async def test_structured_output(self, product: Product, dialect: str, model: str) -> None:
        async with pydantic_model(product, dialect, model) as served:
            assert isinstance((await Agent(served, output_type=City).run(QUESTION)).output, City)
