"""The content blocks of one streamed message: one open at a time, numbered as they open, none without content.

Vendors that speak OpenAI's form may write two calls of tools by turns. What comes while a call's arguments are not whole
waits for them.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final

import orjson

from tollkeeper.gateway.dialects.anthropic_messages.write_parts import (
    OWN,
    Block,
    citations_of,
    parse_arguments,
    redacted,
    signature_of,
    signed_call,
    tool_id,
)

_EVENT: Final = b"event: %b\ndata: %b\n\n"
_TEXT: Final = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%b}}\n\n'
)
_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'


_Put = Callable[[Any, list[bytes]], None]
_Item = tuple[_Put, Any]


class Kind(Enum):
    NONE = auto()
    TEXT = auto()
    THINKING = auto()
    TOOL = auto()
    # Another's, that was relayed: it can only be closed.
    OTHER = auto()


def event(name: str, document: Mapping[str, Any]) -> bytes:
    return _EVENT % (name.encode("ascii"), orjson.dumps(document))


class Blocks:
    """`say`, `think`, `detail`, `call` and `cite` append events to `out`; `close` ends what is open."""

    __slots__ = (
        "_arguments",
        "_done",
        "_index",
        "_is_orderly",
        "_kind",
        "_nameless",
        "_names",
        "_text",
        "_thought",
        "_tool",
        "_waiting",
        "has_tools",
    )

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names`: of tools that the vendor knows by another one."""
        self._names = names
        self._index = -1
        self._kind = Kind.NONE
        self._text: list[str] = []
        # Of the open thought: the number its vendor gave it, and what is known of its signature. None: it has none.
        self._thought: Block | None = None
        self._tool = -1
        self._arguments: list[str] = []
        self._done: set[int] = set()
        # Calls whose name is still to come, by their number.
        self._nameless: dict[int, Block] = {}
        self._waiting: list[_Item] = []
        # Nothing waits: the vendor itself writes one block after the other.
        self._is_orderly = False
        self.has_tools = False

    def adopt(self, index: int, kind: Kind, calls: int) -> None:
        """Go on where relayed events stopped: in this block, or after it; so many calls of tools were among them."""
        self._index, self._kind, self._tool = index, kind, calls - 1
        self._done = set(range(calls - (kind is Kind.TOOL)))
        self._thought = {"index": index, "format": OWN} if kind is Kind.THINKING else None
        # Not nothing, though we did not see them.
        self._arguments = [" "]
        self.has_tools, self._is_orderly = calls > 0, True

    def say(self, text: str, out: list[bytes]) -> None:
        if self._kind is not Kind.TEXT:
            if self._waits(self.say, text):
                return
            self._open(Kind.TEXT, {"type": "text", "text": ""}, out)
        self._text.append(text)
        out.append(_TEXT % (self._index, orjson.dumps(text)))

    def think(self, text: str, out: list[bytes]) -> None:
        if self._kind is not Kind.THINKING or self._thought is not None:
            if self._waits(self.think, text):
                return
            self._open_thought(None, out)
        self._delta({"type": "thinking_delta", "thinking": text}, out)

    def detail(self, detail: Mapping[str, Any], out: list[bytes]) -> None:
        """A part of a thought, told apart from others by its `index`."""
        if detail.get("type") == "reasoning.encrypted":
            if not self._waits(self.detail, detail):
                self._open(Kind.OTHER, redacted(detail), out)
                self.close(out)
            return
        text = detail.get("text") or detail.get("summary")
        if self._kind is not Kind.THINKING or not self._is_same_thought(detail, text):
            if self._waits(self.detail, detail):
                return
            self._open_thought({}, out)
        self._thought = {**(self._thought or {}), **_without_text(detail)}
        if text and isinstance(text, str):
            self._delta({"type": "thinking_delta", "thinking": text}, out)

    def call(self, fragment: Mapping[str, Any], out: list[bytes]) -> None:
        """A piece of a call of a tool; its first one has the name."""
        index = fragment.get("index")
        index = index if type(index) is int else 0
        inner = fragment.get("function") or fragment.get("custom") or {}
        text = inner.get("arguments") or inner.get("input") or ""
        if self._kind is Kind.TOOL and self._tool == index:
            self._argue(text, out)
            if self._waiting:
                self._release(out)
        elif index not in self._done and not self._waits(self.call, fragment):
            self._start_call(index, fragment, inner.get("name"), text, out)

    def cite(self, annotations: object, out: list[bytes]) -> None:
        citations = citations_of(annotations, "".join(self._text))
        if not citations or self._waits(self.cite, annotations):
            return
        if self._kind is not Kind.TEXT:
            self._open(Kind.TEXT, {"type": "text", "text": ""}, out)
        for citation in citations:
            self._delta({"type": "citations_delta", "citation": citation}, out)

    def close(self, out: list[bytes]) -> None:
        kind, self._kind = self._kind, Kind.NONE
        if kind is Kind.NONE:
            return
        if kind is Kind.THINKING and (signature := signature_of(self._thought or {})):
            self._delta({"type": "signature_delta", "signature": signature}, out)
        elif kind is Kind.TOOL:
            self._done.add(self._tool)
            if not any(self._arguments):
                # No arguments are an empty object, and an accumulated "" is no JSON.
                self._delta({"type": "input_json_delta", "partial_json": "{}"}, out)
        out.append(_STOP % self._index)

    def finish(self, out: list[bytes]) -> None:
        """What still waits, in order, and each call's pieces together."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            self.close(out)
            for put, item in self._together(waiting):
                put(item, out)
        for index in list(self._nameless):
            self._start_call(index, {}, "unnamed", "", out)
        self.close(out)

    @property
    def is_cut(self) -> bool:
        """Whether the last call's arguments end in the middle."""
        return self.has_tools and parse_arguments("".join(self._arguments)) is None

    def _start_call(self, index: int, fragment: Mapping[str, Any], name: object, text: str, out: list[bytes]) -> None:
        kept = self._nameless.pop(index, None)
        if kept is not None:
            fragment = {**kept, **fragment, "id": kept.get("id") or fragment.get("id")}
            text = kept["function"]["arguments"] + text
        if not isinstance(name, str) or not name:
            self._nameless[index] = {**fragment, "function": {"arguments": text}}
            return
        given = tool_id(fragment.get("id"))
        if fragment.get("extra_content"):
            self._open(Kind.OTHER, signed_call(given, fragment["extra_content"]), out)
        self._open(Kind.TOOL, {"type": "tool_use", "id": given, "name": self._names.get(name, name), "input": {}}, out)
        self.has_tools = True
        self._tool = index
        self._arguments = []
        self._argue(text, out)

    def _argue(self, text: object, out: list[bytes]) -> None:
        if text and isinstance(text, str):
            self._arguments.append(text)
            self._delta({"type": "input_json_delta", "partial_json": text}, out)

    def _waits(self, put: "_Put", item: Any) -> bool:
        """Whether it has to: a call is open whose arguments are not whole."""
        if self._kind is not Kind.TOOL or self._is_orderly or self._is_whole():
            return False
        self._waiting.append((put, item))
        return True

    def _is_whole(self) -> bool:
        # Looked at closely only where it may be.
        ends = next((text.rstrip() for text in reversed(self._arguments) if text.strip()), "")
        return ends.endswith("}") and parse_arguments("".join(self._arguments)) is not None

    def _release(self, out: list[bytes]) -> None:
        if self._is_whole():
            waiting, self._waiting = self._waiting, []
            for put, item in waiting:
                put(item, out)

    def _together(self, waiting: "list[_Item]") -> "list[_Item]":
        """Pieces of one call follow its first; all else keeps its place."""
        groups: dict[object, list[_Item]] = {}
        for position, (put, item) in enumerate(waiting):
            key = ("call", item.get("index")) if put == self.call else position
            groups.setdefault(key, []).append((put, item))
        return [entry for group in groups.values() for entry in group]

    def _is_same_thought(self, detail: Mapping[str, Any], text: object) -> bool:
        if self._thought is None:
            # One that was told without its number, and now its signature comes.
            return not text
        return bool(detail.get("index") == self._thought.get("index"))

    def _open_thought(self, thought: Block | None, out: list[bytes]) -> None:
        self._open(Kind.THINKING, {"type": "thinking", "thinking": "", "signature": ""}, out)
        self._thought = thought

    def _open(self, kind: Kind, block: Block, out: list[bytes]) -> None:
        self.close(out)
        self._index += 1
        self._kind = kind
        self._text = []
        out.append(
            event("content_block_start", {"type": "content_block_start", "index": self._index, "content_block": block})
        )

    def _delta(self, delta: Block, out: list[bytes]) -> None:
        out.append(event("content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta}))


def _without_text(detail: Mapping[str, Any]) -> Block:
    return {name: value for name, value in detail.items() if name not in {"text", "summary"}}
