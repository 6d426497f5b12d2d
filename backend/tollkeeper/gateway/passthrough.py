"""Metered pass-through: paths of a provider that an operator has opened, at a flat price per request.

The caller is proven, admitted, paid for and recorded as for every call; beside that nothing is touched: method, query,
body, status and answer stay as they are. What is replaced is what belongs to a connection or to a credential.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid5

from tollkeeper.contracts.catalog import Credential, ModelRoute, Price, ProviderConfig
from tollkeeper.contracts.chat import Amounts, Call, Chunk, Operation, Reply
from tollkeeper.contracts.passthrough import USUAL_HEADERS, Passthrough
from tollkeeper.contracts.principal import Environment, Principal, name_allowed
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Forbidden, NotFound, RequestTimeout, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import close_bill
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.passed import Passed, PassedBody
from tollkeeper.gateway.passthrough_paths import PassedPath, operation_path, read_passed_path
from tollkeeper.gateway.provider import Channel, FailureClass, NotSent, Provider, UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.secrecy import hide_in_bytes, hide_secrets, read_request_id
from tollkeeper.gateway.stage import Attempt, Exchange, Next
from tollkeeper.gateway.stages.read import timeout_seconds

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
_HOW: Final = "An operator opens paths of a provider with 'passthrough' in its configuration."
# Answers that hold no refusal: the ones that can echo what they were sent are read whole and looked through.
_LEAST_REFUSAL: Final = 400
_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """As the caller sent it, its body apart."""

    method: str
    raw_path: bytes
    query: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """What every request is passed on with; one for a gateway."""

    providers: Mapping[str, Provider]
    channel: Channel
    journal: Journal
    clock: Clock
    metrics: Metrics
    tokens: Tokens


def model_of(provider: str) -> str:
    """The name that a provider's pass-through has among models: in keys' lists, limits and the ledger."""
    return f"passthrough:{provider}"


class PassThrough:
    """One request. Its two stages: `find`, which admits the path and reads the body, and `send`, which answers."""

    def __init__(self, line: Line, request: PassedRequest) -> None:
        self._line = line
        self._request = request
        self._clock = line.clock.monotonic
        self._path = PassedPath("", (), "")
        # Here and not in the call, which is looked at for text.
        self._body = b""

    async def find(self, exchange: Exchange, next_stage: Next) -> Reply:
        """Which provider, which of its open paths, and whether this key may go there."""
        method = self._request.method
        path = self._path = read_passed_path(self._request.raw_path, self._request.query)
        config = exchange.snapshot.providers.get(path.provider)
        opened = None if config is None else config.passthrough
        # Whoever may not use a provider learns as little of it as of one that is not there.
        if config is None or opened is None or not name_allowed(config.name, exchange.principal.allowed_providers):
            raise _not_opened(f"The provider '{path.provider}' has nothing open for pass-through. {_HOW}")
        _check_key(exchange.principal, config)
        if (own := operation_path(path.parts)) is not None:
            raise _not_opened(f"Calls of this kind are not passed through: send them to '{own}'.")
        rule = opened.find(method, path.parts)
        provider = self._line.providers.get(config.kind)
        if rule is None or provider is None or provider.channel is not None or config.base_url is None:
            shown = "/".join(path.parts)[:200]
            raise _not_opened(f"'{method} /{shown}' is not open at the provider '{config.name}'. {_HOW}")
        target = Target(config.name, str(rule))
        exchange.route = _route(config, opened, target)
        exchange.plan = (target,)
        seconds = timeout_seconds(exchange.headers, is_stream=True)
        if seconds is not None:
            exchange.deadline = min(exchange.deadline, exchange.started + seconds)
        self._body = await exchange.body()
        exchange.call = Call(Operation.PASSTHROUGH, exchange.route.name, is_stream=False, body={}, asked=Amounts())
        return await next_stage(exchange)

    async def send(self, exchange: Exchange, _next_stage: Next) -> Reply:
        """Once, with one credential: nobody knows whether such a request may be made twice."""
        config = exchange.snapshot.providers[self._path.provider]
        provider = self._line.providers[config.kind]
        credential = config.credentials[0] if config.credentials else None
        request = self._write(exchange, config, provider, credential)
        try:
            await self._authorize(exchange, provider, request)
            return await self._send(exchange, provider, request)
        except UpstreamError as error:
            hide_secrets(error, config, credential, request.signed_headers)
            kind = FailureClass.TIMEOUT if error.status == 504 else FailureClass.SERVER
            self._line.metrics.upstream_error(config.name, kind)
            raise

    def _write(
        self, exchange: Exchange, config: ProviderConfig, provider: Provider, credential: Credential | None
    ) -> UpstreamRequest:
        return UpstreamRequest(
            method=self._request.method,
            url=(config.base_url or "").rstrip("/") + self._path.url_path,
            headers={**provider.fixed_headers(config, exchange.call), **_of_caller(exchange, config)},
            body=self._body,
            config=config,
            deadline=exchange.deadline,
            is_stream=False,
            credential=credential,
            secret_headers=provider.headers(credential),
        )

    async def _authorize(self, exchange: Exchange, provider: Provider, request: UpstreamRequest) -> None:
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

    async def _send(self, exchange: Exchange, provider: Provider, request: UpstreamRequest) -> Reply:
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
            intent = make_intent(exchange, exchange.plan[0], 1)
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
    ) -> Reply:
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
    ) -> Reply:
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


def _not_opened(message: str) -> NotFound:
    return NotFound(message, code="not_opened", should_retry=False)


def _check_key(principal: Principal, config: ProviderConfig) -> None:
    model = model_of(config.name)
    if not name_allowed(model, principal.allowed_models):
        raise Forbidden(
            f"This key is for certain models, and '{model}' is none of them.", code="model_not_allowed", param="model"
        )
    if principal.environment is Environment.TEST:
        raise Forbidden(f"A test key reaches simulated models only, and '{config.name}' is a real provider.")


def _route(config: ProviderConfig, opened: Passthrough, target: Target) -> ModelRoute:
    version = uuid5(config.id, f"passthrough {opened.request_pico}")
    price = Price(version, input=0, output=0, request=opened.request_pico)
    return ModelRoute(id=config.id, name=model_of(config.name), targets=(target,), price=price)


def _of_caller(exchange: Exchange, config: ProviderConfig) -> dict[str, str]:
    """What the vendor may see of the caller's headers: a list, so that no credential can be forgotten."""
    assert config.passthrough is not None
    found = {}
    for name in sorted(USUAL_HEADERS | config.passthrough.headers):
        value = exchange.headers.get(name.encode("ascii"))
        if value is not None:
            found[name] = value.decode("latin-1")
    return found
