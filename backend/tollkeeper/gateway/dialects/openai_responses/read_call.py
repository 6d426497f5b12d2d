"""A Responses call → the canonical one: what is checked, what is said in another way, what has no place there.

Fields that nobody here knows are carried, so that a server with fields of its own gets them.
"""

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.responses import Turn
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import parse_id, uuid7
from tollkeeper.gateway.dialects.openai_responses.read_items import Messages
from tollkeeper.gateway.dialects.openai_responses.read_tools import read_tool_choice, read_tools
from tollkeeper.gateway.dialects.openai_responses.reasoning import is_packed
from tollkeeper.gateway.openai_fields import check_count, missing, read_common, wrong_type

NAME: Final = "openai_responses"
ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
# Whose place in the canonical form has another name or shape, or that say nothing to a vendor.
_REWRITTEN: Final = frozenset(
    {
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "max_output_tokens",
        "reasoning",
        "text",
        "include",
        "store",
        "previous_response_id",
        "stream_options",
        "truncation",
        "background",
        "conversation",
        "prompt",
        "max_tool_calls",
        "context_management",
        # Goes with what is stored, and that is ours to do.
        "metadata",
    }
)
# No other dialect has them, and a call is right without: reported.
_UNEXPRESSED: Final = ("max_tool_calls", "context_management")
_MOST_REFERENCES: Final = 1_000
# The metadata's bounds, as OpenAI has them.
_MOST_PAIRS: Final = 16
_LONGEST_NAME: Final = 64
_LONGEST_VALUE: Final = 512


def read_document(data: Mapping[str, Any]) -> Call:
    """`data` is a JSON object as it came. Raises `BadRequest`."""
    common = {name: value for name, value in data.items() if name != "stream_options"}
    call = read_common(common, Operation.CHAT)
    _check(data)
    messages = Messages(data.get("instructions"))
    body = {name: value for name, value in data.items() if name not in _REWRITTEN and value is not None}
    found = messages.read(_input_of(data))
    needs = messages.needs_native or ("prompt" if data.get("prompt") is not None else None)
    body["messages"] = found
    if tools := data.get("tools"):
        body["tools"], own = read_tools(tools)
        needs = needs or own
        if (choice := data.get("tool_choice")) is not None:
            body["tool_choice"], own = read_tool_choice(choice)
            needs = needs or own
    else:
        # Vendors take it with tools alone.
        body.pop("parallel_tool_calls", None)
    unexpressed = [name for name in _UNEXPRESSED if data.get(name) is not None]
    if data.get("truncation") == "auto":
        unexpressed.append("truncation")
    if call.is_stream:
        # Its usage is always shown.
        body["stream_options"] = {"include_usage": True}
    if (most := data.get("max_output_tokens")) is not None:
        body["max_completion_tokens"] = most
    _read_reasoning(data.get("reasoning"), body)
    _read_text(data.get("text"), body)
    if LOGPROBS in (data.get("include") or ()) or data.get("top_logprobs"):
        body["logprobs"] = True
    if len(messages.references) > _MOST_REFERENCES:
        raise _invalid("input", f"at most {_MOST_REFERENCES} item references")
    turn = _turn(data, tuple(messages.references))
    if not found and not messages.references and turn.previous_id is None and needs is None:
        raise missing("input")
    call.body, call.dialect, call.wants_usage = body, NAME, True
    call.native = _native(data)
    call.needs_native, call.turn, call.unexpressed = needs, turn, tuple(unexpressed)
    return call


def _native(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a vendor of this dialect gets: nothing of ours, and nothing for it to keep."""
    native = {name: value for name, value in data.items() if name not in {"previous_response_id", "background"}}
    native["store"] = False
    items = data.get("input")
    if isinstance(items, list) and any(map(is_packed, items)):
        native["input"] = [item for item in items if not is_packed(item)]
    return native


def _turn(data: Mapping[str, Any], references: tuple[str, ...]) -> Turn:
    given = data.get("input")
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given or []
    return Turn(
        response_id=uuid7(),
        created_at=int(time.time()),
        document=data,
        is_stored=data.get("store") is not False,
        previous_id=_previous(data.get("previous_response_id")),
        input=items,
        references=references,
    )


def _input_of(data: Mapping[str, Any]) -> object:
    given = data.get("input")
    if given is None:
        if data.get("prompt") is None:
            raise missing("input")
        return []
    return given


def _previous(value: object) -> UUID | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type("previous_response_id", "a string", value)
    try:
        return parse_id("resp", value)
    except ValueError:
        raise _not_found(value) from None


def previous_not_found(turn: Turn) -> BadRequest:
    """400, as OpenAI answers it: the path of the call is right."""
    return _not_found(turn.document["previous_response_id"])


def _not_found(name: str) -> BadRequest:
    return BadRequest(
        f"Previous response with id '{name[:80]}' not found.",
        code="previous_response_not_found",
        param="previous_response_id",
    )


def _check(data: Mapping[str, Any]) -> None:
    """Fields that are read here; a vendor judges the rest."""
    check_count("max_output_tokens", data.get("max_output_tokens"), least=1)
    check_count("max_tool_calls", data.get("max_tool_calls"), least=1)
    for name in ("store", "background", "parallel_tool_calls"):
        if data.get(name) is not None and not isinstance(data[name], bool):
            raise wrong_type(name, "a boolean", data[name])
    for name in ("reasoning", "text", "stream_options", "prompt"):
        if data.get(name) is not None and not isinstance(data[name], dict):
            raise wrong_type(name, "an object", data[name])
    # Tuples: what is looked for in a set must be hashable.
    if data.get("truncation") not in (None, "auto", "disabled"):
        raise _invalid("truncation", "'auto' or 'disabled'")
    include = data.get("include")
    if include is not None and not (isinstance(include, list) and all(isinstance(name, str) for name in include)):
        raise wrong_type("include", "an array of strings", include)
    if data.get("background"):
        raise _refused("background", "Send the call with 'stream': true, or wait for its answer.")
    if data.get("conversation") is not None:
        raise _refused("conversation", "Continue an earlier answer with 'previous_response_id'.")
    if data.get("n") not in (None, 1):
        raise _refused("n", "Each call gives one answer.")
    _check_metadata(data.get("metadata"))


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise wrong_type("metadata", "an object", metadata)
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{name[:_LONGEST_NAME]}", "a string", value)
        if len(name) > _LONGEST_NAME or len(value) > _LONGEST_VALUE:
            raise _invalid(
                "metadata", f"names of at most {_LONGEST_NAME} and values of at most {_LONGEST_VALUE} characters"
            )
    if len(metadata) > _MOST_PAIRS:
        raise _invalid("metadata", f"at most {_MOST_PAIRS} pairs")


def _read_reasoning(reasoning: Mapping[str, Any] | None, body: dict[str, Any]) -> None:
    if not reasoning:
        return
    effort = reasoning.get("effort")
    if effort is not None:
        if not isinstance(effort, str):
            raise wrong_type("reasoning.effort", "a string", effort)
        body["reasoning_effort"] = effort
    summary = reasoning.get("summary")
    if summary is not None and not isinstance(summary, str):
        raise wrong_type("reasoning.summary", "a string", summary)


def _read_text(text: Mapping[str, Any] | None, body: dict[str, Any]) -> None:
    if not text:
        return
    verbosity = text.get("verbosity")
    if verbosity is not None:
        if not isinstance(verbosity, str):
            raise wrong_type("text.verbosity", "a string", verbosity)
        body["verbosity"] = verbosity
    form = text.get("format")
    if form is not None:
        _read_format(form, body)


def _read_format(form: object, body: dict[str, Any]) -> None:
    if not isinstance(form, dict):
        raise wrong_type("text.format", "an object", form)
    kind = form.get("type")
    if kind is None:
        raise missing("text.format.type")
    if not isinstance(kind, str):
        raise wrong_type("text.format.type", "a string", kind)
    if kind == "json_schema":
        for field, types, words in (("name", str, "a string"), ("schema", dict, "an object")):
            if form.get(field) is None:
                raise missing(f"text.format.{field}")
            if not isinstance(form[field], types):
                raise wrong_type(f"text.format.{field}", words, form[field])
        inner = {name: value for name, value in form.items() if name != "type" and value is not None}
        body["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif kind != "text":
        body["response_format"] = form


def _invalid(name: str, expected: str) -> BadRequest:
    return BadRequest(f"Invalid value for '{name}': expected {expected}.", code="invalid_value", param=name)


def _refused(name: str, instead: str) -> BadRequest:
    return BadRequest(f"'{name}' is not supported by this gateway. {instead}", code="unsupported_parameter", param=name)
