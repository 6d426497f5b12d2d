"""A canonical chat call as a Responses request, for models that a vendor serves only there.

What OpenAI's own migration guide says, field by field: messages become items, the nested shapes of tools and of
`response_format` become flat ones. Fields nobody here knows are carried as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Call
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.canonical import EXTENSIONS, effort_of
from tollkeeper.gateway.openai_repair import repair_arguments

# No place there: the provider takes them out of the call, so that they are reported.
_UNEXPRESSED: Final = frozenset(
    {"frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias", "prediction", "function_call"}
)
# Said in another way, or not at all where they say what is so anyhow.
_REWRITTEN: Final = (
    _UNEXPRESSED
    | EXTENSIONS
    | {
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "reasoning_effort",
        "verbosity",
        "response_format",
        "tools",
        "tool_choice",
        "logprobs",
        "web_search_options",
        "stream_options",
        "modalities",
        "n",
        "functions",
    }
)
_CHAT: Final = ("", "openai_chat")
# A tuple: what a caller sends may be no text at all, which no set can be asked for.
_PARTS: Final = ("text", "image_url", "input_audio", "file", "refusal")
ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"
_NO_ARGUMENTS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def unexpressed_fields(body: Mapping[str, Any]) -> set[str]:
    """The fields of a call that this dialect has no place for."""
    found = (_UNEXPRESSED | EXTENSIONS) & body.keys()
    if "parallel_tool_calls" in body and not body.get("tools"):
        found |= {"parallel_tool_calls"}
    return set(found)


def write_request(call: Call, *, asks_encrypted: bool) -> dict[str, Any]:
    """`asks_encrypted`: the model reasons, and hands its reasoning out so that it can be sent back.

    Raises `BadRequest` for what the Responses API cannot do.
    """
    body = call.body
    _refuse(body)
    request = {name: value for name, value in body.items() if name not in _REWRITTEN and value is not None}
    # The blocks of other dialects have been reported by those; what a chat call holds is the caller's own affair.
    is_foreign = call.dialect not in _CHAT
    request |= {"model": call.model, "input": _items(body["messages"], is_foreign=is_foreign)}
    # The chat API keeps nothing unless told to; this one does.
    request["store"] = body.get("store") is True
    cap = body.get("max_completion_tokens") or body.get("max_tokens")
    if cap is not None:
        request["max_output_tokens"] = cap
    if (effort := effort_of(body)) is not None:
        given = body.get("reasoning")
        request["reasoning"] = {**(given if isinstance(given, dict) else {}), "effort": effort}
    if text := _text(body):
        request["text"] = text
    if tools := _tools(body):
        request["tools"] = tools
        if (choice := body.get("tool_choice")) is not None:
            request["tool_choice"] = _choice(choice)
    include = [ENCRYPTED] if asks_encrypted else []
    if body.get("logprobs"):
        include.append(_LOGPROBS)
    if include:
        request["include"] = include
    if call.is_stream:
        request["stream"] = True
    else:
        request.pop("stream", None)
    return request


def _refuse(body: Mapping[str, Any]) -> None:
    if (body.get("n") or 1) > 1:
        raise _unsupported("n", "gives one answer to each call; send n=1")
    if body.get("functions"):
        raise _unsupported("functions", "knows 'tools' only")
    modalities = body.get("modalities")
    if body.get("audio") or (isinstance(modalities, list) and modalities != ["text"]):
        raise _unsupported("audio" if body.get("audio") else "modalities", "answers in text only")


def _unsupported(name: str, why: str) -> BadRequest:
    return BadRequest(
        f"This model is served over the Responses API, which {why}.", code="unsupported_parameter", param=name
    )


def _text(body: Mapping[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = {}
    form = body.get("response_format")
    if isinstance(form, dict):
        schema = form.get("json_schema")
        text["format"] = {"type": form.get("type"), **schema} if isinstance(schema, dict) else form
    if body.get("verbosity") is not None:
        text["verbosity"] = body["verbosity"]
    return text


def _tools(body: Mapping[str, Any]) -> list[Any]:
    tools = [_tool(tool) for tool in body.get("tools") or ()]
    search = body.get("web_search_options")
    if isinstance(search, dict):
        tool: dict[str, Any] = {"type": "web_search"}
        if search.get("search_context_size") is not None:
            tool["search_context_size"] = search["search_context_size"]
        place = search.get("user_location")
        if isinstance(place, dict):
            inner = place.get("approximate")
            tool["user_location"] = {"type": "approximate", **(inner if isinstance(inner, dict) else {})}
        tools.append(tool)
    return tools


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function, custom = tool.get("function"), tool.get("custom")
    if isinstance(function, dict):
        flat = {"type": "function", **function}
        # Both are required there; a chat call's functions are loose unless they say otherwise.
        flat["parameters"] = function.get("parameters") or _NO_ARGUMENTS
        flat["strict"] = function.get("strict") is True
        return flat
    if isinstance(custom, dict):
        flat = {"type": "custom", **custom}
        form = custom.get("format")
        if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
            flat["format"] = {"type": "grammar", **form["grammar"]}
        return flat
    return tool


def _choice(choice: object) -> object:
    if not isinstance(choice, dict):
        return choice
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, dict):
        tools = allowed.get("tools")
        named = [_choice(tool) for tool in tools] if isinstance(tools, list) else tools
        return {"type": "allowed_tools", **allowed, "tools": named}
    for kind in ("function", "custom"):
        inner = choice.get(kind)
        if isinstance(inner, dict):
            return {"type": kind, "name": inner.get("name")}
    return choice


def _items(messages: Sequence[Mapping[str, Any]], *, is_foreign: bool) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    custom: set[str] = set()
    for position, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            _assistant(message, items, custom)
        elif role == "function":
            raise _unsupported(f"messages[{position}].role", "knows 'tools' only")
        else:
            content = message.get("content") or ""
            if isinstance(content, list):
                content = [_part(part) for part in content if not is_foreign or _is_known(part)]
            if role == "tool":
                items.append(_tool_output(message, content, custom))
            else:
                items.append({"role": role, "content": content})
    return items


def _tool_output(message: Mapping[str, Any], content: Any, custom: set[str]) -> dict[str, Any]:
    if message.get("is_error"):
        told = {"type": "input_text", "text": "Error:"}
        content = [told, *content] if isinstance(content, list) else f"Error: {content}"
    call_id = message.get("tool_call_id")
    is_custom = isinstance(call_id, str) and call_id in custom
    kind = "custom_tool_call_output" if is_custom else "function_call_output"
    return {"type": kind, "call_id": call_id, "output": content}


def _assistant(message: Mapping[str, Any], items: list[dict[str, Any]], custom: set[str]) -> None:
    items += _reasoning(message.get("reasoning_details"))
    content = message.get("content")
    parts: list[dict[str, Any]] = []
    if isinstance(content, str):
        parts += [{"type": "output_text", "text": content, "annotations": []}] if content else []
    else:
        for part in content or ():
            if isinstance(part, dict) and part.get("type") == "refusal":
                parts.append({"type": "refusal", "refusal": part.get("refusal")})
            elif isinstance(part, dict) and part.get("text"):
                parts.append({"type": "output_text", "text": part["text"], "annotations": []})
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        items.append({"type": "message", "role": "assistant", "content": parts})
    for call in _objects(message.get("tool_calls")):
        inner = call.get("custom")
        if isinstance(inner, dict):
            if isinstance(call.get("id"), str):
                custom.add(call["id"])
            said = {"type": "custom_tool_call", "name": inner.get("name"), "input": inner.get("input") or ""}
        else:
            inner = call.get("function")
            inner = inner if isinstance(inner, dict) else {}
            arguments = repair_arguments(inner.get("arguments"), empty="{}")
            said = {"type": "function_call", "name": inner.get("name"), "arguments": arguments}
        items.append({**said, "call_id": call.get("id")})


def _reasoning(details: object) -> list[dict[str, Any]]:
    """What this vendor's models thought, as its own items; anything else nobody there could verify."""
    found: dict[str, dict[str, Any]] = {}
    for detail in _objects(details):
        if detail.get("format") != "openai":
            continue
        name = detail.get("id")
        item = found.setdefault(name if isinstance(name, str) else "", {"type": "reasoning", "summary": []})
        if detail.get("type") == "reasoning.encrypted":
            item["encrypted_content"] = detail.get("data")
        elif detail.get("type") == "reasoning.summary":
            item["summary"].append({"type": "summary_text", "text": detail.get("summary")})
    # Nothing is kept at the vendor, so an item without its content is none.
    return [{"id": name, **item} if name else item for name, item in found.items() if item.get("encrypted_content")]


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_known(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _PARTS


def _part(part: Any) -> Any:
    if not _is_known(part):
        return part
    kind = part["type"]
    mark = {"prompt_cache_breakpoint": part["prompt_cache_breakpoint"]} if _has_mark(part) else {}
    if kind == "text":
        # A document in words: its title and what was said about it stand above it.
        heads = [str(part[name]) for name in ("title", "context") if part.get(name)]
        text = "\n\n".join([*heads, str(part.get("text", ""))]) if heads else part.get("text")
        return {"type": "input_text", "text": text, **mark}
    if kind == "image_url":
        image = part.get("image_url")
        image = image if isinstance(image, dict) else {"url": image}
        return {
            "type": "input_image",
            "image_url": image.get("url"),
            "detail": image.get("detail") or "auto",
            **mark,
        }
    if kind == "file" and isinstance(part.get("file"), dict):
        inner = part["file"]
        known = {name: inner[name] for name in ("file_data", "file_id", "file_url", "filename") if inner.get(name)}
        return {"type": "input_file", **known, **mark}
    return part


def _has_mark(part: Mapping[str, Any]) -> bool:
    return part.get("prompt_cache_breakpoint") is not None
