"""The control plane's one HTTP client towards addresses that somebody configured: identity providers, later webhooks.

What a name resolves to is judged when the connection is made, every address of it, and the connection goes to the one
that was judged. No redirect, no cookie, no proxy or credential out of the environment, no connection kept; one deadline
over everything and one cap on what is read. The URL is taken apart by `core/addresses.py` alone: httpcore gets the
parts, so no second parser can read another host.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpcore

from tollkeeper.core.addresses import Location, find_location, is_public
from tollkeeper.core.errors import UpstreamError

KIB: Final = 1024
_LARGEST_ANSWER: Final = 512 * KIB
_HEADERS: Final = ((b"user-agent", b"tollkeeper"), (b"accept-encoding", b"identity"))


class OutboundFailed(UpstreamError):
    """The one error of this client. Which of many reasons it was would tell about the network behind us."""

    code = "outbound_failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower case; of a repeated header the last one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """`proxy_url` is the operator's own proxy, which then enforces egress; what may be inside does not pass it."""

    def __init__(
        self,
        *,
        ca_bundle: Path | None = None,
        proxy_url: str | None = None,
        total_seconds: float = 10.0,
        largest: int = _LARGEST_ANSWER,
    ) -> None:
        self._proxy_url = proxy_url
        self._total_seconds = total_seconds
        self._largest = largest
        self._ca_bundle = ca_bundle
        self._trust: ssl.SSLContext | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        allow_private_address: bool = False,
    ) -> Answer:
        """Any status is an answer. Raises `OutboundFailed`, with the same words whatever the reason.

        `allow_private_address` is the operator's word for this address: it also permits plain http.
        """
        location = find_location(url)
        if location is None or (location.scheme != "https" and not allow_private_address):
            raise _failed()
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._send(method, location, headers or {}, body, allow_private=allow_private_address)
        except (TimeoutError, OSError, UnicodeError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _failed() from error
        except (httpcore.TimeoutException, httpcore.ProxyError, httpcore.UnsupportedProtocol) as error:
            raise _failed() from error

    async def _send(
        self, method: str, location: Location, headers: Mapping[str, str], body: bytes, *, allow_private: bool
    ) -> Answer:
        request = httpcore.Request(
            method,
            httpcore.URL(
                scheme=location.scheme.encode(),
                host=location.host.encode(),
                port=location.port,
                target=location.path.encode(),
            ),
            headers=[
                (b"host", location.host_header.encode()),
                *_HEADERS,
                *((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()),
                *([(b"content-length", str(len(body)).encode())] if body else []),
            ],
            content=body or None,
        )
        async with self._pool(location, allow_private=allow_private) as pool:
            response = await pool.handle_async_request(request)
            try:
                return Answer(
                    response.status,
                    {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
                    await self._read(response),
                )
            finally:
                await response.aclose()

    async def _read(self, response: httpcore.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_stream():
            size += len(part)
            if size > self._largest:
                raise _failed()
            parts.append(part)
        return b"".join(parts)

    def _pool(self, location: Location, *, allow_private: bool) -> httpcore.AsyncConnectionPool:
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=self._ca_bundle)
            self._trust.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._proxy_url is not None and not allow_private:
            if _is_literal(location.host) and not is_public(location.host):
                raise _failed()
            return httpcore.AsyncHTTPProxy(self._proxy_url, ssl_context=self._trust, max_connections=1)
        return httpcore.AsyncConnectionPool(
            ssl_context=self._trust, max_connections=1, network_backend=_Guard(allow_private=allow_private)
        )


class _Guard(httpcore.AsyncNetworkBackend):
    """Resolves once, judges every address, connects to what it judged. TLS still asks for the name."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses or not (self._allow_private or all(map(is_public, addresses))):
            raise _failed()
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _failed() -> OutboundFailed:
    return OutboundFailed(
        "The address did not answer as it should, or is not one that may be asked. Check that it is a public https "
        "address which answers without a redirect; a private one needs allow_private_address, which is the operator's."
    )
