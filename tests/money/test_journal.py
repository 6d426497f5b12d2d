import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.money.records import HandClock, make_intent, make_settlement
from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.usage import CallStatus, Intent, LedgerKind, Settlement
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.journal_format import (
    MAX_SETTLE_BYTES,
    Damage,
    format_line,
    pack_intent,
    pack_settlement,
    read_lines,
    unpack_intent,
    unpack_settlement,
)
from tollkeeper.gateway.money.journal_replay import adopt, list_journals

Open = Callable[..., Journal]
SEGMENT = 64 * 1024


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def open_journal(tmp_path: Path, clock: HandClock) -> Iterator[Open]:
    journals: list[Journal] = []

    def build(**options: object) -> Journal:
        values = {"host": "host", "clock": clock, "max_bytes": 16 * SEGMENT, "segment_bytes": SEGMENT}
        journals.append(Journal(tmp_path, **(values | options)))
        return journals[-1]

    yield build
    for journal in journals:
        journal.close()


def replay(directory: Path, journal: Journal) -> tuple[list[Settlement], Damage]:
    """What another process would find had this one died now: a copy of its files, which nobody holds."""
    grave = directory / "grave" / uuid7().hex
    shutil.copytree(directory / "host", grave)
    with adopt(grave / f"{journal.boot_id}.lock") as leftover:
        assert leftover is not None
        found = [settlement for batch in leftover.batches() for settlement in batch]
        return found, leftover.damage


def fill(journal: Journal, *, settles: bool = False) -> list[Intent]:
    """Call until a priced call is refused; the intents of those that were not."""
    admitted: list[Intent] = []
    for _ in range(2_000):
        intent = make_intent()
        try:
            journal.intent(intent)
        except DependencyUnavailable:
            return admitted
        admitted.append(intent)
        if settles:
            journal.settle(make_settlement(intent))
    raise AssertionError("the journal was never full")


def test_a_settled_attempt_is_found_as_it_was(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    settlement = make_settlement(
        make_intent(end_user="alice", is_stream=True),
        usage=Usage(input=1, cache_read=2, cache_write=3, reasoning=4, output_image=5, is_estimated=True),
        status=CallStatus.ERROR,
        error_code="upstream_error",
        http_status=502,
        first_token_ms=7,
        client_request_id="abc",
        upstream_request_id="req_1",
        extra={"served_by": "x"},
        cost_nano=None,
    )

    journal.intent(settlement.intent)
    journal.settle(settlement)

    assert replay(tmp_path, journal) == ([settlement], Damage())


def test_an_attempt_without_an_ending_is_interrupted_with_its_estimate(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    intent = make_intent(estimated_input_tokens=40, estimated_cost_nano=6_000)

    journal.intent(intent)

    (row,), _ = replay(tmp_path, journal)
    assert (row.kind, row.status) == (LedgerKind.INTERRUPTED, CallStatus.INTERRUPTED)
    assert (row.usage.prompt_tokens, row.usage.is_estimated, row.charge_nano) == (40, True, 6_000)


def test_a_voided_attempt_leaves_no_row(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    intent = make_intent()

    journal.intent(intent)
    journal.void(intent.request_id, 1)

    assert replay(tmp_path, journal) == ([], Damage())


def test_an_attempt_is_on_record_once(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    settlement = make_settlement()

    journal.intent(settlement.intent)
    journal.intent(settlement.intent)
    first, second = journal.settle(settlement), journal.settle(settlement)

    assert (first, second) == (True, False)
    assert len(replay(tmp_path, journal)[0]) == 1


def test_a_correction_stands_beside_what_it_corrects(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    settlement = make_settlement()
    correction = make_settlement(settlement.intent, kind=LedgerKind.CORRECTION, cost_nano=-5)

    journal.intent(settlement.intent)
    journal.settle(settlement)
    journal.settle(correction)

    assert replay(tmp_path, journal)[0] == [settlement, correction]


def test_an_attempt_open_across_segments_moves_on_with_them(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    long_call = make_intent()
    journal.intent(long_call)
    for _ in range(200):
        settlement = make_settlement()
        journal.intent(settlement.intent)
        journal.settle(settlement)
    segments = journal.state().segments

    for segment in journal.list_segments():
        journal.acknowledge(segment, len(segment.pending))
    journal.remove_shipped()

    assert segments > 1
    assert journal.state().segments == 1
    found, damage = replay(tmp_path, journal)
    assert [row.intent for row in found if row.kind is LedgerKind.INTERRUPTED] == [long_call]
    assert not damage


def test_a_full_journal_refuses_priced_calls_and_recovers_when_shipped(
    open_journal: Open, clock: HandClock, tmp_path: Path
) -> None:
    journal = open_journal(max_bytes=4 * SEGMENT)
    admitted = fill(journal, settles=True)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) <= 4 * SEGMENT
    assert not journal.state().is_accepting

    for segment in journal.list_segments():
        journal.acknowledge(segment, len(segment.pending))
    journal.remove_shipped()
    clock.seconds += 2
    journal.intent(make_intent())

    assert len(admitted) > 100
    assert journal.state().is_accepting


def test_a_full_journal_lets_unpriced_calls_pass(open_journal: Open) -> None:
    journal = open_journal(max_bytes=4 * SEGMENT)
    fill(journal)

    unpriced = make_settlement(make_intent(estimated_cost_nano=None), cost_nano=None, charge_nano=None)
    journal.intent(unpriced.intent)
    journal.settle(unpriced)

    assert journal.list_segments()[-1].pending[-1] == unpriced


def test_what_was_admitted_can_always_be_settled(open_journal: Open, tmp_path: Path) -> None:
    """Room for every ending is kept from its intent on, however large the endings are."""
    journal = open_journal(max_bytes=4 * SEGMENT)
    intents = fill(journal)

    for intent in intents:
        assert journal.settle(make_settlement(intent, error_code="e" * 400, client_request_id="\x01" * 400))

    found, damage = replay(tmp_path, journal)
    assert {row.intent.request_id: row.intent for row in found} == {intent.request_id: intent for intent in intents}
    assert len(intents) > 10
    assert not damage


def test_a_failing_disk_refuses_the_call_and_keeps_its_endings(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch, clock: HandClock, tmp_path: Path
) -> None:
    journal = open_journal()
    settlement = make_settlement()
    journal.intent(settlement.intent)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:20], at))

    with pytest.raises(DependencyUnavailable):
        journal.intent(make_intent())
    journal.settle(settlement)
    monkeypatch.undo()
    clock.seconds += 2
    after = make_intent()
    journal.intent(after)

    pending = [entry for segment in journal.list_segments() for entry in segment.pending]
    assert pending == [settlement]
    found, _ = replay(tmp_path, journal)
    assert {row.intent.request_id: row.intent for row in found} == {
        intent.request_id: intent for intent in (settlement.intent, after)
    }


def test_beyond_its_memory_the_journal_keeps_settlements_on_disk_only(open_journal: Open) -> None:
    journal = open_journal(memory_settlements=10)
    for _ in range(300):
        settlement = make_settlement()
        journal.intent(settlement.intent)
        journal.settle(settlement)

    assert journal.state().pending == 10
    assert all(segment.unread_from is not None for segment in journal.list_segments())


def test_a_journal_without_a_rest_leaves_nothing(tmp_path: Path, clock: HandClock) -> None:
    journal = Journal(tmp_path, host="host", clock=clock, max_bytes=16 * SEGMENT)
    intent = make_intent()
    journal.intent(intent)
    journal.void(intent.request_id, 1)

    journal.close()

    assert list((tmp_path / "host").iterdir()) == []


def test_files_are_private_and_not_inherited(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()

    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "host").iterdir())
    assert not os.get_inheritable(journal._lock_fd)
    assert not os.get_inheritable(journal.list_segments()[0].fd)


def test_a_folder_that_takes_nothing_is_named(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "host").write_text("a file where the folder should be")

    with pytest.raises(DependencyUnavailable, match="cannot be written in"):
        Journal(tmp_path, host="host", clock=clock, max_bytes=1 << 20)


def test_a_disk_too_small_for_a_segment_leaves_no_lock(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DependencyUnavailable, match="No space left on device"):
        Journal(tmp_path, host="host", clock=clock, max_bytes=1 << 20)

    assert list((tmp_path / "host").iterdir()) == []


def test_the_smallest_cap_still_works(tmp_path: Path, clock: HandClock) -> None:
    journal = Journal(tmp_path, host="host", clock=clock, max_bytes=1)
    journal.intent(make_intent())
    journal.close()


def test_a_living_journal_is_not_adopted(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()

    with adopt(tmp_path / "host" / f"{journal.boot_id}.lock") as leftover:
        assert leftover is None


def test_a_living_journal_whose_lock_was_removed_is_not_adopted(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    journal._lock_path.unlink()
    (path,) = list_journals(tmp_path)

    with adopt(path) as leftover:
        assert leftover is None


def test_segments_without_a_lock_are_adopted(open_journal: Open, tmp_path: Path) -> None:
    journal = open_journal()
    journal.intent(make_intent())
    journal.close()
    journal._lock_path.unlink()
    (path,) = list_journals(tmp_path)

    with adopt(path) as leftover:
        assert leftover is not None
        assert sum(len(batch) for batch in leftover.batches()) == 1
        leftover.remove()

    assert list((tmp_path / "host").iterdir()) == []


def test_a_lock_that_a_replayer_removed_is_taken_again(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replayer comes between the making of the file and its lock, finds no segments and tidies up."""
    real = fcntl.flock
    visits = iter([True])

    def interfere(fd: int, operation: int) -> None:
        if next(visits, False):
            (path,) = list_journals(tmp_path)
            with adopt(path) as leftover:
                assert leftover is not None
                leftover.remove()
        real(fd, operation)

    monkeypatch.setattr("tollkeeper.gateway.money.journal_segment.fcntl.flock", interfere)
    journal = Journal(tmp_path, host="host", clock=clock, max_bytes=1 << 20)
    monkeypatch.undo()

    (path,) = list_journals(tmp_path)
    with adopt(path) as leftover:
        assert leftover is None
    assert path.exists()
    journal.close()


async def test_power_mode_syncs_a_group_at_once(open_journal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(sync="power")
    synced: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd)))

    async def call() -> None:
        journal.intent(make_intent())
        await journal.sync()

    await asyncio.gather(*[call() for _ in range(50)])

    assert 1 <= len(synced) <= 2


async def test_a_failed_sync_closes_priced_calls(open_journal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(sync="power")

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    journal.intent(make_intent())

    with pytest.raises(DependencyUnavailable):
        await journal.sync()
    with pytest.raises(DependencyUnavailable):
        journal.intent(make_intent())


def write_lines(path: Path, count: int) -> list[Settlement]:
    settlements = [make_settlement() for _ in range(count)]
    lines = [format_line(n, b"s", pack_settlement(s, pack_intent(s.intent))) for n, s in enumerate(settlements, 1)]
    path.write_bytes(b"".join(lines))
    return settlements


def test_lines_of_releases_before_are_read_without_what_they_lack() -> None:
    intent = make_intent(team_id=uuid7(), project_id=uuid7(), tags={"cost": "a"})
    assert unpack_intent(pack_intent(intent)) == intent
    without_project = orjson.dumps(orjson.loads(pack_intent(intent))[:16])
    assert unpack_intent(without_project) == replace(intent, project_id=None, tags=None)
    first_release = orjson.dumps(orjson.loads(pack_intent(intent))[:15])
    assert unpack_intent(first_release) == replace(intent, team_id=None, project_id=None, tags=None)


def test_tags_that_are_too_long_for_the_line_cost_nothing_else() -> None:
    settlement = make_settlement(client_request_id="abc", extra={f"tag{number}": "x" * 200 for number in range(32)})
    found = unpack_settlement(pack_settlement(settlement, pack_intent(settlement.intent)))
    assert found == replace(settlement, extra={})
    assert found.client_request_id == "abc"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_byte_costs_its_own_line_only(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("segment") / "a.jsonl"
    settlements = write_lines(path, 5)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)

    damage = Damage()
    found = [unpack_settlement(line.payload) for line in read_lines(path, damage)]

    # A damaged line end makes one line of two.
    assert len(found) >= 3
    assert all(entry in settlements for entry in found)
    assert damage


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("segment") / "a.jsonl"
    write_lines(path, 4)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    zeros = b"\0" * data.draw(st.sampled_from([0, 1, 5_000]))
    path.write_bytes(content[:cut] + zeros)

    damage = Damage()
    found = list(read_lines(path, damage))

    whole = content[:cut].count(b"\n")
    assert len(found) == whole
    assert damage.torn_lines == (0 if cut == 0 or content[cut - 1 : cut] == b"\n" else 1)
    assert damage.damaged_lines == 0


def test_pages_lost_in_a_power_cut_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_lines(path, 3)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\0" * len(second) + third)

    damage = Damage()
    found = list(read_lines(path, damage))

    assert [line.sequence for line in found] == [1, 3]
    assert (damage.damaged_lines, damage.missing_lines) == (1, 1)


@given(st.text(max_size=2_000), st.text(max_size=2_000), st.dictionaries(st.text(), st.text(), max_size=3))
def test_an_ending_fits_the_room_kept_for_it(error: str, client: str, extra: dict[str, str]) -> None:
    try:
        (error + client + str(extra)).encode()
    except UnicodeEncodeError:
        return
    settlement = make_settlement(error_code=error, client_request_id=client, upstream_request_id=client, extra=extra)
    intent = pack_intent(settlement.intent)

    assert len(pack_settlement(settlement, intent)) <= len(intent) + MAX_SETTLE_BYTES
