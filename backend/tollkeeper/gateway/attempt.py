"""One attempt at one target: its request, its intent line, what pays for it, and what came of it.

Nothing leaves for a provider before the attempt is in the journal and paid for by the hold. Whoever let it through
(`Ticket`) is told exactly one end: by the attempt as long as nothing is sent, by its `Flight` from then on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.routing import DEFAULT_DEADLINES, FallbackKind, Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import (
    BadRequest,
    InsufficientQuota,
    RequestTimeout,
    TollkeeperError,
    UpstreamError,
    UpstreamTimeout,
)
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.course import Way
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.flight import Flight
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import make_bill
from tollkeeper.gateway.money.hold import Hold, Holds
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.outgoing import NotMade, prepare
from tollkeeper.gateway.provider import (
    Channel,
    CredentialUnavailable,
    Failure,
    FailureClass,
    Provider,
    UpstreamRequest,
)
from tollkeeper.gateway.routing.health import Ticket
from tollkeeper.gateway.secrecy import hide_secrets
from tollkeeper.gateway.stage import Attempt, Exchange

# What an attempt is paid from where providers have rules of their own. Raises where there is no room.
EnterProvider = Callable[[Exchange, Target], Awaitable[Hold | None]]
_ACCOUNT_CODES: Final = frozenset({"upstream_authentication", "upstream_quota"})
_OF_CALL: Final = {
    "context_length_exceeded": FailureClass.CONTEXT_WINDOW,
    "content_filter": FailureClass.CONTENT_POLICY,
}
_NO_REPLY: Final = "The provider's content filter left nothing of its answer."


class Attempts:
    """`enter_provider` is asked before each attempt; None: one hold pays for all."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        channel: Channel,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        holds: Holds | None,
        drains: Drains | None,
        enter_provider: EnterProvider | None,
        first_byte_seconds: float,
    ) -> None:
        self._providers = providers
        self._channel = channel
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._holds = holds
        self._drains = drains
        self._enter_provider = enter_provider
        self._first_byte_seconds = first_byte_seconds
        self._authorizing = {kind: one for kind, one in providers.items() if isinstance(one, Authorizing)}
        self._tokens = Tokens(channel, clock)

    async def make(self, exchange: Exchange, way: Way, ticket: Ticket, *, is_last: bool) -> Reply | Failure:
        """`is_last`: no other target is left. Raises what no other target does better."""
        way.attempt = None
        config, hold = way.config, exchange.hold
        try:
            if self._enter_provider is not None and exchange.entered != way.target.provider:
                # Before the request is made: what is held there decides whether its answer has to be watched.
                hold = await self._enter(self._enter_provider, exchange, way.target)
            provider, call, dialect, request, dropped, is_watched = prepare(
                self._providers, exchange, way, hold, is_last=is_last
            )
            authorizing = self._authorizing.get(config.kind)
            if authorizing is not None:
                await self._authorize(exchange, authorizing, request)
            now = self._clock.monotonic()
            _check_deadline(exchange, now)
            _report_dropped(exchange, dropped)
            if hold is not None and hold.refs:
                await self._afford(exchange, hold, is_watched=is_watched)
            attempt = self._record(exchange, way, now, hold)
            if self._journal.is_power_safe:
                await self._sync(attempt)
        except NotMade as reason:
            return self._not_made(way, ticket, reason)
        except BaseException:
            ticket.left(self._clock.monotonic())
            raise
        attempt.sent_bytes = len(request.body)
        channel = provider.channel or self._channel
        flight = Flight(
            exchange, attempt, call, provider, channel, dialect, request, self._clock, self._metrics, ticket
        )
        flight.first_token_deadline = self._narrow(exchange, request, now, is_last=is_last)
        attempt.leftover = flight
        try:
            tried = await self._send(exchange, flight, hold if is_watched else None)
        except UpstreamError as error:
            if not flight.is_still_billed():
                attempt.bill = make_bill(exchange, attempt)
            tried = Failure(_kind_of(error, exchange), error, error.retry_after_seconds)
        if isinstance(tried, Reply) and (
            FallbackKind.CONTENT_POLICY not in exchange.fallbacks or not _is_filtered(tried)
        ):
            return tried
        return await self._failed(exchange, way, flight, tried)

    async def give_up(self, exchange: Exchange, attempt: Attempt) -> None:
        """Nobody wants its answer any more: it is closed where that ends the bill, else read to its end beside the call."""
        leftover = attempt.leftover
        if leftover is None or leftover.is_over:
            return
        if self._drains is not None and leftover.is_still_billed():
            attempt.is_draining = True
            self._drains.take(leftover, attempt.drained)
            return
        await leftover.aclose()
        attempt.ended = self._clock.monotonic()
        if attempt.bill is None:
            attempt.bill = make_bill(exchange, attempt)

    async def _enter(self, enter: EnterProvider, exchange: Exchange, target: Target) -> Hold | None:
        try:
            return await enter(exchange, target)
        except TollkeeperError as error:
            raise NotMade(Failure(FailureClass.RATE, error, error.retry_after_seconds)) from None

    def _narrow(self, exchange: Exchange, request: UpstreamRequest, now: float, *, is_last: bool) -> float | None:
        """The bounds of this attempt, never beyond the call's; returns until when a stream must have brought content.

        That is what leaves another target its time: without a word of the policy, only where there is another one.
        """
        config, policy = request.config, exchange.route.policy
        said = DEFAULT_DEADLINES if policy is None else policy.deadlines
        if said is not DEFAULT_DEADLINES:
            request.deadlines = said
        if config.total_seconds is not None and said.total is None:
            request.deadline = min(exchange.deadline, now + config.total_seconds)
        if not exchange.call.is_stream:
            return None
        seconds = said.first_token
        if seconds is None:
            if is_last:
                return None
            seconds = _first(said.first_byte, config.first_byte_seconds, self._first_byte_seconds)
        return now + seconds if now + seconds < request.deadline else None

    async def _authorize(self, exchange: Exchange, provider: Authorizing, request: UpstreamRequest) -> None:
        """What the credential stands for, had before an attempt begins: nothing is sent or written down without it."""
        if request.credential is None:
            return
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(exchange.deadline - begun, 0.0)):
                request.signed_headers = await provider.authorize(request, self._tokens)
        except CredentialUnavailable as error:
            failure = Failure(FailureClass.CREDENTIAL, error, error.retry_after_seconds)
            raise NotMade(failure, is_of_target=True) from None
        except TimeoutError:
            late = UpstreamTimeout("The provider's identity service is too slow.")
            is_slow = self._clock.monotonic() < exchange.patience
            raise NotMade(Failure(FailureClass.TIMEOUT, late), is_of_target=is_slow) from None
        finally:
            exchange.upstream_seconds += self._clock.monotonic() - begun

    async def _afford(self, exchange: Exchange, hold: Hold, *, is_watched: bool) -> None:
        """RULING 2: what other attempts may cost is not there for this one; without more there is none."""
        appraisal = hold.appraisal
        needed = appraisal.forecast_nano if is_watched or appraisal.full_nano is None else appraisal.full_nano
        if not exchange.tries:
            if is_watched or hold.is_full:
                return
        else:
            own = [attempt for attempt in exchange.tries if attempt.intent.hold == hold.number]
            hold.spent_nano = sum(_taken(attempt, needed) for attempt in own)
        if appraisal.full_nano is None and not is_watched and any(part.terms.is_hard for part in hold.parts):
            # Nothing bounds it, and it cannot be cut there.
            raise _no_room(exchange)
        missing = needed - (hold.held_nano - hold.spent_nano)
        if missing > 0 and (self._holds is None or not await self._holds.extend(hold, missing)):
            raise _no_room(exchange)

    def _record(self, exchange: Exchange, way: Way, now: float, hold: Hold | None) -> Attempt:
        """The intent line: nothing leaves for a provider without one. `hold`: what pays for it."""
        intent, line = exchange.first_intent, exchange.first_line
        if intent is None or exchange.attempts or way.target is not exchange.plan[0]:
            intent, line = make_intent(exchange, way.target, exchange.attempts + 1, hold), None
        self._journal.intent(intent, line)
        attempt = way.attempt = Attempt(intent=intent, started=now)
        way.sends += 1
        exchange.tries.append(attempt)
        exchange.attempts += 1
        exchange.target = way.target
        return attempt

    async def _sync(self, attempt: Attempt) -> None:
        attempt.may_cost = False
        await self._journal.sync()
        attempt.may_cost = True

    async def _send(self, exchange: Exchange, flight: Flight, watched: Hold | None) -> Reply | Failure:
        try:
            response = await flight.send()
            if not 200 <= response.status < 300:
                body = await flight.refusal()
                return flight.provider.failure(response.status, response.headers, body)
            if exchange.call.is_stream:
                return await flight.stream(watched, self._holds)
            if watched is not None and self._holds is not None:
                chunk = await flight.assembled(watched, self._holds)
            else:
                chunk = await flight.whole()
        except asyncio.CancelledError:
            # The caller is gone. Closing cancels the vendor's work; where it would be billed all the same, `meter`
            # sees to it that its end is read.
            flight.left()
            if not flight.is_still_billed():
                await flight.aclose()
            raise
        except UpstreamError as error:
            if not flight.outlives(error):
                await flight.close()
            raise
        except BaseException:
            await flight.aclose()
            raise
        return Reply(is_stream=False, primed=(chunk,))

    async def _failed(self, exchange: Exchange, way: Way, flight: Flight, tried: Failure | Reply) -> Failure:
        attempt, request = flight.attempt, flight.request
        if isinstance(tried, Reply):
            failure = await self._filtered(exchange, attempt)
        else:
            failure = tried
            attempt.error, attempt.ended = failure.error, self._clock.monotonic()
            flight.failed(failure)
        if request.config.kind in self._authorizing:
            # What the vendor said of a request whose credential was made for it.
            if request.credential is not None and failure.kind is FailureClass.CREDENTIAL:
                self._tokens.refused(request.credential)
            hide_secrets(failure.error, request.config, request.credential, request.signed_headers)
        return self._told(way, failure)

    def _not_made(self, way: Way, ticket: Ticket, reason: "NotMade") -> Failure:
        now = self._clock.monotonic()
        if reason.is_of_target:
            ticket.failed(now, reason.failure)
        else:
            ticket.left(now)
        return self._told(way, reason.failure)

    def _told(self, way: Way, failure: Failure) -> Failure:
        hide_secrets(failure.error, way.config, way.credential)
        self._metrics.upstream_error(way.target.provider, failure.kind)
        return failure

    async def _filtered(self, exchange: Exchange, attempt: Attempt) -> Failure:
        """A refusal under status 200, which is billed like an answer."""
        await self.give_up(exchange, attempt)
        if not attempt.is_draining:
            attempt.ended = self._clock.monotonic()
        error = attempt.error = BadRequest(_NO_REPLY, code="content_filter")
        return Failure(FailureClass.CONTENT_POLICY, error)


def _kind_of(error: UpstreamError, exchange: Exchange) -> FailureClass:
    """Of what a vendor says under status 200, or its connection does."""
    if error.status == 504:
        return FailureClass.TIMEOUT
    if error.status == 429:
        return FailureClass.RATE
    if error.code in _ACCOUNT_CODES:
        return FailureClass.CREDENTIAL
    kind = _OF_CALL.get(error.code)
    # Without a place for such calls another target may take it after all.
    if kind is not None and FallbackKind(kind) in exchange.fallbacks:
        return kind
    return FailureClass.SERVER


def _first(*values: float | None) -> float:
    """Of those that say something, at least the last."""
    return next(value for value in values if value is not None)


def _taken(attempt: Attempt, needed: int) -> int:
    """What an attempt may come to: all it has put aside as long as nobody knows better."""
    if not attempt.may_cost:
        return 0
    if attempt.bill is None:
        return needed
    return attempt.bill.charge_nano or 0


def _is_filtered(reply: Reply) -> bool:
    """Whether a filter stopped the answer, or the model refused, before there was anything of it."""
    is_filtered = False
    for chunk in reply.primed:
        for choice in chunk.data.get("choices") or ():
            said = choice.get("message") or choice.get("delta") or choice
            if said.get("content") or said.get("tool_calls") or said.get("text") or said.get("audio"):
                return False
            is_filtered = is_filtered or choice.get("finish_reason") == "content_filter" or bool(said.get("refusal"))
    return is_filtered


def _check_deadline(exchange: Exchange, now: float) -> None:
    if now >= exchange.deadline:
        raise RequestTimeout("The deadline of this call passed before it could be sent.", should_retry=False)


def _report_dropped(exchange: Exchange, dropped: list[str]) -> None:
    if dropped:
        exchange.response_headers["x-tollkeeper-dropped"] = ",".join(dropped)
    elif exchange.tries:
        # It was said of another target.
        exchange.response_headers.pop("x-tollkeeper-dropped", None)


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
