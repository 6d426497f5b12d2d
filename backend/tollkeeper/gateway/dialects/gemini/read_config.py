"""Gemini's `generationConfig` as canonical fields."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.gateway.dialects.gemini.read_fields import (
    Json,
    read_bool,
    read_count,
    read_fields,
    read_list,
    read_number,
    read_text,
)
from tollkeeper.gateway.dialects.gemini.read_parts import Told
from tollkeeper.gateway.dialects.gemini.read_schema import read_schema

_WHERE: Final = "generationConfig"
# With their least values.
_NUMBERS: Final[Mapping[str, tuple[str, float]]] = {
    "temperature": ("temperature", 0),
    "topP": ("top_p", 0),
    "presencePenalty": ("presence_penalty", -2),
    "frequencyPenalty": ("frequency_penalty", -2),
}
_COUNTS: Final[Mapping[str, tuple[str, int, int]]] = {
    "topK": ("top_k", 0, 2**31),
    "candidateCount": ("n", 1, 128),
    "maxOutputTokens": ("max_completion_tokens", 1, 2**31),
    "logprobs": ("top_logprobs", 0, 2**31),
    "seed": ("seed", -(2**31), 2**31),
}
_LISTS: Final = frozenset({"stopSequences", "responseModalities"})
_SCHEMAS: Final = frozenset({"responseSchema", "responseJsonSchema", "_responseJsonSchema"})
# Of canonical fields, what the caller calls them.
CONFIG_NAMES: Final[Mapping[str, str]] = {
    **{ours: f"{_WHERE}.{theirs}" for theirs, (ours, _) in _NUMBERS.items()},
    **{ours: f"{_WHERE}.{theirs}" for theirs, (ours, _, _) in _COUNTS.items()},
    "stop": f"{_WHERE}.stopSequences",
    "modalities": f"{_WHERE}.responseModalities",
    "logprobs": f"{_WHERE}.responseLogprobs",
    "response_format": f"{_WHERE}.responseMimeType",
    "reasoning_effort": f"{_WHERE}.thinkingConfig",
    "thinking": f"{_WHERE}.thinkingConfig",
}
CONFIG_FIELDS: Final = (
    _NUMBERS.keys() | _COUNTS.keys() | _LISTS | _SCHEMAS | {"responseLogprobs", "responseMimeType", "thinkingConfig"}
)
_LEVELS: Final = frozenset({"minimal", "low", "medium", "high", "xhigh"})


def read_config(value: Any, body: Json, told: Told) -> None:
    config = read_fields(value, _WHERE)
    for name, item in config.items():
        if item is not None:
            _read(name, item, body, told, config)
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        del body["top_logprobs"]


def _read(name: str, item: Any, body: Json, told: Told, config: Mapping[str, Any]) -> None:
    where = f"{_WHERE}.{name[:64]}"
    if name in _NUMBERS:
        ours, least = _NUMBERS[name]
        body[ours] = read_number(item, where, least=least)
    elif name in _COUNTS:
        ours, lowest, most = _COUNTS[name]
        body[ours] = read_count(item, where, least=lowest, most=most)
    elif name in _LISTS:
        _list(name, [read_text(one, f"{where}[{at}]") for at, one in enumerate(read_list(item, where))], body)
    elif name == "responseLogprobs":
        body["logprobs"] = read_bool(item, where)
    elif name == "responseMimeType":
        _format(read_text(item, where), body, told, config)
    elif name == "thinkingConfig":
        _thinking(read_fields(item, where), where, body)
    elif name in _SCHEMAS:
        # Read with the type, without which they mean nothing.
        read_fields(item, where)
    else:
        told.leave_out(where)


def _list(name: str, texts: list[str], body: Json) -> None:
    if name == "stopSequences":
        if texts:
            body["stop"] = texts
        return
    modalities = [text.lower() for text in texts]
    if modalities and modalities != ["text"]:
        body["modalities"] = modalities


def _format(media_type: str, body: Json, told: Told, config: Mapping[str, Any]) -> None:
    if media_type == "text/plain":
        return
    if media_type != "application/json":
        told.leave_out(f"{_WHERE}.responseMimeType")
        return
    schema = config.get("responseJsonSchema") or config.get("_responseJsonSchema")
    if schema is None and config.get("responseSchema") is not None:
        schema = read_schema(config["responseSchema"], f"{_WHERE}.responseSchema")
    if schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    else:
        body["response_format"] = {"type": "json_object"}


def _thinking(thinking: Mapping[str, Any], where: str, body: Json) -> None:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if thinking.get("includeThoughts") is not None:
        read_bool(thinking["includeThoughts"], f"{where}.includeThoughts")
    if level is not None:
        effort = read_text(level, f"{where}.thinkingLevel").lower()
        if effort in _LEVELS:
            body["reasoning_effort"] = effort
    if budget is not None:
        tokens = read_count(budget, f"{where}.thinkingBudget", least=-1)
        if tokens == 0:
            body["thinking"] = {"type": "disabled"}
        elif tokens > 0:
            body["thinking"] = {"type": "enabled", "budget_tokens": tokens}
