"""Decides what a simulated chat model answers: text, a refusal, tool calls or JSON, and how many tokens that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tollkeeper.gateway.simulator import prose
from tollkeeper.gateway.simulator.chat_request import (
    Tool,
    must_call,
    read_cap,
    read_effort,
    read_functions,
    read_stops,
    read_tools,
)
from tollkeeper.gateway.simulator.counting import pieces, texts
from tollkeeper.gateway.simulator.dice import Dice
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.json_schema import make_value
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.unfit import UnfitSchema

# More than any vendor takes.
_MOST_STOPS = 1000
_REFUSAL = "I'm sorry, but I can't help with that. (A simulated refusal.)"


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: tuple[str, ...]  # in tokens
    is_custom: bool = False

    @property
    def tokens(self) -> int:
        # The name is one token, whatever its length.
        return 1 + len(self.arguments)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer, in tokens. At most one of `content`, `refusal` and `calls` is there."""

    finish_reason: str
    content: tuple[str, ...] = ()
    refusal: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    # The deprecated `function_call` in place of `tool_calls`.
    is_function_call: bool = False
    # The stop sequence that ended the text.
    stopped_by: str | None = None

    @property
    def tokens(self) -> int:
        return (
            len(self.content) + len(self.refusal) + len(self.reasoning) + sum(call.tokens for call in self.calls)
        )  # fmt: skip


def choose(
    body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], family: Family, wish: Directives, dice: Dice
) -> Choice:
    """One choice. The dice make the difference between the `n` choices of a call."""
    cap = read_cap(body)
    reasoning: list[str] = []
    if family is Family.REASONING:
        reasoning = pieces(prose.thinking(dice, read_effort(body)))
    if cap is not None and len(reasoning) >= cap:
        return Choice("length", reasoning=tuple(reasoning[:cap]))
    left = None if cap is None else cap - len(reasoning)
    said = _say(body, messages, wish, dice, left)
    return replace(said, reasoning=tuple(reasoning))


def _say(
    body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], wish: Directives, dice: Dice, cap: int | None
) -> Choice:
    if wish.is_refusal:
        said, reason = _cut(pieces(_REFUSAL), cap)
        return Choice(reason, refusal=said)
    tools = _tools_to_call(body, messages, dice, is_parallel=wish.is_parallel)
    if tools:
        return _call(tools, dice, cap)
    functions = (
        [] if messages[-1]["role"] in {"tool", "function"} else [(tool, "") for tool in read_functions(body)[:1]]
    )
    if functions:
        called = _call(functions, dice, cap)
        reason = "function_call" if called.finish_reason == "tool_calls" else called.finish_reason
        return Choice(reason, calls=called.calls, is_function_call=True)
    text = _json(body, dice)
    if text is None:
        text = prose.answer(dice, last_text(messages), wish.length)
    text, stopped_by = stop(text, read_stops(body, _MOST_STOPS))
    said, reason = _cut(pieces(text), cap)
    if wish.is_filtered:
        return Choice("content_filter", content=said[: len(said) // 2])
    return Choice(reason, content=said, stopped_by=stopped_by if reason == "stop" else None)


def last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What was asked last: the newest user turn, or the tool results behind it."""
    for message in reversed(messages):
        if message["role"] in {"user", "tool", "function"} and (said := texts(message.get("content"))):
            return " ".join(said)
    return " ".join(texts(messages[-1].get("content")))


def stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """The text up to the first stop sequence, and which that was."""
    places = [(place, word) for word in stops if (place := text.find(word)) >= 0]
    if not places:
        return text, None
    place, word = min(places)
    return text[:place], word


def _tools_to_call(
    body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], dice: Dice, *, is_parallel: bool
) -> list[tuple[Tool, str]]:
    """The tools to call with the ids of the calls; [] to answer in text."""
    tools = read_tools(body)
    wanted = must_call(body)
    if not tools or wanted is False or (wanted is None and messages[-1]["role"] in {"tool", "function"}):
        return []
    # A tool that the question names goes first, so that people can choose one.
    asked = last_text(messages)
    tools.sort(key=lambda tool: tool.name not in asked)
    wanted_parallel = body.get("parallel_tool_calls")
    if not (is_parallel if wanted_parallel is None else wanted_parallel is True):
        tools = tools[:1]
    elif len(tools) == 1:
        tools = [tools[0], tools[0]]
    else:
        tools = tools[:2]
    return [(tool, f"call_{dice.below(2**62):016x}") for tool in tools]


def _call(tools: Sequence[tuple[Tool, str]], dice: Dice, cap: int | None) -> Choice:
    calls: list[ToolCall] = []
    left = cap
    for tool, call_id in tools:
        if tool.is_custom:
            text = prose.sentence(dice)
        elif tool.parameters is None:
            text = "{}"
        else:
            text = orjson.dumps(_value(tool.parameters, dice, "tools")).decode()
        if left is not None and left <= 0:
            break
        said, reason = _cut(pieces(text), None if left is None else left - 1)
        calls.append(ToolCall(call_id, tool.name, said, is_custom=tool.is_custom))
        if reason == "length":
            return Choice("length", calls=tuple(calls))
        left = None if left is None else left - calls[-1].tokens
    return Choice("tool_calls" if len(calls) == len(tools) else "length", calls=tuple(calls))


def _json(body: Mapping[str, Any], dice: Dice) -> str | None:
    """The JSON that `response_format` asks for; None for plain text."""
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return orjson.dumps({"answer": prose.sentence(dice), "simulated": True}).decode()
    if kind != "json_schema":
        return None
    assert isinstance(wanted, dict)
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if schema is None:
        raise Refusal(
            400,
            "Missing required parameter: 'response_format.json_schema'.",
            param="response_format.json_schema",
            code="missing_required_parameter",
        )
    return orjson.dumps(_value(schema, dice, "response_format")).decode()


def _value(schema: Any, dice: Dice, param: str) -> Any:
    try:
        return make_value(schema, dice)
    except UnfitSchema as error:
        raise Refusal(
            400, f"Invalid schema for '{param}': {error}.", param=param, code="invalid_json_schema"
        ) from error


def _cut(tokens: Sequence[str], cap: int | None) -> tuple[tuple[str, ...], str]:
    if cap is None or len(tokens) <= cap:
        return tuple(tokens), "stop"
    return tuple(tokens[:cap]), "length"
