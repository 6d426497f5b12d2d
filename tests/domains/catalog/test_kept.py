"""The stored catalog on disk: believed while PostgreSQL was never read, and nobody else's."""

import dataclasses
from pathlib import Path
from types import MappingProxyType

import pytest
import structlog

from tollkeeper.contracts.catalog import Credential, ModelRoute, Price, ProviderConfig
from tollkeeper.contracts.passthrough import OpenPath, Passthrough
from tollkeeper.contracts.routing import Target
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.catalog.kept import CatalogFile, KeptCatalog
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, StoredPrice

MASTER, OTHER_MASTER = MasterKey("kept-catalog-" * 4), MasterKey("another-one-" * 4)
URL = "postgresql://gateway:first@db.internal:5432/tollkeeper"
SECRET = "sk-canary-of-the-kept-catalog"
CATALOG = StoredCatalog(
    providers=(
        ProviderConfig(
            uuid7(),
            "vendor",
            "openai",
            "https://api.vendor.example",
            credentials=(Credential(uuid7(), SECRET, frozenset({"https://api.vendor.example"})),),
            proxy_url="http://proxy:3128",
            headers=MappingProxyType({"x-team": "a"}),
            options=MappingProxyType({"nested": [1, {"deep": None}]}),
            total_seconds=1.5,
            passthrough=Passthrough((OpenPath("GET", "/files/*"),), 5, frozenset({"openai-project"})),
            fine_tuning_nano=7,
        ),
    ),
    models=(ModelRoute(uuid7(), "m*", (Target("vendor", "*", 2),), tenant_id=uuid7(), price=Price(uuid7(), 1, 2)),),
    prices=(StoredPrice(None, "vendor", "m", Price(uuid7(), 10**15, 2, cache_read=0)),),
    next_change_unix=1_900_000_000.5,
)


class Stored:
    """PostgreSQL's part."""

    def __init__(self, catalog: StoredCatalog | None = CATALOG) -> None:
        self.catalog = catalog
        self.remembered = 0

    async def read(self) -> StoredCatalog:
        if self.catalog is None:
            raise DependencyUnavailable("PostgreSQL does not answer.")
        return self.catalog

    async def remember(self, sources: Sources) -> None:
        await self.read()
        self.remembered += 1


def file(folder: Path, master: MasterKey = MASTER, url: str = URL) -> CatalogFile:
    return CatalogFile(folder / "snapshots" / "catalog", SecretBox(master), url)


async def test_catalog_is_kept_whole_and_believed_while_postgresql_was_never_read(tmp_path: Path) -> None:
    assert await KeptCatalog(Stored(), file(tmp_path)).read() == CATALOG
    away = Stored(None)
    kept = KeptCatalog(away, file(tmp_path))
    assert await kept.read() == CATALOG
    # Nothing to enter into a database that is away.
    await kept.remember(Sources())
    away.catalog = dataclasses.replace(CATALOG, models=())
    assert (await kept.read()).models == ()
    await kept.remember(Sources())
    assert away.remembered == 1


async def test_what_was_read_once_is_not_replaced_by_what_is_older(tmp_path: Path) -> None:
    stored = Stored()
    kept = KeptCatalog(stored, file(tmp_path))
    await kept.read()
    stored.catalog = None
    with pytest.raises(DependencyUnavailable):
        await kept.read()


async def test_every_change_is_kept_and_nothing_else_is_written(tmp_path: Path) -> None:
    stored = Stored()
    kept = KeptCatalog(stored, file(tmp_path))
    await kept.read()
    path = tmp_path / "snapshots" / "catalog"
    first = path.read_bytes()
    await kept.read()
    assert path.read_bytes() == first
    stored.catalog = dataclasses.replace(CATALOG, prices=())
    await kept.read()
    assert file(tmp_path).read() == stored.catalog


async def test_credentials_lie_sealed_and_closed_to_others(tmp_path: Path) -> None:
    await KeptCatalog(Stored(), file(tmp_path)).read()
    path = tmp_path / "snapshots" / "catalog"
    assert SECRET.encode() not in path.read_bytes()
    assert b"vendor" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in path.parent.iterdir()] == ["catalog"]


@pytest.mark.parametrize(
    ("master", "url"),
    [
        (OTHER_MASTER, URL),
        (MASTER, "postgresql://gateway:first@db.internal:5432/other"),
        (MASTER, "postgresql://gateway:first@elsewhere:5432/tollkeeper"),
        (MASTER, "postgresql://gateway:first@db.internal:5433/tollkeeper"),
        (MASTER, "postgresql://gateway:first@one:5432,two:5432/tollkeeper"),
    ],
)
async def test_another_database_or_master_key_opens_nothing(tmp_path: Path, master: MasterKey, url: str) -> None:
    await KeptCatalog(Stored(), file(tmp_path)).read()
    with structlog.testing.capture_logs() as logs:
        assert file(tmp_path, master, url).read() is None
    assert [line["event"] for line in logs] == ["sealed_file_ignored"]
    with pytest.raises(DependencyUnavailable):
        await KeptCatalog(Stored(None), file(tmp_path, master, url)).read()


async def test_another_login_of_the_same_database_opens_it(tmp_path: Path) -> None:
    await KeptCatalog(Stored(), file(tmp_path)).read()
    assert file(tmp_path, url="postgres://rotated:second@DB.internal:5432/tollkeeper").read() == CATALOG
    rotated = CatalogFile(tmp_path / "snapshots" / "catalog", SecretBox(OTHER_MASTER, MASTER), URL)
    assert rotated.read() == CATALOG
