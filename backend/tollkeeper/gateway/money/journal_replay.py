"""Leftovers of workers that died: their segments are adopted, shipped and deleted, by one replayer at a time.

A worker holds the lock of its journal as long as it lives, so a lock that can be taken belongs to a dead one. An intent
without an ending becomes an `interrupted` row with the intent's estimate. Replaying twice changes nothing: the ledger
refuses a row it has, so a replayer that dies itself leaves its work to the next.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, Intent, LedgerKind, Settlement
from tollkeeper.gateway.money.journal_format import (
    INTENT,
    SETTLE,
    VOID,
    Damage,
    Line,
    read_lines,
    unpack_intent,
    unpack_settlement,
    unpack_void,
)
from tollkeeper.gateway.money.journal_segment import is_same_file

log = structlog.get_logger(__name__)

BATCH: Final = 500


@dataclass(slots=True)
class Leftover:
    """The journal of one dead worker, locked by us."""

    lock_path: Path
    segments: tuple[Path, ...]
    damage: Damage = field(default_factory=Damage)
    interrupted: int = 0

    def batches(self) -> Iterator[list[Settlement]]:
        """Every ending on record, then an interruption for each attempt without one. Reads the files as it goes."""
        open_attempts: dict[tuple[UUID, int], Intent] = {}
        ended: set[tuple[UUID, int]] = set()
        batch: list[Settlement] = []
        for path in self.segments:
            for line in read_lines(path, self.damage):
                settlement = _take(line, open_attempts, ended)
                if settlement is not None:
                    batch.append(settlement)
                    if len(batch) == BATCH:
                        yield batch
                        batch = []
        left = [interruption(intent) for attempt, intent in open_attempts.items() if attempt not in ended]
        self.interrupted = len(left)
        batch += left
        for start in range(0, len(batch), BATCH):
            yield batch[start : start + BATCH]

    def remove(self) -> None:
        """Everything is in the ledger. The lock goes last, so that nobody adopts half of it."""
        for path in self.segments:
            path.unlink(missing_ok=True)
        self.lock_path.unlink(missing_ok=True)
        if self.damage:
            log.warning(
                "journal_damaged",
                journal=self.lock_path.stem,
                torn_lines=self.damage.torn_lines,
                damaged_lines=self.damage.damaged_lines,
                missing_lines=self.damage.missing_lines,
            )


def interruption(intent: Intent) -> Settlement:
    """The row of an attempt nobody saw the end of. No status was answered, hence 0."""
    cost, charge = intent.estimated_cost_nano, intent.estimated_charge_nano
    return Settlement(
        intent=intent,
        status=CallStatus.INTERRUPTED,
        usage=Usage(input=intent.estimated_input_tokens, is_estimated=True),
        cost_nano=cost,
        charge_nano=cost if charge is None else charge,
        latency_ms=0,
        http_status=0,
        kind=LedgerKind.INTERRUPTED,
    )


def list_journals(directory: Path) -> Sequence[Path]:
    """The lock of every journal below `directory`, those of other hosts too: a volume may outlive its machine.

    A lock may be missing (someone tidied up); its segments tell that there was one.
    """
    of_segments = (path.with_name(path.name.rpartition("-")[0] + ".lock") for path in directory.glob("*/*-*.jsonl"))
    return sorted({*directory.glob("*/*.lock"), *of_segments})


@contextmanager
def adopt(lock_path: Path) -> Iterator[Leftover | None]:
    """The leftover behind a lock, or None while its worker lives or another replayer has it."""
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if _segments(lock_path) else 0), 0o600)
    except FileNotFoundError:
        yield None
        return
    try:
        if not _lock(fd) or not is_same_file(fd, lock_path):
            # The second: another replayer has finished between our open and our lock.
            yield None
            return
        segments = _segments(lock_path)
        if any(_is_written(path) for path in segments):
            yield None
            return
        yield Leftover(lock_path, segments)
    finally:
        os.close(fd)


def _segments(lock_path: Path) -> tuple[Path, ...]:
    return tuple(sorted(lock_path.parent.glob(f"{lock_path.stem}-*.jsonl")))


def _is_written(path: Path) -> bool:
    """A worker whose lock file was removed by hand still holds its newest segment."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(line: Line, open_attempts: dict[tuple[UUID, int], Intent], ended: set[tuple[UUID, int]]) -> Settlement | None:
    if line.kind == INTENT:
        intent = unpack_intent(line.payload)
        open_attempts.setdefault((intent.request_id, intent.attempt), intent)
    elif line.kind == SETTLE:
        settlement = unpack_settlement(line.payload)
        _end((settlement.intent.request_id, settlement.intent.attempt), open_attempts, ended)
        return settlement
    elif line.kind == VOID:
        _end(unpack_void(line.payload), open_attempts, ended)
    return None


def _end(
    attempt: tuple[UUID, int], open_attempts: dict[tuple[UUID, int], Intent], ended: set[tuple[UUID, int]]
) -> None:
    # An intent that was carried over stands in two segments; only its ending tells that both are done.
    if open_attempts.pop(attempt, None) is not None:
        ended.add(attempt)
