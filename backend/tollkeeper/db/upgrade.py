"""Applies the migrations with alembic. A process of its own (`python -m tollkeeper.db.upgrade`, the address on standard
input), because alembic costs a third of a second and memory that a worker would carry for the rest of its life.
"""

import asyncio
import sys

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from tollkeeper.core.errors import TollkeeperError
from tollkeeper.db.migrations import EXIT_REFUSED, migrations_folder, run_as_owner


async def apply(url: str) -> None:
    """Create the roles where they are missing and apply what is pending, alone in this database."""
    await run_as_owner(url, _upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def main() -> int:
    try:
        asyncio.run(apply(sys.stdin.read()))
    except TollkeeperError as error:
        sys.stdout.write(f"{error.code}\n{error.message}")
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
