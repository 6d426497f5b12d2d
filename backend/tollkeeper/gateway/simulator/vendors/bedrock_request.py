"""Reads a request of Bedrock's Converse and refuses what Bedrock refuses ("Converse" reference, bedrock-runtime)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.vendors.question import Json, pair_up, reject, sign

_KNOWN: Final = frozenset(
    {"additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig", "inferenceConfig",
     "messages", "outputConfig", "performanceConfig", "promptVariables", "requestMetadata", "serviceTier", "system",
     "toolConfig"}
)  # fmt: skip
_INFERENCE: Final = frozenset({"maxTokens", "temperature", "topP", "stopSequences"})
_BLOCKS: Final = frozenset(
    {"text", "image", "document", "video", "audio", "toolUse", "toolResult", "guardContent", "cachePoint",
     "reasoningContent", "citationsContent", "searchResult"}
)  # fmt: skip
_IMAGES: Final = frozenset({"png", "jpeg", "gif", "webp"})
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def read_question(request: Json) -> Json:
    _only(request, _KNOWN, "request")
    has_tools = bool(_given(request, "toolConfig"))
    question: Json = {"messages": _messages(request.get("messages"), has_tools=has_tools)}
    system = [
        _text(block, f"system.{n}")
        for n, block in enumerate(_list(request.get("system") or [], "system"))
        if "cachePoint" not in block
    ]
    if system:
        question["messages"].insert(0, {"role": "system", "content": system})
    config = _given(request, "inferenceConfig")
    _only(config, _INFERENCE, "inferenceConfig")
    _read_config(config, question)
    if has_tools:
        _read_tools(request["toolConfig"], question)
    output = _given(request, "outputConfig")
    _only(output, frozenset({"effort", "textFormat"}), "outputConfig")
    if output.get("effort") is not None:
        question["reasoning_effort"] = output["effort"]
    form = output.get("textFormat")
    if form is not None:
        question["response_format"] = {"type": "json_schema", "json_schema": {"schema": _schema(form)}}
    return question


def thinks(request: Json) -> bool | None:
    """As Anthropic's models on Bedrock are told to; None: the request does not say."""
    fields = request.get("additionalModelRequestFields")
    thinking = fields.get("thinking") or fields.get("reasoning_config") if isinstance(fields, dict) else None
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    return None if kind is None else kind != "disabled"


def _messages(messages: Any, *, has_tools: bool) -> list[Json]:
    entries = _list(messages, "messages")
    if not entries:
        raise reject(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message."
        )
    found: list[Json] = []
    open_calls: list[str] = []
    for position, message in enumerate(entries):
        place = f"messages.{position}"
        _only(message, frozenset({"role", "content"}), place)
        role = message.get("role")
        if role != ("user", "assistant")[position % 2]:
            raise reject(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )
        blocks = _list(message.get("content"), f"{place}.content")
        if not blocks:
            raise reject(
                f"The content field in the Message object at {place} is empty. Add a ContentBlock object and try again."
            )
        for number, block in enumerate(blocks):
            _check(block, f"{place}.content.{number}")
        called = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        answered = [block["toolResult"].get("toolUseId") for block in blocks if "toolResult" in block]
        if (called or answered) and not has_tools:
            raise reject("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        if not pair_up(open_calls, answered):
            raise reject(
                f"Expected toolResult blocks at {place}.content for the following Ids: {', '.join(open_calls)}, "
                f"but found: {', '.join(map(str, answered))}"
            )
        open_calls = called
        found += [_assistant(blocks)] if role == "assistant" else _user(blocks)
    if open_calls:
        raise reject("Expected toolResult blocks after the last toolUse blocks.")
    return found


def _check(block: Json, place: str) -> None:
    _only(block, _BLOCKS, place)
    if len(block) != 1:
        raise reject(f"The ContentBlock object at {place} must set one of its members.")
    [(kind, value)] = block.items()
    if kind == "text":
        _text(block, place)
    elif not isinstance(value, dict):
        raise reject(f"{place}.{kind} must be an object.")
    elif kind in _CHECKS:
        _CHECKS[kind](value, place)


def _check_image(value: Json, place: str) -> None:
    source = value.get("source")
    is_source = isinstance(source, dict) and len(source) == 1 and source.keys() <= {"bytes", "s3Location"}
    if value.get("format") not in _IMAGES or not is_source:
        raise reject(
            f"The image at {place} needs a format ({', '.join(sorted(_IMAGES))}) and a source of bytes or s3Location."
        )


def _check_use(value: Json, place: str) -> None:
    for name in ("name", "toolUseId"):
        said = value.get(name)
        if not isinstance(said, str) or not 0 < len(said) <= 64 or not _NAME_CHARACTERS.issuperset(said):
            raise reject(f"Value at '{place}.toolUse.{name}' failed to satisfy constraint: [a-zA-Z0-9_-]+, at most 64.")
    if not isinstance(value.get("input"), dict):
        raise reject(
            f"The format of the value at {place}.toolUse.input is invalid. Provide a json object for the field."
        )


def _check_result(value: Json, place: str) -> None:
    _list(value.get("content"), f"{place}.toolResult.content")
    if value.get("status", "success") not in ("success", "error"):
        raise reject(f"{place}.toolResult.status must be success or error.")


def _check_reasoning(value: Json, place: str) -> None:
    said = value.get("reasoningText")
    if isinstance(said, dict) and said.get("signature") != sign(str(said.get("text"))):
        raise reject(f"{place}: Invalid `signature` in `thinking` block")


_CHECKS: Final[Mapping[str, Callable[[Json, str], None]]] = {
    "image": _check_image,
    "toolUse": _check_use,
    "toolResult": _check_result,
    "reasoningContent": _check_reasoning,
}


def _text(block: Json, place: str) -> Json:
    text = block.get("text")
    if not isinstance(text, str):
        raise reject(f"The text field in the ContentBlock object at {place} must be a string.")
    if not text.strip():
        raise reject(
            f"The text field in the ContentBlock object at {place} is blank. Add text to the text field, and try again."
        )
    return {"type": "text", "text": text}


def _assistant(blocks: Sequence[Json]) -> Json:
    calls = [
        {"id": use["toolUseId"], "type": "function", "function": {"name": use["name"], "arguments": use["input"]}}
        for use in (block["toolUse"] for block in blocks if "toolUse" in block)
    ]
    message: Json = {"role": "assistant", "content": [_part(block) for block in blocks if "text" in block]}
    return {**message, "tool_calls": calls} if calls else message


def _user(blocks: Sequence[Json]) -> list[Json]:
    turns: list[Json] = []
    for result in (block["toolResult"] for block in blocks if "toolResult" in block):
        parts = [
            {"type": "text", "text": orjson.dumps(part["json"]).decode()} if "json" in part else _part(part)
            for part in result["content"]
        ]
        turns.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": parts})
    others = [_part(block) for block in blocks if not block.keys() & {"toolResult", "cachePoint"}]
    return [*turns, {"role": "user", "content": others}] if others else turns


def _part(block: Json) -> Json:
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    kind = next(iter(block))
    return {"type": {"image": "image_url", "audio": "input_audio"}.get(kind, "file")}


def _read_config(config: Mapping[str, Any], question: Json) -> None:
    cap = config.get("maxTokens")
    if cap is not None:
        if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
            raise reject(
                "Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must be at least 1."
            )
        question["max_completion_tokens"] = cap
    for name in ("temperature", "topP"):
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
            raise reject(f"Value at 'inferenceConfig.{name}' failed to satisfy constraint: from 0 to 1.")
    stops = config.get("stopSequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise reject(
            "Value at 'inferenceConfig.stopSequences' failed to satisfy constraint: strings that are not empty."
        )
    question["stop"] = stops


def _read_tools(config: Any, question: Json) -> None:
    specs = [tool["toolSpec"] for tool in _list(config.get("tools"), "toolConfig.tools") if "toolSpec" in tool]
    if not specs:
        raise reject("Value at 'toolConfig.tools' failed to satisfy constraint: at least one tool.")
    question["tools"] = [_tool(spec, f"toolConfig.tools.{n}") for n, spec in enumerate(specs)]
    choice = config.get("toolChoice")
    if choice is None:
        return
    if not isinstance(choice, dict) or len(choice) != 1 or not choice.keys() <= {"auto", "any", "tool"}:
        raise reject("The toolChoice must set one of auto, any and tool.")
    named = {"type": "function", "function": {"name": (choice.get("tool") or {}).get("name")}}
    question["tool_choice"] = "auto" if "auto" in choice else "required" if "any" in choice else named


def _tool(spec: Any, place: str) -> Json:
    _only(spec, frozenset({"name", "description", "inputSchema", "strict"}), place)
    name = spec.get("name")
    if not isinstance(name, str) or not name or len(name) > 64 or not _NAME_CHARACTERS.issuperset(name):
        raise reject(
            f"Value at '{place}.toolSpec.name' failed to satisfy constraint: [a-zA-Z0-9_-]+ with at most 64 characters."
        )
    if spec.get("description") == "":
        raise reject(f"Value at '{place}.toolSpec.description' failed to satisfy constraint: at least 1 character.")
    schema = _given(spec, "inputSchema").get("json")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise reject(f"The value at {place}.toolSpec.inputSchema.json.type must be one of the following: object.")
    return {"type": "function", "function": {"name": name, "parameters": schema if schema.get("properties") else None}}


def _schema(form: Any) -> Any:
    structure = form.get("structure") if isinstance(form, dict) and form.get("type") == "json_schema" else None
    described = structure.get("jsonSchema") if isinstance(structure, dict) else None
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, str):
        raise reject("outputConfig.textFormat.structure.jsonSchema.schema must be a string that holds JSON.")
    try:
        return orjson.loads(schema)
    except orjson.JSONDecodeError as error:
        raise reject("outputConfig.textFormat.structure.jsonSchema.schema is not JSON.") from error


def _only(value: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    extra = value.keys() - known
    if extra:
        raise reject(f"The model returned the following errors: {place}.{min(extra)}: extraneous key is not permitted")


def _given(value: Mapping[str, Any], name: str) -> Json:
    found = value.get(name) or {}
    if not isinstance(found, dict):
        raise reject(f"{name} must be an object.")
    return found


def _list(value: Any, place: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise reject(f"The value at {place} must be a list of objects.")
    return value
