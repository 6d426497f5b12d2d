"""Which keys in other forms than ours there are, held in memory: a token of another form that is none of them is
refused without asking PostgreSQL, however many such tokens come.

Of each digest the first eight bytes are kept; two that share them cost one look-up, no more. Loaded whole at the start,
after a gap in the announcements and now and then; in between what is announced is read and added. Nothing is taken out
before the next whole load: a revoked key is for the look-up to refuse.
Failure policy: PostgreSQL gone: what is known decides; before the first load nothing is ruled out.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true

from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.db.models.keys import ApiKey
from tollkeeper.db.session import Database

RELOAD_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 1.0
_DEBOUNCE_SECONDS: Final = 0.01
_LOAD_SECONDS: Final = 10.0
_PREFIX_BYTES: Final = 8
_MOST_NAMED: Final = 1000


class ForeignDigests:
    """`contracts.ports.ForeignKeys`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prefixes: set[bytes] = set()
        self._is_loaded = False
        self._is_due = True
        self._named: set[UUID] = set()
        self._wake = asyncio.Event()

    def may_hold(self, digests: Iterable[bytes]) -> bool:
        if not self._is_loaded:
            return True
        return any(digest[:_PREFIX_BYTES] in self._prefixes for digest in digests)

    def heard(self, name: UUID) -> None:
        """A key was made or changed, or the keys of a tenant were: look soon. Callable from any callback of the loop."""
        self._named.add(name)
        self._is_due = self._is_due or len(self._named) > _MOST_NAMED
        self._wake.set()

    def resync(self) -> None:
        """Something may have been missed."""
        self._is_due = True
        self._wake.set()

    async def run(self) -> None:
        while True:
            seconds = RELOAD_SECONDS if self._is_loaded and not self._is_due else RETRY_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
                    await asyncio.sleep(_DEBOUNCE_SECONDS)
            except TimeoutError:
                self._is_due = True
            self._wake.clear()
            with suppress(DependencyUnavailable):
                await self.refresh()

    async def refresh(self) -> None:
        """Read what is due. Raises `DependencyUnavailable`; then all is due."""
        named, self._named = self._named, set()
        is_due, self._is_due = self._is_due, False
        try:
            if is_due:
                self._prefixes = await self._read(true())
                self._is_loaded = True
            elif named:
                self._prefixes |= await self._read(or_(ApiKey.id.in_(named), ApiKey.tenant_id.in_(named)))
        except DependencyUnavailable:
            self._is_due = True
            raise

    async def _read(self, which: ColumnElement[bool]) -> set[bytes]:
        digests = select(ApiKey.digest).where(ApiKey.public_id.is_(None), which)
        # A key in another form that was given a secret of ours: the former one still works for a while.
        former = select(ApiKey.previous_digest).where(ApiKey.previous_digest.is_not(None), which)
        async with self._database.lookup(deadline_seconds=_LOAD_SECONDS) as session:
            found = await session.stream_scalars(digests.union_all(former))
            return {digest[:_PREFIX_BYTES] async for digest in found}
