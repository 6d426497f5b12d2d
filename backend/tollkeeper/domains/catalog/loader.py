"""Keeps one worker's snapshot true: loads it, swaps it whole, and loads it again when told that something changed.

PostgreSQL down: keep the last snapshot, warn once, try again. File wrong: keep the last good file, say what is wrong.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from tollkeeper.contracts.cache import CacheAttachment
from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, DeclaredCatalog, Snapshot
from tollkeeper.contracts.guardrails import Attachment
from tollkeeper.core.clock import Clock
from tollkeeper.core.config_source import ConfigError
from tollkeeper.core.errors import BadRequest, DependencyUnavailable
from tollkeeper.domains.catalog.policies import PolicySource
from tollkeeper.domains.catalog.snapshot import Sources, StoredCatalog, build_snapshot
from tollkeeper.domains.guardrail_policies.schemas import DeclaredGuardrail
from tollkeeper.domains.limits.schemas import DeclaredRule

log = structlog.get_logger(__name__)

# Announcements come in bursts when an operator saves a page of changes; one load serves them all.
DEBOUNCE_SECONDS: Final = 0.05
# The backstop for an announcement that was lost: how old a snapshot can be in the worst case.
POLL_SECONDS: Final = 30.0
# While the database has not been read yet, the snapshot lacks what is stored there.
RETRY_SECONDS: Final = 1.0
_REJECTED: Final = "The configuration file has mistakes; what was in force stays in force."


class ConfigurationRejected(BadRequest):
    """A reload found mistakes in the configuration file; what was in force stays in force."""

    code = "configuration_rejected"


class StoredCatalogSource(Protocol):
    async def read(self) -> StoredCatalog:
        """What the database holds now. Raises `DependencyUnavailable` when it cannot be asked."""
        ...

    async def remember(self, sources: Sources) -> None:
        """Keep what a later reader of the ledger needs of `sources`. Raises `DependencyUnavailable`."""
        ...


class SnapshotHolder:
    """The snapshot in force. Reading it is one attribute access; a swap replaces it whole."""

    def __init__(self) -> None:
        self._snapshot = EMPTY_SNAPSHOT

    def current(self) -> Snapshot:
        return self._snapshot

    def swap(self, sources: Sources) -> bool:
        """Put a snapshot of `sources` in force, with the next version; False when it says nothing new."""
        before = self._snapshot
        built = build_snapshot(before.version, sources)
        if built == before:
            return False
        self._snapshot = replace(built, version=before.version + 1)
        return True


class SnapshotLoader:
    """Collects the sources, and keeps the holder up to date with them while `run` runs."""

    def __init__(
        self, holder: SnapshotHolder, stored: StoredCatalogSource | None, sources: Sources, clock: Clock
    ) -> None:
        self._holder = holder
        self._stored = stored
        self._sources = sources
        self._clock = clock
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._has_read_stored = stored is None
        self._is_stored_down = False

    @property
    def sources(self) -> Sources:
        return self._sources

    def changed(self) -> None:
        """Something in the database changed: load soon. Cheap, callable from any callback of the loop."""
        self._changed.set()

    async def load(self) -> None:
        """Load now, at the start or before answering a change. Never raises for a database that is down."""
        async with self._lock:
            await self._read_stored()
            self._swap()

    async def replace_declared(self, declared: "Declared") -> int:
        """Put another configuration file's objects in force; returns the snapshot's version.

        Raises `ConfigurationRejected` where a model of the database would lose the policy of the file that it leads by.
        """
        async with self._lock:
            sources = replace(
                self._sources,
                file=declared.file,
                environment=declared.environment,
                policies=declared.policies,
                policy_places=declared.policy_places,
                guardrails=declared.guardrails,
                guardrail_policies=declared.guardrail_policies,
                caches=declared.caches,
            )
            if lost := _lost(self._holder.current(), sources, self._sources.policy_places):
                raise ConfigurationRejected(_REJECTED, details={"problems": lost})
            self._sources = sources
            await self._read_stored()
            self._swap()
            return self._holder.current().version

    async def run(self) -> None:
        """Reload on each `changed()` and at the latest every `POLL_SECONDS`. Ends when it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_seconds()):
                    await self._changed.wait()
                    await asyncio.sleep(DEBOUNCE_SECONDS)
            # Cleared before reading: a change during the read is read again, never missed.
            self._changed.clear()
            await self.load()

    def _wait_seconds(self) -> float:
        if not self._has_read_stored:
            return RETRY_SECONDS
        # A price that begins at noon is in force at noon.
        change = self._sources.stored.next_change_unix
        return POLL_SECONDS if change is None else min(POLL_SECONDS, max(0.0, change - self._clock.unix()))

    async def _read_stored(self) -> None:
        if self._stored is None:
            return
        try:
            stored = await self._stored.read()
            await self._stored.remember(self._sources)
        except DependencyUnavailable as error:
            if not self._is_stored_down:
                log.warning("catalog_not_read", reason=error.message, keeps_version=self._holder.current().version)
            self._is_stored_down = True
            return
        self._is_stored_down = False
        self._has_read_stored = True
        self._sources = replace(self._sources, stored=stored)

    def _swap(self) -> None:
        if self._holder.swap(self._sources):
            snapshot = self._holder.current()
            log.info(
                "catalog_loaded",
                version=snapshot.version,
                providers=len(snapshot.providers),
                models=len(snapshot.models) + len(snapshot.wildcards),
            )
            for route in snapshot.unrouted():
                log.error("route_policy_unusable", model=route.name, policy=route.policy_name)


def _lost(before: Snapshot, sources: Sources, places: Mapping[str, str]) -> list[str]:
    """What stored models lead by now and would not with these sources; what leads nowhere already refuses nothing."""
    usable = {
        (route.tenant_id, route.name)
        for route in (*before.models.values(), *before.wildcards)
        if route.policy is not None
    }
    return [
        f"{places.get(route.policy_name or '', 'route_policies')}: {route.policy_name}: the stored model '{route.name}' "
        "leads by this policy, which would be gone or faulty: keep it, or change the model first"
        for route in build_snapshot(before.version, sources).unrouted()
        if not route.is_managed_by_file and (route.tenant_id, route.name) in usable
    ]


@dataclass(frozen=True, slots=True)
class Declared:
    """What one reading of the configuration file and the environment declares."""

    file: DeclaredCatalog
    environment: DeclaredCatalog
    rules: tuple[DeclaredRule, ...] = ()
    policies: tuple[PolicySource, ...] = ()
    policy_places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    guardrails: tuple[Attachment, ...] = ()
    guardrail_policies: tuple[DeclaredGuardrail, ...] = ()
    caches: tuple[CacheAttachment, ...] = ()


# Reads file and environment; runs in a thread. Raises `ConfigError`.
ReadDeclared = Callable[[], Declared]


class Reloader:
    """Reads the configuration file again: whole, or not at all. Used by SIGHUP, by announcements and by the API."""

    def __init__(
        self,
        loader: SnapshotLoader,
        read: ReadDeclared,
        on_rules: Callable[[Sequence[DeclaredRule]], None] | None = None,
    ) -> None:
        """`on_rules` is told the limits and budgets of each reading."""
        self._loader = loader
        self._read = read
        self._on_rules = on_rules
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Reload soon, in `run`; for signal handlers and announcements."""
        self._requested.set()

    async def run(self) -> None:
        """Reload whenever it was requested; a rejected file is logged and changes nothing. Ends when cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            with suppress(ConfigurationRejected):
                await self.reload()

    async def reload(self) -> int:
        """Returns the snapshot's version.

        Raises `ConfigurationRejected` naming every problem; the old configuration then stays in force.
        """
        try:
            declared = await asyncio.to_thread(self._read)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            log.warning("configuration_rejected", problems=problems)
            raise ConfigurationRejected(
                _REJECTED,
                details={"problems": problems},
            ) from None
        try:
            version = await self._loader.replace_declared(declared)
        except ConfigurationRejected as error:
            log.warning("configuration_rejected", problems=error.details["problems"])
            raise
        if self._on_rules is not None:
            self._on_rules(declared.rules)
        log.info("configuration_reloaded", version=version)
        return version
