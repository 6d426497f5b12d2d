"""A whole `response` object as a chat completion: the canonical reading of what a vendor's Responses API answers."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.openai_errors import VendorError, read_error
from tollkeeper.gateway.openai_repair import embedded_error, new_id, repair_arguments

# Tuples: what a vendor sends may be no text at all, which no set can be asked for.
_FAILED: Final = ("failed", "cancelled")
_UNDER_WAY: Final = ("queued", "in_progress")


def check_status(response: Mapping[str, Any]) -> None:
    """Raise for a response that is no answer: failed, cancelled, or not made yet."""
    status = response.get("status")
    if status in _FAILED or response.get("error") is not None:
        raise failure_of(response)
    if status in _UNDER_WAY:
        raise UpstreamError("The provider has put the call off instead of answering it.", code="upstream_garbage")
    if not isinstance(response.get("output"), list):
        raise UpstreamError("The provider's answer is no response.", code="upstream_garbage")


def failure_of(value: Mapping[str, Any]) -> UpstreamError:
    """The error of a failed response, or of an `error` event, whose fields stand at its top or inside `error`."""
    error = read_error({"error": value["error"]}) if value.get("error") is not None else None
    if error is None and isinstance(value.get("message"), str):
        error = read_error({**value, "type": "error"})
    return embedded_error(error or VendorError())


def head_of(response: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What all chunks of an answer say alike; `model` where the vendor names none."""
    created = response.get("created_at")
    return {
        "id": response.get("id") or new_id("resp_"),
        "object": "chat.completion",
        "created": int(created) if isinstance(created, int | float) and created else int(time.time()),
        "model": response.get("model") or model,
    }


def finish_reason(response: Mapping[str, Any], *, has_calls: bool) -> str:
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if has_calls else "stop"


def completion(response: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Without `usage`, which the caller of this reads and writes."""
    message = message_of(response["output"])
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": message.pop("logprobs", None)}
    choice["finish_reason"] = finish_reason(response, has_calls="tool_calls" in message)
    document = {**head_of(response, model), "choices": [choice]}
    if response.get("service_tier") is not None:
        document["service_tier"] = response["service_tier"]
    return document


def message_of(output: Iterable[Any]) -> dict[str, Any]:
    """One assistant message out of all items; `logprobs` among its members where there are any."""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    found: dict[str, list[Any]] = {name: [] for name in ("reasoning_details", "tool_calls", "annotations")}
    logprobs: list[Any] = []
    for item in output:
        if not isinstance(item, dict):
            raise UpstreamError("The provider's answer is no response.", code="upstream_garbage")
        kind = item.get("type")
        if kind == "message":
            texts.append(_read_message(item, refusals, found["annotations"], logprobs))
        elif kind == "reasoning":
            found["reasoning_details"] += reasoning_details(item, len(found["reasoning_details"]))
            thoughts += thoughts_of(item)
        elif (call := tool_call(item)) is not None:
            found["tool_calls"].append(call)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "\n\n".join(filter(None, texts)) or None,
        "refusal": "".join(refusals) or None,
    }
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    message |= {name: values for name, values in found.items() if values}
    if logprobs:
        message["logprobs"] = {"content": logprobs, "refusal": None}
    return message


def _read_message(
    item: Mapping[str, Any], refusals: list[str], annotations: list[dict[str, Any]], logprobs: list[Any]
) -> str:
    texts: list[str] = []
    for part in parts_of(item):
        if part.get("type") == "refusal":
            refusals.append(_text(part.get("refusal")))
        elif part.get("type") == "output_text":
            texts.append(_text(part.get("text")))
            annotations += annotations_of(part)
            if isinstance(part.get("logprobs"), list):
                logprobs += part["logprobs"]
    return "".join(texts)


def parts_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = item.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def annotations_of(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Citations of addresses, nested as the chat form has them; it has no place for the others."""
    found = part.get("annotations")
    return [
        {"type": "url_citation", "url_citation": {name: value for name, value in one.items() if name != "type"}}
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and one.get("type") == "url_citation"
    ]


def tool_call(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The call that an item is, in the chat form; None for items of other kinds."""
    kind = item.get("type")
    call_id = _text(item.get("call_id")) or _text(item.get("id")) or new_id("call_")
    name = _text(item.get("name"))
    if kind == "function_call":
        arguments = repair_arguments(item.get("arguments"), empty="{}")
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if kind == "custom_tool_call":
        text = _text(item.get("input"))
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": text}}
    return None


def thoughts_of(item: Mapping[str, Any]) -> list[str]:
    """What can be read of a reasoning item: the vendor's summary, or the text of an open model."""
    summary = item.get("summary")
    parts = summary if isinstance(summary, list) and summary else item.get("content")
    texts = (part.get("text") for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ()
    return [text for text in texts if isinstance(text, str) and text]


def reasoning_details(item: Mapping[str, Any], index: int) -> list[dict[str, Any]]:
    """The parts of a reasoning item by which it can be sent back; `index` numbers the first of them."""
    summary = item.get("summary")
    found = [
        {"type": "reasoning.summary", "summary": _text(part.get("text"))}
        for part in (summary if isinstance(summary, list) else ())
        if isinstance(part, dict)
    ]
    found += [{"type": "reasoning.text", "text": _text(part.get("text"))} for part in parts_of(item)]
    if isinstance(item.get("encrypted_content"), str):
        found.append({"type": "reasoning.encrypted", "data": item["encrypted_content"]})
    common = {"id": item.get("id"), "format": "openai"}
    return [{**detail, **common, "index": index + at} for at, detail in enumerate(found)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
