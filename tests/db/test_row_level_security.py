"""No tenant sees another's rows, whatever the pool did before; proven from the catalogues and by trying."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tollkeeper.core.ids import uuid7
from tollkeeper.db import models
from tollkeeper.db.session import Database

TABLES = models.Tenant.metadata.tables
WITHOUT_POLICIES = {"alembic_version"}


async def _emails(database: Database, tenant_id: UUID) -> list[str]:
    async with database.tenant(tenant_id) as session:
        return list((await session.execute(text("SELECT email FROM users ORDER BY email"))).scalars())


# A tenant sees its own, and changes none.
MADE_BY_THE_PLATFORM = frozenset({"route_policies", "route_policy_versions"})


async def test_row_level_security_is_forced_on_every_table_and_partition(database: Database) -> None:
    async with database.platform() as session:
        rows = await session.execute(
            text(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public' "
                "AND relkind IN ('r', 'p', 'm', 'f') AND NOT (relrowsecurity AND relforcerowsecurity)"
            )
        )
        unforced = set(rows.scalars())
    assert unforced == WITHOUT_POLICIES


async def test_every_tenant_policy_checks_reads_and_writes(database: Database) -> None:
    async with database.platform() as session:
        rows = (
            await session.execute(
                text(
                    "SELECT tablename, policyname, roles::text[] AS roles, qual, with_check, cmd FROM pg_policies "
                    "WHERE 'tk_app' = ANY(roles)"
                )
            )
        ).all()
    guarded = {row.tablename for row in rows if row.policyname == "tenant"}
    with_tenant = {table.name for table in TABLES.values() if "tenant_id" in table.columns}
    assert guarded == with_tenant | {"tenants"}
    for row in rows:
        if row.policyname == "tenant":
            assert "app.tenant" in row.qual
            if row.tablename in MADE_BY_THE_PLATFORM:
                assert row.cmd == "SELECT"
                continue
            assert row.with_check == row.qual
            assert row.cmd == "ALL"
        elif row.policyname == "shared":
            assert row.qual == "(tenant_id IS NULL)"
            assert row.cmd == "SELECT"
        elif row.policyname == "guest":
            assert (row.tablename, row.cmd) == ("users", "SELECT")
            assert "members.tenant_id" in row.qual
            assert "app.tenant" in row.qual
        else:
            assert (row.tablename, row.cmd) == ("announcements", "INSERT")


async def test_no_role_of_ours_has_powers(database: Database) -> None:
    async with database.platform() as session:
        rows = await session.execute(
            text(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tk\\_%' "
                "AND (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb)"
            )
        )
        assert list(rows) == []
        owners = await session.execute(text("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"))
        assert list(owners.scalars()) == ["tk_owner"]
        definers = await session.execute(
            text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef")
        )
        assert [name for name in definers.scalars() if "vector" not in name] == []


async def test_partitions_are_granted_to_nobody(database: Database) -> None:
    async with database.platform() as session:
        rows = await session.execute(
            text(
                "SELECT table_name FROM information_schema.role_table_grants "
                "WHERE grantee LIKE 'tk\\_%' AND grantee <> 'tk_owner' AND table_name LIKE 'usage\\_logs\\_p%'"
            )
        )
        assert list(rows) == []


async def test_a_tenant_sees_its_own_rows_only(database: Database, tenants: tuple[UUID, UUID]) -> None:
    acme, globex = tenants
    assert await _emails(database, acme) == ["acme@example.com"]
    assert await _emails(database, globex) == ["globex@example.com"]


@pytest.mark.parametrize("table", sorted(TABLES))
async def test_without_a_tenant_no_row_is_shown(database_url: str, tenants: tuple[UUID, UUID], table: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE tk_app")
            try:
                assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
            except asyncpg.InsufficientPrivilegeError:
                assert table in {"consumed_tokens", "outbox", "announcements", "workers", "system_state"}
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (id, tenant_id, email, name) VALUES (:new, :other, 'planted@example.com', 'x')",
        "UPDATE users SET tenant_id = :other",
        (
            "INSERT INTO audit_logs (id, tenant_id, sequence, previous_hash, hash, actor_type, actor_id, actor_name, "
            "action, object_type, object_id) VALUES (:new, :other, 1, '', '', '', '', '', '', '', '')"
        ),
        "INSERT INTO providers (id, name, kind) VALUES (:new, 'shared', 'openai')",
        "DELETE FROM audit_logs",
        "UPDATE audit_logs SET actor_name = 'nobody'",
        "INSERT INTO tenants (id, name, slug) VALUES (:new, 'mine', 'mine')",
    ],
)
async def test_the_tenant_role_cannot_reach_out(database: Database, tenants: tuple[UUID, UUID], statement: str) -> None:
    acme, globex = tenants
    parameters = {name: value for name, value in (("new", uuid7()), ("other", globex)) if f":{name}" in statement}

    async def reach_out() -> None:
        async with database.tenant(acme) as session:
            await session.execute(text(statement), parameters)

    with pytest.raises(DBAPIError, match=r"row-level security|permission denied"):
        await reach_out()


async def test_the_login_outside_a_transaction_of_ours_sees_nothing(database_url: str) -> None:
    """Roles are granted without inheritance: forgetting to take one on shows an error, not somebody's rows."""
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM users")
    finally:
        await connection.close()


async def test_nothing_stays_on_a_pooled_connection(database_url: str, tenants: tuple[UUID, UUID]) -> None:
    """One connection, taken in turn: the plan prepared for one tenant is used for the other."""
    acme, globex = tenants
    database = Database(database_url, pool_size=1)

    async def left() -> tuple[bool, str]:
        async with database._engine.connect() as connection:
            row = await connection.execute(
                text("SELECT current_user = session_user, coalesce(current_setting('app.tenant', true), '')")
            )
            return tuple(row.one())

    try:
        for _ in range(6):
            assert await _emails(database, acme) == ["acme@example.com"]
            assert await left() == (True, "")
            assert await _emails(database, globex) == ["globex@example.com"]
            async with database.platform() as session:
                assert (await session.execute(text("SELECT count(*) FROM users"))).scalar_one() >= 2
            assert await left() == (True, "")
    finally:
        await database.close()


async def test_a_cancelled_transaction_leaves_nothing_to_the_next(
    database_url: str, tenants: tuple[UUID, UUID]
) -> None:
    acme, globex = tenants
    database = Database(database_url, pool_size=2)

    async def work(number: int) -> None:
        async with database.tenant(acme if number % 2 else globex) as session:
            await session.execute(
                text("UPDATE users SET name = 'cancelled', preferences = '{}' WHERE pg_sleep(0.02) IS NOT NULL")
            )
            await asyncio.sleep(10)

    try:
        for number in range(20):
            task = asyncio.create_task(work(number))
            # At every moment of a transaction: while connecting, waiting for a lock, sleeping, after the statement.
            _done, _pending = await asyncio.wait([task], timeout=0.003 * number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await _emails(database, acme) == ["acme@example.com"]
            assert await _emails(database, globex) == ["globex@example.com"]
        async with database.platform() as session:
            names = set((await session.execute(text("SELECT name FROM users"))).scalars())
        assert names == {"x"}
    finally:
        await database.close()


async def test_a_transaction_is_committed_whole_or_not_at_all(database: Database) -> None:
    async def half() -> None:
        async with database.platform() as session:
            await session.execute(
                text("INSERT INTO tenants (id, name, slug) VALUES (:id, 'half', 'half')"), {"id": uuid7()}
            )
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await half()
    async with database.platform() as session:
        assert (await session.execute(text("SELECT count(*) FROM tenants WHERE name = 'half'"))).scalar_one() == 0
