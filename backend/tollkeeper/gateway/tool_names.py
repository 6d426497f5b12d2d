"""The names of tools in a document of any dialect: of those that a model may call, and of those that it calls.

Each comes with where it stands. What a vendor does itself is known by its kind.
"""

from collections.abc import Iterator
from typing import Any, Final

# Lists of tools that a model may call.
_OFFERS: Final = frozenset({"tools", "functions"})
# Fields of a call that offer a tool by themselves.
_OFFERING: Final = frozenset({"web_search_options", "mcp_servers"})
# Kinds of tools that have a name of their own; all others are known by their kind.
_NAMED: Final = frozenset({"function", "custom", "namespace"})
_DECLARED: Final = ("functionDeclarations", "function_declarations")
_ARGUMENTS: Final = frozenset({"arguments", "input", "args"})


def offered(value: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    for key in _OFFERS & value.keys():
        tools = value[key]
        for tool in tools if isinstance(tools, list) else [tools]:
            if isinstance(tool, dict):
                yield from _names_of(tool)
    yield from (([key], 0, key) for key in _OFFERING & value.keys() if value[key] is not None)


def _names_of(tool: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """A built-in tool is known by its kind as well as by its name."""
    inner = [tool, *(tool[key] for key in ("function", "custom") if isinstance(tool.get(key), dict))]
    for key in _DECLARED:
        declared = tool.get(key)
        inner += [one for one in declared if isinstance(one, dict)] if isinstance(declared, list) else ()
    yield from ((one, "name", one["name"]) for one in inner if isinstance(one.get("name"), str))
    kind = tool.get("type")
    if isinstance(kind, str):
        if kind not in _NAMED:
            yield tool, "type", kind
    elif len(inner) == 1 and "name" not in tool:
        # As Gemini writes them: a field each.
        yield from (([key], 0, key) for key in tool)


def called(value: dict[str, Any], *, is_call: bool) -> Iterator[tuple[Any, Any, str]]:
    name, kind = value.get("name"), value.get("type")
    if isinstance(name, str):
        if is_call or not _ARGUMENTS.isdisjoint(value):
            yield value, "name", name
    elif isinstance(kind, str) and kind.endswith("_call"):
        # What a vendor has called itself.
        name = kind.removesuffix("_call")
        yield [name], 0, name
