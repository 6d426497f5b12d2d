"""How a command speaks: results on standard output, everything else on standard error, exit codes with a meaning.

0 done, 1 failed, 2 used wrongly, 3 the gateway cannot be reached, 4 the gateway refused.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

FAILED = 1
UNREACHABLE = 3
REFUSED = 4

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


# Where there is no terminal, rows are for programs: they are not folded to one's width.
_WIDE = 400


def console() -> Console:
    """Standard output; plain where it is no terminal or NO_COLOR is set."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE, soft_wrap=True)


def logs_aside() -> contextlib.AbstractContextManager[object]:
    """Around the product's own code: what it logs goes to standard error, because standard output is the result's."""
    return contextlib.redirect_stdout(sys.stderr)


def note(text: str) -> None:
    """Say something that is not the result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def fail(text: str, *, code: int = FAILED) -> NoReturn:
    note(f"tollkeeper: {text}")
    raise typer.Exit(code)


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before what cannot be taken back; anything but a yes ends the command."""
    if not is_sure:
        typer.confirm(question, abort=True, err=True)


def print_removed(name: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": name, "is_removed": True})
    else:
        note(f"{name} is removed.")


def print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str), flush=True)  # noqa: T201


def print_line(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list as a table of the named columns, or whole as JSON."""
    rows = list(rows)
    if as_json:
        print_json(rows)
        return
    if not rows:
        note("Nothing there yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # An id is there to be copied: it stays on one line, the others fold.
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=column == "id")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console().print(table)


def print_object(row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in row.items():
        table.add_row(name.replace("_", " "), _cell(value))
    console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value) or "-"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    # Names come from other people: no markup, no control characters on somebody's terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)).replace("[", "\\[")
