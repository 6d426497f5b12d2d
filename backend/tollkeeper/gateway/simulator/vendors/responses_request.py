"""A Responses request as a question in OpenAI's chat fields, checked as strictly as OpenAI checks it."""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.gateway.simulator.refusal import Refusal, invalid
from tollkeeper.gateway.simulator.vendors.question import Json, reject

ENCRYPTED: Final = "reasoning.encrypted_content"
_SAME: Final = frozenset(
    {"model", "temperature", "top_p", "parallel_tool_calls", "metadata", "user", "safety_identifier", "service_tier"}
)
_FIELDS: Final = _SAME | {
    "background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls", "prompt",
    "previous_response_id", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "store",
    "stream", "stream_options", "text", "tool_choice", "tools", "top_logprobs", "truncation",
}  # fmt: skip
_INCLUDES: Final = frozenset({ENCRYPTED, "message.output_text.logprobs", "web_search_call.action.sources"})


def read_question(request: Mapping[str, Any]) -> Json:
    """Raises `Refusal`."""
    for name in request:
        if name not in _FIELDS:
            raise Refusal(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if request.get("previous_response_id") is not None:
        raise Refusal(
            400,
            f"Previous response with id '{request['previous_response_id']}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    include = request.get("include")
    if include is not None and not (isinstance(include, list) and all(one in _INCLUDES for one in include)):
        raise invalid("include", "an array of what can be included")
    question: Json = {name: request[name] for name in _SAME & request.keys()}
    question["messages"] = _messages(request)
    if request.get("max_output_tokens") is not None:
        question["max_completion_tokens"] = request["max_output_tokens"]
    effort = _object(request, "reasoning").get("effort")
    if effort is not None:
        question["reasoning_effort"] = effort
    form = _object(request, "text").get("format")
    if isinstance(form, dict):
        inner = {name: value for name, value in form.items() if name != "type"}
        question["response_format"] = {"type": form.get("type"), "json_schema": inner} if inner else form
    if request.get("tools"):
        question["tools"] = [_tool(tool, position) for position, tool in enumerate(request["tools"])]
        if (choice := request.get("tool_choice")) is not None:
            question["tool_choice"] = _choice(choice)
    return question


def _object(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = request.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(name, "an object")
    return value or {}


def _tool(tool: Any, position: int) -> Json:
    place = f"tools[{position}]"
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in ("function", "custom"):
        raise invalid(f"{place}.type", "'function' or 'custom'")
    if not isinstance(tool.get("name"), str):
        raise Refusal(400, f"Missing required parameter: '{place}.name'.", param=f"{place}.name")
    if kind == "function" and not {"parameters", "strict"} <= tool.keys():
        raise Refusal(400, f"Missing required parameter: '{place}.strict'.", param=f"{place}.strict")
    return {"type": kind, kind: {name: value for name, value in tool.items() if name != "type"}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom"):
        return {"type": choice["type"], choice["type"]: {"name": choice.get("name")}}
    return choice


def _messages(request: Mapping[str, Any]) -> list[Json]:
    given = request.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input", "a string or an array of items")
    messages: list[Json] = []
    if request.get("instructions") is not None:
        messages.append({"role": "system", "content": request["instructions"]})
    calls: list[object] = []
    for position, item in enumerate(given):
        place = f"input[{position}]"
        if not isinstance(item, dict):
            raise invalid(place, "an object")
        _item(item, place, messages, calls)
    if calls:
        raise reject(f"No tool output found for function call {calls[0]}.", "input")
    return messages


def _item(item: Json, place: str, messages: list[Json], calls: list[object]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        messages.append({"role": item.get("role"), "content": _content(item.get("content"), f"{place}.content")})
    elif kind in ("function_call", "custom_tool_call"):
        calls.append(item.get("call_id"))
        inner = (
            {"type": "function", "function": {"name": item.get("name"), "arguments": item.get("arguments")}}
            if kind == "function_call"
            else {"type": "custom", "custom": {"name": item.get("name"), "input": item.get("input")}}
        )
        call = {"id": item.get("call_id"), **inner}
        if messages and messages[-1]["role"] == "assistant":
            messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), call]}
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind in ("function_call_output", "custom_tool_call_output"):
        if item.get("call_id") not in calls:
            raise reject(f"No tool call found for function call output with call_id {item.get('call_id')}.", "input")
        calls.remove(item.get("call_id"))
        content = _content(item.get("output"), f"{place}.output")
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind == "reasoning":
        if not item.get("encrypted_content"):
            # Nothing is kept, so there is nothing to look up.
            raise Refusal(404, f"Item with id '{item.get('id')}' not found.", param="input", code="item_not_found")
    else:
        raise invalid(f"{place}.type", "a type of item")


def _content(content: Any, place: str) -> Any:
    if not isinstance(content, list):
        return content
    return [_part(part, f"{place}[{position}]") for position, part in enumerate(content)]


def _part(part: Any, place: str) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return part
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url") or "", "detail": part.get("detail")}}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in part.items() if name != "type"}}
    if kind == "input_audio":
        return part
    raise invalid(f"{place}.type", "a type of content")
