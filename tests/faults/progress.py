"""What of a long run is done already, in `bench/results`: one that was interrupted goes on where it ended.

It holds for the code it was made with. What has changed since is run from the beginning.
"""

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parents[2] / "bench" / "results"


def digest_of(folders: Iterable[Path]) -> str:
    """Of every Python file in these folders, and of files that are named themselves."""
    found = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            found.update(path.read_bytes())
    return found.hexdigest()


class Progress:
    """`key` says what the parts that are done are parts of; with another one nothing is done."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._parts = self._read()

    def __contains__(self, part: int) -> bool:
        return str(part) in self._parts

    def add(self, part: int, **figures: Any) -> None:
        """Written at once and whole, so that a run that is killed loses only the part it was at."""
        self._parts[str(part)] = figures
        document = {"key": self._key, "parts": self._parts}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(document, indent=1), "utf-8")
        draft.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        is_ours = isinstance(document, dict) and document.get("key") == self._key
        return dict(document["parts"]) if is_ours else {}
