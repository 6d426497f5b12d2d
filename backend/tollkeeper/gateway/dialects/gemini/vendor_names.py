"""Names of functions as Gemini takes them, and back. Most names are fine as they are; what a tool is called in the answer
follows from the call's own tools, so nothing is remembered between calls.
"""

from collections.abc import Mapping
from hashlib import sha256
from string import ascii_letters, digits
from typing import Any, Final

# "FunctionDeclaration", Gemini API reference, 2026-09: begins with a letter or an underscore; at most 64 at some models.
_FIRST: Final = frozenset(ascii_letters + "_")
_REST: Final = _FIRST | frozenset(digits + ".:-")
_LONGEST: Final = 64
_HASH: Final = 8


def write_name(name: str) -> str:
    """The name itself where Gemini takes it, else a shorter one that is the same each time and differs from others."""
    if 0 < len(name) <= _LONGEST and name[0] in _FIRST and _REST.issuperset(name):
        return name
    kept = "".join(letter if letter in _REST else "_" for letter in name[: _LONGEST - _HASH - 2])
    return f"_{kept}_{sha256(name.encode()).hexdigest()[:_HASH]}"


def kind_of(tool: Mapping[str, Any]) -> str:
    """The `type` of a tool or a choice, as text whatever it is."""
    kind = tool.get("type")
    return kind if isinstance(kind, str) else str(kind)


class ToolNames:
    """The tools of a call by the names in which the vendor knows them."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._own: dict[str, str] = {}
        self._custom: set[str] = set()
        tools = body.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            kind = kind_of(tool)
            inner = tool.get(kind) if kind in {"function", "custom"} else None
            name = inner.get("name") if isinstance(inner, dict) else None
            if not isinstance(name, str):
                continue
            written = write_name(name)
            if written != name:
                self._own[written] = name
            if kind == "custom":
                self._custom.add(written)

    def own(self, written: str) -> str:
        """The caller's name of a function that the vendor calls."""
        return self._own.get(written, written)

    def is_custom(self, written: str) -> bool:
        """Whether it is a tool that takes text: the vendor has it as a function of one argument, `input`."""
        return written in self._custom
