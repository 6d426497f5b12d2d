"""The embedded Valkey: loopback, a password, and nothing remembered."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tollkeeper.core.embedded import EmbeddedError, EmbeddedValkey
from tollkeeper.core.embedded import server as server_module
from tollkeeper.core.embedded.lock import FileLock


def client(server: EmbeddedValkey) -> redis.Redis:
    return redis.Redis.from_url(server.endpoint.url)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_password_is_needed(valkey_url: str, password: str | None) -> None:
    port = urlsplit(valkey_url).port
    with (
        redis.Redis(port=port, password=password, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_password_is_neither_in_arguments_nor_readable(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        password_file = server_dir / "valkey" / "password"
        assert password_file.stat().st_mode & 0o077 == 0
        shown = Path(f"/proc/{server.endpoint.pid}/cmdline").read_text() + repr(server.endpoint)
        assert password_file.read_text() not in shown


def test_nothing_is_persisted(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server, client(server) as connection:
        settings = connection.config_get("save", "appendonly", "maxmemory-policy", "bind", "protected-mode")
        connection.set("spent", 1)
    with EmbeddedValkey(server_dir) as server, client(server) as connection:
        assert connection.get("spent") is None
    assert settings == {
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
    }


def test_copy_that_somebody_saved_is_not_believed(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server, client(server) as connection:
        connection.set("spent", 1)
        dump = connection.dump("spent")
    assert dump
    (server_dir / "valkey" / "dump.rdb").write_bytes(b"REDIS0011 an old copy, or a broken one")
    with EmbeddedValkey(server_dir) as server, client(server) as connection:
        assert connection.dbsize() == 0


def test_second_starter_adopts(server_dir: Path) -> None:
    owner, guest = EmbeddedValkey(server_dir), EmbeddedValkey(server_dir)
    try:
        assert owner.start() == guest.start()
        assert guest.is_adopted
        guest.stop()
        assert owner.poll()
    finally:
        owner.stop()
    assert not owner.poll()


def test_stranger_on_the_port_is_not_adopted(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir):
        pass
    lock = FileLock(server_dir / "valkey" / "starter.lock")
    with EmbeddedValkey(server_dir.with_name("other")) as other:
        (server_dir / "valkey" / "address.json").write_text((other.endpoint.data_dir / "address.json").read_text())
        assert lock.acquire()
        try:
            with pytest.raises(EmbeddedError, match="the Valkey it started does not answer"):
                EmbeddedValkey(server_dir).start(timeout_seconds=0.3)
        finally:
            lock.release()


def test_port_lost_in_the_race_is_replaced(server_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]] * 2)
        look = server_module.free_port
        monkeypatch.setattr(server_module, "free_port", lambda preferred: next(ports, None) or look(preferred))
        with EmbeddedValkey(server_dir) as server, client(server) as connection:
            assert server.endpoint.port != taken.getsockname()[1]
            assert connection.ping()


def test_port_that_is_never_free_ends_with_the_servers_words(server_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(server_module, "free_port", lambda _preferred: taken.getsockname()[1])
        with pytest.raises(EmbeddedError, match=r"(?s)Valkey did not start.*Address already in use"):
            EmbeddedValkey(server_dir).start()
