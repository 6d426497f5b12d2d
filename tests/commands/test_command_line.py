"""The command as a whole: its table of contents, its manners, its start."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.commands.conftest import Tollkeeper
from tollkeeper import __version__
from tollkeeper.cli import app

HEAVY = {"sqlalchemy", "fastapi", "starlette", "httpx", "aiohttp", "asyncpg", "redis", "uvicorn", "pydantic", "yaml"}


def leaves(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(typer.main.get_command(app)))


def test_every_noun_of_the_issue_is_there() -> None:
    firsts = {path[0] for path in COMMANDS}
    assert firsts == {
        "audit",
        "batches",
        "budgets",
        "chat",
        "demo",
        "config",
        "console",
        "docs",
        "doctor",
        "guardrails",
        "identity-providers",
        "keys",
        "ledger",
        "limits",
        "migrate",
        "models",
        "openapi",
        "prices",
        "projects",
        "providers",
        "requests",
        "roles",
        "routing",
        "secrets",
        "serve",
        "service-accounts",
        "simulate",
        "teams",
        "tenants",
        "usage",
        "users",
        "version",
        "worker",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_prints_json_when_asked(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_what_each_option_is_for(alone: Tollkeeper, path: tuple[str, ...]) -> None:
    said = alone(*path, "--help")
    assert said.code == 0
    assert COMMANDS[path].help
    for parameter in COMMANDS[path].params:
        assert parameter.name == "help" or parameter.help, parameter.name


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tollkeeper.cli import main\nsys.argv = ['tollkeeper', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: tollkeeper" in done.stdout
    assert done.stderr.strip() == "[]"


def test_version_is_told_in_each_way(alone: Tollkeeper) -> None:
    assert alone("--version").out.strip() == alone("version").out.strip() == __version__
    assert alone("version", "--json").json["version"] == __version__


@pytest.mark.parametrize("words", [["nonsense"], ["keys", "nonsense"], ["keys", "create"], ["serve", "--port", "high"]])
def test_wrong_use_ends_with_2_and_help_on_standard_error(alone: Tollkeeper, words: list[str]) -> None:
    said = alone(*words)
    assert said.code == 2
    assert said.out == ""
    assert "Usage: " in said.error


def test_openapi_document_is_printed_without_a_server(alone: Tollkeeper) -> None:
    document = alone("openapi").json
    assert document["openapi"].startswith("3.1")
    assert {"/v1/chat/completions", "/api/v1/keys", "/api/v1/jobs", "/health/ready"} <= document["paths"].keys()
