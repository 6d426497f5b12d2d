"""How much of the product the tests run: each worker of pytest takes it down, the gate adds it up and holds it to a bar.

As a plugin (`-p tests.covering`) it instruments what is imported after it, so it comes before every conftest. Only these
processes are measured: a gateway that a test starts as a process of its own runs as fast as it always does.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from slipcover import FileMatcher, ImportManager, Slipcover

# The variable that names the folder of the notes.
COVERAGE: Final = "TOLLKEEPER_TEST_COVERAGE"
BAR_PERCENT: Final = 85.0
SOURCES: Final = Path(__file__).resolve().parent.parent / "backend" / "tollkeeper"
# What no run is meant to reach.
_EXCLUDED: Final = ("raise AssertionError", "@overload", r"\.\.\.$")


def _begin() -> Slipcover | None:
    # Where tests run in several workers, the one that hands them out runs none.
    is_running = "PYTEST_XDIST_WORKER" in os.environ or not any(word.startswith("-n") for word in sys.argv)
    if COVERAGE not in os.environ or not is_running:
        return None
    sources = [str(SOURCES)]
    cover = Slipcover(source=sources, exclude_also=list(_EXCLUDED))
    ImportManager(cover, FileMatcher(sources=sources)).__enter__()
    return cover


_COVER: Final = _begin()


def pytest_sessionfinish() -> None:
    if _COVER is not None:
        folder = Path(os.environ[COVERAGE])
        folder.mkdir(parents=True, exist_ok=True)
        name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        (folder / f"{name}-{os.getpid()}.json").write_text(json.dumps(_COVER.get_coverage()["files"]))


def add_up(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file the lines there are, and those that no worker ran."""
    ran: dict[str, set[int]] = {}
    lines: dict[str, set[int]] = {}
    for note in _notes(folder):
        for name, file in note.items():
            path = str(Path(name).resolve())
            ran.setdefault(path, set()).update(file["executed_lines"])
            lines.setdefault(path, set()).update(file["executed_lines"], file["missing_lines"])
    return {path: (len(all_lines), len(all_lines - ran[path])) for path, all_lines in lines.items()}


def _notes(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        yield json.loads(path.read_text())


def main(folder: Path) -> int:
    """Says which files fall short, and ends with 1 when all together do."""
    files = add_up(folder)
    for path, (count, missed) in sorted(files.items()):
        if count and 100 * missed / count > 100 - BAR_PERCENT:
            print(f"{Path(path).relative_to(SOURCES.parent)}: {missed} of {count} lines were not run")
    total = sum(count for count, _ in files.values())
    covered = 100 * (1 - sum(missed for _, missed in files.values()) / total) if total else 0.0
    print(f"total coverage: {covered:.1f} % of {total} lines (bar {BAR_PERCENT:.0f} %)")
    return 0 if covered >= BAR_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
