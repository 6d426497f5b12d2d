"""What keys leave behind when they are used: the time of the last use, and a digest under the current pepper.

Kept in memory and written in batches, so that no call waits for it: a use that is not written when a worker dies is
lost, and the key was used none the less. Neither is a change of the key: its version and its audit trail stay.
Failure policy: PostgreSQL gone: keep it for the next time.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol
from uuid import UUID

import structlog
from sqlalchemy import text

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.secrets import KeyDigest
from tollkeeper.db.session import Database

log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 60.0
_MOST_PENDING: Final = 100_000
# A row that somebody is changing right now is left out: nobody ever waits for a time of use, nor is waited for.
_USED: Final = text("""
    UPDATE api_keys SET last_used_at = to_timestamp(used.at)
    FROM (
        SELECT api_keys.id, wanted.at FROM api_keys
        JOIN unnest(CAST(:ids AS uuid[]), CAST(:times AS float8[])) AS wanted (id, at) ON wanted.id = api_keys.id
        WHERE api_keys.last_used_at IS NULL OR api_keys.last_used_at < to_timestamp(wanted.at)
        ORDER BY api_keys.id FOR UPDATE OF api_keys SKIP LOCKED
    ) AS used
    WHERE api_keys.id = used.id
""")
# Compare and set: a key that was rotated meanwhile keeps what the rotation wrote.
_RENEW: Final = text("UPDATE api_keys SET digest = :renewed, pepper_id = :pepper WHERE id = :id AND digest = :known")


OnRefused = Callable[[Principal, str, str | None], None]


class CachedKeys(Protocol):
    """The data plane's memory of keys; wiring hands it over."""

    def take_used(self) -> Mapping[UUID, float]:
        """Keys used since the last time, with the monotonic time of the last use."""
        ...


class KeyUseWriter:
    """`contracts.ports.KeyUses`. `run` writes until it is cancelled; call `write` once more at the end."""

    def __init__(
        self, database: Database, cached: CachedKeys, clock: Clock, *, on_refused: OnRefused = lambda *_: None
    ) -> None:
        self._database = database
        self._cached = cached
        self._clock = clock
        self._on_refused = on_refused
        self._used: dict[UUID, float] = {}
        self._renewed: dict[UUID, tuple[bytes, KeyDigest]] = {}

    def used(self, key_id: UUID) -> None:
        if len(self._used) < _MOST_PENDING or key_id in self._used:
            self._used[key_id] = self._clock.unix()

    def renew(self, key_id: UUID, known: bytes, renewed: KeyDigest) -> None:
        if len(self._renewed) < _MOST_PENDING:
            self._renewed[key_id] = (known, renewed)

    def refused(self, principal: Principal, reason: str, address: str | None) -> None:
        self._on_refused(principal, reason, address)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            with suppress(DependencyUnavailable):
                await self.write()

    async def write(self) -> None:
        """Write what has gathered; it stays gathered when that fails. Raises `DependencyUnavailable`."""
        self._gather()
        used, self._used = self._used, {}
        renewed, self._renewed = self._renewed, {}
        if not used and not renewed:
            return
        try:
            async with self._database.platform() as session:
                if used:
                    ids = sorted(used)
                    await session.execute(_USED, {"ids": ids, "times": [used[key_id] for key_id in ids]})
                for key_id in sorted(renewed):
                    known, digest = renewed[key_id]
                    await session.execute(
                        _RENEW, {"id": key_id, "known": known, "renewed": digest.digest, "pepper": digest.pepper_id}
                    )
        except DependencyUnavailable:
            for key_id, moment in used.items():
                self._used[key_id] = max(moment, self._used.get(key_id, 0.0))
            self._renewed = renewed | self._renewed
            raise
        if renewed:
            log.info("key_digests_renewed", keys=len(renewed))

    def _gather(self) -> None:
        to_unix = self._clock.unix() - self._clock.monotonic()
        for key_id, moment in self._cached.take_used().items():
            if len(self._used) < _MOST_PENDING:
                self._used[key_id] = max(moment + to_unix, self._used.get(key_id, 0.0))
