"""A prepared canonical call → the document of Converse and ConverseStream, which are the same."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.dialects.bedrock_converse.models import Reasoning, Traits, budget_for, traits_of
from tollkeeper.gateway.dialects.bedrock_converse.names import answers_by_tool
from tollkeeper.gateway.dialects.bedrock_converse.tools import schema_of, tool_config
from tollkeeper.gateway.dialects.bedrock_converse.turns import Turns, cache_point
from tollkeeper.gateway.openai_fields import wrong_type

# Bedrock's own fields that callers may set. Those that are billed beside the tokens (guardrails, faster hardware) are the
# operator's alone.
OWN_FIELDS: Final = ("additionalModelRequestFields", "requestMetadata")
_OPERATORS: Final = ("guardrailConfig",)
# OpenAI's words for how a call is served → Bedrock's. `auto` leaves it to the vendor.
TIERS: Final[Mapping[Any, str | None]] = {
    "auto": None,
    "default": "default",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_JSON_ONLY: Final = "Answer with a single JSON object and nothing else: no other text, no code fence."
_NOVA_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
# What Nova refuses beside its highest effort ("Extended thinking", Amazon Nova user guide, 2026-10): the caller's cap holds.
_NOT_BESIDE_HIGH: Final = frozenset({"maxTokens", "temperature", "topP"})
_OPEN_EFFORTS: Final = {**_NOVA_EFFORTS, "none": "low"}


def request_of(call: Call) -> dict[str, Any]:
    """Raises `BadRequest` for what Bedrock cannot be told."""
    body, traits = call.body, traits_of(call.model)
    turns = Turns(body["messages"], traits)
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        turns.system.append({"text": _JSON_ONLY})
    if traits.caches and (point := cache_point(body.get("cache_control"))) is not None:
        turns.turns[-1]["content"].append(point)
    request: dict[str, Any] = {"messages": turns.turns}
    output: dict[str, Any] = {}
    if kind == "json_schema" and traits.has_schemas:
        output["textFormat"] = _text_format(body)
    fields = body.get("additionalModelRequestFields")
    more = dict(fields) if isinstance(fields, dict) else {}
    tools = tool_config(body, traits, has_tool_turns=turns.has_tools)
    is_forced = tools is not None and "toolChoice" in tools
    _tell_reasoning(body, traits, output, more, may_think=not is_forced)
    if traits.top_k is not None and body.get("top_k") is not None:
        more[traits.top_k] = body["top_k"]
    tier = TIERS.get(body.get("service_tier")) if isinstance(body.get("service_tier"), str) else None
    beside: dict[str, Any] = {
        "system": turns.system,
        "inferenceConfig": _inference_config(body),
        "toolConfig": tools,
        "outputConfig": output,
        "serviceTier": None if tier is None else {"type": tier},
        **{name: body.get(name) for name in (*OWN_FIELDS, *_OPERATORS)},
        "additionalModelRequestFields": more,
    }
    return request | {name: value for name, value in beside.items() if value}


def thinks(body: Mapping[str, Any], traits: Traits) -> bool:
    """Whether the call turns on what excludes sampling and forced tools."""
    own = body.get("thinking")
    if isinstance(own, dict):
        return own.get("type") in ("enabled", "adaptive")
    effort = body.get("reasoning_effort")
    if not isinstance(effort, str) or effort == "none":
        return False
    if traits.reasoning is Reasoning.CLAUDE_BUDGET:
        return budget_for(effort, _cap(body)) is not None
    return traits.reasoning is Reasoning.CLAUDE_ADAPTIVE and effort != "minimal"


def _tell_reasoning(
    body: Mapping[str, Any], traits: Traits, output: dict[str, Any], more: dict[str, Any], *, may_think: bool
) -> None:
    own = body.get("thinking")
    if isinstance(own, dict) and traits.takes_thoughts:
        more["thinking"] = own
    effort = _effort(body)
    if effort is None:
        return
    is_on = effort != "none"
    match traits.reasoning:
        case Reasoning.CLAUDE_BUDGET:
            budget = budget_for(effort, _cap(body)) if may_think else None
            if budget is not None:
                more.setdefault("thinking", {"type": "enabled", "budget_tokens": budget})
        case Reasoning.CLAUDE_ADAPTIVE if is_on:
            if may_think and effort != "minimal":
                more.setdefault("thinking", {"type": "adaptive"})
            output["effort"] = _claude_effort(effort, is_thinking="thinking" in more)
        case Reasoning.EFFORT:
            output["effort"] = _claude_effort(effort, is_thinking=True) if is_on else "low"
        case Reasoning.NOVA if is_on:
            more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": _nova_effort(effort, body)}
        case Reasoning.FIELD:
            more["reasoning_effort"] = _OPEN_EFFORTS.get(effort, "medium")
        case _:
            pass


def _effort(body: Mapping[str, Any]) -> str | None:
    told, config = body.get("reasoning_effort"), body.get("output_config")
    if told is None and isinstance(config, dict):
        told = config.get("effort")
    return told if isinstance(told, str) else None


def _nova_effort(effort: str, body: Mapping[str, Any]) -> str:
    told = _NOVA_EFFORTS.get(effort, "medium")
    is_bound = told == "high" and not _NOT_BESIDE_HIGH.isdisjoint(_inference_config(body))
    return "medium" if is_bound else told


def _claude_effort(effort: str, *, is_thinking: bool) -> str:
    """Above high only beside thinking ("OutputConfig", Bedrock runtime reference)."""
    if effort in {"xhigh", "max"}:
        return effort if is_thinking else "high"
    return effort if effort in {"low", "medium", "high"} else "low"


def _inference_config(body: Mapping[str, Any]) -> dict[str, Any]:
    config = {"maxTokens": _cap(body), "temperature": body.get("temperature"), "topP": body.get("top_p")}
    stop = body.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
            raise wrong_type("stop", "a string or an array of strings", stop)
        config["stopSequences"] = [text for text in stops if text.strip()] or None
    return {name: value for name, value in config.items() if value is not None}


def _cap(body: Mapping[str, Any]) -> int | None:
    """None: as much as the model gives."""
    asked = body.get("max_completion_tokens")
    asked = body.get("max_tokens") if asked is None else asked
    return asked if isinstance(asked, int) else None


def _text_format(body: Mapping[str, Any]) -> dict[str, Any]:
    assert answers_by_tool(body)
    name, schema, description = schema_of(body)
    definition = {"name": name, "schema": orjson.dumps(schema).decode()}
    if description is not None:
        definition["description"] = description
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}
