"""Canonical calls for Anthropic's end, and what becomes of them."""

import json
from typing import Any

from tests.gateway.serving import provider
from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.providers.anthropic import Anthropic

MODEL = "claude-sonnet-4-6"
HELLO = [{"role": "user", "content": "Say hello."}]
CONFIG = provider("claude", "https://api.anthropic.com", kind="anthropic")


def call_of(model: str = MODEL, messages: Any = None, **fields: Any) -> Call:
    body = {"model": model, "messages": HELLO if messages is None else messages, **fields}
    return OpenAIChat().read_call(json.dumps(body).encode(), {}, "/v1/chat/completions")


def prepared(call: Call, *, most: int | None = None) -> Call:
    return Anthropic().prepare(CONFIG, call, Target("claude", "*", max_output_tokens=most))


def request(model: str = MODEL, messages: Any = None, *, most: int | None = None, **fields: Any) -> dict[str, Any]:
    """The document that Anthropic gets for a chat call."""
    document = json.loads(AnthropicVendor().write_call(prepared(call_of(model, messages, **fields), most=most)))
    assert isinstance(document, dict)
    return document


def turns(messages: list[Any], model: str = MODEL, **fields: Any) -> list[tuple[str, Any]]:
    return [(turn["role"], turn["content"]) for turn in request(model, messages, **fields)["messages"]]


def dropped(model: str = MODEL, **fields: Any) -> list[str]:
    call = call_of(model, **fields)
    return dropped_fields(call, prepared(call))


def user(content: Any = "go on") -> dict[str, Any]:
    return {"role": "user", "content": content}


def calling(*names: str, content: Any = None, **fields: Any) -> dict[str, Any]:
    """An assistant's message that calls tools, ids `call_0`, `call_1` …"""
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": '{"n":1}'}}
        for number, name in enumerate(names)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls, **fields}


def result(call_id: str, content: Any = "done", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def function(name: str = "search", **fields: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {}}, **fields},
    }
