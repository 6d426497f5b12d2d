"""What tests of the caller's end ask with, and how they read what comes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tollkeeper.contracts.chat import Call, Chunk, Usage
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicCaller

Json = dict[str, Any]
CALLER = AnthropicCaller()
TOOL: Json = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def message(**fields: Any) -> Json:
    return {
        "model": "gpt-4o-mini",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Say hello."}],
        **fields,
    }


def talk(*messages: Json, **fields: Any) -> Json:
    return message(messages=list(messages), **fields)


def user(*blocks: Any) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **fields: Any) -> Json:
    return {"type": "text", "text": words, **fields}


def tool_use(call_id: str = "toolu_1", name: str = "get_weather", **arguments: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def tool_result(call_id: str = "toolu_1", content: Any = "sunny", **fields: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def read(document: Any) -> Call:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return CALLER.read_call(body, {}, "/v1/messages")


def messages_of(document: Json) -> list[Json]:
    found: list[Json] = read(document).body["messages"]
    return found


# Streams


def delta(fields: Mapping[str, Any], finish: str | None = None, **others: Any) -> Chunk:
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "vendors-model",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }
    words = fields.get("content")
    return Chunk(data, is_content=True, text_length=len(words) if isinstance(words, str) else 0, **others)


def counted(usage: Usage) -> Chunk:
    return Chunk({"id": "chatcmpl-1", "model": "vendors-model", "choices": []}, usage=usage)


END = Chunk({}, is_hidden=True, is_final=True)


def fragment(index: int, arguments: str = "", *, call_id: str | None = None, name: str | None = None) -> Json:
    inner: Json = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    entry: Json = {"index": index, "function": inner}
    return entry if call_id is None else {**entry, "id": call_id, "type": "function"}


def written(chunks: Sequence[Chunk], document: Json | None = None, *, at_once: bool = False) -> bytes:
    call = read(document or message(stream=True))
    call.estimated_input_tokens = 7
    writer = CALLER.writer(call)
    batches = [list(chunks)] if at_once else [[chunk] for chunk in chunks]
    return b"".join([*(writer.batch(batch) for batch in batches), writer.end(None)])


def events_of(data: bytes | str) -> list[Json]:
    """Each event's document. Its name must stand before it, and be its type."""
    found = []
    for block in (data.decode() if isinstance(data, bytes) else data).split("\n\n"):
        if not block or block.startswith(":"):
            continue
        first, _, rest = block.partition("\n")
        assert first.startswith("event: ")
        assert rest.startswith("data: ")
        document = json.loads(rest.removeprefix("data: "))
        assert document["type"] == first.removeprefix("event: ")
        found.append(document)
    return found


def blocks_of(events: Sequence[Json]) -> list[Json]:
    """The content as a client puts it together, and what every stream has to keep to."""
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks: list[Json] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"]})
            is_open = True
        elif event["type"] == "content_block_stop":
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = False
            if "partial_json" in blocks[-1]:
                blocks[-1]["input"] = json.loads(blocks[-1].pop("partial_json"))
        else:
            assert is_open
            assert event["index"] == len(blocks) - 1
            _add(blocks[-1], event["delta"])
    assert not is_open
    return blocks


def _add(block: Json, change: Json) -> None:
    kind = change.pop("type")
    if kind == "citations_delta":
        block["citations"] = [*block.get("citations", ()), change["citation"]]
    for name in ("text", "thinking", "partial_json"):
        if name in change:
            block[name] = block.get(name, "") + change[name]
    if kind == "signature_delta":
        block["signature"] = change["signature"]
