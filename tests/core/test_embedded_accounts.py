"""Root, ordinary users, nameless users, private homes: the servers run, as somebody harmless, and touch nobody's folders."""

import json
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tollkeeper.core.embedded import EmbeddedPostgres, EmbeddedValkey
from tollkeeper.core.embedded.binaries import POSTGRES, VALKEY, installed
from tollkeeper.core.embedded.home import POINTER
from tollkeeper.core.embedded.process import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other accounts; others are one already")

Start = Callable[..., subprocess.Popen[str]]
NAMELESS = 54_321


def answer(starter: subprocess.Popen[str]) -> dict:
    return json.loads(starter.stdout.readline())


def status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].split()[0] for line in lines if line.startswith(f"{field}:"))


@pytest.fixture
def private_dir(server_dir: Path) -> Iterator[Path]:
    """A data directory below a folder that only root may enter."""
    home = server_dir.with_name("home")
    home.mkdir(mode=0o700)
    yield home / "work" / "data"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert home.stat().st_uid == 0


@pytest.fixture
def open_dir(server_dir: Path) -> Path:
    server_dir.mkdir()
    server_dir.chmod(0o777)
    return server_dir


def test_root_hands_the_servers_to_nobody(server_dir: Path) -> None:
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    with EmbeddedPostgres(server_dir, fsync=False) as postgres, EmbeddedValkey(server_dir) as valkey:
        pids = [postgres.endpoint.pid, valkey.endpoint.pid]
        assert [status(pid, "Uid") for pid in pids] == [nobody, nobody]
        assert [status(pid, "CapEff") for pid in pids] == ["0" * 16] * 2


def test_private_home_is_used_without_opening_it(private_dir: Path) -> None:
    said: list[str] = []
    with EmbeddedPostgres(private_dir, fsync=False, say=said.append) as postgres, EmbeddedValkey(private_dir) as valkey:
        pids = [postgres.endpoint.pid, valkey.endpoint.pid]
        assert [status(pid, "CapEff") for pid in pids] == ["0" * 16] * 2
        assert postgres.run_sql("SELECT 1") == "1"
    assert not (private_dir / POINTER).exists()


def test_killed_starter_in_a_private_home_leaves_no_process(private_dir: Path, start_in_process: Start) -> None:
    starter = start_in_process(data_dir=str(private_dir), sql="CREATE TABLE kept AS SELECT 42 AS n")
    pids = answer(starter)["pids"]
    starter.kill()
    starter.wait()
    left = [Path(f"/proc/{pid}/stat") for pid in pids]
    assert wait_until(lambda: not any(path.exists() and " Z " not in path.read_text() for path in left), seconds=10)
    with EmbeddedPostgres(private_dir, fsync=False) as server:
        assert server.run_sql("SELECT n FROM kept") == "42"


def test_packages_in_a_private_home_are_copied_for_nobody(
    server_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    for package in (POSTGRES, VALKEY):
        source = installed(package)
        info = Path(str(distribution(package.name)._path))
        shutil.copytree(info, tmp_path / info.name)
        for path in (*source.programs(), *source.data()):
            place = tmp_path / path.relative_to(source.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    monkeypatch.syspath_prepend(tmp_path)
    with EmbeddedPostgres(server_dir, fsync=False) as postgres, EmbeddedValkey(server_dir) as valkey:
        for server in (postgres, valkey):
            assert Path(f"/proc/{server.endpoint.pid}/exe").readlink().is_relative_to(server_dir / "runtime")
            assert status(server.endpoint.pid, "Uid") == str(pwd.getpwnam("nobody").pw_uid)
        assert postgres.run_sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'")


def test_without_user_namespaces_the_files_lie_elsewhere(private_dir: Path, start_in_process: Start) -> None:
    elsewhere = private_dir.parents[2] / "elsewhere"
    options = {"data_dir": str(private_dir), "elsewhere": str(elsewhere), "forbid_user_namespaces": True}
    nobody = str(pwd.getpwnam("nobody").pw_uid)

    def start(**more: str) -> dict:
        starter = start_in_process(**options, **more)
        assert starter.stdout.readline() == "unshared\n"
        for kind in ("uid", "gid"):
            Path(f"/proc/{starter.pid}/{kind}_map").write_text("0 0 65536")
        starter.stdin.write("\n")
        starter.stdin.flush()
        found = answer(starter)
        assert [status(pid, "Uid") for pid in found["pids"]] == [nobody, nobody]
        starter.communicate()
        return found

    first = start(sql="CREATE TABLE kept (n int)")
    moved_to = Path((private_dir / POINTER).read_text().strip())
    assert moved_to.parent == elsewhere
    assert (moved_to / "data-dir.txt").read_text() == f"{private_dir}\n"
    assert stat.S_IMODE((moved_to / "postgres" / "cluster").stat().st_mode) == 0o700
    assert [line for line in first["said"] if "private to root" in line] == [first["said"][0]]
    second = start(sql="INSERT INTO kept VALUES (1)")
    assert second["said"] == []


def test_moved_directory_changes_hands_with_its_place(private_dir: Path, server_dir: Path) -> None:
    """Made in a private home it belongs to root; in an open place nobody runs it."""
    with EmbeddedPostgres(private_dir, fsync=False) as server:
        server.run_sql("CREATE TABLE kept AS SELECT 42 AS n")
    private_dir.rename(server_dir)
    with EmbeddedPostgres(server_dir, fsync=False) as server:
        assert status(server.endpoint.pid, "Uid") == str(pwd.getpwnam("nobody").pw_uid)
        assert server.run_sql("SELECT n FROM kept") == "42"
    shutil.move(server_dir, private_dir)
    with EmbeddedPostgres(private_dir, fsync=False) as server:
        assert server.run_sql("SELECT n FROM kept") == "42"


@pytest.mark.parametrize("uid", [65_534, NAMELESS])
def test_ordinary_and_nameless_users_run_their_own(
    open_dir: Path, start_in_process: Start, ordinary_python: str, uid: int
) -> None:
    """A container's random user has no entry in the account list, which initdb insists on."""
    starter = start_in_process(ordinary_python, data_dir=str(open_dir / "own"), uid=uid)
    found = answer(starter)
    assert [status(pid, "Uid") for pid in found["pids"]] == [str(uid)] * 2
    assert {path.lstat().st_uid for path in (open_dir / "own").rglob("*")} == {uid}
    assert stat.S_IMODE((open_dir / "own").stat().st_mode) == 0o700
    starter.communicate()


def test_root_runs_a_users_cluster_as_that_user(open_dir: Path, start_in_process: Start, ordinary_python: str) -> None:
    own = open_dir / "own"
    starter = start_in_process(ordinary_python, data_dir=str(own), uid=NAMELESS, sql="CREATE TABLE kept (n int)")
    assert "pids" in answer(starter)
    starter.communicate()
    with EmbeddedPostgres(own, fsync=False) as server:
        assert status(server.endpoint.pid, "Uid") == str(NAMELESS)
        assert server.run_sql("SELECT count(*) FROM kept") == "0"


def test_user_is_told_about_a_directory_that_is_not_his(
    server_dir: Path, start_in_process: Start, ordinary_python: str
) -> None:
    with EmbeddedPostgres(server_dir, fsync=False):
        pass
    refused = answer(start_in_process(ordinary_python, data_dir=str(server_dir), uid=NAMELESS))["error"]
    assert "cannot be used: Permission denied" in refused
    assert "--data-dir" in refused


def test_user_without_write_access_is_told(server_dir: Path, start_in_process: Start, ordinary_python: str) -> None:
    refused = answer(start_in_process(ordinary_python, data_dir=str(server_dir), uid=NAMELESS))["error"]
    assert str(server_dir) in refused
    assert "give this account the right to write there" in refused
