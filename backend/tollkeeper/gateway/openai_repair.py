"""What vendors that speak OpenAI's format get wrong in an answer, put right: shared by whole answers and streams."""

import os
from typing import Any, Final

import orjson

from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.openai_errors import VendorError, read_error
from tollkeeper.gateway.openai_failures import account_error

FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# Vendors' own words for three of them; any other is an ordinary stop.
_WORDS: Final = {
    **dict.fromkeys(
        (
            "safety",
            "recitation",
            "blocklist",
            "prohibited_content",
            "spii",
            "image_safety",
            "refusal",
            "sensitive",
        ),
        "content_filter",
    ),
    **dict.fromkeys(("max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"), "length"),
    "tool_use": "tool_calls",
}


def repair_finish_reason(reason: object) -> str | None:
    """One of OpenAI's five words, or None while a choice goes on. Raises for a vendor's own word for failure."""
    if reason is None or reason == "":
        return None
    word = reason.lower() if isinstance(reason, str) else ""
    if word == "error":
        raise UpstreamError("The provider broke its answer off with an error.", code="upstream_error")
    return word if word in FINISH_REASONS else _WORDS.get(word, "stop")


def repair_arguments(arguments: object, *, empty: str) -> str:
    """Tool arguments as the JSON string clients parse; vendors send null, `"null"` or the object itself."""
    if isinstance(arguments, str):
        return empty if arguments in {"", "null"} else arguments
    return empty if arguments is None else orjson.dumps(arguments).decode()


# The dialects in which a call is in the canonical form: their callers get what the vendor calls it.
_CANONICAL: Final = ("", "openai_chat")


def is_translated(dialect: str) -> bool:
    """Whether the caller speaks another dialect, whose writer knows the canonical names alone."""
    return dialect not in _CANONICAL


def with_canonical_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message or a delta with its thinking under the canonical name; vLLM, Groq and OpenRouter call it `reasoning`."""
    thought = message.get("reasoning")
    if not isinstance(thought, str) or message.get("reasoning_content"):
        return message
    return {**{name: value for name, value in message.items() if name != "reasoning"}, "reasoning_content": thought}


def raise_error(data: dict[str, Any]) -> None:
    """Raise when a document under status 200 is an error after all."""
    if data.get("error") is None and data.get("object") != "error" and data.get("type") != "error":
        return
    error = read_error(data)
    if error is not None:
        raise embedded_error(error)


def embedded_error(error: VendorError) -> UpstreamError:
    """An error that came inside a 200: the vendor's sentence, and its code unless that says nothing."""
    return account_error(error) or UpstreamError(
        error.message or "The provider broke its answer off with an error.",
        code=error.code or "upstream_error",
        param=error.param,
    )


def new_id(prefix: str) -> str:
    return f"{prefix}{os.urandom(12).hex()}"
