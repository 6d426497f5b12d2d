"""The worker's server: start, drain, TLS, over real sockets."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.web.serving import PATIENCE_SECONDS, App, Client, ServerThread, echo, eventually, request, respond
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.web.server import WorkerServer, tls_context


class Worker:
    """A server that runs in the thread's loop."""

    def __init__(self, thread: ServerThread, app: App, **settings: Any) -> None:
        self.events: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.loop = thread.loop
        self.app = app
        self.server = WorkerServer(self._with_lifespan, Settings(_env_file=None, **settings), self.listener)
        self.ended = asyncio.run_coroutine_threadsafe(
            self.server.run(on_started=lambda: self.events.append("serving")), self.loop
        )
        self.clients: list[Client] = []

    async def _with_lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["greeting"] = "hello"
        self.events.append("started")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.events.append("stopped")
        await send({"type": "lifespan.shutdown.complete"})

    def connect(self) -> Client:
        client = Client(self.port)
        self.clients.append(client)
        return client

    def drain(self) -> None:
        self.loop.call_soon_threadsafe(self.server.drain)

    def call(self, function: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(function)


@pytest.fixture
def start(server_thread: ServerThread) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start_worker(app: App = echo, **settings: Any) -> Worker:
        worker = Worker(server_thread, app, **settings)
        workers.append(worker)
        assert eventually(lambda: "serving" in worker.events or worker.ended.done())
        return worker

    yield start_worker
    for worker in workers:
        for client in worker.clients:
            client.close()
        worker.drain()
        worker.ended.result(PATIENCE_SECONDS)
        worker.listener.close()


class Streaming:
    """A stream of one chunk that ends when told to; `word` is what it says at the drain's end."""

    def __init__(self, word: bytes | None = None) -> None:
        self.end = asyncio.Event()
        self.running = 0
        self.cancelled = 0
        self._word = word
        self._last = b"end"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._word is not None:
            scope["extensions"]["tollkeeper.connection"].on_drain_expired(self._interrupt)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        self.running += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await send({"type": "http.response.body", "body": self._last})

    def _interrupt(self) -> None:
        assert self._word is not None
        self._last = self._word
        self.end.set()


def open_stream(worker: Worker) -> Client:
    client = worker.connect()
    client.send(request(method="GET"))
    client.read_until(b"first\r\n")
    return client


# ── Start ──


def test_application_is_started_before_the_first_connection_and_stopped_after_the_last(start: Any) -> None:
    seen = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["greeting"])
        await respond(send, b"ok")

    worker = start(look)
    assert worker.events == ["started", "serving"]
    client = worker.connect()
    client.send(request())
    answer = client.read_answer()
    assert answer.status == 200
    assert "server" not in answer.headers
    assert answer.headers["date"].endswith(" GMT")
    assert seen == ["hello"]
    worker.drain()
    worker.ended.result(PATIENCE_SECONDS)
    assert worker.events == ["started", "serving", "stopped"]


def test_start_that_fails_raises_its_own_error(server_thread: ServerThread) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise TollkeeperError("no database")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WorkerServer(fail, Settings(_env_file=None), listener)
        with pytest.raises(TollkeeperError, match="no database"):
            asyncio.run_coroutine_threadsafe(server.run(), server_thread.loop).result(PATIENCE_SECONDS)


def test_forwarded_address_is_believed_only_from_a_trusted_proxy(start: Any) -> None:
    async def tell(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, json.dumps([scope["client"][0], scope["scheme"]]).encode())

    forwarded = request("/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", method="GET")
    for settings, expected in (
        ({}, ["127.0.0.1", "http"]),
        ({"trusted_proxies": "127.0.0.1"}, ["203.0.113.9", "https"]),
    ):
        client = start(tell, **settings).connect()
        client.send(forwarded)
        assert json.loads(client.read_answer().body) == expected


# ── Drain ──


def test_running_stream_finishes_during_the_drain_and_nobody_new_is_let_in(start: Any) -> None:
    app = Streaming()
    worker = start(app, drain_seconds=20)
    client = open_stream(worker)
    worker.drain()
    assert eventually(lambda: worker.listener.fileno() == -1)
    with pytest.raises(ConnectionRefusedError):
        worker.connect()
    assert not worker.ended.done()
    worker.call(app.end.set)
    assert client._read_chunks() == b"end"
    assert client.is_closed_by_server()
    worker.ended.result(PATIENCE_SECONDS)
    assert (worker.events[-1], app.cancelled) == ("stopped", 0)


def test_request_on_an_idle_connection_is_still_answered_when_the_drain_begins(start: Any) -> None:
    worker = start(drain_seconds=20)
    client = worker.connect()
    client.send(request())
    assert "connection" not in client.read_answer().headers
    worker.drain()
    assert eventually(lambda: worker.server.draining)
    client.send(request())
    answer = client.read_answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    worker.ended.result(PATIENCE_SECONDS)


def test_idle_connection_does_not_hold_the_drain(start: Any) -> None:
    worker = start(drain_seconds=20)
    client = worker.connect()
    client.send(request())
    client.read_answer()
    worker.drain()
    worker.ended.result(PATIENCE_SECONDS)
    assert client.is_closed_by_server()


def test_readiness_can_see_the_drain(start: Any) -> None:
    async def ready(scope: Any, receive: Any, send: Any) -> None:
        draining = scope["extensions"]["tollkeeper.connection"].draining
        await respond(send, b"", status=503 if draining else 200)

    worker = start(ready, drain_seconds=20)
    client = worker.connect()
    client.send(request())
    assert client.read_answer().status == 200
    worker.drain()
    assert eventually(lambda: worker.server.draining)
    client.send(request())
    assert client.read_answer().status == 503


def test_stream_past_the_limit_says_a_last_word_and_ends_cleanly(start: Any) -> None:
    app = Streaming(word=b"event: error")
    worker = start(app, drain_seconds=0.1)
    client = open_stream(worker)
    worker.drain()
    assert client._read_chunks() == b"event: error"
    assert client.is_closed_by_server()
    worker.ended.result(PATIENCE_SECONDS)
    assert app.cancelled == 0


def test_request_that_has_no_last_word_is_cancelled(start: Any) -> None:
    app = Streaming()
    worker = start(app, drain_seconds=0)
    client = open_stream(worker)
    began = time.monotonic()
    worker.drain()
    assert client.rest() == b""
    worker.ended.result(PATIENCE_SECONDS)
    assert time.monotonic() - began < 4
    assert (app.cancelled, worker.events[-1]) == (1, "stopped")


def test_request_whose_client_left_still_finishes(start: Any) -> None:
    app = Streaming()
    worker = start(app, drain_seconds=20)
    open_stream(worker).close()
    worker.drain()
    assert eventually(lambda: not len(worker.server.connections))
    assert not worker.ended.done()
    worker.call(app.end.set)
    worker.ended.result(PATIENCE_SECONDS)
    assert app.cancelled == 0


# ── TLS ──


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


@contextlib.contextmanager
def open_tls(worker: Worker, context: ssl.SSLContext) -> Iterator[Client]:
    client = worker.connect()
    client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
    yield client


def test_tls_serves_with_a_certificate_of_the_operator(start: Any, certificate: tuple[Path, Path]) -> None:
    worker = start(tls_certificate=certificate[0], tls_key=certificate[1])
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with open_tls(worker, context) as client:
        assert client.socket.version() == "TLSv1.3"
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        for size in (10, 300_000):
            client.send(request(body=b"x" * size))
            assert f'"bytes": {size}'.encode() in client.read_answer().body


def test_refusal_over_tls_arrives(start: Any, certificate: tuple[Path, Path]) -> None:
    worker = start(tls_certificate=certificate[0], tls_key=certificate[1])
    with open_tls(worker, ssl.create_default_context(cafile=str(certificate[0]))) as client:
        client.send(request("/", "Content-Length: 3", "Content-Length: 3"))
        assert client.read_answer().error["code"] == "bad_request_framing"


def test_disconnect_over_tls_calls_back_at_once(start: Any, certificate: tuple[Path, Path]) -> None:
    gone = []

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        event = asyncio.Event()
        scope["extensions"]["tollkeeper.connection"].on_disconnect(event.set)
        gone.append(False)
        await event.wait()
        gone.append(True)

    worker = start(wait, tls_certificate=certificate[0], tls_key=certificate[1])
    with open_tls(worker, ssl.create_default_context(cafile=str(certificate[0]))) as client:
        client.send(request())
        assert eventually(lambda: gone)
    client.close()
    assert eventually(lambda: gone == [False, True], seconds=0.25)


@pytest.mark.parametrize(
    ("minimum", "offered", "accepted"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_1, False),
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_tls_below_the_minimum_version_is_refused(
    start: Any, certificate: tuple[Path, Path], minimum: str, offered: ssl.TLSVersion, accepted: bool
) -> None:
    worker = start(tls_certificate=certificate[0], tls_key=certificate[1], tls_minimum_version=minimum)
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # Else OpenSSL's own client would not offer TLS 1.1.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = offered
    expectation = contextlib.nullcontext() if accepted else pytest.raises((ssl.SSLError, ConnectionResetError))
    with expectation, open_tls(worker, context) as client:
        client.send(request())
        assert client.read_answer().status == 200


def test_tls_with_half_its_files_says_what_to_set(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(TollkeeperError, match="TOLLKEEPER_TLS_KEY"):
        tls_context(Settings(_env_file=None, tls_certificate=certificate[0]))


def test_tls_with_an_unusable_certificate_says_which(certificate: tuple[Path, Path]) -> None:
    missing = certificate[0].with_name("missing.pem")
    with pytest.raises(TollkeeperError, match=r"missing\.pem"):
        tls_context(Settings(_env_file=None, tls_certificate=missing, tls_key=certificate[1]))
    with pytest.raises(TollkeeperError, match="belong together"):
        tls_context(Settings(_env_file=None, tls_certificate=certificate[0], tls_key=certificate[0]))
