"""The gate: every check and every test in one command, with one summary. `./tollkeeper test` and `./tollkeeper check`.

./tollkeeper test                 all of it
./tollkeeper test tests/gateway   pytest alone, with these arguments
./tollkeeper test --full          also the long runs (kill and fault counts of the issues)
./tollkeeper check                lint, types, import contracts: what needs no server
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.covering import COVERAGE
from tests.failures import FAILURES, read_failures
from tests.scheduling import TIMED

# More than this is no neighbour's doing.
MOST_REPEATED: Final = 10
ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "frontend"


@dataclass(frozen=True)
class Step:
    name: str
    command: list[str]
    folder: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    step: Step
    seconds: float
    passed: bool


def program(name: str) -> str:
    """A program of the environment this runs in."""
    return str(Path(sys.executable).parent / name)


def checks() -> Iterator[Step]:
    sources = ["backend", "tests", "bench", "migrations"]
    yield Step("format", [program("ruff"), "format", "--check", "--quiet", *sources])
    yield Step("lint", [program("ruff"), "check", "--quiet", *sources])
    yield Step("types", [program("mypy")])
    yield Step("import contracts", [program("lint-imports")])
    yield from frontend_checks()


def frontend_checks() -> Iterator[Step]:
    npm = shutil.which("npm")
    if npm is None:
        print("\nnpm is not installed: the console is neither checked nor built nor tested here", flush=True)
        return
    if not has_packages():
        # A copy of the lock tells the next run, and the bootstrap, that all of it is there.
        install = (
            f"{shlex.quote(npm)} ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.lock"
        )
        yield Step("frontend packages", ["sh", "-c", install], FRONTEND)
    yield Step("frontend schema", [sys.executable, "-m", "tests.frontend_schema"])
    yield Step("frontend types", [npm, "run", "--silent", "typecheck"], FRONTEND)
    yield Step("frontend lint", [npm, "run", "--silent", "lint"], FRONTEND)


def has_packages() -> bool:
    lock, kept = FRONTEND / "package-lock.json", FRONTEND / "node_modules" / ".lock"
    return kept.exists() and kept.read_bytes() == lock.read_bytes()


def frontend_build() -> Iterator[Step]:
    """Before pytest, whose browser looks at it."""
    if npm := shutil.which("npm"):
        yield Step("frontend build", [sys.executable, str(ROOT / "tollkeeper"), "console", "build"])
        yield Step("frontend budget", [npm, "run", "--silent", "budget"], FRONTEND)
        yield Step("frontend tests", [npm, "run", "--silent", "test"], FRONTEND)


def tests(arguments: list[str], *, full: bool, notes: Path) -> Iterator[Step]:
    """`notes` is where the run takes down which secrets it made, and keeps what its gateways wrote."""
    command = [sys.executable, "-m", "pytest"]
    long = {"TOLLKEEPER_TEST_FULL": "1"} if full else {}
    if arguments:
        yield Step("pytest", [*command, *arguments], environment=long)
        return
    yield from frontend_build()
    workers = str(max(2, min(8, os.cpu_count() or 2)))
    yield Step(
        "pytest",
        [*command, "-q", "-n", workers, "--dist", "loadgroup", "-p", "tests.covering"],
        environment={
            COVERAGE: str(notes / "coverage"),
            "TOLLKEEPER_TEST_CANARIES": str(notes),
            FAILURES: str(notes / "failures"),
            **long,
        },
    )
    yield Step("coverage", [sys.executable, "-m", "tests.covering", str(notes / "coverage")])
    yield Step("canaries", [sys.executable, "-m", "tests.canaries", str(notes)])


def run(step: Step) -> Result:
    print(f"\n── {step.name}", flush=True)
    started = time.monotonic()
    environment = {**os.environ, **step.environment}
    done = subprocess.run(step.command, cwd=step.folder, env=environment, check=False)
    # pytest's 5 means that no test ran: never a success here.
    return Result(step, time.monotonic() - started, done.returncode == 0)


def repetition(notes: Path) -> Step | None:
    """The failed tests once more, alone, where they may have failed by their neighbours; None: the failure stands."""
    failed = read_failures(notes / "failures")
    if not 0 < len(failed) <= MOST_REPEATED or not all(test.startswith(TIMED) for test in failed):
        return None
    return Step("repeated alone", [sys.executable, "-m", "pytest", "-v", "--tb", "short", *failed])


def run_all(steps: list[Step], notes: Path) -> list[Result]:
    """A failed pytest counts as passed when its failures are timed tests that pass alone."""
    results: list[Result] = []
    for step in steps:
        result = run(step)
        results.append(result)
        if step.name == "pytest" and not result.passed and (again := repetition(notes)) is not None:
            results.append(run(again))
            if results[-1].passed:
                results[-2] = Result(step, result.seconds, passed=True)
    return results


def main(arguments: list[str]) -> int:
    command, *rest = arguments or ["test"]
    full = "--full" in rest
    rest = [word for word in rest if word != "--full"]
    steps = list(checks()) if command == "check" or not rest else []
    with tempfile.TemporaryDirectory(prefix="tollkeeper-notes-") as notes:
        if command == "test":
            steps.extend(tests(rest, full=full, notes=Path(notes)))
        results = run_all(steps, Path(notes))
        repeated = (
            read_failures(Path(notes) / "failures") if any(r.step.name == "repeated alone" for r in results) else []
        )

    print("\n── summary")
    for result in results:
        print(f"  {'ok    ' if result.passed else 'FAILED'}  {result.step.name:<18} {result.seconds:7.1f} s")
    for test in repeated:
        print(f"  failed beside the others, repeated alone: {test}")
    failed = sum(not result.passed for result in results)
    print(f"steps: {len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
