"""Asks the engine and puts the pieces of its scripts together."""

import json
from typing import Any

from tollkeeper.gateway.simulator.engine import Operation, answer
from tollkeeper.gateway.simulator.script import Script

CHAT, COMPLETIONS, EMBEDDINGS = Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS
HELLO = [{"role": "user", "content": "Hello, who are you?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def ask(operation: Operation = CHAT, *, header: str = "", **fields: Any) -> Script:
    body = {"model": "simulated", **({"messages": HELLO} if operation is CHAT else {}), **fields}
    return answer(operation, json.dumps(body).encode(), header=header, now=lambda: 1_800_000_000.0)


def content(script: Script) -> bytes:
    return b"".join(part.data for part in script.parts)


def document(script: Script) -> Any:
    return json.loads(content(script))


def chat(**fields: Any) -> Any:
    """The document of a whole chat answer."""
    script = ask(CHAT, **fields)
    assert script.status == 200, content(script)
    return document(script)


def events(script: Script) -> list[str]:
    """The data of each event; fails on bytes that are no event."""
    text = content(script).decode()
    assert text.endswith("\n\n")
    return [line.removeprefix("data: ") for line in text.removesuffix("\n\n").split("\n\n")]


def chunks(script: Script) -> list[Any]:
    """The JSON of each event up to `[DONE]`, which must be the last."""
    found = events(script)
    assert found[-1] == "[DONE]"
    return [json.loads(event) for event in found[:-1]]
