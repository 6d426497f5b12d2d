"""The one HTTP client towards vendors: pooled connections, deadlines, origin-bound credentials, checked addresses.

It follows no redirect, keeps no cookie, reads no environment and repeats nothing, but for one case: a kept-alive
connection that the vendor had closed before it could see the request. Providers behind an operator's HTTP proxy go
through `proxied.py` instead, under the same rules.
"""

import asyncio
import collections
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.core.addresses import is_public
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import MIB, Settings
from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.addresses import address_refused, locate
from tollkeeper.gateway.connection import Connection, Disconnected
from tollkeeper.gateway.decode import Decoder
from tollkeeper.gateway.provider import NotSent, UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.upstream_policy import (
    Timeouts,
    check_origin,
    overridden,
    request_headers,
    signed_lines,
    timeouts_for,
)

if TYPE_CHECKING:
    from tollkeeper.gateway.proxied import ProxiedChannel

MAX_BODY_BYTES: Final = 64 * MIB
_SWEEP_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 55.0
_IDLE_PER_ORIGIN: Final = 512
_DRAIN_SECONDS: Final = 1.0
# Word that a connection had been closed takes a round trip; a vendor that ends it later may have worked on the call.
_STALE_SECONDS: Final = 1.0
_MOST_ROUTES: Final = 4_096
_LONGEST_HEAD: Final = 4_096
# What may be read of a vendor's headers; everything else, Set-Cookie first, ends here.
READABLE_HEADERS: Final = frozenset(
    {
        b"content-type",
        b"content-encoding",
        # Of answers that are passed on as they are.
        b"accept-ranges",
        b"content-disposition",
        b"content-range",
        b"etag",
        b"last-modified",
        b"retry-after",
        b"retry-after-ms",
        b"x-request-id",
        b"request-id",
        b"apim-request-id",
        b"x-amzn-requestid",
        b"x-amzn-errortype",
        b"x-should-retry",
    }
)


class Upstream:
    """The HTTP channel of one worker. Close it at the end."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock.monotonic
        self._idle: dict[_Door, collections.deque[Connection]] = {}
        self._open: dict[Connection, _Door] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._routes: dict[_RouteKey, _Route] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._proxied: ProxiedChannel | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        route = self._route(request)
        timeouts = route.timeouts_stream if request.is_stream else route.timeouts_whole
        if request.deadlines is not None:
            timeouts = overridden(timeouts, request.deadlines)
        if self._clock() >= request.deadline:
            raise NotSent(
                "The call's deadline passed before a provider was asked.", status=504, code="upstream_timeout"
            )
        if route.proxy_url is not None:
            return await self._via_proxy(request, route, timeouts)
        request.is_unsent = True
        if request.signed_headers:
            signed = signed_lines(request, route.headers)
            head = b"%b%d\r\n%b\r\n" % (route.head, len(request.body), signed)
        else:
            head = b"%b%d\r\n\r\n" % (route.head, len(request.body))
        connection = self._take(route.door)
        if connection is not None:
            sent = self._clock()
            try:
                return await self._exchange(connection, head, request, timeouts)
            except Disconnected:
                # Closed by the vendor while it lay idle, not a byte of an answer: once more, on a fresh connection.
                if self._clock() - sent > _STALE_SECONDS:
                    raise
        connection = await self._connect(route, timeouts, request.deadline)
        return await self._exchange(connection, head, request, timeouts)

    async def aclose(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            connection.abort()
        if self._proxied is not None:
            await self._proxied.aclose()
        # Transports tell their end in the next turn of the loop.
        await asyncio.sleep(0)

    def forget(self, connection: Connection) -> None:
        """A connection's word that it is closed."""
        door = self._open.pop(connection, None)
        if door is not None and connection.idle_since:
            idle = self._idle.get(door)
            if idle is not None and connection in idle:
                idle.remove(connection)
                if not idle:
                    del self._idle[door]

    def put_back(self, connection: Connection) -> None:
        """A connection whose use is over: kept when it can serve again."""
        door = self._open.get(connection)
        if not connection.release() or door is None:
            return
        idle = self._idle.setdefault(door, collections.deque())
        idle.append(connection)
        if len(idle) > _IDLE_PER_ORIGIN:
            idle.popleft().abort()

    async def _exchange(
        self, connection: Connection, head: bytes, request: UpstreamRequest, timeouts: Timeouts
    ) -> UpstreamResponse:
        connection.idle_since = 0.0
        request.is_unsent = False
        try:
            await connection.send(head, request.body, request.deadline, timeouts.first_byte_seconds)
        except (asyncio.CancelledError, UpstreamTimeout):
            if request.outlives_cancel and connection.error is None:
                request.pending = _Pending(self, connection, timeouts.idle_seconds)
            else:
                connection.abort()
            raise
        except BaseException:
            connection.abort()
            raise
        connection.silence_seconds = timeouts.idle_seconds
        return _Response(self, connection)

    def _take(self, door: "_Door") -> Connection | None:
        idle = self._idle.get(door)
        while idle:
            connection = idle.pop()
            if not idle:
                del self._idle[door]
            if not connection.is_closed:
                return connection
        return None

    async def _connect(self, route: "_Route", timeouts: Timeouts, deadline: float) -> Connection:
        door = route.door
        seconds = min(timeouts.connect_seconds, max(deadline - self._clock(), 0.0))
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._addresses(door)
                connection = await self._dial(door, addresses, seconds)
        except TimeoutError as error:
            raise NotSent("The provider could not be reached in time.", status=504, code="upstream_timeout") from error
        except (OSError, ssl.SSLError) as error:
            text = (
                "has no valid certificate" if isinstance(error, ssl.SSLCertVerificationError) else "cannot be reached"
            )
            raise NotSent(f"The provider {text}.", code="upstream_unreachable") from error
        self._open[connection] = door
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._look)
        return connection

    async def _addresses(self, door: "_Door") -> list[str]:
        """Every address of the host; one forbidden address among them refuses all."""
        found = await asyncio.get_running_loop().getaddrinfo(door.host, door.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not door.allow_private_address and not all(is_public(address) for address in addresses):
            raise address_refused()
        return addresses

    async def _dial(self, door: "_Door", addresses: list[str], seconds: float) -> Connection:
        """Try the addresses in turn, each with its share of the time; the name is kept for TLS only."""
        loop = asyncio.get_running_loop()
        context = self._context(door.ca_bundle) if door.is_tls else None
        failure: OSError | None = None
        for position, address in enumerate(addresses):
            is_last = position == len(addresses) - 1
            try:
                async with asyncio.timeout(None if is_last else seconds / len(addresses)):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self, self._clock),
                        address,
                        door.port,
                        ssl=context,
                        server_hostname=door.host if context is not None else None,
                    )
                    return connection
            except TimeoutError as error:
                failure = error
            except OSError as error:
                failure = error
        raise failure or OSError("the host has no address")

    def _context(self, ca_bundle: str | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_bundle)
        if context is None:
            context = self._contexts[ca_bundle] = trust(ca_bundle)
        return context

    def _look(self) -> None:
        """The sweep: deadlines of busy connections, age of idle ones. Stops when nothing is open."""
        now = self._clock()
        for connection in list(self._open):
            if connection.idle_since:
                if now - connection.idle_since > _IDLE_SECONDS:
                    connection.abort()
            else:
                connection.look(now)
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(_SWEEP_SECONDS, self._look) if self._open else None

    def _route(self, request: UpstreamRequest) -> "_Route":
        """The checks and the head of a request, made once per provider, URL and credential."""
        headers = tuple(request.headers.items())
        key = (request.method, request.url, id(request.config), id(request.credential), headers)
        route = self._routes.get(key)
        # The objects are held by the route, so an id cannot have passed to another object.
        if route is not None:
            return route
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        route = self._make_route(request)
        # Models' names and versions of dialects are the callers' to choose, and memory is not.
        if len(route.head) <= _LONGEST_HEAD:
            self._routes[key] = route
        return route

    def _make_route(self, request: UpstreamRequest) -> "_Route":
        config = request.config
        location = locate(request.url)
        check_origin(request, location)
        proxy_url = config.proxy_url
        if proxy_url is None and not config.allow_private_address:
            proxy_url = self._settings.upstream_proxy
        bundle = config.ca_bundle
        if bundle is None and self._settings.upstream_ca_bundle is not None:
            bundle = str(self._settings.upstream_ca_bundle)
        headers = request_headers(request)
        lines = [f"{request.method} {location.path} HTTP/1.1", f"host: {location.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "accept-encoding: identity", "content-length: "]).encode("latin-1")
        return _Route(
            door=_Door(
                is_tls=location.scheme == "https",
                host=location.host,
                port=location.port,
                allow_private_address=config.allow_private_address,
                ca_bundle=bundle,
            ),
            head=head,
            headers=headers,
            proxy_url=proxy_url,
            timeouts_stream=timeouts_for(config, self._settings, is_stream=True),
            timeouts_whole=timeouts_for(config, self._settings, is_stream=False),
            held=(request.config, request.credential),
        )

    async def _via_proxy(self, request: UpstreamRequest, route: "_Route", timeouts: Timeouts) -> UpstreamResponse:
        """The proxy enforces egress (RULING 32); an address given as a literal is still ours to refuse."""
        door = route.door
        if not door.allow_private_address and _is_literal(door.host) and not is_public(door.host):
            raise address_refused()
        if self._proxied is None:
            # A whole HTTP client, which nobody needs without a proxy: a twentieth of a worker's memory and of its start.
            from tollkeeper.gateway.proxied import ProxiedChannel

            self._proxied = ProxiedChannel(self._clock, self._context, MAX_BODY_BYTES)
        assert route.proxy_url is not None
        headers = route.headers
        if request.signed_headers:
            signed_lines(request, headers)
            headers = {**headers, **request.signed_headers}
        return await self._proxied.send(
            request,
            headers,
            proxy_url=route.proxy_url,
            ca_bundle=door.ca_bundle,
            connect_seconds=timeouts.connect_seconds,
            first_byte_seconds=timeouts.first_byte_seconds,
            idle_seconds=timeouts.idle_seconds,
        )


def trust(ca_bundle: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, names checked, against the system's certificates or the operator's bundle."""
    context = ssl.create_default_context(cafile=ca_bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True)
class _Door:
    """What connections are pooled by: nothing that differs in trust shares one."""

    is_tls: bool
    host: str
    port: int
    allow_private_address: bool
    ca_bundle: str | None


_RouteKey = tuple[str, str, int, int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class _Route:
    door: _Door
    head: bytes
    headers: Mapping[str, str]
    proxy_url: str | None
    timeouts_stream: Timeouts
    timeouts_whole: Timeouts
    held: tuple[ProviderConfig, object]


class _Pending:
    """A request on a connection of the pool whose sender has stopped waiting for the answer."""

    __slots__ = ("_connection", "_idle_seconds", "_pool")

    def __init__(self, pool: Upstream, connection: Connection, idle_seconds: float) -> None:
        self._pool = pool
        self._connection = connection
        self._idle_seconds = idle_seconds

    async def resume(self, deadline: float) -> UpstreamResponse:
        connection = self._connection
        connection.deadline = deadline
        try:
            await connection.answered()
        except BaseException:
            connection.abort()
            raise
        connection.silence_seconds = self._idle_seconds
        return _Response(self._pool, connection)

    def abort(self) -> None:
        self._connection.abort()


class _Response:
    """An answer on a connection of the pool."""

    __slots__ = ("_connection", "_decoder", "_parts", "_pool", "_size", "headers", "status")

    def __init__(self, pool: Upstream, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in connection.headers
            if name in READABLE_HEADERS
        }
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        self._decoder = None if encoding in {"identity", ""} else Decoder(encoding, MAX_BODY_BYTES)
        # Of `read`; here, so that it can be taken up again after it was cancelled.
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def received(self) -> int:
        return 0 if self._connection is None else self._connection.received

    def bound(self, deadline: float, least_bytes_per_second: int) -> None:
        if self._connection is not None:
            self._connection.bound(deadline, least_bytes_per_second)

    async def read(self) -> bytes:
        connection = self._connection
        assert connection is not None
        parts = self._parts
        while arrived := await connection.next_part():
            part = arrived if self._decoder is None else self._decoder.feed(arrived)
            parts.append(part)
            self._size += len(part)
            if self._size > MAX_BODY_BYTES:
                raise UpstreamError("The provider's answer is too large.", code="upstream_too_large")
        self._parts = []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def reads(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        part = await connection.next_part()
        if not part:
            raise StopAsyncIteration
        return part if self._decoder is None else self._decoder.feed(part)

    async def finish(self) -> None:
        """Wait shortly for the end that must be near, so that the connection can serve again."""
        connection = self._connection
        if connection is not None and not connection.is_complete:
            connection.silence_seconds = _DRAIN_SECONDS
            try:
                while await connection.next_part():
                    pass
            except UpstreamError:
                pass
        await self.aclose()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.put_back(connection)


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
