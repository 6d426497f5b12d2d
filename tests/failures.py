"""Which tests failed: written down at the end of a run, for the gate to read."""

import os
from pathlib import Path
from typing import Any, Final

# The variable that names the file.
FAILURES: Final = "TOLLKEEPER_TEST_FAILURES"


def write_failures(stats: dict[str, list[Any]]) -> None:
    """`stats` as pytest's terminal reporter has them; a crashed worker's test is among them."""
    path = os.environ.get(FAILURES)
    if path is not None:
        reports = [*stats.get("failed", ()), *stats.get("error", ())]
        tests = dict.fromkeys(getattr(report, "nodeid", "") for report in reports)
        Path(path).write_text("".join(f"{test}\n" for test in tests))


def read_failures(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
