"""A canonical call as Gemini's `GenerateContentRequest`, and the caller's own one where it came in this dialect."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.chat import Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini.vendor_contents import Contents
from tollkeeper.gateway.dialects.gemini.vendor_names import kind_of, write_name
from tollkeeper.gateway.dialects.gemini.vendor_thinking import needs_signatures, write_thinking
from tollkeeper.gateway.openai_fields import wrong_type

Document = dict[str, Any]

_SAME: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
# The vendor's own tools, by the type of a canonical tool.
_BUILT_IN: Final[Mapping[str, str]] = {
    "google_search": "googleSearch",
    "code_execution": "codeExecution",
    "url_context": "urlContext",
    "google_maps": "googleMaps",
}
_TIERS: Final = frozenset({"flex", "priority"})
# Of `extra_body.google`, as Google's own OpenAI layer has it.
_OF_GOOGLE: Final[Mapping[str, str]] = {
    "cached_content": "cachedContent",
    "safety_settings": "safetySettings",
}


def write_request(call: Call, *, sends_ids: bool) -> Document:
    body, model = call.body, call.model
    contents = Contents(needs_signatures=needs_signatures(model), sends_ids=sends_ids)
    contents.add(body["messages"])
    document: Document = contents.write()
    tools = _tools(body)
    if tools:
        document["tools"] = tools
        if any("functionDeclarations" in tool for tool in tools) and (choice := _choice(body.get("tool_choice"))):
            document["toolConfig"] = {"functionCallingConfig": choice}
    config = _config(body, model)
    if config:
        document["generationConfig"] = config
    if isinstance(cached := body.get("cached_content"), str):
        document["cachedContent"] = cached
    if isinstance(tier := body.get("service_tier"), str) and tier in _TIERS:
        document["serviceTier"] = tier
    return document | _of_google(body)


def native_request(call: Call) -> Mapping[str, Any]:
    """What the caller sent, with the length that a budget gave it. The model stands in the address."""
    assert call.native is not None
    document = call.native
    if "model" in document:
        document = {name: value for name, value in document.items() if name != "model"}
    if call.applied_cap is None:
        return document
    config = document.get("generationConfig") or {}
    return {**document, "generationConfig": {**config, "maxOutputTokens": call.applied_cap}}


def _config(body: Mapping[str, Any], model: str) -> Document:
    config: Document = {theirs: body[ours] for ours, theirs in _SAME.items() if body.get(ours) is not None}
    if not config.get("responseLogprobs"):
        config.pop("logprobs", None)
    if (cap := body.get("max_completion_tokens") or body.get("max_tokens")) is not None:
        config["maxOutputTokens"] = cap
    stop = body.get("stop")
    if stop:
        config["stopSequences"] = stop if isinstance(stop, list) else [stop]
    _format(body.get("response_format"), config)
    if (thinking := write_thinking(body, model)) is not None:
        config["thinkingConfig"] = thinking
    modalities = body.get("modalities")
    if isinstance(modalities, list) and modalities != ["text"]:
        config["responseModalities"] = [str(one).upper() for one in modalities]
    audio = body.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("voice"), str):
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
    return config


def _format(wanted: Any, config: Document) -> None:
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise wrong_type("response_format", "an object", wanted)
    kind = kind_of(wanted)
    if kind not in {"json_object", "json_schema"}:
        return
    config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        inner = wanted.get("json_schema")
        if not isinstance(inner, dict):
            raise wrong_type("response_format.json_schema", "an object", inner)
        if inner.get("schema") is not None:
            # JSON Schema as it is; `responseSchema` knows a part of it only and refuses the rest.
            config["responseJsonSchema"] = inner["schema"]


def _tools(body: Mapping[str, Any]) -> list[Document]:
    declarations: list[Document] = []
    tools: list[Document] = []
    for position, tool in enumerate(body.get("tools") or ()):
        kind, where = kind_of(tool), f"tools[{position}]"
        if kind in {"function", "custom"}:
            inner = tool.get(kind)
            if not isinstance(inner, dict):
                raise wrong_type(f"{where}.{kind}", "an object", inner)
            declarations.append(_declaration(inner, f"{where}.{kind}", is_custom=kind == "custom"))
        elif kind in _BUILT_IN:
            tools.append({_BUILT_IN[kind]: tool.get(kind) or {}})
        else:
            raise BadRequest(
                f"Gemini has no tool of the type {kind[:64]!r}.",
                code="unsupported_parameter",
                param=f"{where}.type",
            )
    if body.get("web_search_options") is not None and not any("googleSearch" in tool for tool in tools):
        tools.append({"googleSearch": {}})
    return [{"functionDeclarations": declarations}, *tools] if declarations else tools


def _declaration(inner: Mapping[str, Any], where: str, *, is_custom: bool) -> Document:
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise wrong_type(f"{where}.name", "a string", name)
    declaration: Document = {"name": write_name(name)}
    if isinstance(inner.get("description"), str):
        declaration["description"] = inner["description"]
    if is_custom:
        declaration["parametersJsonSchema"] = {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
        }
        return declaration
    schema = inner.get("parameters")
    # Without properties there are no arguments, which is said by leaving them out.
    if isinstance(schema, dict) and (
        schema.get("properties") or not schema.keys() <= {"type", "properties", "$schema"}
    ):
        declaration["parametersJsonSchema"] = schema
    return declaration


def _choice(choice: Any) -> Document | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        mode = {"none": "NONE", "auto": "AUTO", "required": "ANY"}.get(choice)
        if mode is None:
            raise BadRequest(
                "Invalid value for 'tool_choice': expected 'none', 'auto', 'required' or an object.",
                code="invalid_value",
                param="tool_choice",
            )
        return {"mode": mode}
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "a string or an object", choice)
    kind = kind_of(choice)
    inner = choice.get(kind)
    if kind == "allowed_tools" and isinstance(inner, dict):
        tools = inner.get("tools")
        names = [_named(tool) for tool in tools] if isinstance(tools, list) else []
        # With names Gemini takes ANY, or VALIDATED where it may also answer in words.
        return {"mode": "ANY" if inner.get("mode") == "required" else "VALIDATED", "allowedFunctionNames": names}
    return {"mode": "ANY", "allowedFunctionNames": [_named(choice)]}


def _named(tool: Any) -> str:
    kind = kind_of(tool) if isinstance(tool, dict) else ""
    inner = tool.get(kind) if kind in {"function", "custom"} else None
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(name, str):
        raise BadRequest("Invalid 'tool_choice': it names no function.", code="invalid_value", param="tool_choice")
    return write_name(name)


def _of_google(body: Mapping[str, Any]) -> Document:
    extra = body.get("extra_body")
    google = extra.get("google") if isinstance(extra, dict) else None
    if not isinstance(google, dict):
        return {}
    return {theirs: google[ours] for ours, theirs in _OF_GOOGLE.items() if google.get(ours) is not None}
