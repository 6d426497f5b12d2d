"""The Response object: every key that strict readers ask for, null where there is nothing, and what the caller sent.

Figures that nobody gave have OpenAI's defaults, because some readers take no null there (openresponses.org).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.responses import Item, Turn
from tollkeeper.core.ids import format_id
from tollkeeper.gateway.dialects.openai_responses.read_call import ENCRYPTED

_OF_CALLER: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
_OF_FUNCTIONS: Final[Mapping[str, Any]] = {"description": None, "parameters": None, "strict": None}
_OF_SCHEMAS: Final[Mapping[str, Any]] = {"description": None, "strict": None}
_CUT: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def begin_response(turn: Turn, model: str) -> dict[str, Any]:
    """As a stream's first event has it: in progress, without output."""
    document = turn.document
    told = {name: default if document.get(name) is None else document[name] for name, default in _OF_CALLER.items()}
    reasoning = document.get("reasoning") or {}
    return {
        "id": format_id("resp", turn.response_id),
        "object": "response",
        "created_at": turn.created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": document.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "service_tier": document.get("service_tier") or "default",
        "store": turn.is_stored,
        "text": _text(document.get("text") or {}),
        "tools": [_tool(tool) for tool in document.get("tools") or ()],
        "usage": None,
        **told,
    }


def end_response(
    begun: Mapping[str, Any],
    output: Sequence[Item],
    finish_reason: str | None,
    usage: Usage | None,
    *,
    completed_at: int,
    service_tier: object = None,
) -> dict[str, Any]:
    """The same when nothing more comes. `finish_reason` is the canonical one."""
    cut = _CUT.get(finish_reason or "")
    return {
        **begun,
        "status": "completed" if cut is None else "incomplete",
        "completed_at": completed_at if cut is None else None,
        "incomplete_details": None if cut is None else {"reason": cut},
        "output": output,
        "service_tier": service_tier if isinstance(service_tier, str) else begun["service_tier"],
        "usage": None if usage is None else write_usage(usage),
    }


def write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def shows_encrypted(turn: Turn) -> bool:
    """Who asked for it gets it, and who keeps the conversation: nobody else could bring it back."""
    return not turn.is_stored or ENCRYPTED in (turn.document.get("include") or ())


def summarises(turn: Turn) -> bool:
    """Whether the caller asked for summaries of what a model thinks; what there is to read is then told as such."""
    return ((turn.document.get("reasoning") or {}).get("summary") or "none") != "none"


def shown(response: Mapping[str, Any], *, encrypted: bool) -> Mapping[str, Any]:
    """A Response object for the caller's eyes: without the encrypted reasoning unless that was asked for."""
    if encrypted or not any(item.get("encrypted_content") for item in response["output"]):
        return response
    return {**response, "output": [shown_item(item, encrypted=False) for item in response["output"]]}


def shown_item(item: Item, *, encrypted: bool) -> Item:
    if encrypted or not item.get("encrypted_content"):
        return item
    return {name: value for name, value in item.items() if name != "encrypted_content"}


def _text(text: Mapping[str, Any]) -> dict[str, Any]:
    form = text.get("format") or {"type": "text"}
    return {**text, "format": {**_OF_SCHEMAS, **form} if form.get("type") == "json_schema" else form}


def _tool(tool: Any) -> Any:
    return {**_OF_FUNCTIONS, **tool} if isinstance(tool, dict) and tool.get("type") == "function" else tool
