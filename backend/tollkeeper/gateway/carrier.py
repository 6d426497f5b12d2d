"""Carries one request to a vendor and its answer back, bytes as they are: recorded before it leaves, sent once, settled by
whoever meters it. For what has no dialect; calls of models go through `dispatch`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tollkeeper.contracts.chat import Amounts, Chunk
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import RequestTimeout, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import close_bill
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.passed import Passed, PassedBody
from tollkeeper.gateway.provider import Channel, FailureClass, NotSent, Provider, UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.secrecy import hide_in_bytes, hide_secrets, read_request_id
from tollkeeper.gateway.stage import Attempt, Exchange

# Of the vendor's headers: what the body is, and when to come again. Cookies, servers' names and limits of our account
# stay here.
RELAYED_HEADERS: Final = (
    "accept-ranges",
    "content-disposition",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
# Answers that hold no refusal: the ones that can echo what they were sent are read whole and looked through.
_LEAST_REFUSAL: Final = 400
_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class Line:
    """What every request is passed on with; one for a gateway."""

    providers: Mapping[str, Provider]
    channel: Channel
    journal: Journal
    clock: Clock
    metrics: Metrics
    tokens: Tokens


class Carrier:
    def __init__(self, line: Line) -> None:
        self._line = line
        self._clock = line.clock.monotonic

    async def carry(self, exchange: Exchange, provider: Provider, request: UpstreamRequest) -> Passed:
        """The vendor's answer, its refusals included. Raises `UpstreamError` where there is none to pass on."""
        config = request.config
        try:
            await self.authorize(exchange, provider, request)
            return await self._send(exchange, provider, request)
        except UpstreamError as error:
            hide_secrets(error, config, request.credential, request.signed_headers)
            kind = FailureClass.TIMEOUT if error.status == 504 else FailureClass.SERVER
            self._line.metrics.upstream_error(config.name, kind)
            raise

    async def authorize(self, exchange: Exchange, provider: Provider, request: UpstreamRequest) -> None:
        """What the credential stands for, where that is a token or a signature."""
        if request.credential is None or not isinstance(provider, Authorizing):
            return
        begun = self._clock()
        try:
            async with asyncio.timeout(max(exchange.deadline - begun, 0.0)):
                request.signed_headers = await provider.authorize(request, self._line.tokens)
        except TimeoutError:
            raise UpstreamTimeout("The provider's identity service is too slow.") from None
        finally:
            exchange.upstream_seconds += self._clock() - begun

    async def _send(self, exchange: Exchange, provider: Provider, request: UpstreamRequest) -> Passed:
        attempt = await self._record(exchange)
        attempt.sent_bytes = len(request.body)
        begun = self._clock()
        try:
            response = await self._line.channel.send(request)
        except NotSent as error:
            attempt.may_cost, attempt.error = False, error
            raise
        except UpstreamError as error:
            attempt.error = error
            raise
        except asyncio.CancelledError:
            attempt.may_cost = not request.is_unsent
            raise
        finally:
            exchange.upstream_seconds += self._clock() - begun
        attempt.upstream_request_id = read_request_id(response.headers, request.credential)
        try:
            return await self._answer(exchange, attempt, provider, request, response)
        except UpstreamError as error:
            attempt.error, attempt.ended = error, self._clock()
            await response.aclose()
            raise
        except BaseException:
            await response.aclose()
            raise

    async def _record(self, exchange: Exchange) -> Attempt:
        """The intent line: nothing leaves for a provider without one."""
        now = self._clock()
        if now >= exchange.deadline:
            raise RequestTimeout("The deadline of this call passed before it could be sent.", should_retry=False)
        intent, line = exchange.first_intent, exchange.first_line
        if intent is None:
            intent = make_intent(exchange, exchange.plan[0], 1, exchange.hold)
        self._line.journal.intent(intent, line)
        attempt = Attempt(intent=intent, started=now)
        exchange.tries.append(attempt)
        exchange.attempts += 1
        exchange.target = exchange.plan[0]
        if self._line.journal.is_power_safe:
            attempt.may_cost = False
            await self._line.journal.sync()
            attempt.may_cost = True
        return attempt

    async def _answer(
        self,
        exchange: Exchange,
        attempt: Attempt,
        provider: Provider,
        request: UpstreamRequest,
        response: UpstreamResponse,
    ) -> Passed:
        status = response.status
        headers = {name: response.headers[name] for name in RELAYED_HEADERS if name in response.headers}
        if status >= _LEAST_REFUSAL:
            return await self._refusal(attempt, provider, request, response, headers)
        if status >= 300 and status != _NOT_MODIFIED:
            attempt.may_cost = False
            raise UpstreamError(
                "The provider answered with a redirect, and none is followed.", code="upstream_redirect"
            )
        attempt.amounts = Amounts()
        close_bill(exchange, attempt)
        reads = aiter(response.reads())
        body = PassedBody(exchange, attempt, request, response, reads, self._clock)
        first = await anext(body)
        if (error := first[0].error) is not None:
            raise error
        attempt.first_token = exchange.first_token = self._clock()
        return Passed(is_stream=True, primed=first, rest=body, status=status, headers=headers)

    async def _refusal(
        self,
        attempt: Attempt,
        provider: Provider,
        request: UpstreamRequest,
        response: UpstreamResponse,
        headers: Mapping[str, str],
    ) -> Passed:
        """Nothing is charged for it. What it says of our own credential is not the caller's business."""
        config, credential = request.config, request.credential
        content = await response.read()
        await response.finish()
        attempt.may_cost, attempt.ended = False, self._clock()
        failure = provider.failure(response.status, response.headers, content)
        self._line.metrics.upstream_error(config.name, failure.kind)
        if response.status == 401:
            if credential is not None and isinstance(provider, Authorizing):
                self._line.tokens.refused(credential)
            raise UpstreamError(failure.error.message, code="upstream_authentication", should_retry=False)
        error = UpstreamError("The provider refused the request.", status=response.status, code="upstream_refused")
        attempt.error = error
        hide = partial(hide_in_bytes, config=config, credential=credential, signed=request.signed_headers)
        shown = {name: hide(value.encode("latin-1")).decode("latin-1") for name, value in headers.items()}
        chunk = Chunk({}, native=hide(content), is_final=True)
        return Passed(is_stream=True, primed=(chunk,), status=response.status, headers=shown, failure=error)
