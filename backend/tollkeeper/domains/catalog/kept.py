"""The stored catalog on disk: what PostgreSQL held when it was last read, for a start while PostgreSQL is away.

Sealed, because providers' credentials are in it, and bound to the database it was read from: another address opens
nothing. Failure policy: disk full or not writable: go on without, warn once.
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from pydantic import TypeAdapter, ValidationError

from tollkeeper.contracts.catalog import Adjustment, Credential, ModelRoute, Price, PriceTier, ProviderConfig
from tollkeeper.contracts.guardrails import Attachment, Exemption, GuardrailPolicy, RuleUse
from tollkeeper.contracts.passthrough import OpenPath, Passthrough
from tollkeeper.contracts.routing import Target
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.sealed_file import note_other_release, read_sealed, shape_of, to_json, write_sealed
from tollkeeper.domains.catalog.loader import StoredCatalogSource
from tollkeeper.domains.catalog.policies import PolicySource
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, StoredPrice

log = structlog.get_logger(__name__)

_SHAPE: Final = shape_of(
    StoredCatalog,
    PolicySource,
    StoredPrice,
    ProviderConfig,
    Passthrough,
    OpenPath,
    Credential,
    ModelRoute,
    Target,
    Price,
    PriceTier,
    Adjustment,
    Attachment,
    GuardrailPolicy,
    RuleUse,
    Exemption,
)
_RELEASE: Final = f"1-{_SHAPE}"
_CATALOG: Final = TypeAdapter(StoredCatalog)


class CatalogFile:
    """One file for a host and a database; whichever worker reads a change writes it."""

    def __init__(self, path: Path, box: SecretBox, database_url: str) -> None:
        self._path = path
        self._box = box
        self._kind = f"catalog-snapshot|{_place(database_url)}"
        self._written: bytes | None = None
        self._is_failing = False

    def read(self) -> StoredCatalog | None:
        payload = read_sealed(self._path, self._box, kind=self._kind, release=_RELEASE)
        if payload is None:
            return None
        try:
            return _CATALOG.validate_json(payload)
        except ValidationError:
            note_other_release(self._path.name)
            return None

    async def write(self, catalog: StoredCatalog) -> None:
        """Written when it says something new, or when the file is sealed under a former master key."""
        payload = to_json(catalog)
        digest = hashlib.sha256(payload).digest()
        if digest == self._written:
            return
        try:
            await asyncio.to_thread(write_sealed, self._path, self._box, payload, kind=self._kind, release=_RELEASE)
        except OSError as error:
            if not self._is_failing:
                log.warning("catalog_snapshot_not_written", reason=error.strerror)
            self._is_failing = True
            return
        self._written, self._is_failing = digest, False


class KeptCatalog:
    """A `StoredCatalogSource` that outlives PostgreSQL: while it was never read, the file's word holds."""

    def __init__(self, stored: StoredCatalogSource, file: CatalogFile) -> None:
        self._stored = stored
        self._file = file
        self._has_read = False
        self._is_from_file = False

    async def read(self) -> StoredCatalog:
        try:
            catalog = await self._stored.read()
        except DependencyUnavailable:
            kept = None if self._has_read else await asyncio.to_thread(self._file.read)
            if kept is None:
                raise
            if not self._is_from_file:
                log.warning("catalog_from_file", providers=len(kept.providers), models=len(kept.models))
            self._is_from_file = True
            return kept
        self._has_read, self._is_from_file = True, False
        await self._file.write(catalog)
        return catalog

    async def remember(self, sources: Sources) -> None:
        if not self._is_from_file:
            await self._stored.remember(sources)


def _place(url: str) -> str:
    """Servers and database, without the login: that may change while the database stays the same."""
    parts = urlsplit(url)
    servers = parts.netloc.rpartition("@")[2].lower()
    return hashlib.sha256(f"{servers}{parts.path}?{parts.query}".encode()).hexdigest()[:16]
