"""The journal of a process that is killed in the middle of its work, again and again."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.money.records import CountingLedger, HandClock
from tollkeeper.contracts.usage import LedgerKind, Settlement
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_replay import Damage, adopt, list_journals
from tollkeeper.gateway.money.shipper import Shipper

ROOT = Path(__file__).parents[2]
KILLS = 20
OPEN_ATTEMPTS = 20
RECORD = 17

pytestmark = pytest.mark.fault


class Writer:
    """The forking process of `journal_writer.py`, and the pipe on which its children report."""

    def __init__(self, directory: Path) -> None:
        self.reports, theirs = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.money.journal_writer", str(directory), str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            pass_fds=[theirs],
        )
        os.close(theirs)

    def start(self, file_limit: int = 0) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{file_limit}\n")
        self.process.stdin.flush()
        return int(self.answer())

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def read(self, seconds: float) -> bytes:
        """What is reported in this time; 0 takes what is there."""
        until = time.monotonic() + seconds
        content = b""
        while True:
            ready, _, _ = select.select([self.reports], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return content
            content += os.read(self.reports, 65_536)
            if time.monotonic() > until and seconds:
                return content

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        os.close(self.reports)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    started = Writer(tmp_path)
    yield started
    started.close()


def of_kind(content: bytes, kind: bytes) -> set[bytes]:
    records = [content[at : at + RECORD] for at in range(0, len(content) - len(content) % RECORD, RECORD)]
    return {record[1:] for record in records if record[:1] == kind}


def adopt_all(directory: Path) -> tuple[list[Settlement], list[Damage]]:
    found: list[Settlement] = []
    damage: list[Damage] = []
    for path in list_journals(directory):
        with adopt(path) as leftover:
            assert leftover is not None
            found += [settlement for batch in leftover.batches() for settlement in batch]
            damage.append(leftover.damage)
            leftover.remove()
    return found, damage


def test_kill_9_loses_no_line_and_doubts_only_what_was_in_flight(writer: Writer, tmp_path: Path) -> None:
    chance = random.Random(7)
    settled_in_all = interrupted_in_all = 0
    for _ in range(KILLS):
        pid = writer.start()
        reported = writer.read(0.005 + chance.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        assert writer.answer() == "gone"
        reported += writer.read(0)
        found, damage = adopt_all(tmp_path)
        ledger = tmp_path / "ledger"
        shipped = of_kind(ledger.read_bytes(), b"s") if ledger.exists() else set()
        ledger.unlink(missing_ok=True)
        replayed = {row.intent.request_id.bytes for row in found if row.kind is LedgerKind.SETTLED}
        interrupted = {row.intent.request_id.bytes for row in found if row.kind is LedgerKind.INTERRUPTED}

        intents, settled = of_kind(reported, b"i"), of_kind(reported, b"s")
        assert settled <= shipped | replayed
        assert intents <= shipped | replayed | interrupted
        assert not interrupted & (shipped | replayed | settled)
        assert len(interrupted) <= OPEN_ATTEMPTS
        assert not any(entry.damaged_lines or entry.missing_lines for entry in damage)
        assert list((tmp_path / "host").iterdir()) == []
        settled_in_all += len(settled)
        interrupted_in_all += len(interrupted)

    assert settled_in_all > 1_000
    assert interrupted_in_all > 10


def test_a_file_that_may_not_grow_refuses_calls_and_keeps_endings(writer: Writer, tmp_path: Path) -> None:
    """Stands for a full disk: writes fail with EFBIG after 40 kB, as they would with ENOSPC."""
    writer.start(file_limit=40_000)
    assert writer.answer() == "gone"
    reported = writer.read(0)

    found, _ = adopt_all(tmp_path)
    settled = {row.intent.request_id.bytes for row in found if row.kind is LedgerKind.SETTLED}
    interrupted = {row.intent.request_id.bytes for row in found if row.kind is LedgerKind.INTERRUPTED}
    assert of_kind(reported, b"r").isdisjoint(settled | interrupted)
    assert of_kind(reported, b"i") == settled | interrupted
    (pending,) = of_kind(reported, b"e")
    assert int.from_bytes(pending, "big") == len(of_kind(reported, b"s"))


async def test_restarts_in_between_ship_every_call_once(writer: Writer, tmp_path: Path) -> None:
    """Several workers die one after another; the next one's shipper takes over what they left."""
    ledger = CountingLedger()
    reported = b""
    for _ in range(3):
        pid = writer.start(file_limit=0)
        reported += writer.read(0.05)
        os.kill(pid, signal.SIGKILL)
        assert writer.answer() == "gone"
        reported += writer.read(0)
    shipped = of_kind((tmp_path / "ledger").read_bytes(), b"s") if (tmp_path / "ledger").exists() else set()
    journal = Journal(tmp_path, host="other", clock=HandClock(), max_bytes=1 << 20)
    shipper = Shipper(journal, ledger, HandClock(), directory=tmp_path)

    await shipper._adopt_all()
    await shipper._adopt_all()

    keys = {request_id.bytes for request_id, _, _ in ledger.rows}
    assert of_kind(reported, b"i") <= keys | shipped
    assert len(keys) == len(ledger.rows)
    assert shipper.state().interrupted <= 3 * OPEN_ATTEMPTS
    assert [path.parent.name for path in list_journals(tmp_path)] == ["other"]
    journal.close()
