"""What whole and streamed answers in Anthropic's form have in common: counts, ids, reasons, thoughts, citations."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call, Usage
from tollkeeper.gateway.canonical import FULL_NAME
from tollkeeper.gateway.dialects.anthropic_messages.envelope import wrap
from tollkeeper.gateway.openai_repair import new_id

Block = dict[str, Any]

_CHARACTERS_PER_TOKEN: Final = 4
_FIT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_REASONS: Final[Mapping[object, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TIERS: Final[Mapping[object, str]] = {"priority": "priority", "fast": "priority", "batch": "batch"}
_OF_SIGNATURE: Final = ("type", "signature", "id", "format")
OWN: Final = "anthropic"


def usage_of(usage: Usage | None, call: Call, text_length: int, service_tier: object = None) -> Block:
    """As the vendor counted, else as we did. `input_tokens` are those neither read from nor written to a cache."""
    if usage is None:
        usage = Usage(call.estimated_input_tokens, output=-(-text_length // _CHARACTERS_PER_TOKEN))
    counts: Block = {
        "input_tokens": usage.input + usage.input_audio + usage.input_image,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.completion_tokens,
        "service_tier": _TIERS.get(service_tier, "standard") if isinstance(service_tier, str) else "standard",
    }
    if usage.reasoning:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


def message_id(data: Mapping[str, Any]) -> str:
    """The vendor's own, in the form that Anthropic's have."""
    told = data.get("id")
    if not isinstance(told, str) or not told:
        return new_id("msg_")
    return told if told.startswith("msg_") else "msg_" + told.removeprefix("chatcmpl-")


def full_names(call: Call) -> Mapping[str, str]:
    """Of tools whose names were shortened on the way in: as it was."""
    return {tool["function"]["name"]: tool[FULL_NAME] for tool in call.body.get("tools") or () if FULL_NAME in tool}


def tool_id(told: object) -> str:
    """Anthropic takes no other letters in an id, should the conversation go on there. The same is always the same."""
    text = told if isinstance(told, str) else ""
    if text and _FIT.issuperset(text):
        return text
    return "toolu_" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24] if text else new_id("toolu_")


def stop_reason(finish: object, *, has_tools: bool, is_refused: bool, is_cut: bool) -> str:
    """A call of a tool is the reason whatever the vendor says, unless its arguments were cut in the middle."""
    if has_tools:
        return "max_tokens" if is_cut and finish == "length" else "tool_use"
    reason = _REASONS.get(finish, "end_turn")
    return "refusal" if is_refused and reason == "end_turn" else reason


def found_stop(choice: Mapping[str, Any], call: Call) -> str | None:
    """The caller's sequence that ended the answer, where a server tells (vLLM does)."""
    told = choice.get("stop_reason")
    return told if isinstance(told, str) and told in (call.body.get("stop") or ()) else None


def parse_arguments(text: object) -> dict[str, Any] | None:
    """None for what is no JSON object. Nothing at all is an empty one."""
    if not text:
        return {}
    try:
        value = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def signature_of(detail: Mapping[str, Any]) -> str:
    """What comes back with a thought: Anthropic's own signature, or all that another vendor wants to know of it."""
    if detail.get("format") == OWN:
        signature = detail.get("signature")
        return signature if isinstance(signature, str) else ""
    about = {name: value for name in _OF_SIGNATURE if isinstance(value := detail.get(name), str)}
    return wrap(about) if about.keys() - {"type"} else ""


def redacted(detail: Mapping[str, Any]) -> Block:
    """A thought nobody can read."""
    data = detail.get("data")
    if detail.get("format") != OWN or not isinstance(data, str):
        data = wrap({name: value for name in (*_OF_SIGNATURE, "data") if isinstance(value := detail.get(name), str)})
    return {"type": "redacted_thinking", "data": data}


def signed_call(call_id: str, extra: Any) -> Block:
    """What a vendor wants back with one call of a tool: Anthropic's block of those has no place for it."""
    return {"type": "redacted_thinking", "data": wrap({"tool_call_id": call_id, "extra_content": extra})}


def citations_of(annotations: object, text: str) -> list[Block]:
    """Addresses that an answer names as its sources."""
    found = []
    for annotation in annotations if isinstance(annotations, Sequence) else ():
        inner = annotation.get("url_citation") if isinstance(annotation, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("url"), str):
            continue
        start, end = inner.get("start_index"), inner.get("end_index")
        is_placed = type(start) is int and type(end) is int and 0 <= start < end
        title = inner.get("title")
        found.append(
            {
                "type": "web_search_result_location",
                "url": inner["url"],
                "title": title if isinstance(title, str) else None,
                "cited_text": text[start:end] if is_placed else "",
                # Only Anthropic's own have one; read as a mark of ours when it comes back.
                "encrypted_index": "",
            }
        )
    return found
