"""An agent that calls a tool in each of ten turns, streamed, in one vendor's format against another's: nothing is bent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.processes import Product

TURNS = 10
QUESTION = "Plan my journey, step by step."
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "by": {"type": "array", "items": {"enum": ["train", "ship", 'Zug „Süd“ \\ "x"']}, "minItems": 1},
    },
    "required": ["city", "days", "by"],
}
# What the agent was told to do, and with which result: name, arguments, result.
Step = tuple[str, Any, str]


@pytest.fixture
def claude(product: Product) -> Iterator[Anthropic]:
    with Anthropic(base_url=product.origin, api_key=product.api_key, max_retries=0, timeout=30) as client:
        yield client


def last_request(product: Product, before: int) -> Any:
    """What the upstream received last, in its own format."""
    records = product.upstream.stats(before)["records"]
    assert len(records) == TURNS + 1
    assert all(record["outcome"] == "complete" for record in records)
    return records[-1]["body"]


def claude_loop(client: Anthropic, model: str) -> list[Step]:
    tools: Any = [{"name": "plan_leg", "description": "Plan one leg.", "input_schema": SCHEMA}]
    turns: list[Any] = [{"role": "user", "content": QUESTION}]
    steps: list[Step] = []
    for turn in range(TURNS + 1):
        choice: Any = {"type": "any" if turn < TURNS else "auto"}
        asked: Any = {"model": model, "max_tokens": 400, "messages": turns, "tools": tools, "tool_choice": choice}
        with client.messages.stream(**asked) as stream:
            said = stream.get_final_message()
        if said.stop_reason != "tool_use":
            break
        [use] = [block for block in said.content if block.type == "tool_use"]
        steps.append((use.name, use.input, f"Leg {turn}: 18 °C"))
        result = {"type": "tool_result", "tool_use_id": use.id, "content": steps[-1][2]}
        turns += [{"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
    assert said.stop_reason == "end_turn"
    assert steps[-1][2] in "".join(block.text for block in said.content if block.type == "text")
    return steps


def openai_loop(client: OpenAI, model: str) -> list[Step]:
    function = {"name": "plan_leg", "description": "Plan one leg.", "parameters": SCHEMA}
    turns: list[Any] = [{"role": "user", "content": QUESTION}]
    steps: list[Step] = []
    for turn in range(TURNS + 1):
        choice: Any = "required" if turn < TURNS else "auto"
        tools: Any = [{"type": "function", "function": function}]
        asked: Any = {"model": model, "max_tokens": 400, "messages": turns, "tools": tools, "tool_choice": choice}
        calls: dict[int, dict[str, str]] = {}
        text, reason = "", None
        for chunk in client.chat.completions.create(**asked, stream=True):
            for choice_ in chunk.choices:
                text += choice_.delta.content or ""
                reason = choice_.finish_reason or reason
                for part in choice_.delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                    call["id"] += part.id or ""
                    if part.function is not None:
                        call["name"] += part.function.name or ""
                        call["arguments"] += part.function.arguments or ""
        if reason != "tool_calls":
            break
        [call] = calls.values()
        steps.append((call["name"], json.loads(call["arguments"]), f"Leg {turn}: 18 °C"))
        function_call = {"name": call["name"], "arguments": call["arguments"]}
        made = {"id": call["id"], "type": "function", "function": function_call}
        turns.append({"role": "assistant", "content": None, "tool_calls": [made]})
        turns.append({"role": "tool", "tool_call_id": call["id"], "content": steps[-1][2]})
    assert reason == "stop"
    assert steps[-1][2] in text
    return steps


def told_openai(body: Any) -> list[Step]:
    """The steps as they stand in a chat request."""
    found: list[Step] = []
    open_call: Any = None
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            open_call = call
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_call["id"]
            function = open_call["function"]
            found.append((function["name"], json.loads(function["arguments"]), message["content"]))
    return found


def told_anthropic(body: Any) -> list[Step]:
    found: list[Step] = []
    open_use: Any = None
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                open_use = block
            elif block["type"] == "tool_result":
                assert block["tool_use_id"] == open_use["id"]
                content = block["content"]
                text = content if isinstance(content, str) else content[0]["text"]
                found.append((open_use["name"], open_use["input"], text))
    return found


def told_gemini(body: Any) -> list[Step]:
    found: list[Step] = []
    open_call: Any = None
    for content in body["contents"]:
        for part in content["parts"]:
            if "functionCall" in part:
                open_call = part["functionCall"]
            elif "functionResponse" in part:
                found.append((open_call["name"], open_call["args"], part["functionResponse"]["response"]["output"]))
    return found


def told_bedrock(body: Any) -> list[Step]:
    found: list[Step] = []
    open_use: Any = None
    for message in body["messages"]:
        for block in message["content"]:
            if "toolUse" in block:
                open_use = block["toolUse"]
            elif "toolResult" in block:
                result = block["toolResult"]
                assert result["toolUseId"] == open_use["toolUseId"]
                found.append((open_use["name"], open_use["input"], result["content"][0]["text"]))
    return found


TOLD = {"up": told_openai, "claude": told_anthropic, "gemini": told_gemini, "bedrock": told_bedrock}


@pytest.mark.parametrize("provider", TOLD)
def test_ten_turns_over_messages(claude: Anthropic, product: Product, provider: str) -> None:
    before = product.upstream.last_sequence()
    steps = claude_loop(claude, f"{provider}/simulated")
    assert len(steps) == TURNS
    assert len({json.dumps(arguments) for _, arguments, _ in steps}) > 1
    assert TOLD[provider](last_request(product, before)) == steps


@pytest.mark.parametrize("provider", TOLD)
def test_ten_turns_over_chat_completions(client: OpenAI, product: Product, provider: str) -> None:
    before = product.upstream.last_sequence()
    steps = openai_loop(client, f"{provider}/simulated")
    assert len(steps) == TURNS
    assert TOLD[provider](last_request(product, before)) == steps


def test_ten_turns_with_thoughts_that_must_come_back(claude: Anthropic, product: Product) -> None:
    """Gemini's calls are signed; the simulator refuses a history without the signatures it gave."""
    before = product.upstream.last_sequence()
    steps = claude_loop(claude, "gemini/simulated-reasoning")
    assert told_gemini(last_request(product, before)) == steps
