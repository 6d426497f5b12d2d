"""What the gate makes of failures: only timed tests get a second chance, alone, and it is told."""

import json
import sys
from pathlib import Path

import pytest

from tests import covering, gate
from tests.failures import FAILURES, read_failures, write_failures
from tests.gate import MOST_REPEATED, Step, repetition, run_all

TIMED = "tests/faults/test_kill.py::test_one"


def note(folder: Path, *tests: str) -> None:
    (folder / "failures").write_text("".join(f"{test}\n" for test in tests))


class Report:
    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_failures_and_errors_are_taken_down_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILURES, str(tmp_path / "failures"))
    write_failures({"failed": [Report("a"), Report("b")], "error": [Report("a")], "passed": [Report("c")]})
    assert read_failures(tmp_path / "failures") == ["a", "b"]


def test_a_timed_test_is_repeated_alone(tmp_path: Path) -> None:
    note(tmp_path, TIMED)
    step = repetition(tmp_path)
    assert step is not None
    assert step.command[-1] == TIMED
    assert "-n" not in step.command


@pytest.mark.parametrize(
    "tests",
    [
        pytest.param([], id="nothing was taken down"),
        pytest.param(["tests/gateway/test_plan.py::test_one"], id="one that no clock decides"),
        pytest.param([TIMED, "tests/money/test_price.py::test_one"], id="one of each"),
        pytest.param([f"{TIMED}[{number}]" for number in range(MOST_REPEATED + 1)], id="too many for a neighbour"),
    ],
)
def test_other_failures_stand(tmp_path: Path, tests: list[str]) -> None:
    note(tmp_path, *tests)
    assert repetition(tmp_path) is None


@pytest.mark.parametrize("again", [0, 1])
def test_what_fails_again_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    note(tmp_path, TIMED)
    monkeypatch.setattr(gate, "repetition", lambda _: Step("repeated alone", exiting(again)))
    results = run_all([Step("pytest", exiting(1))], tmp_path)
    assert all(result.passed for result in results) is (again == 0)


def test_a_repetition_does_not_make_up_for_coverage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(tmp_path, TIMED)
    monkeypatch.setattr(gate, "repetition", lambda _: Step("repeated alone", exiting(0)))
    results = run_all([Step("pytest", exiting(1)), Step("coverage", exiting(2))], tmp_path)
    assert [result.passed for result in results] == [True, True, False]


def test_lines_that_no_worker_ran_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = str(covering.SOURCES / "cli.py")
    parts = [([1, 2], [3, 4]), ([2, 3], [1, 4])]
    for number, (ran, missed) in enumerate(parts):
        note_of_worker = {known: {"executed_lines": ran, "missing_lines": missed}}
        (tmp_path / f"gw{number}.json").write_text(json.dumps(note_of_worker))
    assert covering.add_up(tmp_path) == {known: (4, 1)}
    assert covering.main(tmp_path) == 1
    said = capsys.readouterr().out
    assert "cli.py: 1 of 4 lines were not run" in said
    assert "75.0 %" in said


def test_a_run_that_measured_nothing_is_under_the_bar(tmp_path: Path) -> None:
    assert covering.main(tmp_path) == 1


def exiting(code: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({code})"]


@pytest.mark.parametrize("arguments", [[], ["tests/faults/test_random_scripts.py"]])
def test_a_full_run_is_full_whatever_is_run(arguments: list[str], tmp_path: Path) -> None:
    def pytest_of(*, full: bool) -> gate.Step:
        return next(step for step in gate.tests(arguments, full=full, notes=tmp_path) if step.name == "pytest")

    assert pytest_of(full=True).environment["TOLLKEEPER_TEST_FULL"] == "1"
    assert "TOLLKEEPER_TEST_FULL" not in pytest_of(full=False).environment


def test_the_console_is_checked_built_and_tested_where_npm_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gate.shutil, "which", lambda name: f"/somewhere/{name}")
    steps = [step.name for step in (*gate.checks(), *gate.tests([], full=False, notes=tmp_path))]
    assert {"frontend schema", "frontend types", "frontend lint", "frontend budget", "frontend tests"} <= set(steps)
    assert steps.index("frontend build") < steps.index("pytest")


def test_without_npm_the_rest_is_tested_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gate.shutil, "which", lambda name: None)
    steps = [step.name for step in (*gate.checks(), *gate.tests([], full=False, notes=tmp_path))]
    assert "pytest" in steps
    assert not [name for name in steps if name.startswith("frontend")]
    assert capsys.readouterr().out.count("npm is not installed") == 1
