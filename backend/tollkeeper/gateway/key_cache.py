"""Keys in memory: what a worker knows of the tokens it has seen, and for how long it may believe it.

Entries are found by the SHA-256 of the whole token. A row read before its key was revoked is never stored after: the
latest forgotten ids are remembered with the moment of forgetting, and a row whose look-up began earlier is too old.
"""

from collections import OrderedDict
from collections.abc import Iterable
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
    # When a call last came with it, and what of that has been told to who keeps it.
    used_at: float = 0.0
    told_at: float = 0.0


class KeyCache:
    """Bounded, least recently used first out. Not for threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        # Fingerprints by the ids of key, owner and tenant, so that forgetting one costs nothing for the others.
        self._named: dict[UUID, set[bytes]] = {}
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._forgotten: OrderedDict[UUID, int] = OrderedDict()
        self._moment = 0
        self._all_forgotten = 0
        # Uses of entries that left before anybody asked.
        self._left: dict[UUID, float] = {}

    def find(self, fingerprint: bytes) -> Entry | None:
        entry = self._entries.get(fingerprint)
        if entry is not None:
            self._entries.move_to_end(fingerprint)
        return entry

    def entries(self) -> Iterable[Entry]:
        """Least recently used first."""
        return self._entries.values()

    def is_unknown(self, fingerprint: bytes, now: float) -> bool:
        """Whether this token was refused a moment ago."""
        until = self._unknown.get(fingerprint)
        return until is not None and now < until

    def begin(self) -> int:
        """The moment a look-up starts; hand it to `store`."""
        return self._moment

    def store(self, fingerprint: bytes, entry: Entry, begun: int) -> bool:
        """False when the key was forgotten since `begun`: the row may be from before, so look again."""
        latest = max(self._all_forgotten, *(self._forgotten.get(name, 0) for name in _names(entry)))
        if latest > begun:
            return False
        self._unknown.pop(fingerprint, None)
        self._drop(fingerprint)
        self._entries[fingerprint] = entry
        for name in _names(entry):
            self._named.setdefault(name, set()).add(fingerprint)
        if len(self._entries) > self._size:
            self._drop(next(iter(self._entries)))
        return True

    def store_unknown(self, fingerprint: bytes, now: float) -> None:
        self._drop(fingerprint)
        self._unknown[fingerprint] = now + NEGATIVE_SECONDS
        if len(self._unknown) > _NEGATIVE_ENTRIES:
            self._unknown.popitem(last=False)

    def take_used(self) -> dict[UUID, float]:
        """The keys used since this was last asked, with the (monotonic) time of their last use."""
        used, self._left = self._left, {}
        for entry in self._entries.values():
            if entry.used_at > entry.told_at:
                key_id = entry.record.principal.key_id
                used[key_id] = max(entry.used_at, used.get(key_id, 0.0))
                entry.told_at = entry.used_at
        return used

    def forget_key(self, key_id: UUID) -> None:
        """A key was changed or revoked; the next call looks it up again."""
        self._forget(key_id)

    def forget_tenant(self, tenant_id: UUID) -> None:
        self._forget(tenant_id)

    def forget_user(self, user_id: UUID) -> None:
        """The owner of keys was changed: demoted, disabled, or no member any more."""
        self._forget(user_id)

    def outdate(self, name: UUID | None) -> None:
        """Rules of a key, a user's or a tenant's keys have changed, or (None) of all: look again at the next use.

        The entries stay for the time PostgreSQL does not answer. A look-up that has begun may have read the rules before.
        """
        self._moment += 1
        if name is None:
            self._all_forgotten = self._moment
            for entry in self._entries.values():
                entry.fresh_until = 0.0
            return
        self._remember(name)
        for fingerprint in self._named.get(name, ()):
            self._entries[fingerprint].fresh_until = 0.0

    def forget_all(self) -> None:
        """After a gap in the announcements: nothing may be believed without a look."""
        self._moment += 1
        self._all_forgotten = self._moment
        for fingerprint in list(self._entries):
            self._drop(fingerprint)
        self._unknown.clear()

    def expire_all(self) -> None:
        """Look every key up at its next use, but keep the entries for the time PostgreSQL does not answer."""
        for entry in self._entries.values():
            entry.fresh_until = 0.0
        self._unknown.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, forgotten: UUID) -> None:
        self._moment += 1
        self._remember(forgotten)
        # A key that was unknown may be known now (created, or its tenant restored).
        self._unknown.clear()
        for fingerprint in tuple(self._named.get(forgotten, ())):
            self._drop(fingerprint)

    def _remember(self, name: UUID) -> None:
        """Look-ups of these that began before now do not count."""
        self._forgotten[name] = self._moment
        self._forgotten.move_to_end(name)
        if len(self._forgotten) > FORGOTTEN_IDS:
            # What falls out of the memory still counts against look-ups that began before it.
            _, moment = self._forgotten.popitem(last=False)
            self._all_forgotten = max(self._all_forgotten, moment)

    def _drop(self, fingerprint: bytes) -> None:
        entry = self._entries.pop(fingerprint, None)
        if entry is None:
            return
        for name in _names(entry):
            fingerprints = self._named[name]
            fingerprints.discard(fingerprint)
            if not fingerprints:
                del self._named[name]
        # Bounded: what nobody takes is dropped, because a time of use is worth less than the memory.
        if entry.used_at > entry.told_at and len(self._left) < self._size:
            key_id = entry.record.principal.key_id
            self._left[key_id] = max(entry.used_at, self._left.get(key_id, 0.0))


def _names(entry: Entry) -> set[UUID]:
    """Whoever of these changes, the entry is to be read again."""
    principal = entry.record.principal
    names = {principal.key_id, principal.tenant_id}
    if principal.user_id is not None:
        names.add(principal.user_id)
    return names
