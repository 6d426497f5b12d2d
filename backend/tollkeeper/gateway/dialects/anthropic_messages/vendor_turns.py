"""Canonical messages → Anthropic's `system` and `messages`: turns that alternate, results of tools first in theirs.

OpenAI has a message for every result, system messages anywhere and ids that may come again; Anthropic has none of that.
"""

from collections.abc import Sequence
from typing import Any, Final

from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.anthropic_messages.vendor_arguments import read_arguments
from tollkeeper.gateway.dialects.anthropic_messages.vendor_blocks import Block, blocks_of, cache_mark, text_blocks
from tollkeeper.gateway.dialects.anthropic_messages.vendor_media import unsupported
from tollkeeper.gateway.dialects.anthropic_messages.vendor_names import fit_id, fit_name
from tollkeeper.gateway.dialects.anthropic_messages.vendor_thoughts import with_thoughts
from tollkeeper.gateway.openai_fields import missing, wrong_type

_INSTRUCTIONS: Final = frozenset({"system", "developer"})
_SILENCE: Final[Block] = {"type": "text", "text": "."}
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


class Turns:
    """Reads the messages of one call."""

    def __init__(self, messages: list[Any], *, has_system_turns: bool) -> None:
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        # Of the tools that were called so far, as Anthropic names them.
        self._names: dict[str, None] = {}
        self._has_system_turns = has_system_turns
        # The caller's id of a call → ours; an id that comes again gets another one.
        self._ids: dict[str, str] = {}
        self._used: set[str] = set()
        # How often an id came: one that comes a thousand times is not tried a thousand times each.
        self._counts: dict[str, int] = {}
        for position, message in enumerate(messages):
            following = messages[position + 1] if position + 1 < len(messages) else None
            self._read(message, f"messages[{position}]", following)
        self._finish()

    @property
    def tool_names(self) -> Sequence[str]:
        return tuple(self._names)

    @property
    def lacks_thoughts(self) -> bool:
        """Whether the turn that the last results belong to was sent without its thinking.

        With a budget of thinking Anthropic wants such a turn to begin with it.
        """
        for turn in reversed(self.turns):
            if turn["role"] == "assistant":
                content = turn["content"]
                calls = isinstance(content, list) and any(block["type"] == "tool_use" for block in content)
                return calls and content[0]["type"] not in _THOUGHTS
        return False

    def _read(self, message: dict[str, Any], where: str, following: Any) -> None:
        role = message["role"]
        if role == "user":
            self._add("user", self._user(message, where))
        elif role == "assistant":
            self._add("assistant", self._assistant(message, where))
        elif role == "tool":
            self._add("user", [self._result(message, where)])
        elif role in _INSTRUCTIONS:
            self._instruct(message, where, following)
        else:
            raise BadRequest(
                f"Invalid value for '{where}.role': Anthropic takes 'system', 'developer', 'user', 'assistant' and 'tool'.",
                param=f"{where}.role",
                code="invalid_value",
            )

    def _instruct(self, message: dict[str, Any], where: str, following: Any) -> None:
        """The leading ones are the system prompt; a later one keeps its place, as a note where there is no turn for it."""
        blocks = _marked(text_blocks(message.get("content"), f"{where}.content"), message)
        if not self.turns:
            self.system += blocks
        elif self._has_system_turns and self.turns[-1]["role"] != "assistant" and _is_assistant(following):
            self._add("system", blocks)
        else:
            noted = [{**block, "text": f"<system>\n{block['text']}\n</system>"} for block in blocks]
            self._add("user", noted)

    def _user(self, message: dict[str, Any], where: str) -> list[Block]:
        blocks = blocks_of(message.get("content"), f"{where}.content", takes_documents=True)
        return _marked([self._renamed(block, f"{where}.content") for block in blocks], message)

    def _assistant(self, message: dict[str, Any], where: str) -> list[Block]:
        if message.get("audio") is not None:
            raise unsupported(f"{where}.audio", "Anthropic takes no sound")
        if message.get("function_call") is not None:
            raise unsupported(f"{where}.function_call", "send `tool_calls` in its place")
        blocks = [self._renamed(block, where) for block in blocks_of(message.get("content"), f"{where}.content")]
        refusal = message.get("refusal")
        if isinstance(refusal, str):
            blocks += blocks_of(refusal, f"{where}.refusal")
        calls = message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            raise wrong_type(f"{where}.tool_calls", "an array of objects", calls)
        for position, call in enumerate(calls or ()):
            blocks.append(self._call(call, f"{where}.tool_calls[{position}]"))
        if not any(block["type"] in _THOUGHTS for block in blocks):
            blocks = with_thoughts(message.get("reasoning_details"), blocks)
        return _marked(blocks, message)

    def _call(self, call: Any, where: str) -> Block:
        if not isinstance(call, dict):
            raise wrong_type(where, "an object", call)
        call_id = call.get("id")
        if not isinstance(call_id, str):
            raise missing(f"{where}.id") if call_id is None else wrong_type(f"{where}.id", "a string", call_id)
        inner = call.get("function") or call.get("custom")
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(name, str) or not name:
            raise missing(f"{where}.function.name")
        if "custom" in call:
            arguments: dict[str, Any] = {"input": inner.get("input") or ""}
        else:
            arguments = read_arguments(inner.get("arguments"), f"{where}.function.arguments")
        block: Block = {"type": "tool_use", "id": self._new_id(call_id), "name": self._named(name), "input": arguments}
        mark = cache_mark(call)
        if mark is not None:
            block["cache_control"] = mark
        return block

    def _result(self, message: dict[str, Any], where: str) -> Block:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str):
            name = f"{where}.tool_call_id"
            raise missing(name) if call_id is None else wrong_type(name, "a string", call_id)
        content = message.get("content")
        block: Block = {"type": "tool_result", "tool_use_id": self._known_id(call_id)}
        if isinstance(content, str):
            # Unlike a text, a result may be empty.
            block["content"] = content
        else:
            block["content"] = blocks_of(content, f"{where}.content", takes_documents=True)
        if message.get("is_error") is True:
            block["is_error"] = True
        mark = cache_mark(message)
        if mark is not None:
            block["cache_control"] = mark
        return block

    def _renamed(self, block: Block, where: str) -> Block:
        """A block in Anthropic's own form: its ids and names may come from another vendor all the same."""
        if block["type"] == "tool_use" and isinstance(block.get("id"), str) and isinstance(block.get("name"), str):
            return {**block, "id": self._new_id(block["id"]), "name": self._named(block["name"])}
        if block["type"] == "tool_result":
            call_id = block.get("tool_use_id")
            if not isinstance(call_id, str):
                raise wrong_type(f"{where}.tool_use_id", "a string", call_id)
            return {**block, "tool_use_id": self._known_id(call_id)}
        return block

    def _named(self, name: str) -> str:
        fitted = fit_name(name)
        self._names[fitted] = None
        return fitted

    def _new_id(self, call_id: str) -> str:
        count = self._counts.get(call_id, 0) + 1
        fitted = fit_id(call_id if count == 1 else f"{call_id}#{count}")
        while fitted in self._used:
            count += 1
            fitted = fit_id(f"{call_id}#{count}")
        self._counts[call_id] = count
        self._used.add(fitted)
        self._ids[call_id] = fitted
        return fitted

    def _known_id(self, call_id: str) -> str:
        return self._ids.get(call_id) or fit_id(call_id)

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": list(blocks)})

    def _finish(self) -> None:
        if not self.turns:
            if not self.system:
                raise BadRequest(
                    "Invalid 'messages': there is no text, image or file in any of them.",
                    param="messages",
                    code="invalid_value",
                )
            # Instructions alone: what is to be done is what they say.
            self.turns, self.system = [{"role": "user", "content": self.system}], []
        if self.turns[0]["role"] == "assistant":
            # A greeting, most often; Anthropic wants somebody to have spoken before.
            self.turns.insert(0, {"role": "user", "content": [dict(_SILENCE)]})
        last = self.turns[-1]
        if last["role"] == "assistant":
            _trim(last)
            if not last["content"] and len(self.turns) > 1:
                self.turns.pop()
        for turn in self.turns:
            if turn["role"] == "user":
                turn["content"] = _results_first(turn["content"])
            turn["content"] = _short(turn["content"])


def _is_assistant(message: Any) -> bool:
    """A system turn stands before the model's next one, or at the end."""
    return message is None or message["role"] == "assistant"


def _marked(blocks: list[Block], message: dict[str, Any]) -> list[Block]:
    """A mark on a message is meant for its last block."""
    mark = message.get("cache_control")
    if mark is None or not blocks or blocks[-1]["type"] in _THOUGHTS:
        return blocks
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]


def _results_first(blocks: list[Block]) -> list[Block]:
    """Each call's result once, the last one given; then everything else, in order."""
    results: dict[str, Block] = {}
    others: list[Block] = []
    for block in blocks:
        if block["type"] == "tool_result":
            results[block["tool_use_id"]] = block
        else:
            others.append(block)
    return [*results.values(), *others] if results else blocks


def _trim(turn: dict[str, Any]) -> None:
    """The beginning of an answer to be continued: Anthropic refuses one that ends in white space."""
    block = turn["content"][-1]
    if block["type"] == "text" and block["text"][-1:].isspace():
        turn["content"][-1] = {**block, "text": block["text"].rstrip()}


def _short(blocks: list[Block]) -> Any:
    """One plain text needs no list."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks
