"""Gemini's `GenerateContentRequest` → the canonical call. What only Gemini understands stays beside it, and is told by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.dialects.gemini.name import CHAT
from tollkeeper.gateway.dialects.gemini.read_config import CONFIG_FIELDS, CONFIG_NAMES, read_config
from tollkeeper.gateway.dialects.gemini.read_contents import Messages
from tollkeeper.gateway.dialects.gemini.read_fields import Json, camel, read_fields, read_text
from tollkeeper.gateway.dialects.gemini.read_parts import Told
from tollkeeper.gateway.dialects.gemini.read_tools import read_tool_config, read_tools
from tollkeeper.gateway.openai_fields import check_model, missing

_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **CONFIG_NAMES,
        "web_search_options": "tools.googleSearch",
        "tool_choice": "toolConfig",
        "service_tier": "serviceTier",
        "cached_content": "cachedContent",
    }
)
_TIERS: Final = {"standard": "default", "flex": "flex", "priority": "priority"}
_READ: Final = frozenset(
    {
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "serviceTier",
        "cachedContent",
    }
)


def read_request(native: Json, model: str, *, is_stream: bool) -> Call:
    document = read_fields(native, "body")
    told = Told()
    messages = Messages(told)
    if document.get("systemInstruction") is not None:
        messages.add_system(document["systemInstruction"])
    messages.add(document.get("contents"))
    if not messages.found:
        raise missing("contents[0].parts")
    body: Json = {"model": model, "messages": messages.found}
    if is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    _read_rest(document, body, told)
    return Call(
        operation=Operation.CHAT,
        model=model,
        is_stream=is_stream,
        body=body,
        wants_usage=is_stream,
        dialect=CHAT,
        native=None if told.has_foreign else _in_one_spelling(native, document),
        unexpressed=tuple(told.unexpressed),
        names=_NAMES,
        needs_native=told.needs_native,
        unbounded="a file" if told.has_hidden_file else None,
    )


def _in_one_spelling(native: Json, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document with its `generationConfig` in camelCase, so that whoever sets a field there finds it; the rest is as it
    came, and so is a document that has it so.
    """
    config = document.get("generationConfig")
    if config is None or ("generationConfig" in native and read_fields(config, "generationConfig") is config):
        return native
    kept = {name: value for name, value in native.items() if camel(name) != "generationConfig"}
    known = {camel(name) if camel(name) in CONFIG_FIELDS else name: value for name, value in config.items()}
    return {**kept, "generationConfig": known}


def _read_rest(document: Mapping[str, Any], body: Json, told: Told) -> None:
    if document.get("tools") is not None:
        read_tools(document["tools"], body, told)
    if document.get("toolConfig") is not None:
        read_tool_config(document["toolConfig"], body, told)
    if document.get("generationConfig") is not None:
        read_config(document["generationConfig"], body, told)
    if document.get("cachedContent") is not None:
        # A part of the conversation that only Google has.
        body["cached_content"] = read_text(document["cachedContent"], "cachedContent")
        told.need("cachedContent")
    if document.get("serviceTier") is not None:
        tier = read_text(document["serviceTier"], "serviceTier").lower()
        if tier in _TIERS:
            body["service_tier"] = _TIERS[tier]
    for name, value in document.items():
        if value is not None and name not in _READ:
            told.leave_out(name)


def read_model(path: str) -> str:
    """The model's name out of `…/models/{model}:{method}`; it may hold slashes and colons."""
    name = path.split("/models/", 1)[1].rpartition(":")[0].removeprefix("models/")
    check_model(name)
    return name
