"""What the Responses API answers, as OpenAI's reference shows it (platform.openai.com/docs/api-reference/responses and
/responses-streaming, read 2026-11), and llama.cpp's shorter form of it.
"""

import json
from collections.abc import Sequence
from typing import Any

USAGE = {
    "input_tokens": 37,
    "input_tokens_details": {"cached_tokens": 7},
    "output_tokens": 11,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 48,
}


def response(output: Sequence[dict[str, Any]] = (), **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654",
        "object": "response",
        "created_at": 1741290958,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": "You are a helpful assistant.",
        "max_output_tokens": None,
        "model": "gpt-4.1-2025-04-14",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": USAGE,
        "user": None,
        "metadata": {},
        **fields,
    }


def message(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_67c9fdcf37fc8190ba82116e33fb28c507b8b0ad4e5eb654",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        **fields,
    }


def function_call(name: str = "get_current_weather", arguments: str = '{"location":"Boston"}', **fields: Any) -> Any:
    return {
        "type": "function_call",
        "id": "fc_67ca09c6bedc8190a7abfec07b1a1332096610f474011cc0",
        "call_id": "call_unLAR8MvFNptuiZK6K6HCy5k",
        "name": name,
        "arguments": arguments,
        "status": "completed",
        **fields,
    }


def frame(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event, separators=(",", ":")).encode())


def numbered(events: Sequence[dict[str, Any]]) -> list[bytes]:
    """Frames with sequence numbers, as OpenAI sends them."""
    return [frame({**event, "sequence_number": number}) for number, event in enumerate(events)]


def text_events(*texts: str, **fields: Any) -> list[dict[str, Any]]:
    item = message("".join(texts))
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    began = response(status="in_progress", usage=None)
    return [
        {"type": "response.created", "response": began},
        {"type": "response.in_progress", "response": began},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {
            "type": "response.content_part.added",
            **place,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        *({"type": "response.output_text.delta", **place, "delta": text, "logprobs": []} for text in texts),
        {"type": "response.output_text.done", **place, "text": "".join(texts), "logprobs": []},
        {"type": "response.content_part.done", **place, "part": item["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response([item], **fields)},
    ]


def call_events(*pieces: str, name: str = "get_current_weather") -> list[dict[str, Any]]:
    whole = function_call(name, "".join(pieces))
    place = {"item_id": whole["id"], "output_index": 0}
    began = response(status="in_progress", usage=None)
    return [
        {"type": "response.created", "response": began},
        {"type": "response.output_item.added", "output_index": 0, "item": {**whole, "arguments": ""}},
        *({"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in pieces),
        {"type": "response.function_call_arguments.done", **place, "arguments": "".join(pieces), "name": name},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": response([whole])},
    ]


def llama_events(*texts: str) -> list[dict[str, Any]]:
    """llama.cpp (tools/server, to_json_oaicompat_resp): no numbers, no indexes."""
    text = "".join(texts)
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return [
        {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
        {"type": "response.in_progress", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
        {"type": "response.output_item.added", "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", "item_id": "msg_1", "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", "item_id": "msg_1", "delta": one} for one in texts),
        {"type": "response.output_text.done", "item_id": "msg_1", "text": text},
        {"type": "response.content_part.done", "item_id": "msg_1", "part": part},
        {"type": "response.output_item.done", "item": {**item, "content": [part]}},
        {
            "type": "response.completed",
            "response": {
                "id": "resp_1",
                "object": "response",
                "created_at": 1741290958,
                "status": "completed",
                "model": "local",
                "output": [{**item, "content": [part]}],
                "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
            },
        },
    ]
