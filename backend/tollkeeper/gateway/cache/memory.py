"""The entries of one worker: bounded by bytes, the longest unused out first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from tollkeeper.gateway.cache.entry import Entry

# No entry may push out all others.
_LARGEST_SHARE: Final = 8


class Memory:
    def __init__(self, max_bytes: int) -> None:
        """0 keeps nothing."""
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tenant_id: UUID, fingerprint: bytes) -> Entry | None:
        entry = self._entries.get(fingerprint)
        if entry is None:
            return None
        self._entries.move_to_end(fingerprint)
        # The fingerprint has the tenant in it; this is the second look.
        return entry if entry.tenant_id == tenant_id else None

    def keep(self, entry: Entry) -> None:
        self.drop(entry.fingerprint)
        if entry.size * _LARGEST_SHARE > self._max_bytes:
            return
        self._entries[entry.fingerprint] = entry
        self.bytes += entry.size
        while self.bytes > self._max_bytes:
            _, old = self._entries.popitem(last=False)
            self.bytes -= old.size

    def drop(self, fingerprint: bytes) -> None:
        entry = self._entries.pop(fingerprint, None)
        if entry is not None:
            self.bytes -= entry.size

    def drop_where(self, is_gone: Callable[[Entry], bool]) -> int:
        gone = [entry.fingerprint for entry in self._entries.values() if is_gone(entry)]
        for fingerprint in gone:
            self.drop(fingerprint)
        return len(gone)

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0
