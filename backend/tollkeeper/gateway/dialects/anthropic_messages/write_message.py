"""A canonical whole answer → Anthropic's message."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from tollkeeper.contracts.chat import Call, Chunk
from tollkeeper.gateway.dialects.anthropic_messages.write_parts import (
    Block,
    citations_of,
    found_stop,
    full_names,
    message_id,
    parse_arguments,
    redacted,
    signature_of,
    signed_call,
    stop_reason,
    tool_id,
    usage_of,
)


def write_message(chunk: Chunk, call: Call) -> bytes:
    data = chunk.data
    choices: Sequence[dict[str, Any]] = data.get("choices") or ({},)
    choice = choices[0]
    message = choice.get("message") or {}
    tools, is_cut = _tools(message, full_names(call))
    stop = found_stop(choice, call)
    reason = stop_reason(
        choice.get("finish_reason"), has_tools=bool(tools), is_refused=bool(message.get("refusal")), is_cut=is_cut
    )
    document: dict[str, Any] = {
        "id": message_id(data),
        "type": "message",
        "role": "assistant",
        "model": data.get("model") or call.model,
        "content": [*_thoughts(message), *_texts(message), *tools],
        "stop_reason": "stop_sequence" if stop is not None and reason == "end_turn" else reason,
        "stop_sequence": stop,
        "stop_details": {"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None,
        "usage": usage_of(chunk.usage, call, chunk.text_length, data.get("service_tier")),
    }
    return orjson.dumps(document)


def _thoughts(message: Mapping[str, Any]) -> list[Block]:
    details = [detail for detail in message.get("reasoning_details") or () if isinstance(detail, dict)]
    blocks = [_thought(detail) for detail in details]
    text = message.get("reasoning_content") or message.get("reasoning")
    if text and isinstance(text, str) and not any(block.get("thinking") for block in blocks):
        # Signatures alone: what they sign stands beside them.
        blocks.insert(0, {"type": "thinking", "thinking": text, "signature": ""})
    return blocks


def _thought(detail: Mapping[str, Any]) -> Block:
    if detail.get("type") == "reasoning.encrypted":
        return redacted(detail)
    text = detail.get("text") or detail.get("summary") or ""
    return {"type": "thinking", "thinking": text, "signature": signature_of(detail)}


def _texts(message: Mapping[str, Any]) -> list[Block]:
    content, refusal = message.get("content"), message.get("refusal")
    parts = content if isinstance(content, list) else [{"text": content}, {"text": refusal}]
    texts = [text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str) and text]
    blocks: list[Block] = [{"type": "text", "text": text} for text in texts]
    citations = citations_of(message.get("annotations"), texts[0]) if texts else []
    if citations:
        blocks[0]["citations"] = citations
    return blocks


def _tools(message: Mapping[str, Any], names: Mapping[str, str]) -> tuple[list[Block], bool]:
    """The calls, and whether the last one's arguments are not whole."""
    blocks: list[Block] = []
    is_cut = False
    for call in message.get("tool_calls") or ():
        inner = call.get("function") or call.get("custom") or {}
        given = tool_id(call.get("id"))
        if call.get("extra_content"):
            blocks.append(signed_call(given, call["extra_content"]))
        text = inner.get("arguments", inner.get("input"))
        arguments = parse_arguments(text)
        is_cut = arguments is None
        if arguments is None:
            # For the caller to judge, rather than nothing.
            arguments = {"unparsed_arguments": text}
        name = inner.get("name") or ""
        blocks.append({"type": "tool_use", "id": given, "name": names.get(name, name), "input": arguments})
    return blocks, is_cut
