"""Anthropic's request → the canonical call. What only Anthropic understands stays beside it, and is told by name.

Checked is what the gateway must know: shapes, not values. Whether a temperature or a model's thinking is possible is the
vendor's to say.
"""

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages.names import NAME
from tollkeeper.gateway.dialects.anthropic_messages.own_blocks import without_foreign
from tollkeeper.gateway.dialects.anthropic_messages.read_blocks import find_object, find_text, read_inner, read_text
from tollkeeper.gateway.dialects.anthropic_messages.read_messages import Reading, read_messages, read_system
from tollkeeper.gateway.dialects.anthropic_messages.read_tools import read_tool_choice, read_tools
from tollkeeper.gateway.openai_fields import check_count, missing, read_common, wrong_type

# They mean the same in both forms.
_SAME: Final = ("model", "stream", "temperature", "top_p")
# Extensions of the canonical form, by Anthropic's names.
_OBJECTS: Final = ("cache_control", "thinking", "context_management")
# Others cannot do without them what was asked for.
_NEEDED: Final = ("mcp_servers", "container")
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_completion_tokens": "max_tokens",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
        "reasoning_effort": "output_config.effort",
        "response_format": "output_config.format",
        "stop": "stop_sequences",
        "user": "metadata.user_id",
    }
)
_MOST_STOPS: Final = 4
# They are told in a header, and are the caller's to choose.
_MOST_NAMES: Final = 32
_LONGEST_NAME: Final = 64
_EXPRESSED: Final = frozenset(
    {
        *_SAME,
        *_OBJECTS,
        *_NEEDED,
        "max_tokens",
        "messages",
        "system",
        "stop_sequences",
        "top_k",
        "tools",
        "tool_choice",
        "output_config",
        "output_format",
        "metadata",
        "service_tier",
        "speed",
        "inference_geo",
    }
)


def read_request(native: dict[str, Any], *, is_count: bool = False) -> Call:
    """`is_count`: nothing will be made of it, so it needs no `max_tokens`."""
    reading = Reading()
    body: dict[str, Any] = {name: native[name] for name in _SAME if name in native}
    if native.get("stream") is True:
        body["stream_options"] = {"include_usage": True}
    if not is_count or native.get("max_tokens") is not None:
        body["max_completion_tokens"] = _max_tokens(native.get("max_tokens"), reading)
    if native.get("system") is not None:
        read_system(native["system"], reading)
    read_messages(native.get("messages"), reading)
    body["messages"] = reading.messages
    _read_tools(native, body, reading)
    _read_output(native, body, reading)
    _read_sampling(native, body, reading)
    _read_service(native, body)
    for name in _OBJECTS:
        if (value := find_object(native, name, "")) is not None:
            body[name] = value
    for name in _NEEDED:
        if native.get(name) is not None:
            body[name] = native[name]
            reading.need(name)
    reading.unexpressed |= {
        name: None for name, value in native.items() if name not in _EXPRESSED and value is not None
    }
    call = read_common(body, Operation.CHAT)
    call.wants_usage = True
    call.dialect, call.names = NAME, _NAMES
    call.native = without_foreign(native, reading.foreign) if reading.foreign else native
    call.unexpressed = tuple(name[:_LONGEST_NAME] for name in islice(reading.unexpressed, _MOST_NAMES))
    call.needs_native = reading.needs_native
    return call


def _max_tokens(value: Any, reading: Reading) -> int:
    if value is None:
        raise missing("max_tokens")
    check_count("max_tokens", value, least=0)
    if value == 0:
        # Fills Anthropic's prompt cache and answers nothing; whoever cannot do that would answer.
        reading.need("max_tokens")
    return max(int(value), 1)


def _read_tools(native: Mapping[str, Any], body: dict[str, Any], reading: Reading) -> None:
    if native.get("tools"):
        body["tools"] = read_tools(native["tools"], reading)
    elif native.get("tools") is not None and not isinstance(native["tools"], list):
        raise wrong_type("tools", "an array of objects", native["tools"])
    if native.get("tool_choice") is not None:
        fields = read_tool_choice(native["tool_choice"])
        if "tools" in body:
            # Strict vendors refuse a choice among nothing.
            body.update(fields)


def _read_output(native: Mapping[str, Any], body: dict[str, Any], reading: Reading) -> None:
    config = find_object(native, "output_config", "") or {}
    if (effort := find_text(config, "effort", "output_config")) is not None:
        body["reasoning_effort"] = effort
    if (shape := find_object(config, "format", "output_config")) is not None:
        body["response_format"] = _response_format(shape, "output_config.format")
    elif (shape := find_object(native, "output_format", "")) is not None:
        # Its name while it was in beta.
        body["response_format"] = _response_format(shape, "output_format")
    rest = {name: value for name, value in config.items() if name not in {"effort", "format"}}
    if rest:
        body["output_config"] = rest
        reading.unexpressed |= dict.fromkeys(f"output_config.{name}" for name in rest)


def _response_format(shape: Mapping[str, Any], path: str) -> dict[str, Any]:
    if read_text(shape, "type", path) != "json_schema":
        raise BadRequest(
            f"Invalid value for '{path}.type': expected 'json_schema'.", param=f"{path}.type", code="invalid_value"
        )
    schema = read_inner(shape, "schema", path)
    named: dict[str, Any] = {"name": "answer", "schema": schema}
    if _is_closed(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def _is_closed(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes it: every object lists all its properties as required, and allows no others.

    The depth was bounded when the body was read.
    """
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict) or schema.get("type") == "object":
        required = schema.get("required") or ()
        if schema.get("additionalProperties") is not False or not isinstance(required, (list, tuple)):
            return False
        if isinstance(properties, dict) and not all(name in required for name in properties):
            return False
    return all(map(_is_closed, schema.values()))


def _read_sampling(native: Mapping[str, Any], body: dict[str, Any], reading: Reading) -> None:
    if native.get("top_k") is not None:
        check_count("top_k", native["top_k"], least=0)
        body["top_k"] = native["top_k"]
    stops = native.get("stop_sequences")
    if stops is None:
        return
    if not isinstance(stops, list):
        raise wrong_type("stop_sequences", "an array of strings", stops)
    for position, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type(f"stop_sequences[{position}]", "a string", stop)
    if stops:
        body["stop"] = stops[:_MOST_STOPS]
    if len(stops) > _MOST_STOPS:
        reading.unexpressed["stop_sequences"] = None


def _read_service(native: Mapping[str, Any], body: dict[str, Any]) -> None:
    metadata = find_object(native, "metadata", "") or {}
    if (user := find_text(metadata, "user_id", "metadata")) is not None:
        body["user"] = user
    for name in ("service_tier", "speed", "inference_geo"):
        if (value := find_text(native, name, "")) is not None:
            body[name] = value
    if body.get("service_tier") == "standard_only":
        body["service_tier"] = "default"
    elif body.get("speed") == "fast":
        # OpenAI's word for it, and what the call is priced by until the answer tells.
        body["service_tier"] = "fast"
