"""The server of one worker: our HTTP protocol on an inherited listening socket, TLS, and a drain that loses nothing.

Signals, processes and ports are the supervisor's (`serve.py`): this only offers `drain()`. uvicorn contributes its
`Config` and protocol; its own `Server` is not used, because it takes the signals, hides why a start failed, and has no
word to a stream before it cuts it off.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import partial
from socket import socket
from typing import Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from tollkeeper.core.config import Settings
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.web.http_connections import Connections
from tollkeeper.web.http_limits import HttpLimits
from tollkeeper.web.http_protocol import HttpProtocol
from tollkeeper.web.lifespan import ASGIApp, Lifespan

logger = logging.getLogger("tollkeeper.http")

_BACKLOG: Final = 2048
_LOOK_SECONDS: Final = 0.02
# A request may be on its way on an idle connection while we begin to drain: it is still answered in this time.
_IDLE_GRACE_SECONDS: Final = 0.5
# What a stream has to say its last word in, once it was told to; then what a cancelled request has to clean up.
_LAST_WORD_SECONDS: Final = 2.0
_CANCEL_SECONDS: Final = 1.0


class WorkerServer:
    """Serve `app` on `listener` until `drain` is called."""

    def __init__(self, app: ASGIApp, settings: Settings, listener: socket, *, limits: HttpLimits | None = None) -> None:
        self.connections = Connections(limits or HttpLimits())
        self._settings = settings
        self._listener = listener
        self._lifespan = Lifespan(app)
        self._state = ServerState()
        self._drain_asked = asyncio.Event()
        self._date_handle: asyncio.TimerHandle | None = None
        self._config = Config(
            app,
            http=partial(HttpProtocol, self.connections),  # type: ignore[arg-type]  # A factory serves as well.
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
        )

    @property
    def draining(self) -> bool:
        return self.connections.draining

    def drain(self) -> None:
        """Stop accepting, let running requests finish for `drain_seconds`, then end. Safe to call twice."""
        self.connections.draining = True
        self._drain_asked.set()

    async def run(self, *, on_started: Callable[[], object] | None = None) -> None:
        """Start the application, serve, drain, stop the application.

        Raises what the application's start raised, before a connection is accepted.
        """
        tls = tls_context(self._settings)
        await self._lifespan.start()
        try:
            self._config.load()
            loop = asyncio.get_running_loop()
            self._tell_date(loop)
            server = await loop.create_server(
                self._connect,
                sock=self._listener,
                backlog=_BACKLOG,
                ssl=tls,
                # The handshake is part of what a client may take its time for before its first header.
                ssl_handshake_timeout=self.connections.limits.header_seconds if tls else None,
            )
            if on_started is not None:
                on_started()
            await self._drain_asked.wait()
            server.close()
            await self._finish_requests()
        finally:
            if self._date_handle is not None:
                self._date_handle.cancel()
            await self._lifespan.stop()

    def _connect(self) -> HttpProtocol:
        return HttpProtocol(self.connections, self._config, self._state, self._lifespan.state)

    def _tell_date(self, loop: asyncio.AbstractEventLoop) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._date_handle = loop.call_later(1, self._tell_date, loop)

    # ── The end ──

    async def _finish_requests(self) -> None:
        drain_seconds = self._settings.drain_seconds
        await self._wait(min(_IDLE_GRACE_SECONDS, drain_seconds))
        if await self._wait(drain_seconds - min(_IDLE_GRACE_SECONDS, drain_seconds), end_idle=True):
            return
        running = list(self._open())
        logger.warning("drain_expired", extra={"connections": len(running)})
        for connection in running:
            connection.drain_expired()
        if await self._wait(_LAST_WORD_SECONDS, end_idle=True):
            return
        for task in list(self._state.tasks):
            task.cancel()
        await self._wait(_CANCEL_SECONDS, end_idle=True)
        for connection in list(self._open()):
            connection.transport.abort()
        # One turn of the loop for the aborted connections to be told.
        await asyncio.sleep(0)

    async def _wait(self, seconds: float, *, end_idle: bool = False) -> bool:
        """Wait until nothing is open or running; False when `seconds` did not suffice."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            if end_idle:
                for connection in list(self._open()):
                    connection.shutdown()
            if not self._state.connections and all(task.done() for task in self._state.tasks):
                return True
            if loop.time() >= until:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    def _open(self) -> Iterable[HttpProtocol]:
        return (connection for connection in self._state.connections if isinstance(connection, HttpProtocol))


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The listener's TLS, or None without a certificate. Raises TollkeeperError that says what to set."""
    if settings.tls_certificate is None and settings.tls_key is None:
        return None
    if settings.tls_certificate is None or settings.tls_key is None:
        raise TollkeeperError(
            "TLS needs both TOLLKEEPER_TLS_CERTIFICATE and TOLLKEEPER_TLS_KEY. Set the other one too."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[
        settings.tls_minimum_version
    ]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise TollkeeperError(
            f"The TLS certificate {settings.tls_certificate} and key {settings.tls_key} cannot be used"
            f" ({error.strerror or error}). Both must be readable PEM files that belong together."
        ) from error
    return context
