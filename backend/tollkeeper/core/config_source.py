"""One YAML file → a tree of values that remember their file and line.

Only the plain part of YAML is read: mappings, lists and scalars, typed by the YAML 1.2 rules (`yes` and `no` are text,
a number with a point is an exact decimal). Anchors, aliases, tags and duplicate keys are refused, so no document can
grow in memory or mean two things. Messages never quote a value: it may be a secret.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 32

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]{1,2})?|[-+]?[0-9]+[eE][-+]?[0-9]{1,2}")
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: where, which setting (`models[0].price`), what is wrong and what to do about it."""

    place: Place | None
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place or ""), self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Holds every problem that was found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems: Final = tuple(problems)


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. Mappings and lists hold nodes, everything else is a scalar."""

    value: Any = field(repr=False)  # it may be a secret
    place: Place

    def plain(self) -> Any:
        """The same data without places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> "Node":
        """The node at `path`; steps that do not exist are passed over."""
        node = self
        for step in path:
            children = node.value if isinstance(node.value, dict) else {}
            if isinstance(node.value, list):
                children = dict(enumerate(node.value))
            node = children.get(step, node)
        return node


def path_text(path: tuple[str | int, ...]) -> str:
    """`("models", 0, "price")` → `models[0].price`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read_source(path: Path, shown_as: str) -> Node:
    """Parse the file at `path`; `shown_as` is its name in messages. An empty file is an empty mapping.

    Raises `ConfigError` with one problem: the reader stops at the first thing it cannot read.
    """
    text = _decode(_read_bytes(path, shown_as), shown_as)
    try:
        return _Reader(text, shown_as).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        raise _fail(Place(shown_as, line + 1), _explain(error, text, mark)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _fail(Place(shown_as, line), "a control character stands here: remove it") from None


def _fail(place: Place, message: str, path: str = "") -> ConfigError:
    return ConfigError([Problem(place, path, message)])


def _read_bytes(path: Path, shown_as: str) -> bytes:
    start = Place(shown_as, 1)
    try:
        if not path.is_file():
            state = "is not a regular file" if path.exists() else "does not exist: check the path"
            raise _fail(start, f"{path} {state}")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _fail(start, f"the file cannot be read ({error.strerror}): check its permissions") from None
    if len(content) > MAX_FILE_BYTES:
        raise _fail(start, f"the file is larger than {MAX_FILE_BYTES // 1024} KiB: split it with include:")
    return content


def _decode(content: bytes, shown_as: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(shown_as, content.count(b"\n", 0, error.start) + 1)
        raise _fail(place, "the file is not UTF-8 text: save it as UTF-8") from None


def _explain(error: yaml.MarkedYAMLError, text: str, mark: yaml.Mark | None) -> str:
    if mark is not None:
        lines = text.split("\n")
        line = lines[mark.line] if mark.line < len(lines) else ""
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent or line[mark.column : mark.column + 1] == "\t":
            return "a tab is used for indentation: YAML takes spaces only"
    # PyYAML's `problem` names the fault; its snippet would quote the line, which may hold a secret.
    return f"this is not valid YAML ({error.problem or error.context or 'unreadable'})"


_Event: TypeAlias = Any  # PyYAML's event classes are untyped


class _Reader:
    """Builds the tree from parser events, so that a refused construct is never built."""

    def __init__(self, text: str, file: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[_Event] = iter(yaml.parse(text, Loader=loader))
        self._file = file
        self._nodes = 0

    def read(self) -> Node:
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node({}, Place(self._file, 1))
        root = self._node(next(self._events), 0)
        next(self._events)  # document end
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise _fail(self._place(following), "a second document (---) starts here: use include: for several files")
        if root.value is None:
            return Node({}, root.place)
        if not isinstance(root.value, dict):
            raise _fail(root.place, "the file must be a mapping such as `providers: [...]`")
        return root

    def _place(self, event: _Event) -> Place:
        return Place(self._file, event.start_mark.line + 1)

    def _node(self, event: _Event, depth: int) -> Node:
        place = self._place(event)
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _fail(place, f"the file has more than {MAX_NODES} values or is nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _fail(place, "anchors (&) and aliases (*) are not accepted: write the value out, or quote it")
        if event.tag is not None:
            raise _fail(place, "tags (!) are not accepted: remove it, or quote the value")
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(depth), place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._sequence(depth), place)
        return Node(_scalar(event.value) if event.implicit[0] else event.value, place)

    def _mapping(self, depth: int) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if isinstance(key.value, dict | list) or key.value is None:
                raise _fail(key.place, "a key must be a plain word")
            name = event.value
            if name in mapping:
                raise _fail(key.place, f"the key is already there on line {mapping[name].place.line}", name)
            value = self._node(next(self._events), depth + 1)
            # A mapping or list starts a line below its key; people look for the key.
            mapping[name] = Node(value.value, key.place) if isinstance(value.value, dict | list) else value
        return mapping

    def _sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items


def _scalar(text: str) -> Any:
    """The type of a scalar without quotes, by YAML 1.2's core schema; decimals stay exact."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text
