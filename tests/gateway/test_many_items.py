"""A call of very many items costs in proportion: what looks through all of them at each of them holds up every other call.

The limit is far above what a slow machine takes, and far below what the square of the number takes.
"""

import gc
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import orjson
import pytest

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.money.estimate import bound_input_tokens
from tollkeeper.gateway.paths import Paths
from tollkeeper.gateway.providers import PROVIDERS

MOST_SECONDS = 2.0
USER = {"role": "user", "content": "x"}


def chat(*messages: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER, *messages]}


def use(call_id: str, name: str = "f") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


def with_one_id(count: int) -> Any:
    return chat(*[{"role": "assistant", "tool_calls": [use("c")]}, result("c")] * count)


def with_many_names(count: int) -> Any:
    return chat({"role": "assistant", "tool_calls": [use(f"c{n}", f"f{n}") for n in range(count)]})


def with_results_behind_texts(count: int) -> Any:
    said = {"role": "user", "content": [{"type": "text", "text": "x"}] * count}
    return {"model": "m", "messages": [said, *(result(f"c{n}") for n in range(count))]}


def with_custom_calls(count: int) -> Any:
    calls = [{"id": f"c{n}", "type": "custom", "custom": {"name": "f", "input": "x"}} for n in range(count)]
    return chat({"role": "assistant", "tool_calls": calls}, *(result(f"c{n}") for n in range(count)))


def with_pictures(count: int) -> Any:
    return chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u" * 70}}] * count})


def with_answers_backwards(count: int) -> Any:
    calls = [{"functionCall": {"name": f"f{n}", "args": {}}} for n in range(count)]
    answers = [{"functionResponse": {"name": f"f{count - 1 - n}", "response": {}}} for n in range(count)]
    return {"contents": [{"role": role, "parts": parts} for role, parts in (("model", calls), ("user", answers))]}


CHAT, GEMINI = "/v1/chat/completions", "/v1beta/models/m:generateContent"


@pytest.mark.parametrize(
    ("path", "make", "count", "kind", "model"),
    [
        (CHAT, with_one_id, 3_000, "anthropic", "claude-sonnet-4-5"),
        (CHAT, with_many_names, 20_000, "anthropic", "claude-sonnet-4-5"),
        (CHAT, with_results_behind_texts, 12_000, "bedrock", "amazon.nova-pro-v1:0"),
        (CHAT, with_custom_calls, 30_000, "openai", "gpt-5-codex"),
        (CHAT, with_pictures, 60_000, "openai", "gpt-4o"),
        (GEMINI, with_answers_backwards, 40_000, "openai", "gpt-4o"),
    ],
)
def test_many_items_cost_in_proportion(
    path: str, make: Callable[[int], Any], count: int, kind: str, model: str
) -> None:
    body = orjson.dumps(make(count))
    provider, config = PROVIDERS[kind], ProviderConfig(uuid4(), kind, kind, "https://provider.test")
    target = Target(kind, model)
    found = Paths(64).find(path)
    assert found is not None
    gc.disable()
    try:
        begun = time.process_time()
        call = found[1].read_call(body, {}, path)
        bound_input_tokens(call)
        provider.dialect(config, call, target).write_call(provider.prepare(config, call, target))
        taken = time.process_time() - begun
    finally:
        gc.enable()

    assert taken < MOST_SECONDS
