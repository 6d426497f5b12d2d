"""Whether a vendor's count of tokens can be true of the call it is for. Pure; what cannot is not billed.

Generous where we cannot know: pictures and files stand for more tokens than bytes, a vendor's own tools read more than
was sent, reasoning may go beyond the cap at some vendors.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Call, Usage

# What is said of a count that holds no tokens at all: negative, fractional, beyond every size.
UNREADABLE: Final = "unreadable"
# Parts that are more than their whole: its total stands, flagged as estimated.
CONTRADICTORY: Final = "contradictory"
# What a vendor may put around a call: its template, its description of tools.
_OVERHEAD: Final = 4_096
# For each part of a message that is no text.
_PART: Final = 100_000
# What a vendor's own tools or stored state may bring in.
_UNSEEN: Final = 2_000_000
# Tokens that end a choice, counted by some beyond the cap.
_PAST_CAP: Final = 64
_MOST_REASONING: Final = 131_072
_MOST_OUTPUT: Final = 1_000_000
_CAPS: Final = ("max_completion_tokens", "max_tokens")


def doubt(usage: Usage, call: Call, sent_bytes: int, output_cap: int | None = None) -> str | None:
    """Why this count cannot be true, in a word for the log; None where it can. `output_cap`: of all choices together,
    where the caller gave none.
    """
    body = call.body
    prompt = usage.prompt_tokens
    if prompt > sent_bytes + _OVERHEAD and prompt > sent_bytes + _unseen_tokens(body) + _of_files(call):
        return "input"
    completion = usage.completion_tokens
    # Nearly every count is within this, whatever else the call asks for.
    least = body.get("max_completion_tokens") or body.get("max_tokens") or output_cap or _MOST_OUTPUT
    if type(least) is int and completion <= least:
        return None
    choices = _choices(body)
    # Some vendors know one name only.
    cap = max((value for name in _CAPS if type(value := body.get(name)) is int and value > 0), default=0)
    most = cap * choices or output_cap or _MOST_OUTPUT * choices
    if completion - usage.reasoning > most + _PAST_CAP * choices:
        return "output"
    if usage.reasoning > max(most, _MOST_REASONING * choices):
        return "reasoning"
    return None


def visible_length(data: Mapping[str, Any]) -> int:
    """Characters of a whole answer, for an estimate in the place of a count that is not believed."""
    choices = data.get("choices")
    if not isinstance(choices, list):
        return 0
    return sum(_text_length(choice.get("message") or choice.get("text")) for choice in choices)


def _choices(body: Mapping[str, Any]) -> int:
    """How many answers were asked for; a prompt that is a list asks for as many again."""
    count = max((value for name in ("n", "best_of") if type(value := body.get(name)) is int), default=1)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        count *= len(prompt)
    return max(count, 1)


def _unseen_tokens(body: Mapping[str, Any]) -> int:
    most = _OVERHEAD
    documents, query = body.get("documents"), body.get("query")
    if isinstance(documents, list) and isinstance(query, str):
        # Read anew with each document.
        most += len(documents) * (4 * len(query) + _OVERHEAD)
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content")
        if isinstance(parts, list):
            most += _PART * sum(isinstance(part, dict) and part.get("type") != "text" for part in parts)
    tools = body.get("tools")
    has_tools = isinstance(tools, list) and any(tool.get("type") not in ("function", "custom") for tool in tools)
    if has_tools or body.get("web_search_options") is not None:
        most += _UNSEEN
    return most


def _of_files(call: Call) -> int:
    """Pictures in a form, or given by their addresses."""
    if call.form is not None:
        return _PART * sum(part.is_file for part in call.form.parts)
    images, parts = call.body.get("images"), call.body.get("input")
    named = images if isinstance(images, list) else ()
    shown = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else ()
    return _PART * (len(named) + len(shown))


def _text_length(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_text_length(inner) for name, inner in value.items() if name not in {"role", "id", "type"})
    return sum(map(_text_length, value)) if isinstance(value, list) else 0
