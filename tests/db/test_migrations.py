"""Migrations run once, from any number of processes, as a login without powers, and match the models."""

import asyncio
import io
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from tollkeeper.core.embedded import EmbeddedPostgres
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db import migrations
from tollkeeper.db.migrations import migrations_folder, run_as_owner
from tollkeeper.db.roles import DatabaseUnfit
from tollkeeper.db.session import Database


async def test_a_fresh_database_is_migrated_once_however_many_ask(empty_database_url: str) -> None:
    assert await migrations.pending(empty_database_url) == [
        "0001_foundation",
        "0002_tenancy",
        "0003_attribution",
        "0004_prices",
        "0005_rules",
        "0006_budget_spend",
        "0007_price_adjustments",
        "0008_runs",
        "0009_model_figures",
        "0010_stored_responses",
        "0011_model_parameters",
        "0012_route_policies",
        "0013_files_and_batches",
        "0014_beyond_models",
        "0015_request_logs",
        "0016_guardrail_policies",
    ]

    await asyncio.gather(*(migrations.upgrade(empty_database_url) for _ in range(2)))

    assert await migrations.pending(empty_database_url) == []


async def test_models_and_migrations_agree(database_url: str) -> None:
    def check(connection: Connection) -> None:
        config = Config(stdout=io.StringIO())
        config.set_main_option("script_location", str(migrations_folder()))
        config.attributes["connection"] = connection
        command.check(config)

    await run_as_owner(database_url, check)


def test_the_check_at_the_start_does_not_load_alembic() -> None:
    script = "import sys; from tollkeeper.db import migrations, session; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_days_are_made_ahead_and_asked_for_twice_without_harm(database_url: str) -> None:
    database = Database(database_url, pool_size=2)
    try:
        async with database.owner() as session:
            ahead = (
                await session.execute(
                    text(
                        "SELECT count(*) FROM generate_series(-1, 7) AS n WHERE to_regclass('usage_logs_p' || "
                        "to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD')) IS NOT NULL"
                    )
                )
            ).scalar_one()
            assert ahead >= 8
            made = [
                (await session.execute(text("SELECT create_usage_partition('2031-05-05')"))).scalar_one()
                for _ in range(2)
            ]
            assert made == [True, False]
    finally:
        await database.close()


async def test_the_application_cannot_change_tables(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)

    async def run(role: str, statement: str) -> None:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {role}")
            await connection.execute(statement)

    try:
        for role in ("tk_app", "tk_lookup", "tk_platform"):
            for statement in ("CREATE TABLE planted (id int)", "SELECT create_usage_partition('2031-06-06')"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await run(role, statement)
    finally:
        await connection.close()


async def test_a_superuser_is_refused(postgres_server: EmbeddedPostgres, empty_database_url: str) -> None:
    url = _superuser_url(postgres_server, empty_database_url)
    with pytest.raises(DatabaseUnfit, match="superuser"):
        await migrations.upgrade(url)
    database = Database(url, pool_size=1)
    try:
        with pytest.raises(DatabaseUnfit, match="superuser"):
            await database.check()
    finally:
        await database.close()


async def test_a_login_that_may_not_make_roles_is_told_what_to_run(
    postgres_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    name = empty_database_url.rpartition("/")[2]
    login = f"plain_{name}"
    postgres_server.run_sql(f"CREATE ROLE {login} LOGIN PASSWORD 'plain'", as_superuser=True)
    try:
        url = f"postgresql://{login}:plain@127.0.0.1:{postgres_server.endpoint.port}/{name}"
        with pytest.raises(DatabaseUnfit, match="GRANT tk_owner, tk_app, tk_lookup, tk_platform TO"):
            await migrations.upgrade(url)
    finally:
        postgres_server.run_sql(f"DROP ROLE {login}", as_superuser=True)


async def test_a_database_that_is_not_there_is_a_dependency_fault(postgres_server: EmbeddedPostgres) -> None:
    with pytest.raises(DependencyUnavailable):
        await migrations.pending("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DependencyUnavailable):
        await migrations.pending(postgres_server.url_of("no_such_database"))


def _superuser_url(server: EmbeddedPostgres, url: str) -> str:
    password = server._passwords()["superuser"]
    return f"postgresql://postgres:{password}@127.0.0.1:{server.endpoint.port}/{url.rpartition('/')[2]}"


def test_an_installed_package_finds_the_migrations_it_carries(tmp_path: Path) -> None:
    """As a wheel lays them out: `migrations/` inside the package."""
    package = tmp_path / "tollkeeper"
    for name in ("core", "db"):
        shutil.copytree(Path(migrations.__file__).parents[1] / name, package / name)
    (package / "__init__.py").touch()
    shutil.copytree(migrations_folder(), package / "migrations")
    script = "from tollkeeper.db import migrations as m; print(m.migrations_folder(), *m._known().values())"
    run = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [
        str(package / "migrations"),
        "0001_foundation",
        "0002_tenancy",
        "0003_attribution",
        "0004_prices",
        "0005_rules",
        "0006_budget_spend",
        "0007_price_adjustments",
        "0008_runs",
        "0009_model_figures",
        "0010_stored_responses",
        "0011_model_parameters",
        "0012_route_policies",
        "0013_files_and_batches",
        "0014_beyond_models",
        "0015_request_logs",
        "0016_guardrail_policies",
    ]
