"""A long run that was interrupted goes on where it ended, with the same code alone."""

from pathlib import Path

from tests.faults.progress import Progress, digest_of


def test_what_is_done_is_done_for_the_next_run_as_well(tmp_path: Path) -> None:
    path = tmp_path / "results" / "run.json"
    Progress(path, "code").add(3, seconds=1.5)

    again = Progress(path, "code")
    again.add(4)

    assert [part in Progress(path, "code") for part in range(5)] == [False, False, False, True, True]


def test_other_code_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    Progress(path, "code").add(3)

    assert 3 not in Progress(path, "other code")


def test_a_file_that_cannot_be_read_is_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"key": "code", "par', "utf-8")

    assert 3 not in Progress(path, "code")


def test_the_digest_is_of_what_the_code_says(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("a = 1\n", "utf-8")
    other.write_text("b = 1\n", "utf-8")
    before = digest_of([tmp_path])

    assert digest_of([one]) != digest_of([other])
    one.write_text("a = 2\n", "utf-8")
    assert digest_of([tmp_path]) != before
