"""Sends the call to the targets of its plan, one after the other, until one answers.

Only failures that another target may not have are worth a next one, and only before the first content: after that the
stream ends with an error event. Every attempt is in the journal before its request leaves.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig, Target
from tollkeeper.contracts.chat import Batch, Chunk, Reply, Usage
from tollkeeper.contracts.usage import Intent
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, NoTargetAvailable, RequestTimeout, UpstreamError, UpstreamTimeout
from tollkeeper.gateway.dialect import Dialect
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.estimate import estimate_input_tokens
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.price import ONE_CALL, cost_nano, measure_of
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.provider import (
    Channel,
    Failure,
    FailureClass,
    NotSent,
    Provider,
    UpstreamRequest,
    UpstreamResponse,
)
from tollkeeper.gateway.secrecy import hide_secrets, read_request_id
from tollkeeper.gateway.stage import Attempt, Exchange, Next

# What another target may do better.
_MOVES_ON: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE, FailureClass.SERVER, FailureClass.TIMEOUT})
# What another credential of the same provider may do better.
_ROTATES: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE})
# Chunks without content that are kept back; then the answer begins with them, so that they cannot fill the memory.
_MOST_PRIMED: Final = 1_000
_NO_CREDENTIAL: Final[tuple[Credential | None, ...]] = (None,)


class Dispatch:
    def __init__(
        self, providers: Mapping[str, Provider], channel: Channel, journal: Journal, clock: Clock, metrics: Metrics
    ) -> None:
        self._providers = providers
        self._channel = channel
        self._journal = journal
        self._clock = clock
        self._metrics = metrics

    async def __call__(self, exchange: Exchange, _next_stage: Next) -> Reply:
        failures: list[tuple[Target, Failure]] = []
        for target in exchange.plan:
            config = exchange.snapshot.providers[target.provider]
            for credential in config.credentials or _NO_CREDENTIAL:
                tried = await self._try(exchange, target, config, credential)
                if isinstance(tried, Reply):
                    return tried
                hide_secrets(tried.error, config, credential)
                self._metrics.upstream_error(target.provider, tried.kind)
                if tried.kind not in _MOVES_ON:
                    raise tried.error
                failures.append((target, tried))
                if tried.kind not in _ROTATES:
                    break
        raise _conclude(exchange, failures)

    async def _try(
        self, exchange: Exchange, target: Target, config: ProviderConfig, credential: Credential | None
    ) -> Reply | Failure:
        provider = self._providers.get(config.kind)
        if provider is None:
            return Failure(
                FailureClass.SERVER,
                UpstreamError(f"The provider kind '{config.kind}' is not known to this gateway.", should_retry=False),
            )
        call = exchange.call
        try:
            dialect = provider.dialect(exchange.operation)
            prepared = provider.prepare(config, call, target)
        except BadRequest as error:
            return Failure(FailureClass.REQUEST if target is exchange.plan[-1] else FailureClass.SERVER, error)
        now = self._clock.monotonic()
        if now >= exchange.deadline:
            raise RequestTimeout("The deadline of this call passed before it could be sent.", should_retry=False)
        if prepared.body is not call.body and (dropped := dropped_fields(call, prepared)):
            exchange.response_headers["x-tollkeeper-dropped"] = ",".join(dropped)
        attempt = await self._record(exchange, target, now)
        request = UpstreamRequest(
            method="POST",
            url=provider.url(config, prepared, target),
            headers=_carried(provider, exchange.headers),
            body=dialect.write_call(prepared),
            config=config,
            deadline=exchange.deadline,
            is_stream=call.is_stream,
            credential=credential,
            secret_headers=provider.headers(credential),
        )
        try:
            return await self._send(exchange, attempt, provider, dialect, request)
        except NotSent as error:
            attempt.may_cost = False
            return self._failed(attempt, error)
        except UpstreamError as error:
            return self._failed(attempt, error)

    async def _record(self, exchange: Exchange, target: Target, now: float) -> Attempt:
        """The intent line: nothing leaves for a provider without one."""
        principal, route = exchange.principal, exchange.route
        tokens = estimate_input_tokens(exchange.call)
        intent = Intent(
            request_id=exchange.request_id,
            attempt=exchange.attempts + 1,
            tenant_id=principal.tenant_id,
            key_id=principal.key_id,
            user_id=principal.user_id,
            operation=exchange.operation,
            model=exchange.call.model,
            provider=target.provider,
            upstream_model=exchange.call.model if target.model == "*" else target.model,
            estimated_input_tokens=tokens,
            price_version=None if route.price is None else route.price.version,
            estimated_cost_nano=_estimate_nano(exchange, tokens),
            is_stream=exchange.call.is_stream,
            environment=principal.environment,
            end_user=exchange.call.end_user,
            team_id=principal.team_id,
            project_id=principal.project_id,
            tags=dict(principal.tags) if principal.tags else None,
        )
        self._journal.intent(intent)
        attempt = Attempt(intent=intent, started=now)
        exchange.tries.append(attempt)
        exchange.attempts += 1
        exchange.target = target
        if self._journal.is_power_safe:
            attempt.may_cost = False
            await self._journal.sync()
            attempt.may_cost = True
        return attempt

    async def _send(
        self, exchange: Exchange, attempt: Attempt, provider: Provider, dialect: Dialect, request: UpstreamRequest
    ) -> Reply | Failure:
        clock = self._clock.monotonic
        begun = clock()
        channel = provider.channel or self._channel
        try:
            response = await channel.send(request)
        finally:
            exchange.upstream_seconds += clock() - begun
        try:
            headers = response.headers
            attempt.upstream_request_id = read_request_id(headers, request.credential)
            if not 200 <= response.status < 300:
                body = await response.read()
                await response.aclose()
                attempt.may_cost = False
                failure = provider.failure(response.status, headers, body)
                attempt.error, attempt.ended = failure.error, clock()
                return failure
            if request.is_stream:
                return await self._stream(exchange, attempt, dialect, request, response)
            begun = clock()
            try:
                body = await response.read()
            finally:
                exchange.upstream_seconds += clock() - begun
            attempt.first_token = clock()
            chunk = dialect.read_whole(body, exchange.call)
            await response.aclose()
        except BaseException:
            # Whatever ends it early, a cancelled caller first: closing is what cancels the provider's work.
            await response.aclose()
            raise
        return Reply(is_stream=False, primed=(chunk,))

    async def _stream(
        self,
        exchange: Exchange,
        attempt: Attempt,
        dialect: Dialect,
        request: UpstreamRequest,
        response: UpstreamResponse,
    ) -> Reply:
        """Read until there is content: so far a failure can still become a status, or another target's answer."""
        exchange.on_accepted()
        batches = dialect.read_stream(response.reads(), exchange.call)
        rest = _Rest(batches, request, response, exchange, attempt, self._clock, self._metrics)
        primed: list[Chunk] = []
        try:
            while (batch := await rest.beginning()) is not None:
                primed += batch
                if len(primed) > _MOST_PRIMED or any(chunk.is_content or chunk.is_final for chunk in batch):
                    attempt.first_token = exchange.first_token = self._clock.monotonic()
                    return Reply(is_stream=True, primed=primed, rest=rest)
        except BaseException:
            await rest.aclose()
            raise
        raise UpstreamError("The provider's answer is empty.", code="upstream_cut")

    def _failed(self, attempt: Attempt, error: UpstreamError) -> Failure:
        attempt.error, attempt.ended = error, self._clock.monotonic()
        kind = FailureClass.TIMEOUT if error.status == 504 else FailureClass.SERVER
        return Failure(kind, error, error.retry_after_seconds)


def _estimate_nano(exchange: Exchange, input_tokens: int) -> int | None:
    """What the input costs: the least that an interrupted attempt is charged."""
    price = exchange.route.price
    if price is None:
        return None
    measure = measure_of(exchange.call.body.get("service_tier")) if price.tiers else ONE_CALL
    return cost_nano(Usage(input=input_tokens), price, measure)


def _carried(provider: Provider, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The caller's headers that the provider wants to see."""
    return {
        name: value.decode("latin-1")
        for name in provider.caller_headers
        if (value := headers.get(name.encode("ascii"))) is not None
    }


class _Rest:
    """The part of a stream after its first content. A failure in it is its last chunk; closing it cancels the provider."""

    __slots__ = ("_attempt", "_batches", "_clock", "_exchange", "_is_over", "_metrics", "_request", "_response")

    def __init__(
        self,
        batches: AsyncIterator[Batch],
        request: UpstreamRequest,
        response: UpstreamResponse,
        exchange: Exchange,
        attempt: Attempt,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._batches = batches
        self._request = request
        self._response = response
        self._exchange = exchange
        self._attempt = attempt
        self._clock = clock.monotonic
        self._metrics = metrics
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        if self._is_over:
            raise StopAsyncIteration
        try:
            return await self._next()
        except UpstreamError as error:
            self._is_over = True
            hide_secrets(error, self._request.config, self._request.credential)
            self._attempt.error, self._attempt.ended = error, self._clock()
            kind = FailureClass.TIMEOUT if isinstance(error, UpstreamTimeout) else FailureClass.SERVER
            self._metrics.upstream_error(self._attempt.intent.provider, kind)
            return (Chunk(data={}, is_hidden=True, is_final=True, error=error),)

    async def beginning(self) -> Batch | None:
        """The next batch where a failure is raised and not yet a chunk; None at the end."""
        try:
            return await self._next()
        except StopAsyncIteration:
            return None

    async def aclose(self) -> None:
        """At its end the connection is kept; anywhere before, it is closed at once."""
        if self._attempt.error is None and self._is_over:
            await self._response.finish()
        else:
            await self._response.aclose()

    async def _next(self) -> Batch:
        begun = self._clock()
        try:
            batch = await anext(self._batches)
        finally:
            self._exchange.upstream_seconds += self._clock() - begun
        if batch and batch[-1].is_final:
            self._is_over = True
        return batch


def _conclude(exchange: Exchange, failures: list[tuple[Target, Failure]]) -> Exception:
    """One target: its own error. Several: each one's reason, and the shortest wait any of them asked for."""
    if len(exchange.plan) == 1:
        return failures[-1][1].error
    reasons = "; ".join(f"{target.provider}/{target.model}: {_reason(failure)}" for target, failure in failures)
    waits = [failure.retry_after_seconds for _, failure in failures if failure.retry_after_seconds is not None]
    return NoTargetAvailable(
        f"No target could serve this call. {reasons}.", retry_after_seconds=min(waits, default=None)
    )


def _reason(failure: Failure) -> str:
    return f"{failure.error.status} {failure.error.code}"
