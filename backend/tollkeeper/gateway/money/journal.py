"""The journal of one worker: what was sent and what it cost, on disk before it counts, until PostgreSQL has it.

An intent is written before a request leaves and a settlement when it ended; both survive kill -9 because they are
written at once (`process`), and a power cut when `sync` is awaited before dispatch (`power`). `shipper` takes the
settlements to the ledger and `journal_replay` those of workers that died. The format is in `journal_format`.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import orjson
import structlog

from tollkeeper.contracts.usage import Intent, Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.journal_format import (
    FORMAT,
    HEAD,
    INTENT,
    MAX_SETTLE_BYTES,
    SETTLE,
    VOID,
    format_line,
    pack_intent,
    pack_settlement,
    pack_void,
)
from tollkeeper.gateway.money.journal_segment import CLOSED, AttemptKey, Segment, create_segment, lock_journal

log = structlog.get_logger(__name__)

SEGMENT_BYTES: Final = 8 * 1024 * 1024
MIN_SEGMENT_BYTES: Final = 64 * 1024
# Settlements kept in memory for the shipper; beyond it they are read back from the file (PostgreSQL is away).
MEMORY_SETTLEMENTS: Final = 5_000
# How long a full or failing disk is left alone between two tries.
RETRY_SECONDS: Final = 1.0
_LINE_OVERHEAD: Final = 48


@dataclass(frozen=True, slots=True)
class JournalState:
    """For readiness and metrics."""

    bytes: int
    segments: int
    open_attempts: int
    pending: int
    is_accepting: bool
    problem: str | None
    lines_lost: int


class Journal:
    """Synchronous and cheap: two small writes per attempt, no waiting. One per process; not for threads.

    Making one raises `DependencyUnavailable` where nothing can be written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str,
        clock: Clock,
        max_bytes: int,
        sync: Literal["process", "power"] = "process",
        segment_bytes: int = SEGMENT_BYTES,
        memory_settlements: int = MEMORY_SETTLEMENTS,
    ) -> None:
        self.boot_id = uuid7()
        self.is_power_safe = sync == "power"
        # Called when there is something to ship.
        self.on_pending: Callable[[], None] | None = None
        self._host = host
        self._clock = clock
        # Below four of the smallest segments there is no room to rotate.
        self._max_bytes = max(max_bytes, 4 * MIN_SEGMENT_BYTES)
        self._segment_bytes = min(segment_bytes, self._max_bytes // 4)
        self._memory_settlements = memory_settlements
        self._directory = directory / host
        self._segments: deque[Segment] = deque()
        self._open: dict[AttemptKey, Segment] = {}
        self._settled: set[tuple[int, int, str]] = set()
        self._reserved = 0
        self._sequence = 0
        self._in_memory = 0
        self._closed_bytes = 0
        self._lines_lost = 0
        self._problem: str | None = None
        self._retry_at = 0.0
        self._sync_waiters: list[asyncio.Future[None]] = []
        self._sync_task: asyncio.Task[None] | None = None
        self._lock_path = self._directory / f"{self.boot_id}.lock"
        try:
            self._lock_fd = self._open_files()
        except OSError as error:
            raise DependencyUnavailable(
                f"The journal cannot be written in {self._directory}: {error.strerror or error}. "
                "Free some space, or choose another folder for the data (TOLLKEEPER_DATA_DIR)."
            ) from error

    # The caller's side

    def intent(self, intent: Intent, payload: bytes | None = None) -> None:
        """Put an attempt on record before it is sent. The same attempt twice is one line; `payload`: packed already.

        Raises `DependencyUnavailable` for a priced call that cannot be put on record (cap reached, disk full, write
        error): it must not be sent. An unpriced call goes on and may lose its row if this process dies.
        """
        key = (intent.request_id.int, intent.attempt)
        if key in self._open:
            return
        payload = payload or pack_intent(intent)
        if self._problem is None or self._clock.monotonic() >= self._retry_at:
            try:
                self._write_intent(key, payload, ignores_cap=False)
            except OSError as error:
                self._fail(error, waits_again=True)
            else:
                return
        if intent.estimated_cost_nano:
            raise DependencyUnavailable(
                "Usage cannot be put on record at the moment, so no priced call is sent. Try again later.",
                retry_after_seconds=5.0,
            )

    async def sync(self) -> None:
        """Wait until everything written so far survives a power cut; callers of one moment share one `fdatasync`.

        Returns at once unless the journal is `power`. Raises `DependencyUnavailable` when the disk refuses.
        """
        if not self.is_power_safe:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._sync_waiters.append(done)
        if self._sync_task is None or self._sync_task.done():
            self._sync_task = loop.create_task(self._sync_group(), name="journal-sync")
        await done

    def settle(self, settlement: Settlement) -> bool:
        """Put on record how an attempt ended. Never raises; False when this ending is on record already.

        A line that cannot be written waits in memory for the shipper; its intent on disk stands for it meanwhile.
        An attempt without an intent (an answer from the cache, a refused call) is put on record as well.
        """
        intent = settlement.intent
        key = (intent.request_id.int, intent.attempt)
        ending = (intent.request_id.int, intent.attempt, settlement.kind.value)
        if ending in self._settled:
            return False
        self._settled.add(ending)
        payload = self._close_attempt(key)
        had_intent = payload is not None
        if payload is None:
            payload = pack_intent(intent)
        self._enqueue(settlement, self._write_settlement(settlement, payload, had_intent=had_intent))
        return True

    def void(self, request_id: UUID, attempt: int) -> None:
        """End an attempt that is known not to be billed and is followed by another one: no ledger row is written."""
        key = (request_id.int, attempt)
        if self._close_attempt(key) is None:
            return
        try:
            self._segments[-1].write(self._line(VOID, pack_void(request_id, attempt)))
        except OSError as error:
            # Without the line a crash now would write an `interrupted` row: too much is flagged, nothing is lost.
            self._fail(error)

    def state(self) -> JournalState:
        return JournalState(
            bytes=self._closed_bytes + self._segments[-1].used,
            segments=len(self._segments),
            open_attempts=len(self._open),
            pending=self._in_memory,
            is_accepting=self._problem is None,
            problem=self._problem,
            lines_lost=self._lines_lost,
        )

    # The shipper's side

    def list_segments(self) -> tuple[Segment, ...]:
        """Oldest first. They are removed in this order, so an ending never goes before its intent."""
        return tuple(self._segments)

    @property
    def has_pending(self) -> bool:
        return any(not segment.is_shipped for segment in self._segments)

    def acknowledge(self, segment: Segment, count: int) -> None:
        """The first `count` pending settlements of a segment are in the ledger."""
        for _ in range(count):
            segment.pending.popleft()
        self._in_memory -= count

    def acknowledge_read(self, segment: Segment, offset: int) -> None:
        """Everything before `offset` in the file is in the ledger."""
        segment.unread_from = offset if offset < segment.used else None

    def remove_shipped(self) -> None:
        """Delete segments from the oldest on, as far as they are shipped; attempts still open move on."""
        while len(self._segments) > 1 and self._segments[0].is_shipped:
            segment = self._segments[0]
            try:
                self._carry_over(segment)
            except OSError as error:
                # They end by themselves sooner or later; the file waits for them.
                self._fail(error)
                return
            self._segments.popleft()
            self._closed_bytes -= segment.used
            segment.close()
            with suppress(FileNotFoundError):
                segment.path.unlink()
        self._recover()

    def close(self) -> None:
        """Let go of the files. What is not shipped stays for the next start; a journal without rest leaves nothing."""
        if self._lock_fd == CLOSED:
            return
        if self._sync_task is not None:
            self._sync_task.cancel()
        self.remove_shipped()
        current = self._segments[-1]
        is_empty = len(self._segments) == 1 and current.is_shipped and not self._open
        if not current.is_closed:
            current.trim()
        for segment in self._segments:
            segment.close()
        if is_empty:
            current.path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._lock_fd = CLOSED

    # Writing

    def _open_files(self) -> int:
        """The lock first: files without one belong to nobody, and the next replayer would take them."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_fd = lock_journal(self._lock_path)
        try:
            self._rotate(ignores_cap=False)
        except OSError:
            self._lock_path.unlink(missing_ok=True)
            os.close(lock_fd)
            raise
        return lock_fd

    def _write_intent(self, key: AttemptKey, payload: bytes, *, ignores_cap: bool) -> None:
        size = 2 * len(payload) + MAX_SETTLE_BYTES + 2 * _LINE_OVERHEAD
        self._make_room(size, ignores_cap=ignores_cap)
        segment = self._segments[-1]
        segment.write(self._line(INTENT, payload))
        segment.open[key] = payload
        self._open[key] = segment
        self._reserved += len(payload) + MAX_SETTLE_BYTES + _LINE_OVERHEAD

    def _write_settlement(self, settlement: Settlement, intent_payload: bytes, *, had_intent: bool) -> int | None:
        """Where the line begins; None when there is none."""
        try:
            if not had_intent:
                if self._problem is not None:
                    return None
                self._make_room(len(intent_payload) + MAX_SETTLE_BYTES + _LINE_OVERHEAD, ignores_cap=False)
            segment = self._segments[-1]
            start = segment.used
            segment.write(self._line(SETTLE, pack_settlement(settlement, intent_payload)))
        except OSError as error:
            self._fail(error)
            return None
        return start

    def _close_attempt(self, key: AttemptKey) -> bytes | None:
        segment = self._open.pop(key, None)
        if segment is None:
            return None
        payload = segment.open.pop(key)
        self._reserved -= len(payload) + MAX_SETTLE_BYTES + _LINE_OVERHEAD
        return payload

    def _line(self, kind: bytes, payload: bytes) -> bytes:
        self._sequence += 1
        return format_line(self._sequence, kind, payload)

    def _make_room(self, size: int, *, ignores_cap: bool) -> None:
        """The room kept for the endings of open attempts is never given to anything else."""
        current = self._segments[-1]
        if self._problem is not None or current.used + self._reserved + size > current.capacity:
            self._rotate(ignores_cap=ignores_cap)

    def _rotate(self, *, ignores_cap: bool) -> None:
        capacity = max(self._segment_bytes, 4 * self._reserved)
        used = self._closed_bytes + (self._segments[-1].used if self._segments else 0)
        if used + capacity > self._max_bytes and not ignores_cap:
            raise OSError("the journal has reached its cap")
        number = self._segments[-1].number + 1 if self._segments else 1
        segment = create_segment(self._directory / f"{self.boot_id}-{number:06d}.jsonl", number, capacity)
        if self.is_power_safe:
            _sync_directory(self._directory)
        if self._segments:
            self._retire(self._segments[-1])
        self._segments.append(segment)
        self._settled.clear()
        self._problem = None
        head = {"format": FORMAT, "host": self._host, "boot": str(self.boot_id), "segment": number}
        segment.write(self._line(HEAD, orjson.dumps(head)))

    def _recover(self) -> None:
        """Once there is room again, without waiting for a caller: while refusing, this worker may be sent none."""
        if self._problem is None or self._clock.monotonic() < self._retry_at:
            return
        try:
            self._rotate(ignores_cap=False)
        except OSError as error:
            self._fail(error, waits_again=True)

    def _retire(self, segment: Segment) -> None:
        self._closed_bytes += segment.used
        segment.trim()
        if self.is_power_safe:
            # Its file stays open until it is removed: a group may still be syncing it.
            os.fdatasync(segment.fd)
        else:
            segment.close()

    def _carry_over(self, segment: Segment) -> None:
        for key, payload in list(segment.open.items()):
            del segment.open[key]
            del self._open[key]
            self._reserved -= len(payload) + MAX_SETTLE_BYTES + _LINE_OVERHEAD
            try:
                self._write_intent(key, payload, ignores_cap=True)
            except OSError:
                segment.open[key] = payload
                self._open[key] = segment
                self._reserved += len(payload) + MAX_SETTLE_BYTES + _LINE_OVERHEAD
                raise

    def _enqueue(self, settlement: Settlement, start: int | None) -> None:
        """`start` is where its line begins, None when it has none and memory is the only place."""
        segment = self._segments[-1]
        if start is not None:
            if segment.unread_from is not None:
                return
            if self._in_memory >= self._memory_settlements:
                segment.unread_from = start
                return
        elif settlement.charge_nano is None and self._in_memory >= self._memory_settlements:
            self._lines_lost += 1
            return
        segment.pending.append(settlement)
        self._in_memory += 1
        if self.on_pending is not None:
            self.on_pending()

    def _fail(self, error: OSError, *, waits_again: bool = False) -> None:
        problem = error.strerror or str(error)
        if self._problem != problem:
            log.error("journal_refuses", problem=problem, bytes=self._closed_bytes, open=len(self._open))
        if waits_again or self._problem is None:
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        self._problem = problem

    async def _sync_group(self) -> None:
        while self._sync_waiters:
            waiters, self._sync_waiters = self._sync_waiters, []
            try:
                await asyncio.to_thread(os.fdatasync, self._segments[-1].fd)
            except OSError as error:
                self._fail(error)
                refusal = DependencyUnavailable("Usage cannot be put on record at the moment. Try again later.")
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_exception(refusal)
            else:
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
