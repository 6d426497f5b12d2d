"""Calls to vendors through an operator's HTTP proxy, by aiohttp: rare, so a general client's cost does not matter.

Same rules as `upstream.py`: no redirects, cookies, environment or silent repeats; bounded sizes and times.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp

from tollkeeper.core.errors import UpstreamError, UpstreamTimeout
from tollkeeper.gateway.connection import PACE_SECONDS, too_slow
from tollkeeper.gateway.decode import Decoder
from tollkeeper.gateway.provider import NotSent, UpstreamRequest, UpstreamResponse

_READABLE = (
    "accept-ranges",
    "content-disposition",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-amzn-errortype",
    "x-should-retry",
)


class ProxiedChannel:
    def __init__(
        self, clock: Callable[[], float], context: Callable[[str | None], ssl.SSLContext], max_body_bytes: int
    ) -> None:
        self._clock = clock
        self._context = context
        self._max_body_bytes = max_body_bytes
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        request: UpstreamRequest,
        headers: Mapping[str, str],
        *,
        proxy_url: str,
        ca_bundle: str | None,
        connect_seconds: float,
        first_byte_seconds: float,
        idle_seconds: float,
    ) -> UpstreamResponse:
        session = self._open()
        left = request.deadline - self._clock()
        try:
            async with asyncio.timeout(min(first_byte_seconds, left)):
                response = await session.request(
                    request.method,
                    request.url,
                    data=request.body,
                    headers=headers,
                    proxy=proxy_url,
                    ssl=self._context(ca_bundle),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=None),
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSent("The provider could not be reached in time.", status=504, code="upstream_timeout") from error
        except TimeoutError as error:
            raise UpstreamTimeout("The provider did not begin to answer in time.") from error
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise NotSent("The provider cannot be reached through the proxy.", code="upstream_unreachable") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise UpstreamError("The provider's answer is not valid HTTP.", code="upstream_garbage") from error
        return _Response(response, self._clock, request.deadline, idle_seconds, self._max_body_bytes)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("Accept-Encoding", "Accept"),
            )
        return self._session


class _Response:
    __slots__ = (
        "_body",
        "_clock",
        "_deadline",
        "_decoder",
        "_idle_seconds",
        "_judged_from",
        "_judged_since",
        "_least_bytes",
        "_max_body_bytes",
        "_response",
        "headers",
        "received",
        "status",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        clock: Callable[[], float],
        deadline: float,
        idle_seconds: float,
        max_body_bytes: int,
    ) -> None:
        self._response = response
        # Of `read`; here, so that it can be taken up again after it was cancelled.
        self._body = bytearray()
        self._clock = clock
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._max_body_bytes = max_body_bytes
        self.received = 0
        # As a connection of our own has them.
        self._least_bytes = 0
        self._judged_since = 0.0
        self._judged_from = 0
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name: response.headers[name] for name in _READABLE if name in response.headers
        }
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        self._decoder = None if encoding in {"identity", ""} else Decoder(encoding, max_body_bytes)

    def bound(self, deadline: float, least_bytes_per_second: int) -> None:
        self._deadline = deadline
        self._least_bytes = least_bytes_per_second
        self._judged_since, self._judged_from = self._clock(), self.received

    async def read(self) -> bytes:
        body = self._body
        async for part in self.reads():
            body += part
            if len(body) > self._max_body_bytes:
                raise UpstreamError("The provider's answer is too large.", code="upstream_too_large")
        return bytes(body)

    def reads(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await self._next()
        if not part:
            raise StopAsyncIteration
        return part if self._decoder is None else self._decoder.feed(part)

    async def _next(self) -> bytes:
        left = self._deadline - self._clock()
        try:
            async with asyncio.timeout(min(self._idle_seconds, left)):
                part = await self._response.content.readany()
        except TimeoutError as error:
            raise UpstreamTimeout("The provider has sent nothing for too long.") from error
        except aiohttp.ClientError as error:
            raise UpstreamError("The provider cut its answer off.", code="upstream_cut") from error
        self.received += len(part)
        now = self._clock() if self._least_bytes else 0.0
        if now - self._judged_since >= PACE_SECONDS:
            if self.received - self._judged_from < self._least_bytes * PACE_SECONDS:
                raise too_slow()
            self._judged_since, self._judged_from = now, self.received
        return part

    async def finish(self) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
