"""`tollkeeper console`: whether the console is built. In a clone `./tollkeeper console build` has built it by then."""

from typing import Any

import typer

from tollkeeper.commands.output import Json, fail, print_json, print_line
from tollkeeper.console import DIST, is_built

app = typer.Typer(help="Build the console, and tell whether it is there.", no_args_is_help=True)


@app.command("build")
def build(*, as_json: Json = False) -> None:
    """Build the console where it is not built yet. Only a clone has its sources; the first step of `./tollkeeper` does it."""
    report = _report()
    if not report["is_built"]:
        fail(
            "The console is not built. In a clone, with Node 20.19 or newer and npm: ./tollkeeper console build. "
            "The gateway runs without it."
        )
    if as_json:
        print_json(report)
    else:
        print_line(
            f"The console is built: {report['files']} files, {report['bytes'] / 1e6:.1f} MB in {report['folder']}"
        )


@app.command("status")
def status(*, as_json: Json = False) -> None:
    """Whether it is built, and where."""
    report = _report()
    if as_json:
        print_json(report)
    elif report["is_built"]:
        print_line(f"built: {report['folder']}")
    else:
        print_line("not built: ./tollkeeper console build")


def _report() -> dict[str, Any]:
    files = [path for path in DIST.rglob("*") if path.is_file()]
    return {
        "is_built": is_built(),
        "folder": str(DIST),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }
