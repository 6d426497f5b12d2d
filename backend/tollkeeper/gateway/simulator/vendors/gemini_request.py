"""Reads a request of Gemini's `generateContent` and refuses what Gemini refuses ("Generating content" reference, v1beta).

Names are taken in camelCase and in snake_case, as Google's JSON reader does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.vendors.question import Json, reject, sign

_KNOWN: Final = frozenset(
    {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent",
     "labels", "serviceTier", "model"}
)  # fmt: skip
_GENERATION: Final = frozenset(
    {"audioTimestamp", "candidateCount", "enableAffectiveDialog", "frequencyPenalty", "imageConfig", "logprobs",
     "maxOutputTokens", "mediaResolution", "presencePenalty", "responseJsonSchema", "responseLogprobs",
     "responseMimeType", "responseModalities", "responseSchema", "seed", "speechConfig", "stopSequences", "temperature",
     "thinkingConfig", "topK", "topP"}
)  # fmt: skip
_PARTS: Final = frozenset(
    {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
)
_BESIDE: Final = frozenset({"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
# The OpenAPI subset ("Schema" reference).
_SCHEMA: Final = frozenset(
    {"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required",
     "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
     "default", "items", "minimum", "maximum"}
)  # fmt: skip
_MODES: Final = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_LEVELS: Final = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
# What Google's page on thought signatures offers to those who have none ("Thought signatures", FAQ).
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NO_SIGNATURE: Final = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})


def read_question(request: Json, *, needs_signatures: bool = False) -> Json:
    """The question in OpenAI's fields. `needs_signatures`: calls in the history must bring theirs, as for Gemini 3."""
    request = camel(request, _KNOWN, "")
    config = camel(request.get("generationConfig") or {}, _GENERATION, "generation_config")
    question: Json = {"messages": _contents(request.get("contents"), needs_signatures=needs_signatures)}
    system = request.get("systemInstruction")
    if system is not None:
        parts = system.get("parts") if isinstance(system, dict) else None
        said = [{"type": "text", "text": part.get("text", "")} for part in _list(parts, "system_instruction.parts")]
        question["messages"].insert(0, {"role": "system", "content": said})
    _read_tools(request, question)
    _read_config(config, question)
    return question


def thoughts_of(request: Json) -> tuple[bool, bool | None]:
    """Whether thoughts are to be shown, and whether to think at all; None: the request does not say."""
    config = request.get("generationConfig") or request.get("generation_config") or {}
    thinking = config.get("thinkingConfig") or config.get("thinking_config") or {}
    shows = thinking.get("includeThoughts", thinking.get("include_thoughts")) is True
    budget = thinking.get("thinkingBudget", thinking.get("thinking_budget"))
    if budget is not None:
        return shows, budget != 0
    return shows, True if "thinkingLevel" in thinking or "thinking_level" in thinking or shows else None


def camel(value: Any, known: frozenset[str], place: str) -> Json:
    if not isinstance(value, dict):
        raise reject(f"Invalid value at '{place}' (type.googleapis.com/google.ai.generativelanguage)")
    found: Json = {}
    for name, item in value.items():
        first, *rest = name.split("_")
        spelled = first + "".join(word[:1].upper() + word[1:] for word in rest)
        if spelled not in known:
            shown = f" at '{place}'" if place else ""
            raise reject(f'Invalid JSON payload received. Unknown name "{name}"{shown}: Cannot find field.')
        found[spelled] = item
    return found


def _contents(contents: Any, *, needs_signatures: bool) -> list[Json]:
    entries = _list(contents, "contents")
    if not entries:
        raise reject("* GenerateContentRequest.contents: contents is not specified\n")
    found: list[Json] = []
    open_calls: list[str] = []
    for position, entry in enumerate(entries):
        role, parts = _turn(entry, f"contents[{position}]")
        answered = [part["functionResponse"].get("name") for part in parts if "functionResponse" in part]
        if position == 0 and role == "model":
            raise reject("Please ensure that multiturn requests begin with a user turn.")
        if sorted(open_calls) != sorted(answered):
            raise reject(
                "Please ensure that the number of function response parts is equal to the number of function call parts "
                "of the function call turn."
            )
        if answered and len(answered) != len(parts):
            raise reject("Please ensure that function response turns hold function responses only.")
        open_calls = [part["functionCall"].get("name") for part in parts if "functionCall" in part]
        if role == "model":
            found.append(_model_turn(parts, needs_signatures=needs_signatures))
        elif answered:
            found += [_response(part["functionResponse"], position) for part in parts]
        else:
            found.append({"role": "user", "content": [_part(part) for part in parts]})
    if found[-1]["role"] == "assistant":
        raise reject("Please ensure that multiturn requests end with a user role or a function response.")
    return found


def _turn(entry: Json, place: str) -> tuple[str, list[Json]]:
    content = camel(entry, frozenset({"role", "parts"}), place)
    role = content.get("role", "user")
    if role not in ("user", "model", "function"):
        raise reject("Please use a valid role: user, model.")
    parts = [camel(part, _PARTS | _BESIDE, f"{place}.parts") for part in _list(content.get("parts"), f"{place}.parts")]
    if not parts:
        raise reject(f"* GenerateContentRequest.{place}.parts: contents.parts must not be empty.\n")
    for part in parts:
        if len(part.keys() & _PARTS) != 1:
            raise reject(
                f"* GenerateContentRequest.{place}.parts: required oneof field 'data' must have one initialized field\n"
            )
        for name in ("functionCall", "functionResponse"):
            if not isinstance(part.get(name, {}), dict):
                raise reject(f"Invalid value at '{place}.parts.{name}' (Struct)")
    return role, parts


def _model_turn(parts: Sequence[Json], *, needs_signatures: bool) -> Json:
    calls: list[Json] = []
    for position, part in enumerate(parts):
        call = part.get("functionCall")
        if call is None:
            continue
        if not isinstance(call.get("name"), str) or not isinstance(call.get("args", {}), dict):
            raise reject("Invalid value at 'function_call' (Struct)")
        signature = part.get("thoughtSignature")
        # Of calls made at once only the first bears one.
        if needs_signatures and signature is None and not calls:
            raise reject(
                f"Function call is missing a thought_signature in functionCall parts. Function call `{call['name']}`, "
                f"position {position + 1}."
            )
        # Bytes, so either alphabet of base64 will do.
        plain = signature.translate(_URL_SAFE) if isinstance(signature, str) else signature
        if signature is not None and signature not in _NO_SIGNATURE and plain != sign(call["name"]):
            raise reject("Thought signature is not valid.")
        arguments = orjson.dumps(call.get("args", {})).decode()
        calls.append(
            {"id": call["name"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}
        )
    said = [_part(part) for part in parts if "functionCall" not in part and not part.get("thought")]
    message: Json = {"role": "assistant", "content": said}
    return {**message, "tool_calls": calls} if calls else message


def _response(response: Any, position: int) -> Json:
    if not isinstance(response, dict) or not isinstance(response.get("response"), dict):
        raise reject(f"Invalid value at 'contents[{position}].parts.function_response.response' (Struct)")
    content = orjson.dumps(response["response"]).decode()
    return {"role": "tool", "tool_call_id": response.get("name", ""), "content": content}


def _part(part: Json) -> Json:
    if "text" in part:
        if not isinstance(part["text"], str):
            raise reject("Invalid value at 'contents.parts.text' (TYPE_STRING)")
        return {"type": "text", "text": part["text"]}
    blob = part.get("inlineData") or part.get("fileData") or {}
    mime = blob.get("mimeType") or blob.get("mime_type") or ""
    if "inlineData" in part and not (mime and isinstance(blob.get("data"), str)):
        raise reject("Unable to process input: inline_data needs mime_type and data.")
    kinds = {"image": "image_url", "audio": "input_audio"}
    return {"type": kinds.get(mime.partition("/")[0], "file")}


def _read_tools(request: Json, question: Json) -> None:
    declared: list[Json] = []
    for entry in _list(request.get("tools") or [], "tools"):
        tool = camel(entry, frozenset({"functionDeclarations", "googleSearch", "codeExecution", "urlContext"}), "tools")
        declared += _list(tool.get("functionDeclarations") or [], "tools.function_declarations")
    if declared:
        question["tools"] = [
            _declaration(entry, f"tools[0].function_declarations[{n}]") for n, entry in enumerate(declared)
        ]
    config = (request.get("toolConfig") or {}).get("functionCallingConfig")
    if config is None:
        return
    mode = config.get("mode", "AUTO")
    if mode not in _MODES:
        raise reject(f"Invalid value at 'tool_config.function_calling_config.mode': \"{mode}\"")
    names = config.get("allowedFunctionNames")
    if names and mode not in ("ANY", "VALIDATED"):
        raise reject("Allowed function names may only be set when the mode is ANY or VALIDATED.")
    question["tool_choice"] = _MODES[mode]
    if names:
        tools = [{"type": "function", "function": {"name": name}} for name in names]
        question["tool_choice"] = {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required" if mode == "ANY" else "auto", "tools": tools},
        }


def _declaration(entry: Json, place: str) -> Json:
    fields = frozenset(
        {"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"}
    )
    entry = camel(entry, fields, place)
    name = entry.get("name")
    if not isinstance(name, str) or not name or len(name) > 64:
        raise reject(f"Invalid function name at '{place}'. Must start with a letter or an underscore.")
    schema = entry.get("parametersJsonSchema")
    if "parameters" in entry:
        if schema is not None:
            raise reject(f"'{place}': parameters and parameters_json_schema are mutually exclusive.")
        schema = entry["parameters"]
        check_schema(schema, f"{place}.parameters")
        schema = lower(schema)
    return {
        "type": "function",
        "function": {"name": name, "parameters": schema if (schema or {}).get("properties") else None},
    }


def check_schema(schema: Any, place: str) -> None:
    """Google's own subset: a name outside it is refused, not ignored."""
    schema = camel(schema, _SCHEMA, place)
    for name, inner in (schema.get("properties") or {}).items():
        check_schema(inner, f"{place}.properties[{name}]")
    if "items" in schema:
        check_schema(schema["items"], f"{place}.items")
    for position, inner in enumerate(schema.get("anyOf") or ()):
        check_schema(inner, f"{place}.any_of[{position}]")


def lower(schema: Any) -> Any:
    """`STRING` and `string` are one type at Google's."""
    if isinstance(schema, list):
        return [lower(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else value if name == "enum" else lower(value)
        for name, value in schema.items()
    }


def _read_config(config: Mapping[str, Any], question: Json) -> None:
    names = {"maxOutputTokens": "max_completion_tokens", "candidateCount": "n", "seed": "seed"}
    for name, field in names.items():
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise reject(f"Invalid value at 'generation_config.{name}' (TYPE_INT32), {value!r}")
        question[field] = value
    if not 1 <= question.get("n", 1) <= 8:
        raise reject("The value of candidateCount must be between 1 and 8.")
    stops = config.get("stopSequences") or []
    if not isinstance(stops, list) or len(stops) > 5 or not all(isinstance(stop, str) and stop for stop in stops):
        raise reject("Stop sequences: at most 5 strings that are not empty.")
    question["stop"] = stops
    level = (config.get("thinkingConfig") or {}).get("thinkingLevel")
    if level is not None:
        if str(level).upper() not in _LEVELS:
            raise reject(f"Invalid value at 'generation_config.thinking_config.thinking_level': {level!r}")
        question["reasoning_effort"] = _LEVELS[str(level).upper()]
    _read_format(config, question)


def _read_format(config: Mapping[str, Any], question: Json) -> None:
    schema = config.get("responseJsonSchema")
    if "responseSchema" in config:
        check_schema(config["responseSchema"], "generation_config.response_schema")
        schema = lower(config["responseSchema"])
    is_json = config.get("responseMimeType") == "application/json"
    if schema is not None:
        if not is_json:
            raise reject("A response schema with a response mime type that is not application/json is unsupported.")
        question["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    elif is_json:
        question["response_format"] = {"type": "json_object"}


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise reject(f"Invalid value at '{place}': expected a list of objects.")
    return value
