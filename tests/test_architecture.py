"""The import rules hold, and each of them can fail: a planted violation of every contract is found by its name."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "backend" / "tollkeeper"


def lint_imports(folder: Path, package_parent: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package_parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package without its data, to plant violations in."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(
        PACKAGE, folder / "backend" / "tollkeeper", ignore=shutil.ignore_patterns("__pycache__", "dist", "*.json")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


PLANTED = [
    ("core/clock.py", "import tollkeeper.db.base", "The whole"),
    ("contracts/chat.py", "import tollkeeper.web.http_limits", "The whole"),
    ("domains/keys/lookup.py", "import tollkeeper.gateway.stage", "The whole"),
    ("domains/keys/lookup.py", "import tollkeeper.main", "The whole"),
    ("gateway/stage.py", "import sqlalchemy", "The data plane has no SQL"),
    ("gateway/money/price.py", "import fastapi", "The data plane has no SQL"),
    ("gateway/stage.py", "import tollkeeper.gateway.pipeline", "Inside the gateway"),
    ("gateway/dialects/openai_chat.py", "import tollkeeper.gateway.stages.meter", "Inside the gateway"),
    ("gateway/stages/admit.py", "import tollkeeper.gateway.stages.dispatch", "Stages are strangers"),
    (
        "gateway/dialects/openai_chat.py",
        "import tollkeeper.gateway.dialects.openai_embeddings",
        "Dialects are strangers",
    ),
    ("gateway/guardrails/secrets.py", "import tollkeeper.gateway.guardrails.pii", "Guardrails are strangers"),
    ("domains/jobs/schemas.py", "import tollkeeper.domains.jobs.service", "Inside a domain"),
    ("domains/audit/service.py", "import tollkeeper.domains.keys.service", "Domains form no cycle"),
]


def test_the_import_contracts_hold() -> None:
    result = lint_imports(ROOT, ROOT / "backend")

    assert result.returncode == 0, result.stdout[-4000:]


@pytest.mark.parametrize(("place", "statement", "contract"), PLANTED)
def test_a_planted_violation_is_found(copy: Path, place: str, statement: str, contract: str) -> None:
    path = copy / "backend" / "tollkeeper" / place
    before = path.read_text()
    try:
        path.write_text(f"{before}\n{statement}\n")
        result = lint_imports(copy, copy / "backend")
    finally:
        path.write_text(before)

    broken = [line for line in result.stdout.splitlines() if "BROKEN" in line]
    assert result.returncode == 1
    assert any(contract in line for line in broken), result.stdout[-2000:]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def test_imports_stand_at_the_top_of_the_file() -> None:
    """Only the command imports late, so that `--help` is fast; alembic, and the client for proxies, where there is need."""
    late = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert {name for name in late if not name.startswith("commands/")} <= {
        "cli.py",
        "db/migrations.py",
        "gateway/upstream.py",
    }


def foreign_imports(source: str, domain: str) -> list[str]:
    """What a domain's module takes from another domain, beside its service and its schemas."""
    taken = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module.count(".") == 2
            names = [f"{node.module}.{alias.name}" if inside else node.module for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[:2] == ["tollkeeper", "domains"] and len(parts) > 3 and parts[2] != domain:
                taken.append(name)
    return [name for name in taken if name.split(".")[3] not in {"service", "schemas"}]


def test_a_domain_enters_another_only_by_its_service_or_schemas() -> None:
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in modules()
        if path.is_relative_to(PACKAGE / "domains") and path.parent != PACKAGE / "domains"
        if (names := foreign_imports(path.read_text(), path.relative_to(PACKAGE / "domains").parts[0]))
    }

    assert found == {}


def test_an_entry_by_another_door_would_be_found() -> None:
    assert foreign_imports("from tollkeeper.domains.keys import repository", "usage")
    assert foreign_imports("from tollkeeper.domains.keys.repository import find", "usage")
    assert not foreign_imports("from tollkeeper.domains.keys import service", "usage")
    assert not foreign_imports("from tollkeeper.domains.usage import repository", "usage")


@pytest.mark.parametrize(
    ("library", "home"),
    [("jose", "core/tokens.py"), ("passlib", "core/passwords.py"), ("obstore", "core/objects.py")],
)
def test_a_library_behind_a_module_has_one_importer(library: str, home: str) -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] == library
    }

    assert importers == {home}
