"""Everything that a gateway leaves behind, read as bytes: answers, logs, tables, Redis, files, command lines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import redis

from tests.canaries import Find, Sweep
from tests.faults.gateway import Gateway
from tollkeeper.core.embedded import EmbeddedPostgres, EmbeddedValkey

# Files that are there to hold a secret, closed to others: the first start's, the master key, the servers' passwords.
MAY_HOLD: Final = frozenset({"first-run.json", "master.key", "passwords.json", "password"})
_TEXT_OF_ROWS: Final = "SELECT t::text FROM {table} AS t"


def search_log(sweep: Sweep, gateway: Gateway) -> list[Find]:
    return sweep.search_file(gateway.log_path, "the log")


def search_tables(sweep: Sweep, gateway: Gateway) -> list[Find]:
    """Every row of every table as its owner could dump it; bytes are written in hexadecimal there."""
    with EmbeddedPostgres(gateway.data_dir) as server:

        def run(sql: str) -> str:
            return server.run_sql(sql, as_superuser=True)

        names = run("SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname = 'public'").split()
        assert len(names) > 20
        found = [
            find
            for name in names
            for find in sweep.search(run(_TEXT_OF_ROWS.format(table=name)).encode(), f"table {name}")
        ]
        statements = run("SELECT query FROM pg_stat_activity").encode()
        return found + sweep.search(statements, "the statements PostgreSQL shows")


def search_redis(sweep: Sweep, gateway: Gateway) -> list[Find]:
    with EmbeddedValkey(gateway.data_dir) as server, redis.Redis.from_url(server.endpoint.url) as client:
        found = []
        for key in client.scan_iter():
            found += sweep.search(key + b" " + b" ".join(_value(client, key)), f"Redis key {_shape(key)}")
        # What a subscriber would hear, and what the slow log keeps.
        found += sweep.search(b" ".join(client.pubsub_channels()), "channels of Redis")
        return found + sweep.search(json.dumps(client.slowlog_get(128), default=str).encode(), "slow log of Redis")


def search_files(sweep: Sweep, gateway: Gateway) -> list[Find]:
    """The data folder with the database's own files and write-ahead log, and nothing left beside it."""
    found = []
    for path in gateway.data_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in MAY_HOLD:
            found += sweep.search_file(path, f"file {path.relative_to(gateway.data_dir)}")
    return found


def search_processes(sweep: Sweep, gateway: Gateway) -> list[Find]:
    """Command lines are for everybody on the machine to read."""
    return [
        find
        for pid, _ in gateway.family()
        for find in sweep.search(Path(f"/proc/{pid}/cmdline").read_bytes(), "a command line")
    ]


def closed_files(gateway: Gateway) -> Iterator[tuple[str, int]]:
    for path in gateway.data_dir.rglob("*"):
        if path.name in MAY_HOLD and path.is_file():
            yield path.name, path.stat().st_mode & 0o077


def _value(client: Any, key: bytes) -> list[bytes]:
    match client.type(key):
        case b"string":
            return [client.get(key) or b""]
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"set":
            return list(client.smembers(key))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case b"stream":
            return [repr(client.xrange(key)).encode()]
        case other:
            raise AssertionError(f"the search does not know Redis' type {other!r}")


def _shape(key: bytes) -> str:
    """A key's name without what is particular to it, so that a find does not repeat the secret."""
    return re.sub(r"[0-9a-f]{6,}", "…", key.decode(errors="replace"))[:60]
