"""Where one embedded server lives below the data directory, and as whom it runs.

Servers never run as root. Started by root they run as `nobody`; where a parent folder is private, inside a user
namespace of their own; where the system allows neither, their files lie in `/var/lib/tollkeeper/<hash>`, to which a
pointer file leads. No parent folder's mode or owner is ever changed and no account is ever made.
"""

import errno
import hashlib
import os
import pwd
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tollkeeper.core.embedded.error import EmbeddedError, writing_to
from tollkeeper.core.embedded.process import Account, ask_access

POINTER = "embedded-servers-moved-to"
ELSEWHERE = Path("/var/lib/tollkeeper")
_NOBODY = 65_534


@dataclass(frozen=True)
class Home:
    """`control` is ours (locks, passwords, address, log); `storage` holds the server's own files."""

    data_dir: Path
    control: Path
    storage: Path
    account: Account

    @property
    def runtime(self) -> Path:
        return self.storage.parent / "runtime"


def make_data_dir(data_dir: Path) -> None:
    """Create the data directory: private, but passable for root's servers, which run as another account."""
    with writing_to(data_dir):
        if data_dir.exists() and not data_dir.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(data_dir))
        make_folder(data_dir)


def make_control(data_dir: Path, name: str) -> Path:
    """The server's own folder below the data directory."""
    make_data_dir(data_dir)
    control = data_dir.resolve() / name
    with writing_to(data_dir):
        make_folder(control)
        probe = control / f"probe-{secrets.token_hex(4)}"
        probe.touch(mode=0o600)
        probe.unlink()
    return control


def find_home(control: Path, say: Callable[[str], None], *, elsewhere: Path) -> Home:
    """Decide as whom the server runs, and where. The caller holds the server's starter lock."""
    data_dir = control.parent
    if os.geteuid() != 0:
        return Home(data_dir, control, control, _ordinary_account(control))
    pointer = data_dir / POINTER
    if not pointer.exists():
        for account in _accounts_for_root(control):
            if ask_access(account, enter=[control]).enters:
                return Home(data_dir, control, control, account)
        if any(data_dir.glob("*/cluster")):
            message = (
                f"No account that may run a server can enter {control} any more. Let others pass its parent folders "
                "(chmod o+x), or allow user namespaces, or run Tollkeeper as the owner of that folder."
            )
            raise EmbeddedError(message)
        _point_elsewhere(pointer, elsewhere, say)
    storage = Path(pointer.read_text().strip()) / control.name
    with writing_to(storage):
        make_folder(storage)
    return Home(data_dir, control, storage.resolve(), _nobody())


def _ordinary_account(control: Path) -> Account:
    """Ourselves; under a name of the system's when ours has none, which initdb insists on (random container users)."""
    cluster = control / "cluster"
    if cluster.exists() and cluster.stat().st_uid != os.geteuid():
        message = (
            f"{cluster} belongs to user {cluster.stat().st_uid}, and this is user {os.geteuid()}. "
            "Run Tollkeeper as that user, or choose another --data-dir."
        )
        raise EmbeddedError(message)
    own = Account.own()
    if _has_name(own.uid):
        return own
    named = _nobody()
    inside = Account(own.uid, own.gid, inside=(named.uid, named.gid))
    return inside if ask_access(inside, enter=[control]).enters else own


def _accounts_for_root(control: Path) -> Iterator[Account]:
    """The user whose directory it is; else nobody; else somebody without rights who still passes for root outside."""
    nobody = _nobody()
    cluster = control / "cluster"
    for folder, is_known in ((cluster, lambda _uid: True), (control.parent, _has_name)):
        owner = folder.stat() if folder.exists() else None
        if owner is not None and owner.st_uid not in {0, nobody.uid} and is_known(owner.st_uid):
            yield Account(owner.st_uid, owner.st_gid)
            if folder == cluster:
                return
    yield nobody
    yield Account(os.geteuid(), os.getegid(), inside=(nobody.uid, nobody.gid))


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _nobody() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(_NOBODY, _NOBODY)
    return Account(entry.pw_uid, entry.pw_gid)


def _point_elsewhere(pointer: Path, elsewhere: Path, say: Callable[[str], None]) -> None:
    """A new folder each time: the files of a data directory that was deleted must not come back to life."""
    name = hashlib.sha256(f"{pointer}{secrets.token_hex(8)}".encode()).hexdigest()[:16]
    target = elsewhere / name
    with writing_to(elsewhere):
        make_folder(elsewhere, mode=0o755)
        make_folder(target)
        (target / "data-dir.txt").write_text(f"{pointer.parent}\n")
        unfinished = pointer.with_suffix(f".{name}")
        unfinished.write_text(f"{target}\n")
        unfinished.rename(pointer)
    say(f"{pointer.parent} is private to root, so the databases' own files lie in {target}.")


def make_folder(path: Path, mode: int | None = None) -> None:
    """Passable but not listable for root's servers; an ordinary user's is private. A folder that exists stays as it is."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(mode or (0o711 if os.geteuid() == 0 else 0o700))  # Whatever the umask.
