"""Settles every attempt of a call in the journal, and what was put aside for it, whatever its end: once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from tollkeeper.contracts.cache import CacheResult
from tollkeeper.contracts.usage import CallStatus, Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.bill import make_bill
from tollkeeper.gateway.money.crossing import shares_of
from tollkeeper.gateway.money.hold import Entries, Holds
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.unpriced import UnpricedCalls
from tollkeeper.gateway.stage import Attempt, Bill, Ending, Exchange, Outcome, Step

log = structlog.get_logger(__name__)

# What rows of answers that were given again say of them, among their tags.
CACHE_TAG: Final = "tollkeeper:cache"
SAVED_TAG: Final = "tollkeeper:saved_nano"
_NOTHING: Final[dict[str, str]] = {}

_STATUS = {
    Ending.DONE: CallStatus.OK,
    Ending.FAILED: CallStatus.ERROR,
    Ending.DROPPED: CallStatus.CANCELLED,
}


class Meter(Step):
    def __init__(
        self, journal: Journal, clock: Clock, metrics: Metrics, drains: Drains, holds: Holds | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._drains = drains
        self._holds = holds
        self._unpriced = UnpricedCalls(metrics, clock)

    def enter(self, exchange: Exchange) -> None:
        exchange.finishers.append(partial(self._finish, exchange))

    def _finish(self, exchange: Exchange, outcome: Outcome) -> None:
        """Now, unless the vendor goes on with an answer that nobody waits for, or others do: then once that is over."""
        now = self._clock.monotonic()
        wait = exchange.goes_on
        if wait is not None:
            exchange.goes_on = None
            known = {id(attempt) for attempt in exchange.tries if attempt.usage is not None}
            wait(partial(self._finish_late, exchange, outcome, now, known))
            return
        self._finish_at(exchange, outcome, now)

    def _finish_late(self, exchange: Exchange, outcome: Outcome, now: float, known: set[int]) -> None:
        self._finish_at(exchange, outcome, now)
        # What still goes on even so is told of by itself.
        late = [attempt for attempt in exchange.tries if id(attempt) not in known and attempt.bill is not None]
        self._tell_late(exchange, late)

    def _finish_at(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        going_on = [attempt for attempt in exchange.tries if _goes_on(attempt)]
        if not going_on:
            self._settle(exchange, outcome, now)
            return
        over = _Countdown(len(going_on), partial(self._settle_late, exchange, outcome, now, going_on))
        for attempt in going_on:
            if attempt.is_draining:
                attempt.on_drained = over
            elif attempt.leftover is not None:
                self._drains.take(attempt.leftover, over)

    def _settle_late(self, exchange: Exchange, outcome: Outcome, now: float, late: Sequence[Attempt]) -> None:
        self._settle(exchange, outcome, now)
        self._tell_late(exchange, late)

    def _tell_late(self, exchange: Exchange, late: Sequence[Attempt]) -> None:
        for attempt in late:
            usage = attempt.usage
            if usage is not None:
                labels = (exchange.operation.value, exchange.route.name, attempt.intent.provider)
                charge = 0 if attempt.bill is None else attempt.bill.charge_nano or 0
                self._metrics.settled_late(labels, usage.prompt_tokens, usage.completion_tokens, charge)

    def _settle(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        total = rows = prompt_tokens = completion_tokens = 0
        tries = exchange.tries
        for attempt in tries:
            # A flight and its attempt hold one another, and with them the bodies of the call.
            attempt.leftover = None
            is_last = attempt is tries[-1]
            if not is_last and not attempt.may_cost:
                self._journal.void(attempt.intent.request_id, attempt.intent.attempt)
                continue
            if attempt.doubt is not None:
                self._warn_of_usage(exchange, attempt)
            # Known already where the answer's end went by.
            bill = attempt.bill or make_bill(exchange, attempt)
            attempt.bill = bill
            if bill.charge_nano is None and attempt.may_cost:
                intent = attempt.intent
                self._unpriced.note(exchange.route.name, intent.upstream_model, intent.provider)
            rows += 1
            total += bill.charge_nano or 0
            if attempt.cache is None:
                prompt_tokens += bill.usage.prompt_tokens
                completion_tokens += bill.usage.completion_tokens
            self._journal.settle(_settlement(exchange, outcome, attempt, bill, now, is_last=is_last))
        if rows and exchange.route.price is not None:
            exchange.cost_nano = total
        hold = exchange.hold
        if exchange.entries is not None:
            self._settle_shares(exchange, exchange.entries, prompt_tokens, completion_tokens)
        elif hold is not None and self._holds is not None:
            if total > hold.held_nano and any(part.terms.is_hard for part in hold.parts):
                self._warn_of_excess(exchange, total, hold.held_nano)
            self._holds.settle(hold, total, rows=rows, input_tokens=prompt_tokens, output_tokens=completion_tokens)

    def _settle_shares(self, exchange: Exchange, entries: Entries, input_tokens: int, output_tokens: int) -> None:
        """It was at several providers with rules of their own; what they share is told the tokens of all."""
        assert self._holds is not None
        for share in shares_of(exchange, entries):
            hold = share.hold
            if share.charge_nano > hold.held_nano and any(part.terms.is_hard for part in hold.parts):
                self._warn_of_excess(exchange, share.charge_nano, hold.held_nano)
            self._holds.settle(
                hold,
                share.charge_nano,
                rows=share.rows,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                own_tokens=share.tokens,
            )

    def _warn_of_excess(self, exchange: Exchange, charge_nano: int, held_nano: int) -> None:
        self._metrics.hold_exceeded(charge_nano - held_nano)
        log.warning("hold_exceeded", request_id=exchange.shown_id, charge_nano=charge_nano, held_nano=held_nano)

    def _warn_of_usage(self, exchange: Exchange, attempt: Attempt) -> None:
        assert attempt.doubt is not None
        provider = attempt.intent.provider
        self._metrics.implausible_usage(provider, attempt.doubt)
        log.warning("implausible_usage", request_id=exchange.shown_id, provider=provider, what=attempt.doubt)


class _Countdown:
    """Calls `conclude` when it was called so many times."""

    __slots__ = ("_conclude", "_left")

    def __init__(self, count: int, conclude: Callable[[], None]) -> None:
        self._left = count
        self._conclude = conclude

    def __call__(self) -> None:
        self._left -= 1
        if not self._left:
            self._conclude()


def _goes_on(attempt: Attempt) -> bool:
    """Whether the vendor works on an answer, and bills it, that nobody waits for."""
    leftover = attempt.leftover
    return attempt.is_draining or (leftover is not None and not leftover.is_over and leftover.is_still_billed())


def _settlement(
    exchange: Exchange, outcome: Outcome, attempt: Attempt, bill: Bill, now: float, *, is_last: bool
) -> Settlement:
    is_ok = is_last and outcome.ending is Ending.DONE
    error = attempt.error or (outcome.error if is_last else None)
    first_token = attempt.first_token
    error_code = None if is_ok or error is None else error.code
    if is_last:
        status = CallStatus.BLOCKED if exchange.is_blocked else _STATUS[outcome.ending]
        if attempt.cache is not None and status is CallStatus.OK:
            status = CallStatus.CACHED
    elif attempt.is_lost:
        status, error_code = CallStatus.CANCELLED, "hedge_lost"
    else:
        status = CallStatus.ERROR
    lasted = now - exchange.started if is_last else (attempt.ended or now) - attempt.started
    return Settlement(
        intent=attempt.intent,
        status=status,
        usage=bill.usage,
        cost_nano=bill.cost_nano,
        charge_nano=bill.charge_nano,
        latency_ms=round(lasted * 1000),
        first_token_ms=None if first_token is None else round((first_token - exchange.started) * 1000),
        http_status=outcome.http_status if is_last or error is None else error.status,
        error_code=error_code,
        client_request_id=exchange.client_request_id,
        upstream_request_id=attempt.upstream_request_id,
        extra=_NOTHING if attempt.cache is None else _saved(attempt.cache, attempt.saved_nano),
    )


def _saved(result: CacheResult, nano: int) -> dict[str, str]:
    """Beside the row's tags."""
    return {CACHE_TAG: result.value, SAVED_TAG: str(nano)}
