"""A prepared canonical call → Anthropic's request.

What the canonical form has no word for is taken from fields of Anthropic's own names, as its callers send them.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Call
from tollkeeper.gateway.dialects.anthropic_messages.names import NAME
from tollkeeper.gateway.dialects.anthropic_messages.vendor_effort import thinking_of
from tollkeeper.gateway.dialects.anthropic_messages.vendor_models import Thinking, kind_of
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import ANSWER_TOOL
from tollkeeper.gateway.dialects.anthropic_messages.vendor_schema import strict_schema
from tollkeeper.gateway.dialects.anthropic_messages.vendor_tools import choice_of, is_forced, tools_of
from tollkeeper.gateway.dialects.anthropic_messages.vendor_turns import Turns
from tollkeeper.gateway.openai_fields import wrong_type

# Anthropic's own fields, carried as they are.
OWN_FIELDS: Final = (
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "speed",
    "top_k",
)
_TIERS: Final[Mapping[Any, str]] = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_JSON_ONLY: Final = "Answer with a single JSON object and nothing else: no other text, no code fence."
_BY_TOOL: Final = "Gives the answer to the user, in the form that was asked for."


def is_native(call: Call) -> bool:
    """The caller speaks this dialect, and nobody changed what it says."""
    return call.native is not None and call.dialect == NAME


def answers_by_tool(body: Mapping[str, Any]) -> bool:
    """Whether a call of `ANSWER_TOOL` in an answer is the answer: only calls with a schema are given that tool."""
    form = body.get("response_format")
    return isinstance(form, dict) and form.get("type") == "json_schema"


def request_of(call: Call) -> dict[str, Any]:
    """The document. A caller's own goes out as it came but for what is said in the canonical form alone."""
    if is_native(call):
        return _relayed(call)
    body, kind = call.body, kind_of(call.model)
    turns = Turns(body["messages"], has_system_turns=kind.has_system_turns)
    max_tokens = body.get("max_tokens") or body.get("max_completion_tokens") or kind.max_output_tokens
    request: dict[str, Any] = {"model": call.model, "max_tokens": max_tokens}
    tools = tools_of(body, kind, turns.tool_names)
    choice = choice_of(body) if tools else None
    config = dict(body["output_config"]) if isinstance(body.get("output_config"), dict) else {}
    is_answered_by_tool = False
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = _schema_of(form)
        if kind.has_schemas:
            config["format"] = {
                "type": "json_schema",
                "schema": strict_schema(schema, "response_format.json_schema.schema"),
            }
        else:
            is_answered_by_tool = True
            tools, choice = _with_answer(body, tools, choice, schema)
    elif isinstance(form, dict) and form.get("type") == "json_object":
        turns.system.append({"type": "text", "text": _JSON_ONLY})
    lacks = kind.thinking is Thinking.BUDGET and turns.lacks_thoughts
    may_think = not (is_forced(body) or is_answered_by_tool or lacks)
    thinking, effort = thinking_of(body, kind, max_tokens, may_think=may_think)
    if effort is not None:
        config.setdefault("effort", effort)
    if turns.system:
        request["system"] = _joined(turns.system)
    request["messages"] = turns.turns
    beside = {
        "tools": tools or None,
        "tool_choice": choice,
        "thinking": thinking,
        "output_config": config or None,
        "stop_sequences": stops_of(body),
        "metadata": _metadata(body),
        "service_tier": tier_of(body),
        **{name: body.get(name) for name in ("temperature", "top_p", *OWN_FIELDS)},
    }
    request |= {name: value for name, value in beside.items() if value is not None}
    if call.is_stream:
        request["stream"] = True
    return request


def stops_of(body: Mapping[str, Any]) -> list[str] | None:
    """Anthropic refuses sequences that are blank."""
    stop = body.get("stop")
    if stop is None:
        return None
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong_type("stop", "a string or an array of strings", stop)
    return [text for text in stops if text.strip()] or None


def tier_of(body: Mapping[str, Any]) -> str | None:
    tier = body.get("service_tier")
    return _TIERS.get(tier) if isinstance(tier, str) else None


def _relayed(call: Call) -> dict[str, Any]:
    assert call.native is not None
    document = {**call.native, "model": call.model}
    if call.applied_cap is not None:
        document["max_tokens"] = call.applied_cap
    if call.is_stream:
        document["stream"] = True
    else:
        document.pop("stream", None)
    return document


def _schema_of(form: Mapping[str, Any]) -> Any:
    inner = form.get("json_schema")
    if not isinstance(inner, dict):
        raise wrong_type("response_format.json_schema", "an object", inner)
    return inner.get("schema") or {"type": "object", "properties": {}}


def _with_answer(
    body: Mapping[str, Any], tools: list[dict[str, Any]], choice: dict[str, Any] | None, schema: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Beside the caller's own tools the model has the choice; alone it has none. A tool that is named stays so."""
    if not isinstance(schema, dict):
        raise wrong_type("response_format.json_schema.schema", "an object", schema)
    if schema.get("type") != "object":
        schema = {**schema, "type": "object"}
    answer = {"name": ANSWER_TOOL, "description": _BY_TOOL, "input_schema": schema}
    if choice is not None and choice["type"] == "tool":
        pass
    elif body.get("tools") and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {}), "type": "any"}
    else:
        choice = {"type": "tool", "name": ANSWER_TOOL}
    return [*tools, answer], choice


def _joined(blocks: list[dict[str, Any]]) -> Any:
    """One text, unless one of several is marked for the cache."""
    if any(block.keys() != {"type", "text"} for block in blocks):
        return blocks
    return "\n\n".join(block["text"] for block in blocks)


def _metadata(body: Mapping[str, Any]) -> dict[str, str] | None:
    own = body.get("metadata")
    for user_id in (
        own.get("user_id") if isinstance(own, dict) else None,
        body.get("user"),
        body.get("safety_identifier"),
    ):
        if isinstance(user_id, str) and user_id:
            return {"user_id": user_id}
    return None
