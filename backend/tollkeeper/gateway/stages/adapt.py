"""Gives a call what its model's configuration says, and refuses what the model cannot do, before anything is reckoned.

Behind `claim`, which remembers a call as it was sent, and before `admit`, which has to see the call that goes out.
Models of which nothing is configured or known cost two attribute look-ups.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.chat import ABSENT, Call, Operation
from tollkeeper.contracts.parameters import NO_PARAMETERS, ModelParameters
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.asked import ASKED
from tollkeeper.gateway.money.families import family_of
from tollkeeper.gateway.money.tokens import RESIDENT, count_chat, message_texts
from tollkeeper.gateway.native_parameters import with_native
from tollkeeper.gateway.openai_repair import is_translated
from tollkeeper.gateway.stage import Exchange, FunctionStep

APPLIED: Final = "x-tollkeeper-applied-params"
# Two names of one thing.
_CAPS: Final = ("max_completion_tokens", "max_tokens")
_WORDS: Final[Mapping[str, str]] = {
    "vision": "does not read pictures",
    "audio": "neither hears nor speaks",
    "tools": "does not call tools",
    "json_schema": "does not answer in a JSON schema",
    "reasoning": "does not reason at an effort of the caller's",
}
# Our count of other vendors' tokens is a middle figure; nobody is refused for less than a quarter beyond it.
_DOUBT_PERCENT: Final = 125


@FunctionStep
def adapt(exchange: Exchange) -> Awaitable[None] | None:
    route, call = exchange.route, exchange.call
    if route.parameters is not NO_PARAMETERS and call.form is None:
        call = exchange.call = _with_parameters(exchange, call, route.parameters)
    if call.operation is Operation.CHAT:
        if route.capabilities:
            _check_capabilities(call, route.capabilities)
            if call.body.get("thinking") is not None and not route.capabilities.get("reasoning", True):
                call = exchange.call = _without_thinking(call)
        if route.max_output_tokens is not None:
            call = exchange.call = _bounded(exchange, call, route.max_output_tokens)
        if route.context_tokens is not None:
            return _check_context(call, route, exchange.plan[0].model)
    return None


def _with_parameters(exchange: Exchange, call: Call, parameters: ModelParameters) -> Call:
    changes: dict[str, Any] = {}
    told: list[str] = []
    for name, value in parameters.defaults.items():
        if all(call.body.get(known) is None for known in _names(name)):
            changes[name] = value
            told.append(f"{name}=default")
    for name, value in parameters.overrides.items():
        for known in _names(name):
            changes.pop(known, None)
            if known in call.body:
                changes[known] = ABSENT
        if value is not None:
            changes[name] = value
        if value is not None or name in changes:
            told = [one for one in told if one.partition("=")[0] not in _names(name)]
            told.append(f"{name}=override")
    if not changes:
        return call
    exchange.response_headers[APPLIED] = ",".join(sorted(told))
    changed = call.replace(**changes)
    changed.native = None if call.native is None else with_native(call.dialect, call.native, changes)
    if changed.native is None and call.needs_native is not None:
        raise BadRequest(
            f"'{call.needs_native}' cannot be used with this model: its operator sets {', '.join(sorted(changes))}.",
            code="unsupported_parameter",
            param=call.needs_native,
        )
    return changed


def _names(name: str) -> tuple[str, ...]:
    return _CAPS if name in _CAPS else (name,)


def _check_capabilities(call: Call, capabilities: Mapping[str, bool]) -> None:
    body = call.body
    for name, word in _WORDS.items():
        if capabilities.get(name, True):
            continue
        param = ASKED[name](body)
        if param is not None:
            raise _lacking(call, word, param)


def _without_thinking(call: Call) -> Call:
    """Agents written for Anthropic's models ask all of them to think; one that cannot answers without."""
    changed = call.replace(thinking=ABSENT)
    changed.native = None if call.native is None else with_native(call.dialect, call.native, {"thinking": ABSENT})
    changed.unexpressed = (*call.unexpressed, "thinking")
    return changed


def _lacking(call: Call, words: str, param: str) -> BadRequest:
    return BadRequest(
        f"The model `{call.model}` {words}. Ask for less, or for another model.",
        code="unsupported_capability",
        param=param,
    )


def _bounded(exchange: Exchange, call: Call, longest: int) -> Call:
    """A cap beyond what the model writes is refused. Clients of other dialects know the caps of their own vendor's models
    alone, and some must send one: they get the model's, and are told.
    """
    for name in _CAPS:
        asked = call.body.get(name)
        if type(asked) is not int or asked <= longest:
            continue
        if not is_translated(call.dialect):
            raise _lacking(call, f"answers in at most {longest} tokens, and {asked} were asked for", name)
        bounded = call.replace(**{name: longest})
        bounded.native = None if call.native is None else with_native(call.dialect, call.native, {name: longest})
        told = exchange.response_headers.get(APPLIED)
        exchange.response_headers[APPLIED] = f"{told},{name}=model" if told else f"{name}=model"
        call = bounded
    return call


async def _check_context(call: Call, route: ModelRoute, upstream_model: str) -> None:
    """No text has more tokens than bytes: nearly every call is known to fit by its length alone."""
    most = route.context_tokens
    assert most is not None
    if call.raw is not None and len(call.raw) <= most:
        return
    size = sum(_bytes_of(text) for message in call.body["messages"] for text in message_texts(message))
    if size <= most:
        return
    family = family_of(call.model if upstream_model == "*" else upstream_model)
    tokens = await asyncio.to_thread(count_chat, call.body, family)
    if tokens * 100 > most * (100 if family.encoding in RESIDENT else _DOUBT_PERCENT):
        raise BadRequest(
            f"This model's maximum context length is {most} tokens. However, your messages resulted in about {tokens} "
            "tokens. Please reduce the length of the messages.",
            # OpenAI's own: agents shorten what they send when they meet it.
            code="context_length_exceeded",
            param="messages",
        )


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
