"""What of a canonical call Bedrock takes: clamps, and which fields stay behind.

A field that is removed here is told to the caller; what changes the answer's meaning is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import ABSENT, Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.canonical import effort_of
from tollkeeper.gateway.dialects.bedrock_converse.models import Reasoning, Traits, traits_of
from tollkeeper.gateway.dialects.bedrock_converse.request import OWN_FIELDS, TIERS, thinks
from tollkeeper.gateway.openai_fields import wrong_type

# Fields of the canonical form that say something to Bedrock; all others stay behind.
EXPRESSED: Final = frozenset(
    {
        "cache_control",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "output_config",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        *OWN_FIELDS,
    }
)
_LEAST_TOP_P: Final = 0.95


def prepare_chat(call: Call, model: str) -> Call:
    """`model` as the vendor names it. Raises `BadRequest` for what cannot be left out."""
    body, traits = call.body, traits_of(model)
    _refuse(body)
    changes: dict[str, Any] = {} if model == call.model else {"model": model}
    for name, value in body.items():
        if name not in EXPRESSED and not _says_nothing(name, value):
            changes[name] = ABSENT
    tier = body.get("service_tier")
    if tier is not None and not (isinstance(tier, str) and tier in TIERS):
        changes["service_tier"] = ABSENT
    _prepare_reasoning(body, traits, changes)
    if body.get("top_k") is not None and traits.top_k is None:
        changes["top_k"] = ABSENT
    if body.get("tool_choice") == "none" and _has_tool_turns(body):
        # Converse has no word for it, and wants the tools as long as the turns hold their calls.
        changes["tool_choice"] = ABSENT
    _prepare_sampling(body, traits, changes)
    return call.replace(**changes) if changes else call


def _refuse(body: Mapping[str, Any]) -> None:
    choices = body.get("n")
    if choices is not None and choices != 1:
        raise BadRequest("Bedrock gives one answer: 'n' must be 1.", param="n", code="unsupported_parameter")
    for name, other in (("functions", "tools"), ("function_call", "tool_choice")):
        if body.get(name):
            raise BadRequest(
                f"Bedrock does not know '{name}'; use '{other}'.", param=name, code="unsupported_parameter"
            )
    modalities = body.get("modalities")
    if modalities not in (None, ["text"]):
        raise BadRequest("Bedrock answers in text only.", param="modalities", code="unsupported_parameter")


def _prepare_reasoning(body: Mapping[str, Any], traits: Traits, changes: dict[str, Any]) -> None:
    effort = body.get("reasoning_effort")
    if effort is not None:
        if not isinstance(effort, str):
            raise wrong_type("reasoning_effort", "a string", effort)
        if traits.reasoning is Reasoning.NONE and effort != "none":
            changes["reasoning_effort"] = ABSENT
    if "thinking" in body and not traits.takes_thoughts:
        changes["thinking"] = ABSENT
        if effort is None and traits.reasoning is not Reasoning.NONE and (told := effort_of(body)) is not None:
            changes["reasoning_effort"] = told


def _prepare_sampling(body: Mapping[str, Any], traits: Traits, changes: dict[str, Any]) -> None:
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if not traits.samples:
        changes |= {name: ABSENT for name in ("temperature", "top_p") if body.get(name) is not None}
        return
    if thinks(body, traits):
        # Beside thinking Claude takes the default alone, of top_p what is near it.
        if temperature not in (None, 1):
            changes["temperature"] = ABSENT
        if top_p is not None and top_p < _LEAST_TOP_P:
            changes["top_p"] = ABSENT
        if body.get("top_k") is not None:
            changes["top_k"] = ABSENT
        return
    if temperature is not None:
        if temperature > 1:
            changes["temperature"] = 1
        if top_p is not None and not traits.takes_both:
            changes["top_p"] = ABSENT


def _has_tool_turns(body: Mapping[str, Any]) -> bool:
    return any(message.get("role") == "tool" or message.get("tool_calls") for message in body["messages"])


def _says_nothing(name: str, value: object) -> bool:
    """Defaults that SDKs write out."""
    if name == "parallel_tool_calls":
        return value is not False
    if name == "web_search_options" and value is not None:
        # An empty one asks for a search as well.
        return False
    if value is None or value is False or value in ({}, []):
        return True
    return (name.endswith("_penalty") and value == 0) or (name == "modalities" and value == ["text"])
