"""Dockerfile and compose file, checked as far as that goes without an engine."""

import ast
import asyncio
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer
import yaml

from tests.dockerfile import Ignore, Stage, read_stages, words_of
from tollkeeper.cli import app
from tollkeeper.core.config import Settings
from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.db import migrations

ROOT = Path(__file__).resolve().parent.parent
Compose = dict[str, Any]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    return {stage.name: stage for stage in read_stages((ROOT / "Dockerfile").read_text())}


@pytest.fixture(scope="module")
def runtime(stages: dict[str, Stage]) -> Stage:
    return stages["runtime"]


@pytest.fixture(scope="module")
def compose() -> Compose:
    document: Compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def ours(compose: Compose) -> dict[str, Any]:
    """The services that run our image."""
    return {name: service for name, service in compose["services"].items() if service["image"] == "tollkeeper"}


def parse_command(words: list[str]) -> str | None:
    """The name of the command that `tollkeeper` would run; it is not run."""
    group: Any = typer.main.get_command(app)
    name: str | None = group.commands[words[0]].make_context(words[0], list(words[1:])).info_name
    return name


def test_last_stage_is_the_one_that_runs(stages: dict[str, Stage]) -> None:
    assert list(stages) == ["console", "install", "runtime"]


def test_every_base_is_pinned_to_a_version(stages: dict[str, Stage]) -> None:
    for stage in stages.values():
        assert re.search(r":\d", stage.base), stage.base
    # The environment is copied between the two: its Python must be the same.
    assert stages["install"].base == stages["runtime"].base


def test_what_is_copied_is_there_and_reaches_the_engine(stages: dict[str, Stage]) -> None:
    ignore = Ignore(ROOT / ".dockerignore")
    earlier: list[str] = []
    for stage in stages.values():
        for rest in stage.all("COPY"):
            words = rest.split()
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in earlier
                continue
            for source in words[:-1]:
                assert (ROOT / source).exists(), source
                assert source.endswith("/") == (ROOT / source).is_dir(), source
                assert not ignore.leaves_out(source.rstrip("/")), source
        earlier.append(stage.name)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".data/master.key",
        ".data/first-run.json",
        ".venv/bin/python",
        ".cache/uv.txt",
        "tollkeeper.yaml",
        "tests/conftest.py",
        "backend/tollkeeper/__pycache__/cli.pyc",
        "frontend/node_modules/x/index.js",
    ],
)
def test_secrets_and_leftovers_never_reach_the_engine(path: str) -> None:
    assert Ignore(ROOT / ".dockerignore").leaves_out(path)


@pytest.mark.parametrize(
    "path", ["tollkeeper", "uv.lock", "backend/tollkeeper/cli.py", "migrations/versions/0001_foundation.py"]
)
def test_the_source_reaches_the_engine(path: str) -> None:
    assert (ROOT / path).exists()
    assert not Ignore(ROOT / ".dockerignore").leaves_out(path)


def test_it_runs_as_an_account_without_rights_that_owns_its_volume(runtime: Stage) -> None:
    uid, _, gid = runtime.last("USER").partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert runtime.last("VOLUME") == runtime.environment()["TOLLKEEPER_DATA_DIR"]
    made = next(rest for rest in runtime.all("RUN") if "install -d" in rest)
    assert f"-o {uid} -g {gid} -m 0700 {runtime.last('VOLUME')}" in made
    # Nothing of the image's own is changed once the account is set.
    after = [name for name, _ in runtime.instructions[[name for name, _ in runtime.instructions].index("USER") :]]
    assert not {"RUN", "COPY", "ADD"} & set(after)


def test_image_runs_a_command_that_exists(runtime: Stage) -> None:
    assert words_of(runtime.last("ENTRYPOINT")) == ["python", "-m", "tollkeeper"]
    assert (ROOT / "backend" / "tollkeeper" / "__main__.py").exists()
    assert parse_command(words_of(runtime.last("CMD"))) == "serve"


def test_images_environment_are_settings(runtime: Stage) -> None:
    ours = {name: value for name, value in runtime.environment().items() if name.startswith("TOLLKEEPER_")}
    fields = {name.removeprefix("TOLLKEEPER_").lower(): value for name, value in ours.items()}
    assert fields.keys() <= Settings.model_fields.keys()
    settings = Settings(**fields)  # type: ignore[arg-type]
    assert str(settings.port) == runtime.last("EXPOSE")
    assert settings.host == "0.0.0.0"


def test_health_check_asks_a_path_that_is_served(runtime: Stage) -> None:
    options, _, command = runtime.last("HEALTHCHECK").partition(" CMD ")
    assert "--interval=" in options
    python, flag, code = words_of(command.strip())
    assert (python, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{runtime.last('EXPOSE')}/health/live" in code
    assert '"/health/live"' in (ROOT / "backend/tollkeeper/api/health.py").read_text()


def test_install_step_installs_the_lock_through_the_bootstrap(stages: dict[str, Stage], tmp_path: Path) -> None:
    """The very words of the step, run over a copy of what it copies, with an installer that only notes its arguments."""
    for name in ("tollkeeper", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path)
    said = tmp_path / "said"
    installer = tmp_path / "uv"
    installer.write_text(f'#!/bin/sh\necho "$@" > {said}\nmkdir -p "$UV_PROJECT_ENVIRONMENT"\n')
    installer.chmod(0o755)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "python3").symlink_to(sys.executable)
    [step] = stages["install"].all("RUN")
    result = subprocess.run(
        ["sh", "-c", step],
        cwd=tmp_path,
        env={"PATH": f"{binaries}:{os.environ['PATH']}", "TOLLKEEPER_UV": str(installer)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    words = said.read_text().split()
    assert words[:2] == ["sync", "--frozen"]
    assert "--no-dev" in words
    assert not (tmp_path / ".cache").exists()


def test_bootstraps_install_takes_what_the_step_passes() -> None:
    tree = ast.parse((ROOT / "tollkeeper").read_text())
    install = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "install")
    wanted = zip(install.args.kwonlyargs, install.args.kw_defaults, strict=True)
    assert [argument.arg for argument, default in wanted if default is None] == ["development"]


def test_migrations_are_found_where_the_image_puts_them(runtime: Stage, tmp_path: Path) -> None:
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    for name in ("migrations", "backend"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    code = "from tollkeeper.db import migrations; print(migrations.migrations_folder())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(tmp_path / "backend")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == tmp_path / "migrations"


def test_compose_runs_commands_that_exist(ours: dict[str, Any]) -> None:
    assert {name: parse_command(service["command"]) for name, service in ours.items()} == {
        "gateway": "serve",
        "worker": "worker",
        "migrate": "migrate",
    }


def test_compose_sets_settings_that_exist(ours: dict[str, Any]) -> None:
    for service in ours.values():
        names = {name for name in service["environment"] if name.startswith("TOLLKEEPER_")}
        assert {name.removeprefix("TOLLKEEPER_").lower() for name in names} <= Settings.model_fields.keys()
        assert {"TOLLKEEPER_DATABASE_URL", "TOLLKEEPER_REDIS_URL", "TOLLKEEPER_MASTER_KEY"} <= names
    jobs = {name: service["environment"].get("TOLLKEEPER_JOBS_IN_PROCESS") for name, service in ours.items()}
    assert jobs == {"gateway": "false", "worker": None, "migrate": None}


def test_compose_waits_for_services_that_can_be_waited_for(compose: Compose) -> None:
    services = compose["services"]
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[name], name
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_compose_declares_what_it_uses(compose: Compose) -> None:
    used = {
        volume.partition(":")[0]: volume.partition(":")[2]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used.keys() == compose["volumes"].keys()
    sources = {config["source"] for service in compose["services"].values() for config in service.get("configs", [])}
    assert sources == compose["configs"].keys()


def test_state_lies_on_volumes_because_the_image_is_read_only(ours: dict[str, Any], runtime: Stage) -> None:
    for name in ("gateway", "worker"):
        assert ours[name]["read_only"] is True
        own, shared = (volume.partition(":") for volume in ours[name]["volumes"])
        assert own[2] == runtime.last("VOLUME")
        # Both read and write the same objects.
        assert (shared[0], shared[2]) == ("objects", f"{own[2]}/objects")
    assert all(service["cap_drop"] == ["ALL"] for service in ours.values())


def test_compose_has_no_password_of_its_own() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text):
        assert default == "" or not re.search("KEY|PASSWORD|SECRET|TOKEN", name), name
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {"POSTGRES_PASSWORD", "TOLLKEEPER_MASTER_KEY"}
    assert set(re.findall(r"://\w+:([^@\s]+)@", re.sub(r"\$\{[^}]*\}", "$", text))) == {"$"}


def test_stop_leaves_time_to_drain(ours: dict[str, Any]) -> None:
    assert int(ours["gateway"]["stop_grace_period"].removesuffix("s")) > Settings().drain_seconds + 5


def test_database_is_called_healthy_only_when_it_is_set_up(compose: Compose) -> None:
    """While the image runs its scripts the server listens on a socket alone, and would look ready there."""
    [kind, command] = compose["services"]["postgres"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "pg_isready -h 127.0.0.1" in command


def test_databases_script_makes_a_login_that_can_be_migrated(compose: Compose, server_dir: Path) -> None:
    """Its SQL on a fresh server, then our migrations under the login it has made."""
    [target] = [config["target"] for config in compose["services"]["postgres"]["configs"]]
    assert re.fullmatch(r"/docker-entrypoint-initdb\.d/\d+-\w+\.sh", target)
    content = compose["configs"]["database"]["content"].replace("$$", "$")
    command, _, rest = content.partition("<<'SQL'\n")
    assert command.split()[0] == "psql"
    assert '-v password="$POSTGRES_PASSWORD"' in command
    sql, _, end = rest.partition("\nSQL")
    assert end.strip() == ""
    environment = compose["services"]["gateway"]["environment"]
    named = re.fullmatch(r"postgresql://(\w+):.*@postgres:5432/(\w+)", environment["TOLLKEEPER_DATABASE_URL"])
    assert named is not None
    assert (f"CREATE ROLE {named[1]} ", f"CREATE DATABASE {named[2]} ") == (
        sql.split("LOGIN")[0].lstrip(),
        sql[sql.index("CREATE DATABASE") :].split("OWNER")[0],
    )
    # The embedded server has a login and a database of this name already.
    renamed = re.sub(r"\btollkeeper\b", "composed", sql)
    with EmbeddedPostgres(server_dir, fsync=False) as server:
        server.run_sql(f"\\set password 'secret'\n{renamed}\n", database="postgres", as_superuser=True)
        url = f"postgresql://composed:secret@127.0.0.1:{server.endpoint.port}/composed"
        with ThreadPoolExecutor(1) as thread:
            extension = thread.submit(asyncio.run, _migrate(url)).result()
    assert extension == "vector"


async def _migrate(url: str) -> str:
    await migrations.upgrade(url)
    assert await migrations.pending(url) == []
    connection = await asyncpg.connect(url)
    try:
        name: str = await connection.fetchval("SELECT extname FROM pg_extension WHERE extname = 'vector'")
    finally:
        await connection.close()
    return name
