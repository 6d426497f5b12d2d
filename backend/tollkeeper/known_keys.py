"""What a worker knows of keys, put together: its memory, the look-up behind it, the snapshot beside it.

A part of `wiring`: it names concrete parts of both planes, hands them to one another, and says what happens to all of
them when a change is announced.
"""

from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.contracts.money import PLATFORM
from tollkeeper.core.announcements import Announcement, Topic
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.db.session import Database
from tollkeeper.domains.keys.foreign import ForeignDigests
from tollkeeper.domains.keys.lookup import SqlKeyLookup
from tollkeeper.domains.keys.uses import KeyUseWriter, OnRefused
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.gateway.key_snapshot import KeySnapshot

log = structlog.get_logger(__name__)

_CONTROL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class KnownKeys:
    cache: KeyCache
    lookup: SqlKeyLookup
    foreign: ForeignDigests
    uses: KeyUseWriter
    snapshot: KeySnapshot
    proof: KeyProof

    @classmethod
    async def open(
        cls,
        settings: Settings,
        database: Database,
        box: SecretBox,
        hasher: KeyHasher,
        clock: Clock,
        stack: AsyncExitStack,
        *,
        on_refused: OnRefused,
        is_late: bool = False,
    ) -> "KnownKeys":
        """`is_late`: PostgreSQL is away, so the snapshot is read before anybody is served."""
        cache = KeyCache(settings.key_cache_size)
        rate = settings.default_requests_per_minute
        lookup = SqlKeyLookup(database, default_requests_per_minute=rate)
        # Administrators have time; the calls' 100 ms would refuse a burst of them on a busy database.
        patient = SqlKeyLookup(database, default_requests_per_minute=rate, deadline_seconds=_CONTROL_SECONDS)
        foreign = ForeignDigests(database)
        folder = settings.data_dir / "snapshots"
        snapshot = KeySnapshot(folder, box, cache, clock, stale_seconds=settings.stale_key_seconds)
        stack.callback(snapshot.close)
        if is_late:
            log.warning("keys_from_snapshot", secrets=await snapshot.load())
        else:
            with suppress(DependencyUnavailable):
                await foreign.refresh()
                # Nobody's key: compiling and preparing the statement takes longer than the first caller is given.
                await patient.find_by_public_id("")
        uses = KeyUseWriter(database, cache, clock, on_refused=on_refused)
        return cls(cache, lookup, foreign, uses, snapshot, KeyProof(patient, hasher, foreign))

    def heard(self, announcement: Announcement) -> None:
        """A key, or the owner or tenant of keys, was changed: forget it everywhere, and look again at its next use."""
        subject = announcement.subject
        match announcement.topic:
            case Topic.KEY:
                self.cache.forget_key(subject)
            case Topic.TENANT:
                self.cache.forget_tenant(subject)
            case Topic.USER:
                self.cache.forget_user(subject)
            case Topic.RULES:
                # The key is as good as before; only what it may spend is not.
                self.cache.outdate(None if subject == PLATFORM else subject)
                return
            case _:
                return
        self._look_again(subject)

    def resync(self) -> None:
        """A channel was away: nothing heard meanwhile can be trusted to be all."""
        self.cache.expire_all()
        self.foreign.resync()

    def work(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "key-uses": self.uses.run(),
            "foreign-keys": self.foreign.run(),
            "key-snapshot": self.snapshot.run(),
        }

    async def finish(self) -> None:
        """At the end: keep what the next process should know."""
        await self.snapshot.write()
        with suppress(DependencyUnavailable):
            await self.uses.write()

    def _look_again(self, subject: UUID) -> None:
        self.snapshot.forget(subject)
        self.foreign.heard(subject)
