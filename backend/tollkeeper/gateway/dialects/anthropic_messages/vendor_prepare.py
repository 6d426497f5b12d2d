"""What of a canonical call Anthropic takes: caps and clamps, and which fields stay behind.

A field that is removed here is told to the caller; what changes the answer's meaning is refused. The texts and tools
themselves are written by `vendor_request`.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import ABSENT, Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages.vendor_effort import may_be_asked, thinks
from tollkeeper.gateway.dialects.anthropic_messages.vendor_models import Kind, kind_of
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import (
    OWN_FIELDS,
    answers_by_tool,
    is_native,
    stops_of,
    tier_of,
)
from tollkeeper.gateway.dialects.anthropic_messages.vendor_tools import is_forced
from tollkeeper.gateway.openai_fields import wrong_type

# Fields of the canonical form that say something to Anthropic; all others stay behind.
EXPRESSED: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "output_config",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
        "user",
        *OWN_FIELDS,
    }
)
# Beside thinking Anthropic takes the default alone, of top_p what is near it ("Thinking", 2026-11).
_LEAST_TOP_P: Final = 0.95
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def prepare_chat(call: Call, model: str, most: int | None) -> Call:
    """`model` as the vendor names it; `most`: the longest answer it gives, as far as the catalogue knows.

    Raises `BadRequest` for what cannot be left out.
    """
    if is_native(call):
        return call if model == call.model else call.replace(model=model)
    body, kind = call.body, kind_of(model)
    _refuse(body)
    max_tokens = _cap(body, most or kind.max_output_tokens)
    changes: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    for name, value in body.items():
        if name not in EXPRESSED and not _says_nothing(name, value):
            changes[name] = ABSENT
    if "max_completion_tokens" in body:
        changes["max_completion_tokens"] = ABSENT
    if body.get("stop") is not None:
        changes["stop"] = stops_of(body) or ABSENT
    if body.get("service_tier") is not None and tier_of(body) is None and body.get("speed") is None:
        changes["service_tier"] = ABSENT
    _prepare_effort(body, kind, max_tokens, changes)
    _prepare_sampling(body, kind, max_tokens, changes)
    return call.replace(**changes)


def _refuse(body: Mapping[str, Any]) -> None:
    choices = body.get("n")
    if choices is not None and choices != 1:
        raise BadRequest("Anthropic gives one answer: 'n' must be 1.", param="n", code="unsupported_parameter")
    for name, other in (("functions", "tools"), ("function_call", "tool_choice")):
        if body.get(name):
            raise BadRequest(
                f"Anthropic does not know '{name}'; use '{other}'.", param=name, code="unsupported_parameter"
            )


def _cap(body: Mapping[str, Any], most: int) -> int:
    """A caller's cap, within what the model can do; without one that: less would cut arguments of tools in two."""
    asked = body.get("max_completion_tokens")
    asked = body.get("max_tokens") if asked is None else asked
    return most if asked is None else min(asked, most)


def _prepare_effort(body: Mapping[str, Any], kind: Kind, max_tokens: int, changes: dict[str, Any]) -> None:
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    if not isinstance(effort, str):
        raise wrong_type("reasoning_effort", "a string", effort)
    # A model that has to answer by a tool cannot think first.
    has_to_call = not kind.efforts and (is_forced(body) or (answers_by_tool(body) and not kind.has_schemas))
    if has_to_call or not may_be_asked(kind, effort, max_tokens):
        changes["reasoning_effort"] = ABSENT


def _prepare_sampling(body: Mapping[str, Any], kind: Kind, max_tokens: int, changes: dict[str, Any]) -> None:
    given = [name for name in _SAMPLING if body.get(name) is not None]
    if not given:
        return
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if not kind.samples:
        # Their defaults say nothing.
        changes |= dict.fromkeys(given, ABSENT)
    elif ("thinking" in body or "reasoning_effort" not in changes) and thinks(body, kind, max_tokens):
        changes |= {name: ABSENT for name in given if name != "top_p" or (top_p or 0) < _LEAST_TOP_P}
    elif temperature is not None:
        if temperature > 1:
            changes["temperature"] = 1
        if top_p is not None and not kind.takes_both:
            changes["top_p"] = ABSENT


def _says_nothing(name: str, value: object) -> bool:
    """Defaults that SDKs write out."""
    if name == "web_search_options" and value is not None:
        # An empty one asks for a search as well.
        return False
    if value is None or value is False or value in ({}, []):
        return True
    if name == "metadata":
        # Anthropic's own.
        return isinstance(value, dict) and value.keys() == {"user_id"}
    return (name.endswith("_penalty") and value == 0) or (name == "modalities" and value == ["text"])
