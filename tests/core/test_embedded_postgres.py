"""The embedded PostgreSQL: what it promises to those who start it and to those who connect."""

import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tollkeeper.core.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedValkey, Endpoint, start_together
from tollkeeper.core.embedded import server as server_module
from tollkeeper.core.embedded.lock import FileLock
from tollkeeper.core.embedded.process import environment


def make(data_dir: Path, **options: object) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, fsync=False, **options)


@pytest.fixture
def stopped(server_dir: Path) -> Path:
    """A data directory with a cluster, its server stopped."""
    with make(server_dir):
        pass
    return server_dir


def test_warm_start_is_quick_and_keeps_the_addresses(server_dir: Path) -> None:
    servers = [make(server_dir), EmbeddedValkey(server_dir)]
    first = start_together(servers)
    for server in servers:
        server.stop()
    began = time.monotonic()
    second = start_together(servers)
    elapsed = time.monotonic() - began
    for server in servers:
        server.stop()
    assert [endpoint.url for endpoint in second] == [endpoint.url for endpoint in first]
    assert elapsed < 3, "about 0.3 s on an idle machine"


async def test_address_is_that_of_a_role_without_power(postgres: Endpoint) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        role = await connection.fetchrow(
            "SELECT rolname, rolsuper, rolbypassrls, rolreplication, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        owner = await connection.fetchval(
            "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    assert tuple(role) == ("tollkeeper", False, False, False, True)
    assert owner == "tollkeeper"


async def test_wrong_password_is_refused(postgres: Endpoint) -> None:
    wrong = postgres.url.replace("tollkeeper:", "tollkeeper:x")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)


async def test_superuser_is_not_trusted_either(postgres: Endpoint) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1", port=postgres.port, user="postgres", password="postgres", database="postgres"
        )


def test_no_rule_trusts_anybody(postgres_server: EmbeddedPostgres) -> None:
    rules = postgres_server.run_sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules", as_superuser=True)
    assert rules == "scram-sha-256"


def test_it_listens_on_loopback_only(postgres_server: EmbeddedPostgres) -> None:
    shown = postgres_server.run_sql(
        "SHOW listen_addresses; SHOW unix_socket_directories; SHOW password_encryption", as_superuser=True
    )
    assert shown.split("\n") == ["127.0.0.1", "", "scram-sha-256"]


def test_locale_is_the_builtin_one(postgres_server: EmbeddedPostgres) -> None:
    shown = postgres_server.run_sql(
        "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'tollkeeper'"
    )
    assert shown == "b|C.UTF-8|UTF8"


def test_production_keeps_what_it_was_told(server_dir: Path) -> None:
    with EmbeddedPostgres(server_dir) as server:
        shown = server.run_sql("SHOW fsync; SHOW synchronous_commit; SHOW full_page_writes; SHOW timezone; SHOW jit")
        createdb = server.run_sql("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user")
    assert shown.split() == ["on", "on", "on", "UTC", "off"]
    assert createdb == "f"


def test_right_to_make_databases_follows_the_option(stopped: Path) -> None:
    with make(stopped, createdb=True) as server:
        server.run_sql("CREATE DATABASE another")
    with make(stopped) as server, pytest.raises(EmbeddedError, match="permission denied"):
        server.run_sql("CREATE DATABASE a_third")


def test_every_file_is_private(server_dir: Path) -> None:
    with make(server_dir) as server:
        server.run_sql("SELECT 1")
        files = [path for path in server_dir.rglob("*") if path.is_file()]
        shared = [path for path in files if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
        cluster = stat.S_IMODE((server_dir / "postgres" / "cluster").stat().st_mode)
    assert len(files) > 500
    assert shared == []
    assert cluster == 0o700


def test_password_is_neither_in_arguments_nor_in_repr(server_dir: Path) -> None:
    with make(server_dir) as server:
        password = server.endpoint.url.split(":")[2].split("@")[0]
        arguments = Path(f"/proc/{server.endpoint.pid}/cmdline").read_text()
        log = (server_dir / "postgres" / "server.log").read_text()
        assert len(password) == 48
        assert password not in arguments + log + repr(server.endpoint)


def test_foreign_variables_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    monkeypatch.setenv("PGSERVICE", "production")
    assert not any(name.startswith("PG") for name in environment())


def test_second_starter_adopts_and_leaves_the_server_alone(server_dir: Path) -> None:
    owner, guest = make(server_dir), make(server_dir)
    try:
        first = owner.start()
        assert guest.start() == first
        assert guest.is_adopted
        assert guest.poll()
        guest.stop()
        assert owner.run_sql("SELECT 1") == "1"
    finally:
        owner.stop()


def test_adopter_takes_over_when_the_owner_is_gone(server_dir: Path) -> None:
    owner, guest = make(server_dir), make(server_dir)
    owner.start()
    owner.run_sql("CREATE TABLE kept (n int)")
    guest.start()
    owner.stop()
    try:
        assert not guest.poll()
        guest.start()
        assert not guest.is_adopted
        assert guest.run_sql("SELECT count(*) FROM kept") == "0"
    finally:
        guest.stop()


def test_silent_owner_is_named(stopped: Path) -> None:
    lock = FileLock(stopped / "postgres" / "starter.lock")
    assert lock.acquire()
    try:
        with pytest.raises(EmbeddedError, match=r"Process \d+ is using .*does not answer\. Stop that process"):
            make(stopped).start(timeout_seconds=0.3)
    finally:
        lock.release()


def test_stranger_on_the_port_is_not_adopted(stopped: Path) -> None:
    """The address file leads to a server that answers, but does not know our password."""
    address = stopped / "postgres" / "address.json"
    lock = FileLock(stopped / "postgres" / "starter.lock")
    with make(stopped.with_name("other")) as other:
        address.write_text((other.endpoint.data_dir / "address.json").read_text())
        assert lock.acquire()
        try:
            with pytest.raises(EmbeddedError, match="does not answer"):
                make(stopped).start(timeout_seconds=0.3)
        finally:
            lock.release()


def test_taken_port_is_left_for_another(stopped: Path) -> None:
    before = (stopped / "postgres" / "address.json").read_text()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(before.split('"port": ')[1].rstrip("}"))))
        taken.listen()
        with make(stopped) as server:
            assert server.endpoint.port != taken.getsockname()[1]
            assert server.run_sql("SELECT 1") == "1"


def test_port_lost_in_the_race_is_replaced(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody binds it after we looked and before the server does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]] * 2)
        look = server_module.free_port
        monkeypatch.setattr(server_module, "free_port", lambda preferred: next(ports, None) or look(preferred))
        with make(stopped) as server:
            assert server.endpoint.port != taken.getsockname()[1]
            assert server.run_sql("SELECT 1") == "1"


def test_interrupted_initialisation_is_cleared_away(server_dir: Path) -> None:
    unfinished = server_dir / "postgres" / "initialising-0badcafe" / "cluster"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    for folder in (server_dir, server_dir / "postgres"):
        folder.chmod(0o711)
    with make(server_dir) as server:
        assert server.run_sql("SELECT 1") == "1"
    assert not unfinished.parent.exists()


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("cluster/PG_VERSION", None, "not a whole database cluster.*restore it from a backup"),
        ("cluster/global/pg_control", None, "not a whole database cluster"),
        ("cluster/PG_VERSION", "16\n", r"made by PostgreSQL 16, and this is 18\. Dump it"),
        ("passwords.json", None, "password file .* is gone. Put it back"),
        ("passwords.json", "{", "password file .* cannot be read"),
        ("passwords.json", '{"superuser": "a", "login": "b"}', "was replaced, put the old one back"),
    ],
)
def test_damaged_directory_is_refused_with_advice(stopped: Path, path: str, content: str | None, sentence: str) -> None:
    damaged = stopped / "postgres" / path
    damaged.unlink()
    if content is not None:
        damaged.write_text(content)
        damaged.chmod(0o644)
    with pytest.raises(EmbeddedError, match=sentence):
        make(stopped).start()
    assert damaged.exists() == (content is not None)


def test_somebody_elses_cluster_is_refused(server_dir: Path) -> None:
    (server_dir / "postgres").mkdir(parents=True)
    (server_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"cluster of somebody else\. Choose another --data-dir"):
        make(server_dir).start()


@pytest.mark.parametrize("place", ["{}", "{}/below"])
def test_file_in_place_of_the_data_directory_is_explained(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=r"cannot be used: .*--data-dir"):
        make(Path(place.format(tmp_path / "file"))).start()


def test_stale_process_id_of_a_living_stranger_does_not_stop_the_start(server_dir: Path) -> None:
    """After a container's restart the old number often belongs to another process of the same account."""
    home = server_dir.with_name("home")
    home.mkdir(mode=0o700)  # Private, so that root's server shares root's account, and believes what it may signal.
    with make(home):
        pass
    stale = home / "postgres" / "cluster" / "postmaster.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        stale.write_text(f"{stranger.pid}\n{stale.parent}\n1\n1\n\n127.0.0.1\n0 0\nready   \n")
        stale.chmod(0o600)
        with make(home) as server:
            assert server.run_sql("SELECT 1") == "1"
        stranger.communicate(b"\n")


def test_path_with_blanks_quotes_and_letters_of_any_script(server_dir: Path) -> None:
    with make(server_dir.with_name('it\'s a "Prüfung" データ')) as server:
        assert server.run_sql("SELECT 1") == "1"
