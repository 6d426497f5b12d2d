"""`tollkeeper.yaml` as one tree: includes merged, `${…}` replaced. What the keys mean is not decided here.

`${VAR}` and `${VAR:-default}` take the environment, `${file:/run/secrets/x}` the text of a file, `$${` is a literal
`${`. What comes out is text and is never read as YAML again, so a secret can neither add keys nor change types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from tollkeeper.core.config_source import ConfigError, Node, Place, Problem, path_text, read_source

MAX_FILES: Final = 200
MAX_SECRET_BYTES: Final = 64 * 1024

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class _Load:
    """What one load has collected so far."""

    environ: Mapping[str, str]
    root: Path
    problems: list[Problem] = field(default_factory=list)
    files: dict[Path, str] = field(default_factory=dict)


def load_config_file(path: Path, environ: Mapping[str, str]) -> Node:
    """Read `path` and everything it includes. Raises `ConfigError` naming every problem with file and line."""
    load = _Load(environ, path.parent)
    try:
        merged = _read(path, load, stack=())
    except ConfigError as error:
        raise ConfigError([*load.problems, *error.problems]) from None
    if load.problems:
        raise ConfigError(load.problems)
    return merged


def _read(path: Path, load: _Load, stack: tuple[Path, ...]) -> Node:
    real = path.resolve()
    shown_as = _shown(path, load.root)
    if len(load.files) >= MAX_FILES:
        raise ConfigError([Problem(Place(shown_as, 1), "include", f"more than {MAX_FILES} files are included")])
    load.files[real] = shown_as
    tree = read_source(path, shown_as)
    body = {key: child for key, child in tree.value.items() if key != "include"}
    merged = _interpolate(Node(body, tree.place), path.parent, load, ())
    if "include" in tree.value:
        for included in _included(tree.value["include"], path, load, (*stack, real)):
            merged = _merge(merged, _read(included, load, (*stack, real)), load, ())
    return merged


def _shown(path: Path, root: Path) -> str:
    """Names in messages are relative to the folder of the first file: `tollkeeper.yaml`, `conf.d/models.yaml`."""
    try:
        return str(path.relative_to(root))
    except ValueError:
        return str(path)


def _included(include: Node, file: Path, load: _Load, stack: tuple[Path, ...]) -> list[Path]:
    """The files named by `include:` in order, each once; a pattern may match nothing, a plain name may not."""
    entries = include.value if isinstance(include.value, list) else [include]
    found: list[Path] = []
    for entry in entries:
        if not isinstance(entry.value, str) or not entry.value:
            load.problems.append(Problem(entry.place, "include", "expected a file name or a list of file names"))
            continue
        if any(sign in entry.value for sign in "*?["):
            # A pattern that matches the file it stands in means the others.
            found += [path for path in _glob(file.parent, entry.value) if path.resolve() not in stack]
            continue
        path = file.parent / entry.value
        if path.resolve() in stack:
            message = f"{entry.value} includes itself, directly or through others: remove one of the includes"
            load.problems.append(Problem(entry.place, "include", message))
        elif not path.is_file():
            load.problems.append(Problem(entry.place, "include", f"{entry.value} does not exist beside this file"))
        else:
            found.append(path)
    once = {path.resolve(): path for path in reversed(found)}
    return [path for path in reversed(once.values()) if path.resolve() not in load.files]


def _glob(folder: Path, pattern: str) -> list[Path]:
    base = Path(pattern)
    if base.is_absolute():
        folder, pattern = Path(base.anchor), str(base.relative_to(base.anchor))
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _merge(ours: Node, theirs: Node, load: _Load, path: KeyPath) -> Node:
    """Mappings are joined, lists appended; the same scalar in two files is a problem naming both places."""
    if isinstance(ours.value, dict) and isinstance(theirs.value, dict):
        joined = dict(ours.value)
        for key, child in theirs.value.items():
            joined[key] = _merge(joined[key], child, load, (*path, key)) if key in joined else child
        return Node(joined, ours.place)
    if isinstance(ours.value, list) and isinstance(theirs.value, list):
        return Node([*ours.value, *theirs.value], ours.place)
    load.problems.append(Problem(theirs.place, path_text(path), f"is already set at {ours.place}: keep one of the two"))
    return ours


def _interpolate(node: Node, folder: Path, load: _Load, path: KeyPath) -> Node:
    if isinstance(node.value, dict):
        items = {key: _interpolate(child, folder, load, (*path, key)) for key, child in node.value.items()}
        return Node(items, node.place)
    if isinstance(node.value, list):
        children = [_interpolate(child, folder, load, (*path, index)) for index, child in enumerate(node.value)]
        return Node(children, node.place)
    if not isinstance(node.value, str) or "${" not in node.value:
        return node

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        try:
            return _resolve(match[1], folder, load.environ)
        except ValueError as error:
            load.problems.append(Problem(node.place, path_text(path), str(error)))
            return ""

    return Node(_REFERENCE.sub(replace, node.value), node.place)


def _resolve(reference: str | None, folder: Path, environ: Mapping[str, str]) -> str:
    """Raises ValueError with a sentence for the operator."""
    if reference is not None and reference.startswith("file:"):
        return _read_secret(folder / reference.removeprefix("file:"))
    match = _VARIABLE.fullmatch(reference) if reference is not None else None
    if match is None:
        raise ValueError("a reference is ${VAR}, ${VAR:-default} or ${file:/path}; write $${ for a literal ${")
    name, default = match.groups()
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise ValueError(f"the variable {name} is not set: export it, or write ${{{name}:-default}}")
    return value


def _read_secret(path: Path) -> str:
    try:
        if not path.is_file():
            raise ValueError(f"the file {path} of ${{file:…}} does not exist or is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the file {path} of ${{file:…}} cannot be read ({error.strerror})") from None
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"the file {path} of ${{file:…}} is larger than {MAX_SECRET_BYTES // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} of ${{file:…}} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
