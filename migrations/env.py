"""Runs migrations as `tk_owner`, one at a time in the whole database, all in one transaction.

`tollkeeper.db.migrations` hands over an open connection; the alembic command line opens its own from the environment.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, text

from tollkeeper.db import models  # noqa: F401 - fills the metadata
from tollkeeper.db.base import Base
from tollkeeper.db.migrations import is_ours, run_as_owner


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=False,
        include_name=is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()
    # Who asks whether the schema is current is not its owner.
    connection.execute(text("GRANT SELECT ON alembic_version TO tk_lookup, tk_platform"))


def main() -> None:
    if context.is_offline_mode():
        raise SystemExit("Migrations need a database: roles and partitions depend on what is there.")
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    url = os.environ.get("TOLLKEEPER_DATABASE_DIRECT_URL") or os.environ.get("TOLLKEEPER_DATABASE_URL")
    if not url:
        raise SystemExit("Set TOLLKEEPER_DATABASE_URL.")
    asyncio.run(run_as_owner(url, migrate))


main()
