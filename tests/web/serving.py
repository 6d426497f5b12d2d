"""A server loop in a thread, and a client of raw bytes, for promises about the wire."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol

App = Callable[[Any, Any, Any], Awaitable[None]]

# One round of the sweep, and what a test waits for at most.
SWEEP_SECONDS = 0.005
PATIENCE_SECONDS = 5.0
LIMITS = HttpLimits(sweep_seconds=SWEEP_SECONDS)


class ManualClock:
    """Monotonic time that moves when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def unix(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class Client:
    """A socket that sends what it is told to and reads answers one by one."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_SECONDS)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self._seen = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self._seen:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._seen)
            self._seen += data
        head, _, self._seen = self._seen.partition(mark)
        return head + mark

    def read_exactly(self, size: int) -> bytes:
        while len(self._seen) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._seen)
            self._seen += data
        body, self._seen = self._seen[:size], self._seen[size:]
        return body

    def read_answer(self, *, has_body: bool = True) -> Answer:
        raw = self.read_until(b"\r\n\r\n")
        lines = raw.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = b""
        if has_body and headers.get("transfer-encoding") == "chunked":
            body = self._read_chunks()
        elif has_body:
            body = self.read_exactly(int(headers.get("content-length", "0")))
        return Answer(int(lines[0].split(" ")[1]), headers, body, raw)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.read_until(b"\r\n"), 16):
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"
        assert self.read_exactly(2) == b"\r\n"
        return body

    def is_closed_by_server(self) -> bool:
        """Whether the server ends the connection; a reset is not a clean end and raises."""
        return self.socket.recv(1) == b""

    def rest(self) -> bytes:
        data, self._seen = self._seen, b""
        while chunk := self.socket.recv(65536):
            data += chunk
        return data

    def close(self) -> None:
        self.socket.close()


@dataclass
class Served:
    port: int
    connections: Connections
    clock: ManualClock
    state: ServerState
    loop: asyncio.AbstractEventLoop
    clients: list[Client] = field(default_factory=list)

    def connect(self, receive_buffer: int | None = None) -> Client:
        client = Client(self.port, receive_buffer)
        self.clients.append(client)
        return client

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_SECONDS)


class ServerThread:
    """One uvloop in one thread; each test gets its own listener in it."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def serve(self, app: App, limits: HttpLimits) -> Iterator[Served]:
        clock = ManualClock()
        connections = Connections(limits, clock)
        config = Config(app, http=partial(HttpProtocol, connections), ws=None, log_config=None, proxy_headers=False)  # type: ignore[arg-type]
        config.load()
        state = ServerState()

        async def start() -> asyncio.Server:
            return await self.loop.create_server(lambda: HttpProtocol(connections, config, state, {}), "127.0.0.1", 0)

        server = asyncio.run_coroutine_threadsafe(start(), self.loop).result(PATIENCE_SECONDS)
        served = Served(server.sockets[0].getsockname()[1], connections, clock, state, self.loop)
        try:
            yield served
        finally:
            for client in served.clients:
                client.close()

            async def stop() -> None:
                server.close()
                for connection in list(state.connections):
                    connection.transport.abort()
                for task in list(state.tasks):
                    task.cancel()
                await asyncio.gather(*state.tasks, return_exceptions=True)

            served.run(stop())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self.loop.close()


def eventually(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
    """Poll: the server is another thread."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


def request(
    target: str = "/echo", *headers: str, body: bytes = b"", method: str = "POST", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: gateway", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def send_quietly(client: Client, data: bytes) -> None:
    """Offer what the server may refuse half way."""
    with contextlib.suppress(OSError):
        client.send(data)


def only_connection(served: Served) -> Any:
    assert eventually(lambda: len(served.state.connections) == 1)
    (connection,) = served.state.connections
    return connection


def assert_refused(client: Client, status: int, code: str) -> None:
    answer = client.read_answer()
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert answer.error["message"]
    assert answer.error["param"] is None
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert re.fullmatch(r"req_[0-9a-f]{12}7[0-9a-f]{19}", answer.headers["x-request-id"])
    assert client.is_closed_by_server()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body; answer its length, the method, the path and the header names."""
    body = b""
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more_body = message["more_body"]
    names = [name.decode() for name, _ in scope["headers"]]
    answer = {"bytes": len(body), "method": scope["method"], "path": scope["path"], "headers": names}
    await respond(send, json.dumps(answer).encode())


async def respond(send: Any, body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


class Gate:
    """An application that waits until the test lets it go on, and notes when its client left."""

    def __init__(self, *, stream_first: bool, then: App | None) -> None:
        self.started = False
        self.gone_at: list[float] = []
        self._stream_first = stream_first
        self._then = then
        self._release = asyncio.Event()

    def open(self, served: Served) -> None:
        served.loop.call_soon_threadsafe(self._release.set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["tollkeeper.connection"].on_disconnect(lambda: self.gone_at.append(time.monotonic()))
        self.started = True
        if self._stream_first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self._release.wait()
        if self._then is not None:
            await self._then(scope, receive, send)
        elif self._stream_first:
            await send({"type": "http.response.body", "body": b"done"})
        else:
            await respond(send, b"done")


def serve_gate(
    serve: Callable[..., Served], *, stream_first: bool = False, then: App | None = None
) -> tuple[Served, Gate]:
    gate = Gate(stream_first=stream_first, then=then)
    return serve(gate), gate
