"""Keys in memory: what a worker knows of the tokens it has seen, and for how long it may believe it.

Entries are found by the SHA-256 of the whole token. A row read before its key was revoked is never stored after: the
latest forgotten ids are remembered with the moment of forgetting, and a row whose look-up began earlier is too old.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tollkeeper.contracts.principal import KeyRecord

FORGOTTEN_IDS: Final = 10_000
NEGATIVE_SECONDS: Final = 5.0
_NEGATIVE_ENTRIES: Final = 10_000


@dataclass(slots=True)
class Entry:
    """A token whose secret was proven. `valid_until` in seconds since 1970, the other times monotonic."""

    record: KeyRecord
    read_at: float
    fresh_until: float
    valid_until: float | None


class KeyCache:
    """Bounded, least recently used first out. Not for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._forgotten: OrderedDict[UUID, int] = OrderedDict()
        self._moment = 0
        self._all_forgotten = 0

    def find(self, fingerprint: bytes) -> Entry | None:
        entry = self._entries.get(fingerprint)
        if entry is not None:
            self._entries.move_to_end(fingerprint)
        return entry

    def is_unknown(self, fingerprint: bytes, now: float) -> bool:
        """Whether this token was refused a moment ago."""
        until = self._unknown.get(fingerprint)
        return until is not None and now < until

    def begin(self) -> int:
        """The moment a look-up starts; hand it to `store`."""
        return self._moment

    def store(self, fingerprint: bytes, entry: Entry, begun: int) -> bool:
        """False when the key was forgotten since `begun`: the row may be from before, so look again."""
        principal = entry.record.principal
        latest = max(
            self._all_forgotten, self._forgotten.get(principal.key_id, 0), self._forgotten.get(principal.tenant_id, 0)
        )
        if latest > begun:
            return False
        self._unknown.pop(fingerprint, None)
        self._entries[fingerprint] = entry
        self._entries.move_to_end(fingerprint)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return True

    def store_unknown(self, fingerprint: bytes, now: float) -> None:
        self._entries.pop(fingerprint, None)
        self._unknown[fingerprint] = now + NEGATIVE_SECONDS
        if len(self._unknown) > _NEGATIVE_ENTRIES:
            self._unknown.popitem(last=False)

    def forget_key(self, key_id: UUID) -> None:
        """A key was changed or revoked; the next call looks it up again."""
        self._remember(key_id)
        self._drop([name for name, entry in self._entries.items() if entry.record.principal.key_id == key_id])

    def forget_tenant(self, tenant_id: UUID) -> None:
        self._remember(tenant_id)
        self._drop([name for name, entry in self._entries.items() if entry.record.principal.tenant_id == tenant_id])

    def forget_all(self) -> None:
        """After a gap in the announcements: nothing may be believed without a look."""
        self._moment += 1
        self._all_forgotten = self._moment
        self._entries.clear()
        self._unknown.clear()

    def expire_all(self) -> None:
        """Look every key up at its next use, but keep the entries for the time PostgreSQL does not answer."""
        for entry in self._entries.values():
            entry.fresh_until = 0.0
        self._unknown.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _remember(self, forgotten: UUID) -> None:
        self._moment += 1
        self._forgotten[forgotten] = self._moment
        self._forgotten.move_to_end(forgotten)
        if len(self._forgotten) > FORGOTTEN_IDS:
            # What falls out of the memory still counts against look-ups that began before it.
            _, moment = self._forgotten.popitem(last=False)
            self._all_forgotten = max(self._all_forgotten, moment)
        # A key that was unknown may be known now (created, or its tenant restored).
        self._unknown.clear()

    def _drop(self, fingerprints: list[bytes]) -> None:
        for fingerprint in fingerprints:
            del self._entries[fingerprint]
