"""The embedded PostgreSQL: a real cluster with pgvector, scram passwords only, loopback only, no Unix socket.

The superuser exists to set the cluster up; the address handed out is that of a login role without its powers, because
row-level security does not bind superusers and the gateway refuses them.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tollkeeper.core.embedded.binaries import POSTGRES, Binaries, installed, usable
from tollkeeper.core.embedded.error import EmbeddedError
from tollkeeper.core.embedded.home import ELSEWHERE, Home
from tollkeeper.core.embedded.process import Account, ask_access, environment, processes_at, spawn
from tollkeeper.core.embedded.server import Address, EmbeddedServer, Running, Site, write_private

ROLE = DATABASE = "tollkeeper"
_SUPERUSER = "postgres"
_MAJOR = "18"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # LOG ranks above ERROR in the log: starts, recoveries and refused logins, but no statement and so no secret.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
# Commits still reach the operating system one by one, so a killed server loses none; only a lost machine does.
_WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}
_INITDB = "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --auth=scram-sha-256 --no-instructions"
_READY_LINE = 7  # of postmaster.pid; miscadmin.h, LOCK_FILE_LINE_PM_STATUS


class EmbeddedPostgres(EmbeddedServer):
    NAME: ClassVar[str] = "postgres"
    TITLE: ClassVar[str] = "PostgreSQL"
    # A fast shutdown: sessions are rolled back, a checkpoint is written, nothing has to be recovered.
    DEATH_SIGNAL: ClassVar[signal.Signals] = signal.SIGINT
    STOP_SIGNALS: ClassVar[Sequence[tuple[signal.Signals, float]]] = (
        (signal.SIGINT, 15),
        (signal.SIGQUIT, 5),
        (signal.SIGKILL, 5),
    )
    LEFTOVER_SECONDS: ClassVar[float] = 10

    def __init__(
        self,
        data_dir: Path,
        *,
        say: Callable[[str], None] = lambda _line: None,
        fsync: bool = True,
        createdb: bool = False,
        max_connections: int = 150,
        elsewhere: Path = ELSEWHERE,
    ) -> None:
        """`fsync=False` is for tests: fast, and lost with the machine. `createdb` lets the role make databases."""
        super().__init__(data_dir, package=POSTGRES, say=say, elsewhere=elsewhere)
        self._fsync = fsync
        self._createdb = createdb
        self._max_connections = max_connections
        self._psql: Path | None = None

    def run_sql(self, sql: str, *, database: str = DATABASE, as_superuser: bool = False) -> str:
        """Run statements through psql, for setting up and for tests; the answer is its unaligned output."""
        result = self._run_psql(self.endpoint.port, sql, database=database, as_superuser=as_superuser)
        if result.returncode != 0:
            raise EmbeddedError(f"PostgreSQL refused: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout.decode().strip()

    def url_of(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self._passwords()['login']}@127.0.0.1:{self.endpoint.port}/{database}"

    def _program(self) -> str:
        return "postgres"

    def _url(self, port: int) -> str:
        return f"postgresql://{ROLE}:{self._passwords()['login']}@127.0.0.1:{port}/{DATABASE}"

    def _prepare(self, site: Site, server_lock: int) -> None:
        self._psql = site.binaries.program("psql")
        cluster = site.home.storage / "cluster"
        for unfinished in site.home.storage.glob("initialising-*"):
            shutil.rmtree(unfinished)
        if not cluster.exists():
            self._initialise(site, server_lock)
        _check_cluster(cluster, self._secrets_path())
        _hand_over(cluster, site.home.account)
        _drop_stale_pid_file(cluster)

    def _initialise(self, site: Site, server_lock: int) -> None:
        """Make the cluster aside and rename it: one that was interrupted is never taken for a whole one."""
        home = site.home
        if (home.control / "PG_VERSION").exists():
            message = f"{home.control} holds a PostgreSQL cluster of somebody else. Choose another --data-dir."
            raise EmbeddedError(message)
        self._say("Creating the database cluster (first start only)")
        if not self._secrets_path().exists():
            passwords = {"superuser": secrets.token_hex(24), "login": secrets.token_hex(24)}
            write_private(self._secrets_path(), json.dumps(passwords))
        unfinished = home.storage / f"initialising-{secrets.token_hex(4)}"
        unfinished.mkdir(mode=0o700)
        password_file = unfinished / "password"
        write_private(password_file, self._passwords()["superuser"])
        for path in (unfinished, password_file):
            os.chown(path, home.account.uid, home.account.gid)
        arguments = [f"--pgdata={unfinished}/cluster", f"--username={_SUPERUSER}", f"--pwfile={password_file}"]
        sync = [] if self._fsync else ["--no-sync"]
        initdb = spawn(
            [str(site.binaries.program("initdb")), *arguments, *sync, *_INITDB.split()],
            account=home.account,
            cwd=home.storage,
            death_signal=signal.SIGKILL,
            output=subprocess.PIPE,
            keep_open=[server_lock],
        )
        with initdb:
            assert initdb.stdout is not None
            words = initdb.stdout.read().decode(errors="replace")
        if initdb.returncode != 0:
            raise EmbeddedError(f"PostgreSQL's initdb failed in {home.storage}:\n{words.strip()}")
        (unfinished / "cluster").rename(home.storage / "cluster")
        shutil.rmtree(unfinished)

    def _command(self, site: Site, port: int) -> tuple[list[str], bytes]:
        settings = {
            **_SETTINGS,
            "max_connections": str(self._max_connections),
            **({} if self._fsync else _WITHOUT_FSYNC),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = str(site.binaries.program("postgres"))
        return [program, "-D", str(site.home.storage / "cluster"), "-p", str(port), *options], b""

    def _is_up(self, running: Running) -> bool:
        address = running.address
        lines = _read_pid_file(running.site.home.storage / "cluster")
        if len(lines) <= _READY_LINE or lines[0] != str(address.pid) or lines[_READY_LINE].strip() != "ready":
            return False
        if not self._is_fit(address.port):
            self._set_up(address.port)
        return True

    def _proves_itself(self, address: Address) -> bool:
        """With scram the server, too, must show that it knows the password; psql is told to accept nothing less."""
        return self._secrets_path().exists() and self._run_psql(address.port, "SELECT 1").returncode == 0

    def _is_fit(self, port: int) -> bool:
        answer = self._run_psql(port, _FITNESS)
        return answer.stdout.split() == [b"t" if self._createdb else b"f"]

    def _set_up(self, port: int) -> None:
        variables = {"password": self._passwords()["login"], "createdb": "CREATEDB" if self._createdb else "NOCREATEDB"}
        result = self._run_psql(port, _SET_UP, database="postgres", as_superuser=True, variables=variables)
        if result.returncode != 0:
            message = (
                f"The database cluster in {self._control} cannot be set up. If {self._secrets_path()} was replaced, "
                f"put the old one back.\n{result.stderr.decode(errors='replace').strip()}"
            )
            raise EmbeddedError(message)

    def _run_psql(
        self,
        port: int,
        sql: str,
        *,
        database: str = DATABASE,
        as_superuser: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        connection = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGDATABASE": database,
            "PGUSER": _SUPERUSER if as_superuser else ROLE,
            "PGPASSWORD": self._passwords()["superuser" if as_superuser else "login"],
            "PGREQUIREAUTH": "scram-sha-256",
            "PGSSLMODE": "disable",
            "PGCONNECT_TIMEOUT": "5",
        }
        # On standard input, not as arguments: anybody may read those.
        script = "".join(f"\\set {name} '{value}'\n" for name, value in (variables or {}).items()) + sql
        return subprocess.run(  # noqa: S603 -- our own program and words
            [str(self._find_psql()), "-XqAt", "-v", "ON_ERROR_STOP=1"],
            input=script.encode(),
            capture_output=True,
            check=False,
            env={**environment(), **connection},
        )

    def _find_psql(self) -> Path:
        if self._psql is None:

            def may_run(binaries: Binaries) -> bool:
                return ask_access(Account.own(), run=binaries.programs()).runs

            runtime = self._control.parent / "runtime"
            self._psql = usable(installed(POSTGRES), self.NAME, runtime, may_run=may_run).program("psql")
        return self._psql

    def _secrets_path(self) -> Path:
        return self._control / "passwords.json"

    def _passwords(self) -> dict[str, str]:
        try:
            passwords: dict[str, str] = json.loads(self._secrets_path().read_text())
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"The password file {self._secrets_path()} cannot be read: {error}") from error
        return passwords

    def _leftovers(self, home: Home) -> list[int]:
        return processes_at(home.storage / "cluster", self._program())


_FITNESS = """
SELECT rolcreatedb FROM pg_roles, pg_extension, pg_database
WHERE rolname = current_user AND rolcreaterole AND NOT rolsuper AND NOT rolbypassrls
  AND extname = 'vector' AND datname = current_database() AND datdba = pg_roles.oid;
"""

# Safe to repeat. The extension goes into template1 as well: it is not "trusted", so the role could not add it to a
# database it makes.
_SET_UP = """
SELECT 'CREATE ROLE tollkeeper' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollkeeper') \\gexec
ALTER ROLE tollkeeper LOGIN NOSUPERUSER NOBYPASSRLS NOREPLICATION CREATEROLE :createdb PASSWORD :'password';
SELECT 'CREATE DATABASE tollkeeper OWNER tollkeeper'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'tollkeeper') \\gexec
ALTER DATABASE tollkeeper OWNER TO tollkeeper;
\\connect template1
CREATE EXTENSION IF NOT EXISTS vector;
\\connect tollkeeper
CREATE EXTENSION IF NOT EXISTS vector;
"""


def _check_cluster(cluster: Path, secrets_path: Path) -> None:
    try:
        version = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        version = ""
    if not version or not (cluster / "global" / "pg_control").exists():
        message = (
            f"{cluster} is not a whole database cluster. Nothing of it was touched: restore it from a backup, or move "
            f"{cluster.parent} away to begin with an empty one."
        )
    elif version != _MAJOR:
        message = (
            f"{cluster} was made by PostgreSQL {version}, and this is {_MAJOR}. Dump it with the release of Tollkeeper "
            "that made it, or choose another --data-dir."
        )
    elif not secrets_path.exists():
        message = (
            f"The cluster {cluster} is there, but its password file {secrets_path} is gone. Put it back from a backup, "
            f"or move {secrets_path.parent} away to begin with an empty one."
        )
    else:
        return
    raise EmbeddedError(message)


def _hand_over(cluster: Path, account: Account) -> None:
    """Root ran it under another of its two accounts before (the data directory was moved, or became private)."""
    if cluster.stat().st_uid == account.uid:
        return
    for path in (*cluster.rglob("*"), cluster):  # The folder last: it is what tells that all is done.
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _read_pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _drop_stale_pid_file(cluster: Path) -> None:
    """A container's second start often gives the old process id to one of our own processes, which PostgreSQL believes.

    We hold `server.lock`, so no server that we started is left; one that somebody started by hand is respected.
    """
    lines = _read_pid_file(cluster)
    if not lines:
        return
    by_hand = processes_at(cluster, "postgres")
    if by_hand:
        message = f"A PostgreSQL that Tollkeeper did not start uses {cluster} (process {by_hand[0]}). Stop it first."
        raise EmbeddedError(message)
    (cluster / "postmaster.pid").unlink()
