"""Counts what an answer uses while it goes by, and settles every attempt in the journal, whatever its end."""

from functools import partial

from tollkeeper.contracts.chat import Chunk, Reply, Usage
from tollkeeper.contracts.usage import CallStatus, Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.money.estimate import estimate_usage
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.price import NO_CALL, ONE_CALL, cost_nano, measure_of
from tollkeeper.gateway.stage import Attempt, Ending, Exchange, Next, Outcome

_NOTHING = Usage()
_STATUS = {
    Ending.DONE: CallStatus.OK,
    Ending.FAILED: CallStatus.ERROR,
    Ending.DROPPED: CallStatus.CANCELLED,
}


class Meter:
    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def __call__(self, exchange: Exchange, next_stage: Next) -> Reply:
        exchange.on_finish(partial(self._settle, exchange))
        reply = await next_stage(exchange)
        if exchange.tries:
            attempt = exchange.tries[-1]
            reply.watch(partial(_count, exchange, attempt))
        return reply

    def _settle(self, exchange: Exchange, outcome: Outcome) -> None:
        if not exchange.tries:
            return
        now = self._clock.monotonic()
        total = 0
        last = exchange.tries[-1]
        for attempt in exchange.tries:
            intent = attempt.intent
            if attempt is not last and not attempt.may_cost:
                self._journal.void(intent.request_id, intent.attempt)
                continue
            usage = usage_of(attempt)
            # Priced already where the answer's end went by.
            cost = exchange.cost_nano if attempt.is_priced else _cost(exchange, attempt, usage)
            total += cost or 0
            is_ok = attempt is last and outcome.ending is Ending.DONE
            error = attempt.error or (outcome.error if attempt is last else None)
            first_token = attempt.first_token
            self._journal.settle(
                Settlement(
                    intent=intent,
                    status=_STATUS[outcome.ending] if attempt is last else CallStatus.ERROR,
                    usage=usage,
                    cost_nano=cost,
                    charge_nano=cost,
                    latency_ms=round((now - exchange.started if attempt is last else _lasted(attempt, now)) * 1000),
                    first_token_ms=None if first_token is None else round((first_token - exchange.started) * 1000),
                    http_status=outcome.http_status if attempt is last or error is None else error.status,
                    error_code=None if is_ok or error is None else error.code,
                    client_request_id=exchange.client_request_id,
                    upstream_request_id=attempt.upstream_request_id,
                )
            )
        if exchange.route.price is not None:
            exchange.cost_nano = total


def _count(exchange: Exchange, attempt: Attempt, chunk: Chunk) -> None:
    attempt.text_length += chunk.text_length
    if chunk.usage is not None:
        attempt.usage = chunk.usage
        attempt.service_tier = chunk.data.get("service_tier")
    if chunk.is_final and chunk.error is None:
        # Known now, so that a header or the closing comment can say it.
        exchange.cost_nano = _cost(exchange, attempt, usage_of(attempt))
        attempt.is_priced = True


def usage_of(attempt: Attempt) -> Usage:
    """The provider's count, else ours of what was relayed; nothing where nothing can have been charged."""
    if not attempt.may_cost:
        return _NOTHING
    return attempt.usage or estimate_usage(attempt.intent.estimated_input_tokens, attempt.text_length)


def _cost(exchange: Exchange, attempt: Attempt, usage: Usage) -> int | None:
    price = exchange.route.price
    if price is None:
        return None
    if not attempt.may_cost:
        return cost_nano(usage, price, NO_CALL)
    # The tier asked for is not always the one given; it counts where the answer does not tell.
    return cost_nano(
        usage,
        price,
        measure_of(attempt.service_tier or exchange.call.body.get("service_tier")) if price.tiers else ONE_CALL,
    )


def _lasted(attempt: Attempt, now: float) -> float:
    return (attempt.ended or now) - attempt.started
