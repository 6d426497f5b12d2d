"""Runs migrations over asyncpg: one lock, the roles first, then everything as their owner.

A superuser is refused (row-level security would not bind it) and so is a login that cannot make the roles; both errors
say what an administrator must do. `tollkeeper.db.migrations` is the way in.
"""

import asyncio
import os

import asyncpg
from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tollkeeper.db import models  # noqa: F401 - completes the metadata
from tollkeeper.db.base import Base
from tollkeeper.db.migrations import LOCK, ROLES, MigrationError
from tollkeeper.db.session import OWNER_ROLE, driver_url


def url() -> str:
    given = context.config.attributes.get("url") or os.environ.get("TOLLKEEPER_DATABASE_URL")
    if not given:
        raise MigrationError("Set TOLLKEEPER_DATABASE_URL to the database to migrate.")
    return str(given)


def is_ours(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
    """Day partitions come and go by themselves; the metadata knows their parent alone."""
    return not (kind in {"table", "index"} and reflected and name is not None and "usage_logs_" in name)


def prepare_roles(connection: Connection) -> None:
    """The four roles of row-level security, and our membership in them. Cluster-wide, so others may do it right now."""
    is_superuser, can_make_roles = connection.execute(
        text("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    ).one()
    if is_superuser:
        raise MigrationError(
            "The database URL names a superuser, whom row-level security does not bind. Make a login of its own: "
            "CREATE ROLE tollkeeper LOGIN NOSUPERUSER CREATEROLE PASSWORD '…'; "
            "ALTER DATABASE … OWNER TO tollkeeper;"
        )
    # Since PostgreSQL 16 who makes a role is its member without the right to become it.
    version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    privilege = "SET" if version >= 160_000 else "MEMBER"
    # Roles belong to the whole cluster: keep migrations of its other databases out while they are made.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    for role in ROLES:
        if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar() is None:
            if not can_make_roles:
                raise MigrationError(missing_roles())
            try:
                with connection.begin_nested():
                    connection.execute(text(f"CREATE ROLE {role} NOLOGIN NOBYPASSRLS NOSUPERUSER"))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in {
                    asyncpg.DuplicateObjectError.sqlstate,
                    asyncpg.UniqueViolationError.sqlstate,
                }:
                    raise
        is_member = connection.execute(
            text("SELECT pg_has_role(current_user, CAST(:role AS name), :privilege)"),
            {"role": role, "privilege": privilege},
        ).scalar()
        if not is_member:
            try:
                with connection.begin_nested():
                    connection.execute(text(f"GRANT {role} TO CURRENT_USER"))
            except DBAPIError as error:
                raise MigrationError(missing_roles()) from error
    connection.execute(text(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER_ROLE}"))


def missing_roles() -> str:
    statements = " ".join(f"CREATE ROLE {role} NOLOGIN; GRANT {role} TO <our login>;" for role in ROLES)
    return f"The login may not make the roles that row-level security rests on. An administrator must run: {statements}"


def run(connection: Connection) -> None:
    with connection.begin():
        prepare_roles(connection)
    with connection.begin():
        # The lock lives as long as the migration's transaction; whoever waited finds the new version and nothing to do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK + 1})
        connection.execute(text(f"SET LOCAL ROLE {OWNER_ROLE}"))
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=is_ours,
            compare_server_default=False,
            transactional_ddl=True,
        )
        context.run_migrations()


async def migrate() -> None:
    address, arguments = driver_url(url())
    engine = create_async_engine(address, poolclass=NullPool, connect_args={"timeout": 10, **arguments})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(migrate())
