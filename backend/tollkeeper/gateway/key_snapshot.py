"""Known keys on disk: a worker that is started while PostgreSQL is away serves whom the one before it knew.

Each live worker owns one file (`keys-0`, `keys-1` …) and writes what it has in memory; all files are read at the start.
Inside are digests, never secrets, and what each key may do. A key that was changed or revoked is struck out at once, in
every file: a record older than the moment its key, owner or tenant was forgotten counts no more.
Failure policy: disk full or not writable: go on without, warn once.
"""

import asyncio
import base64
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from tollkeeper.contracts.money import Budget, Limit, RuleScope, Window
from tollkeeper.contracts.principal import KeyRecord, Principal, SecretDigest
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.sealed_file import note_other_release, read_sealed, shape_of, to_json, write_sealed
from tollkeeper.gateway.key_cache import FORGOTTEN_IDS, KeyCache

log = structlog.get_logger(__name__)

KIND: Final = "key-snapshot"
RELEASE: Final = f"1-{shape_of(KeyRecord, Principal, SecretDigest, Limit, Budget, RuleScope, Window)}"
_FILES: Final = "keys-*"
WRITE_SECONDS: Final = 30.0
# A key nobody on this host knew before is on disk this soon.
MET_SECONDS: Final = 2.0
# The loop is not held for longer than it takes to write down so many.
_SLICE: Final = 100
_MOST_SLOTS: Final = 256
_LINE: Final = b'{"read_at":%.3f,"record":%b}'
_RECORD: Final = TypeAdapter(KeyRecord)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A key as an earlier process read it; `read_at` in seconds since 1970."""

    record: KeyRecord
    read_at: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """The same as it stands in a file: read whole only for who asks, which few ever do."""

    line: bytes
    read_at: float
    # The key, its tenant, its owner.
    names: tuple[UUID, ...]
    digests: tuple[bytes, ...]


class KeySnapshot:
    """Made inside the process that writes it; `close` gives its file to the next one."""

    def __init__(self, folder: Path, box: SecretBox, cache: KeyCache, clock: Clock, *, stale_seconds: float) -> None:
        self._box = box
        self._cache = cache
        self._clock = clock
        self._stale_seconds = stale_seconds
        self._folder = folder
        self._is_failing = False
        self._claimed: tuple[int, Path] | None = None
        try:
            self._claimed = _claim(folder)
        except OSError as error:
            self._fail(error)
        # Oldest first, and bounded: what falls out counts against all that was read before it.
        self._forgotten: dict[UUID, float] = {}
        self._all_forgotten = 0.0
        self._remembered: dict[bytes, _Kept] = {}
        # Lines of what is in memory, by the identity of the record: most records outlive many writes.
        self._lines: dict[int, tuple[KeyRecord, bytes]] = {}
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_met = False

    async def load(self) -> int:
        """Read every worker's file; returns how many secrets of keys are remembered."""
        found = await asyncio.to_thread(self._read_all)
        oldest = self._clock.unix() - self._stale_seconds
        forgotten: dict[UUID, float] = dict(self._forgotten)
        for before, all_before, _ in found:
            self._all_forgotten = max(self._all_forgotten, all_before)
            for name, moment in before.items():
                forgotten[name] = max(moment, forgotten.get(name, 0.0))
        self._forgotten = dict(sorted(forgotten.items(), key=lambda item: item[1]))
        self._bound_forgotten()
        for kept in sorted((kept for _, _, some in found for kept in some), key=lambda kept: kept.read_at):
            if kept.read_at >= oldest and not self._is_forgotten(kept.names, kept.read_at):
                self._remembered.update(dict.fromkeys(kept.digests, kept))
        return len(self._remembered)

    def find(self, digests: Iterable[bytes]) -> Remembered | None:
        """The key one of whose secrets has this digest. The caller judges its age and compares in constant time."""
        for digest in digests:
            kept = self._remembered.get(digest)
            if kept is not None and not self._is_forgotten(kept.names, kept.read_at):
                return _remembered(kept)
        return None

    def met(self) -> None:
        """A key was looked up: write it down soon."""
        if not self._is_met:
            self._is_met = True
            asyncio.get_running_loop().call_later(MET_SECONDS, self._changed.set)

    def forget(self, name: UUID) -> None:
        """A key, or the owner or tenant of keys, was changed: strike out what was known, on disk too."""
        self._forgotten.pop(name, None)
        self._forgotten[name] = self._clock.unix()
        self._bound_forgotten()
        self._changed.set()

    async def run(self) -> None:
        """Write every `WRITE_SECONDS`, soon after a look-up, and at once when something was forgotten. Ends when cancelled."""
        await self.load()
        while True:
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            self._is_met = False
            await self.write()

    async def write(self) -> None:
        if self._claimed is None:
            return
        async with self._writing:
            lines = await self._collect()
            # What is forgotten goes on changing: it is written down here, not in the thread.
            payload = b"\n".join([self._head(), *lines])
            try:
                await asyncio.to_thread(write_sealed, self._claimed[1], self._box, payload, kind=KIND, release=RELEASE)
            except OSError as error:
                self._fail(error)
            else:
                self._is_failing = False

    def close(self) -> None:
        if self._claimed is not None:
            os.close(self._claimed[0])
            self._claimed = None

    def _fail(self, error: OSError) -> None:
        if not self._is_failing:
            log.warning("key_snapshot_not_written", reason=error.strerror or str(error))
        self._is_failing = True

    async def _collect(self) -> list[bytes]:
        oldest = self._clock.unix() - self._stale_seconds
        self._forgotten = {name: moment for name, moment in self._forgotten.items() if moment >= oldest}
        to_unix = self._clock.unix() - self._clock.monotonic()
        kept: dict[int, tuple[KeyRecord, bytes]] = {}
        lines: list[bytes] = []
        in_memory: set[UUID] = set()
        # A copy: the cache changes while we pause.
        entries = iter(list(self._cache.entries()))
        while some := list(islice(entries, _SLICE)):
            for entry in some:
                record, read_at = entry.record, entry.read_at + to_unix
                if not record.digests or read_at < oldest or self._is_forgotten(_names(record.principal), read_at):
                    continue
                kept[id(record)] = self._lines.get(id(record)) or (record, to_json(record))
                lines.append(_LINE % (read_at, kept[id(record)][1]))
                in_memory.add(record.principal.key_id)
            await asyncio.sleep(0)
        self._lines = kept
        self._remembered = {
            digest: found
            for digest, found in self._remembered.items()
            if found.read_at >= oldest and not self._is_forgotten(found.names, found.read_at)
        }
        # Whom nobody has met since the start is still remembered, as old as it was.
        unmet = {id(found): found for found in self._remembered.values() if found.names[0] not in in_memory}
        return lines + [found.line for found in unmet.values()]

    def _head(self) -> bytes:
        forgotten = {str(name): moment for name, moment in self._forgotten.items()}
        return orjson.dumps({"forgotten": forgotten, "all_forgotten": self._all_forgotten})

    def _read_all(self) -> list[tuple[dict[UUID, float], float, list[_Kept]]]:
        paths = sorted(path for path in self._folder.glob(_FILES) if path.suffix != ".lock")
        payloads = (read_sealed(path, self._box, kind=KIND, release=RELEASE) for path in paths)
        return [_read(payload) for payload in payloads if payload is not None]

    def _bound_forgotten(self) -> None:
        while len(self._forgotten) > FORGOTTEN_IDS:
            name = next(iter(self._forgotten))
            self._all_forgotten = max(self._all_forgotten, self._forgotten.pop(name))

    def _is_forgotten(self, names: Iterable[UUID], read_at: float) -> bool:
        if read_at <= self._all_forgotten:
            return True
        return any(self._forgotten.get(name, 0.0) >= read_at for name in names)


def _claim(folder: Path) -> tuple[int, Path]:
    """The first file that no live process owns. A dead one's lock is gone with it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(_MOST_SLOTS):
        path = folder / f"keys-{number}"
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock, path
    raise OSError(f"more than {_MOST_SLOTS} processes share {folder}")


def _names(principal: Principal) -> tuple[UUID, ...]:
    user_id = principal.user_id
    return (principal.key_id, principal.tenant_id) + (() if user_id is None else (user_id,))


def _read(payload: bytes) -> tuple[dict[UUID, float], float, list[_Kept]]:
    """What a file of ours holds: it was sealed, so it is as it was written, but maybe by another release."""
    head, *lines = payload.split(b"\n")
    try:
        document = orjson.loads(head)
        forgotten = {UUID(name): float(moment) for name, moment in document["forgotten"].items()}
        return forgotten, float(document["all_forgotten"]), [_kept(line) for line in lines]
    except (ValueError, KeyError, TypeError):
        note_other_release(_FILES)
        return {}, 0.0, []


def _kept(line: bytes) -> _Kept:
    document = orjson.loads(line)
    record = document["record"]
    principal = record["principal"]
    names = (principal["key_id"], principal["tenant_id"], principal["user_id"])
    return _Kept(
        line,
        float(document["read_at"]),
        tuple(UUID(name) for name in names if name is not None),
        tuple(base64.b64decode(known["digest"]) for known in record["digests"]),
    )


def _remembered(kept: _Kept) -> Remembered | None:
    record = orjson.loads(kept.line)["record"]
    # Made by the principal itself.
    record["principal"].pop("is_bounded", None)
    try:
        return Remembered(_RECORD.validate_json(orjson.dumps(record)), kept.read_at)
    except ValidationError:
        note_other_release(_FILES)
        return None
