"""Sends the call to the targets of its plan, one after the other, until one answers.

Only failures that another target may not have are worth a next one, and only before the first content: after that the
stream ends with an error event. Every attempt is in the journal before its request leaves, and paid for by the hold.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.chat import Call, Reply
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import (
    BadRequest,
    InsufficientQuota,
    NoTargetAvailable,
    RequestTimeout,
    TollkeeperError,
    UpstreamError,
    UpstreamTimeout,
)
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.flight import Flight
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import make_bill
from tollkeeper.gateway.money.cuttable import can_cut
from tollkeeper.gateway.money.hold import Hold, Holds
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.provider import (
    Channel,
    CredentialUnavailable,
    Failure,
    FailureClass,
    Provider,
    UpstreamRequest,
)
from tollkeeper.gateway.secrecy import hide_secrets
from tollkeeper.gateway.stage import Attempt, Exchange, Next

# What another target may do better.
_MOVES_ON: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE, FailureClass.SERVER, FailureClass.TIMEOUT})
# What another credential of the same provider may do better.
_ROTATES: Final = frozenset({FailureClass.CREDENTIAL, FailureClass.RATE})
_NO_CREDENTIAL: Final[tuple[Credential | None, ...]] = (None,)


class Dispatch:
    def __init__(
        self,
        providers: Mapping[str, Provider],
        channel: Channel,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        holds: Holds | None = None,
    ) -> None:
        self._providers = providers
        self._channel = channel
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._holds = holds
        self._authorizing = {kind: one for kind, one in providers.items() if isinstance(one, Authorizing)}
        self._tokens = Tokens(channel, clock)

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
        call, hold = exchange.call, exchange.hold
        # Near a limit less is held than the worst case: then the answer is watched, also one that is wanted whole.
        is_watched = hold is not None and not hold.is_full and can_cut(provider, config, call, target)
        sent = _streamed(call) if is_watched and not call.is_stream else call
        try:
            dialect = provider.dialect(config, sent, target)
            if sent.needs_native is not None and not _has_native(sent, sent.needs_native, dialect):
                raise _unsupported(sent.needs_native, target)
            prepared = provider.prepare(config, sent, target)
            dropped = _dropped(exchange, sent, prepared, dialect)
            request = UpstreamRequest(
                method="POST",
                url=provider.url(config, prepared, target),
                headers=_carried(provider, config, prepared, exchange.headers),
                body=dialect.write_call(prepared),
                config=config,
                deadline=exchange.deadline,
                is_stream=sent.is_stream,
                credential=credential,
                secret_headers=provider.headers(credential),
                outlives_cancel=True,
            )
        except BadRequest as error:
            return Failure(FailureClass.REQUEST if target is exchange.plan[-1] else FailureClass.SERVER, error)
        except UpstreamError as error:
            return Failure(FailureClass.SERVER, error)
        authorizing = self._authorizing.get(config.kind)
        if authorizing is not None and (refused := await self._authorize(exchange, authorizing, request)) is not None:
            return refused
        now = self._clock.monotonic()
        if now >= exchange.deadline:
            raise RequestTimeout("The deadline of this call passed before it could be sent.", should_retry=False)
        _report_dropped(exchange, dropped)
        if hold is not None and hold.refs:
            await self._afford(exchange, hold, is_watched=is_watched)
        attempt = await self._record(exchange, target, now)
        attempt.sent_bytes = len(request.body)
        channel = provider.channel or self._channel
        flight = Flight(exchange, attempt, sent, provider, channel, dialect, request, self._clock, self._metrics)
        attempt.leftover = flight
        try:
            tried = await self._send(exchange, attempt, provider, flight, hold if is_watched else None)
        except UpstreamError as error:
            tried = self._failed(exchange, attempt, error)
        if authorizing is not None and isinstance(tried, Failure):
            self._told(request, tried)
        return tried

    async def _authorize(self, exchange: Exchange, provider: Authorizing, request: UpstreamRequest) -> Failure | None:
        """What the credential stands for, had before an attempt begins: nothing is sent or written down without it."""
        if request.credential is None:
            return None
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(exchange.deadline - begun, 0.0)):
                request.signed_headers = await provider.authorize(request, self._tokens)
        except CredentialUnavailable as error:
            return Failure(FailureClass.CREDENTIAL, error, error.retry_after_seconds)
        except TimeoutError:
            return Failure(FailureClass.TIMEOUT, UpstreamTimeout("The provider's identity service is too slow."))
        finally:
            exchange.upstream_seconds += self._clock.monotonic() - begun
        return None

    def _told(self, request: UpstreamRequest, failure: Failure) -> None:
        """What the vendor said of a request whose credential was made for it."""
        if request.credential is not None and failure.kind is FailureClass.CREDENTIAL:
            self._tokens.refused(request.credential)
        hide_secrets(failure.error, request.config, request.credential, request.signed_headers)

    async def _afford(self, exchange: Exchange, hold: Hold, *, is_watched: bool) -> None:
        """RULING 2: what earlier attempts may have cost is not there for this one; without more there is none."""
        appraisal = hold.appraisal
        needed = appraisal.forecast_nano if is_watched or appraisal.full_nano is None else appraisal.full_nano
        if not exchange.tries:
            if is_watched or hold.is_full:
                return
        elif exchange.tries[-1].may_cost:
            bill = exchange.tries[-1].bill
            hold.spent_nano += 0 if bill is None else bill.charge_nano or 0
        missing = needed - (hold.held_nano - hold.spent_nano)
        if missing > 0 and (self._holds is None or not await self._holds.extend(hold, missing)):
            raise _no_room(exchange)

    async def _record(self, exchange: Exchange, target: Target, now: float) -> Attempt:
        """The intent line: nothing leaves for a provider without one."""
        intent, line = exchange.first_intent, exchange.first_line
        if intent is None or exchange.attempts or target is not exchange.plan[0]:
            intent, line = make_intent(exchange, target, exchange.attempts + 1), None
        self._journal.intent(intent, line)
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
        self, exchange: Exchange, attempt: Attempt, provider: Provider, flight: Flight, watched: Hold | None
    ) -> Reply | Failure:
        try:
            response = await flight.send()
            if not 200 <= response.status < 300:
                body = await flight.refusal()
                failure = provider.failure(response.status, response.headers, body)
                attempt.error, attempt.ended = failure.error, self._clock.monotonic()
                return failure
            if exchange.call.is_stream:
                return await flight.stream(watched, self._holds)
            if watched is not None and self._holds is not None:
                chunk = await flight.assembled(watched, self._holds)
            else:
                chunk = await flight.whole()
        except asyncio.CancelledError:
            # The caller is gone. Closing cancels the vendor's work; where it would be billed all the same, `meter`
            # sees to it that its end is read.
            if not flight.is_still_billed():
                await flight.aclose()
            raise
        except BaseException:
            await flight.aclose()
            raise
        return Reply(is_stream=False, primed=(chunk,))

    def _failed(self, exchange: Exchange, attempt: Attempt, error: UpstreamError) -> Failure:
        attempt.error, attempt.ended = error, self._clock.monotonic()
        attempt.bill = make_bill(exchange, attempt)
        kind = FailureClass.TIMEOUT if error.status == 504 else FailureClass.SERVER
        return Failure(kind, error, error.retry_after_seconds)


def _dropped(exchange: Exchange, sent: Call, prepared: Call, dialect: VendorDialect) -> list[str]:
    """Which of the caller's fields the vendor does not see. Refused where the model's operator wants nothing left out."""
    dropped = dropped_fields(sent, prepared) if prepared.body is not sent.body else []
    if sent.names:
        dropped = [sent.names.get(name, name) for name in dropped]
    if sent.unexpressed and (sent.dialect != dialect.NAME or sent.native is None):
        dropped += sent.unexpressed
    if dropped and exchange.route.parameters.refuses_dropped:
        raise BadRequest(
            f"'{dropped[0]}' has no meaning to the provider of this model, and nothing is left out in silence here. Leave "
            "it out yourself.",
            code="unsupported_parameter",
            param=dropped[0],
        )
    return dropped


def _report_dropped(exchange: Exchange, dropped: list[str]) -> None:
    if dropped:
        exchange.response_headers["x-tollkeeper-dropped"] = ",".join(dropped)


def _streamed(call: Call) -> Call:
    streamed = call.replace(stream=True)
    streamed.is_stream = True
    return streamed


def _carried(
    provider: Provider, config: ProviderConfig, call: Call, headers: Mapping[bytes, bytes]
) -> Mapping[str, str]:
    """What the provider wants in its headers, of its own and of the caller's.

    The caller's word on the version of a dialect counts where its own document goes out in it.
    """
    fixed = provider.fixed_headers(config, call)
    if not provider.caller_headers:
        return fixed
    carried = _of_caller(provider, headers)
    return {**carried, **fixed} if call.native is None else {**fixed, **carried}


def _of_caller(provider: Provider, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name: value.decode("latin-1")
        for name in provider.caller_headers
        if (value := headers.get(name.encode("ascii"))) is not None
    }


def _has_native(call: Call, path: str, dialect: VendorDialect) -> bool:
    """Whether the vendor gets what `path` names: from the caller's own document, or where the canonical body has it too."""
    return call.dialect == dialect.NAME and (call.native is not None or path.startswith("tool"))


def _unsupported(path: str, target: Target) -> BadRequest:
    return BadRequest(
        f"'{path}' asks for what the provider of the model '{target.model}' does not have in this API. "
        "Leave it out, or ask for a model whose provider speaks this API itself.",
        code="unsupported_parameter",
        param=path,
    )


def _conclude(exchange: Exchange, failures: list[tuple[Target, Failure]]) -> Exception:
    """One target: its own error. Several: each one's reason, and the shortest wait any of them asked for."""
    if len(exchange.plan) == 1:
        return failures[-1][1].error
    reasons = "; ".join(f"{target.provider}/{target.model}: {_reason(failure)}" for target, failure in failures)
    waits = [failure.retry_after_seconds for _, failure in failures if failure.retry_after_seconds is not None]
    return NoTargetAvailable(
        f"No target could serve this call. {reasons}.", retry_after_seconds=min(waits, default=None)
    )


def _no_room(exchange: Exchange) -> TollkeeperError:
    """The budgets' refusal; the earlier attempt's failure says why there was another one to pay for."""
    because = ""
    if exchange.tries and (error := exchange.tries[-1].error) is not None:
        because = f" after the first ended in {error.status} {error.code}, which the provider may bill"
    hard = [budget for budget in exchange.principal.budgets if budget.is_hard]
    status = 402 if hard and all(budget.refusal_status == 402 for budget in hard) else 429
    return InsufficientQuota(
        f"You exceeded your current quota: no budget has room for another attempt{because}. "
        "Ask for a larger budget, or wait for its next window.",
        status=status,
    )


def _reason(failure: Failure) -> str:
    return f"{failure.error.status} {failure.error.code}"
