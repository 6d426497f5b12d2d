"""One whole answer out of the chunks of a stream, as the vendor would have given it at once.

For calls that are wanted whole and have to be watched while they are made. Chunks have the shape the dialect's reader
gives them; fields nobody knows are put together by their kind: texts and lists grow, objects merge, the rest is replaced.
"""

from collections.abc import Iterable
from typing import Any, Final

from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.gateway.openai_repair import repair_arguments
from tollkeeper.gateway.openai_usage import write_usage

_OBJECTS: Final = {Operation.CHAT: "chat.completion", Operation.COMPLETIONS: "text_completion"}
# Texts that name something: the same in each chunk that has them, and not to be put one after the other.
_NAMES: Final = frozenset({"id", "type", "role", "model", "object"})


def assemble(chunks: Iterable[Chunk], call: Call) -> Chunk:
    """`call` is the one that was streamed. The last usage among the chunks is the answer's."""
    head: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    usage: Usage | None = None
    shown: Any = None
    text_length = 0
    for chunk in chunks:
        data = chunk.data
        text_length += chunk.text_length
        usage = chunk.usage or usage
        shown = data.get("usage") or shown
        head |= {name: value for name, value in data.items() if name not in {"choices", "usage"} and value is not None}
        for choice in data.get("choices") or ():
            _merge(choices.setdefault(choice.get("index", 0), {}), choice)
    is_chat = call.operation is Operation.CHAT
    document = {
        **head,
        "object": _OBJECTS[call.operation],
        "choices": [_finished(choices[index], is_chat=is_chat) for index in sorted(choices)],
    }
    if shown is None and usage is not None:
        shown = write_usage(usage)
    if shown is not None:
        document["usage"] = shown
    return Chunk(document, is_content=True, is_final=True, usage=usage, text_length=text_length)


def _finished(choice: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
    choice.setdefault("logprobs", None)
    choice["finish_reason"] = choice.get("finish_reason") or "stop"
    if not is_chat:
        choice.setdefault("text", "")
        return choice
    message = choice.pop("delta", {})
    message["role"] = "assistant"
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
        # What a stream says at first, before it is known that only tools are called.
        message["content"] = message.get("content") or None
    else:
        message.pop("tool_calls", None)
        message.setdefault("content", None)
    message.setdefault("refusal", None)
    return {**choice, "message": message}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    call = {name: value for name, value in call.items() if name != "index"}
    inner = call.get("function")
    if isinstance(inner, dict):
        call["function"] = {**inner, "arguments": repair_arguments(inner.get("arguments"), empty="{}")}
    return call


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        known = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif known is None:
            into[name] = _merged_list([], value) if isinstance(value, list) else _copied(value)
        elif isinstance(known, str) and isinstance(value, str) and name not in _NAMES and name != "finish_reason":
            into[name] = known + value
        elif isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            _merged_list(known, value)
        else:
            into[name] = value


def _copied(value: Any) -> Any:
    """Objects are merged into, so they must be ours."""
    if not isinstance(value, dict):
        return value
    copied: dict[str, Any] = {}
    _merge(copied, value)
    return copied


def _merged_list(known: list[Any], more: list[Any]) -> list[Any]:
    """Entries with an `index` are parts of the one with that number (tool calls); all others follow one another."""
    for entry in more:
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is not int:
            known.append(_copied(entry))
            continue
        same = next((own for own in known if isinstance(own, dict) and own.get("index") == index), None)
        if same is None:
            known.append(_copied(entry))
        else:
            _merge(same, entry)
    return known
