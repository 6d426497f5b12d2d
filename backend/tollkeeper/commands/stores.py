"""Commands that work on the stores themselves, not through a gateway: with its settings, and also while none runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tollkeeper.commands.output import fail, note
from tollkeeper.commands.serving import read_settings

if TYPE_CHECKING:
    from tollkeeper.core.config import Settings
    from tollkeeper.core.master_keys import MasterKeys
    from tollkeeper.db.session import Database

StoresDir = Annotated[Path | None, typer.Option("--data-dir", help="Data folder.", show_default=".data")]


@contextmanager
def open_stores(config: Path | None, data_dir: Path | None) -> Iterator["Settings"]:
    """The settings, with the address of the embedded database where that is used: adopted from a running gateway."""
    from pydantic import SecretStr

    from tollkeeper.core.embedded import EmbeddedError, EmbeddedPostgres

    settings = read_settings(config, data_dir=data_dir)
    if settings.database_url is not None:
        yield settings
        return
    folder = settings.data_dir.resolve()
    if not (folder / "postgres").is_dir():
        fail(
            f"{settings.data_dir} holds no database. Name the gateway's folder with --data-dir, or set TOLLKEEPER_DATABASE_URL."
        )
    changes: dict[str, object] = {"data_dir": folder}
    if settings.master_key is None and settings.master_key_file is None and (folder / "master.key").exists():
        changes["master_key_file"] = folder / "master.key"
    server = EmbeddedPostgres(folder, say=note)
    try:
        server.start()
        yield settings.model_copy(update={**changes, "database_url": SecretStr(server.endpoint.url)})
    except EmbeddedError as error:
        fail(error.message)
    finally:
        server.stop()


@contextmanager
def open_redis(settings: "Settings") -> Iterator[str]:
    """The address of Redis; of the embedded one, which is adopted from a running gateway, where none is named."""
    from tollkeeper.core.embedded import EmbeddedError, EmbeddedValkey

    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
        return
    server = EmbeddedValkey(settings.data_dir.resolve(), say=note)
    try:
        server.start()
        yield server.endpoint.url
    except EmbeddedError as error:
        fail(error.message)
    finally:
        server.stop()


@asynccontextmanager
async def open_database(settings: "Settings") -> AsyncIterator["Database"]:
    """Raises `TollkeeperError` for a database that does not answer or lacks migrations."""
    from tollkeeper.core.errors import TollkeeperError
    from tollkeeper.db import migrations
    from tollkeeper.db.session import Database

    assert settings.database_url is not None
    direct = settings.database_direct_url or settings.database_url
    pending = await migrations.pending(direct.get_secret_value())
    if pending:
        raise TollkeeperError(f"The database lacks {len(pending)} migrations. Run: tollkeeper migrate")
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=2,
        is_behind_pooler=settings.database_direct_url is not None,
    )
    try:
        await database.check()
        yield database
    finally:
        await database.close()


def master_keys(settings: "Settings") -> "MasterKeys":
    from tollkeeper.core.crypto import MasterKeyError
    from tollkeeper.core.master_keys import MasterKeys

    try:
        keys = MasterKeys.of(settings)
    except MasterKeyError as error:
        fail(str(error))
    if keys is None:
        fail("TOLLKEEPER_MASTER_KEY is not set. It must be the key that the gateways use.")
    return keys
