"""Canaries: secrets that tests make or are given, and the search for them where no secret may ever stand.

`canary("password")` makes one, `remember("session_token", value)` takes note of one that the server made. In a run of
the gate all processes note theirs in one folder, harnesses `keep` what their gateways wrote (logs, journals, metrics),
and `python -m tests.canaries FOLDER` searches the latter for the former when every test is done.
"""

import base64
import json
import os
import secrets
import shutil
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

# Set by the gate for the whole run.
FOLDER: Final = "TOLLKEEPER_TEST_CANARIES"
_SHORTEST: Final = 12
_CHUNK: Final = 1 << 22

_MAKERS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "api_key": lambda: f"tk-cnry-{secrets.token_hex(20)}",
        "master_key": lambda: secrets.token_hex(32),
        "credential": lambda: f"sk-cnry{secrets.token_hex(20)}",
        "password": lambda: f"Cnry {secrets.token_hex(10)} pass",
        "prompt": lambda: f"cnry prompt {secrets.token_hex(12)} of a customer",
    }
)


@dataclass(frozen=True)
class Canary:
    kind: str
    value: str

    def forms(self) -> Iterator[bytes]:
        """As it is, and as a careless encoding would hide it."""
        raw = self.value.encode()
        yield raw
        yield raw.hex().encode()
        yield urllib.parse.quote(self.value, safe="").encode()
        yield json.dumps(self.value)[1:-1].encode()
        for lead in range(3):
            # Whole groups of three bytes from each of the three places where it may begin in a longer text.
            body = raw[(3 - lead) % 3 :]
            body = body[: len(body) // 3 * 3]
            yield base64.b64encode(body)
            yield base64.urlsafe_b64encode(body)


@dataclass(frozen=True)
class Find:
    kind: str
    place: str

    def __str__(self) -> str:
        return f"a canary of kind '{self.kind}' in {self.place}"


def canary(kind: str) -> str:
    """A new secret that nobody else has; kinds without a form of their own get a word."""
    maker = _MAKERS.get(kind, lambda: f"cnry-{secrets.token_hex(16)}")
    return remember(kind, maker())


def remember(kind: str, value: str) -> str:
    """Take note of a secret; short ones would be found by chance."""
    assert len(value) >= _SHORTEST, f"a {kind} of {len(value)} characters is no canary"
    folder = os.environ.get(FOLDER)
    if folder is not None:
        line = json.dumps({"kind": kind, "value": value}) + "\n"
        # One short write in append mode: whole lines, whoever else is writing.
        with (Path(folder) / f"canaries-{os.getpid()}.jsonl").open("a") as file:
            file.write(line)
    return value


def keep(*paths: Path, name: str) -> None:
    """Hand files of a test over to the search at the end of the run; nothing without the gate."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    for path in paths:
        if path.is_file():
            kept = Path(folder) / "kept" / f"{name}-{secrets.token_hex(3)}" / path.name
            kept.parent.mkdir(parents=True)
            shutil.copyfile(path, kept)


class Sweep:
    """Searches bytes for known canaries."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._forms = [
            (canary.kind, form) for canary in set(canaries) for form in set(canary.forms()) if len(form) >= _SHORTEST
        ]
        self._longest = max((len(form) for _, form in self._forms), default=0)

    def search(self, data: bytes, place: str) -> list[Find]:
        return [Find(kind, place) for kind in sorted({kind for kind, form in self._forms if form in data})]

    def search_file(self, path: Path, place: str | None = None) -> list[Find]:
        """In pieces that overlap, so that size does not matter; a file that is gone holds nothing."""
        found: set[Find] = set()
        tail = b""
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    data = tail + chunk
                    found.update(self.search(data, place or str(path)))
                    tail = data[-self._longest :]
        except FileNotFoundError:
            pass
        return sorted(found, key=str)


def noted(folder: Path) -> list[Canary]:
    """All that the processes of a run took note of; a line that a kill cut short is nobody's."""
    found = []
    for path in folder.glob("canaries-*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            found.append(Canary(document["kind"], document["value"]))
    return found


def main(folder: Path) -> int:
    canaries = noted(folder)
    files = [path for path in (folder / "kept").rglob("*") if path.is_file()]
    sweep = Sweep(canaries)
    finds = [find for path in files for find in sweep.search_file(path, str(path.relative_to(folder)))]
    print(f"{len(canaries)} canaries, {len(files)} files, {len(finds)} found")
    for find in finds:
        print(f"  {find}")
    if not canaries or not files:
        print("Nothing was searched: the harnesses have stopped handing anything over.")
        return 1
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
