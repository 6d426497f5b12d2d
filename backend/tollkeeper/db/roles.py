"""The four roles under row-level security, and the login that may take them on.

`tk_owner` owns the tables, `tk_app` works inside one tenant, `tk_lookup` reads what proving a key needs, `tk_platform`
works across tenants. None can log in; the login of `TOLLKEEPER_DATABASE_URL` takes one on for each transaction.
"""

import asyncio
from typing import Any, Final

import asyncpg

from tollkeeper.core.errors import TollkeeperError

OWNER: Final = "tk_owner"
APP: Final = "tk_app"
LOOKUP: Final = "tk_lookup"
PLATFORM: Final = "tk_platform"
ROLES: Final = (OWNER, APP, LOOKUP, PLATFORM)

_OLDEST: Final = 150_000
_ATTEMPTS: Final = 10


class DatabaseUnfit(TollkeeperError):
    """The database or its login cannot carry Tollkeeper; the message tells an administrator what to run."""

    code = "database_unfit"


async def check_login(connection: asyncpg.Connection) -> None:
    """Raises `DatabaseUnfit` for a login that row-level security would not bind, or that lacks the roles."""
    login = await _read_login(connection)
    _refuse_powers(login)
    if await _missing_roles(connection) or await _unusable_roles(connection, login["version"]):
        raise DatabaseUnfit(administrator_sql(login["name"]))


async def ensure_roles(connection: asyncpg.Connection) -> None:
    """Create the roles and let the login take them on, if that has not been done; safe to repeat and to race."""
    login = await _read_login(connection)
    _refuse_powers(login)
    for attempt in range(_ATTEMPTS):
        try:
            async with connection.transaction():
                await _create(connection, login)
        except asyncpg.InsufficientPrivilegeError:
            raise DatabaseUnfit(administrator_sql(login["name"])) from None
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError, asyncpg.InternalServerError):
            # Roles belong to the whole cluster: another database's migration is doing the same ("tuple concurrently
            # updated" is an internal error to PostgreSQL).
            await asyncio.sleep(0.05 * (attempt + 1))
        else:
            return
    raise DatabaseUnfit(administrator_sql(login["name"]))


def administrator_sql(login: str) -> str:
    name = '"' + login.replace('"', '""') + '"'
    statements = [
        *(f"CREATE ROLE {role} NOLOGIN NOBYPASSRLS;" for role in ROLES),
        f"GRANT {', '.join(ROLES)} TO {name} WITH INHERIT FALSE, SET TRUE;  -- PostgreSQL 15: without the WITH part",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER};",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {LOOKUP}, {PLATFORM};",
    ]
    listed = "\n  ".join(statements)
    return (
        f"The database login {name} may not create the roles that row-level security needs. Either make it the owner of "
        f"the database with CREATEROLE, or let an administrator run this in the database once:\n  {listed}"
    )


async def _read_login(connection: asyncpg.Connection) -> Any:
    login = await connection.fetchrow(
        "SELECT session_user::text AS name, rolsuper, rolbypassrls, current_setting('server_version_num')::int AS version "
        "FROM pg_roles WHERE rolname = session_user"
    )
    assert login is not None
    return login


def _refuse_powers(login: Any) -> None:
    if login["version"] < _OLDEST:
        raise DatabaseUnfit("PostgreSQL 15 or newer is needed.")
    if login["rolsuper"] or login["rolbypassrls"]:
        raise DatabaseUnfit(
            f'The database login "{login["name"]}" is a superuser or has BYPASSRLS, so nothing would keep tenants apart. '
            "Use an ordinary login: CREATE ROLE tollkeeper LOGIN CREATEROLE PASSWORD '…'; "
            "CREATE DATABASE tollkeeper OWNER tollkeeper;"
        )


async def _create(connection: asyncpg.Connection, login: Any) -> None:
    for role in await _missing_roles(connection):
        await connection.execute(f"CREATE ROLE {role} NOLOGIN NOBYPASSRLS")
    unusable = await _unusable_roles(connection, login["version"])
    if unusable:
        name = await connection.fetchval("SELECT quote_ident($1)", login["name"])
        # Not inherited: a statement outside our transactions has no power at all.
        options = " WITH INHERIT FALSE, SET TRUE" if login["version"] >= 160_000 else ""
        await connection.execute(f"GRANT {', '.join(unusable)} TO {name}{options}")
    if not await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", OWNER):
        await connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}")
        if not await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", OWNER):
            # Without the right to grant, PostgreSQL only warns.
            raise asyncpg.InsufficientPrivilegeError("no privilege on the schema public")
    await connection.execute(f"GRANT USAGE ON SCHEMA public TO {APP}, {LOOKUP}, {PLATFORM}")


async def _missing_roles(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1)", list(ROLES))
    found = {row["rolname"] for row in rows}
    return [role for role in ROLES if role not in found]


async def _unusable_roles(connection: asyncpg.Connection, version: int) -> list[str]:
    privilege = "SET" if version >= 160_000 else "MEMBER"
    rows = await connection.fetch(
        "SELECT role FROM unnest($1::text[]) AS role WHERE NOT pg_has_role(session_user, role, $2)",
        list(ROLES),
        privilege,
    )
    return [row["role"] for row in rows]
