"""What came of an attempt, noted as it arrives, and what that costs: one place for every way a call can end."""

from dataclasses import replace

from tollkeeper.contracts.catalog import Price
from tollkeeper.contracts.chat import Chunk, Usage
from tollkeeper.gateway.money.estimate import estimate_usage
from tollkeeper.gateway.money.extent import TEXTS, asked_of, measure, uncounted_usage
from tollkeeper.gateway.money.plausible import CONTRADICTORY, doubt, visible_length
from tollkeeper.gateway.money.price import (
    NO_CALL,
    ONE_CALL,
    Measure,
    adjustment_of,
    at_batch_rate,
    charge_nano,
    cost_nano,
    measure_of,
)
from tollkeeper.gateway.stage import Attempt, Bill, Exchange

_NOTHING = Usage()


def note_usage(exchange: Exchange, attempt: Attempt, chunk: Chunk) -> None:
    """Take the vendor's own count, unless it cannot be true: then ours stands in, and `doubt` says why."""
    usage = chunk.usage
    assert usage is not None
    appraisal = exchange.appraisal
    # What a model can give at most is the catalogue's word, which may be old.
    cap = None if appraisal is None or appraisal.output_cap is None else 2 * appraisal.output_cap
    attempt.doubt = doubt(usage, exchange.call, attempt.sent_bytes, cap)
    if attempt.doubt is None:
        attempt.usage = usage
        if usage.is_estimated:
            # Its reader made sense of it as far as it goes.
            attempt.doubt = CONTRADICTORY
    elif not attempt.text_length:
        attempt.text_length = visible_length(chunk.data)
    attempt.service_tier = chunk.data.get("service_tier")


def note_input(exchange: Exchange, attempt: Attempt, usage: Usage) -> None:
    """What a vendor says of the input as it begins: cached tokens are not charged as others because nobody waited."""
    if doubt(usage, exchange.call, attempt.sent_bytes) is None:
        attempt.input_usage = usage


def usage_of(attempt: Attempt) -> Usage:
    """The provider's count, else ours of what was produced; nothing where nothing can have been charged."""
    if not attempt.may_cost:
        return _NOTHING
    if attempt.usage is not None:
        return attempt.usage
    usage, begun = estimate_usage(attempt.intent.estimated_input_tokens, attempt.text_length), attempt.input_usage
    return usage if begun is None else replace(begun, output=usage.output, reasoning=0, is_estimated=True)


def make_bill(exchange: Exchange, attempt: Attempt) -> Bill:
    """The bill of an attempt as it stands now."""
    intent, call = attempt.intent, exchange.call
    price = exchange.route.price_at(intent.provider, intent.upstream_model)
    if attempt.usage is None and attempt.may_cost and call.operation not in TEXTS:
        usage = uncounted_usage(
            call,
            intent.upstream_model,
            price,
            attempt.amounts,
            intent.estimated_input_tokens,
            attempt.text_length,
        )
    else:
        usage = usage_of(attempt)
    if price is None:
        return Bill(usage, None, None)
    measured = _measure(exchange, attempt, price)
    cost = cost_nano(usage, price, measured)
    # The vendor takes what it takes; who waits for a batch is charged as for one.
    due = cost_nano(usage, price, at_batch_rate(price, measured)) if exchange.is_batch else cost
    adjustment = adjustment_of(exchange.snapshot, intent.tenant_id, intent.provider, intent.model)
    return Bill(usage, cost, charge_nano(due, adjustment, may_cost=attempt.may_cost))


def close_bill(exchange: Exchange, attempt: Attempt) -> None:
    """The attempt's end was seen: its bill is final, and known before the answer's last bytes leave."""
    attempt.bill = make_bill(exchange, attempt)
    charge = attempt.bill.charge_nano
    if charge is not None and len(exchange.tries) > 1:
        others = [tried.bill for tried in exchange.tries if tried is not attempt]
        charge += sum(bill.charge_nano or 0 for bill in others if bill is not None)
    exchange.cost_nano = charge


def _measure(exchange: Exchange, attempt: Attempt, price: Price) -> Measure:
    if not attempt.may_cost:
        return NO_CALL
    asked = asked_of(exchange.call)
    if asked is not None:
        tier = measure_of(attempt.service_tier or exchange.call.body.get("service_tier")).service_tier
        return measure(attempt.amounts or asked, tier)
    if not price.tiers:
        return ONE_CALL
    # The tier asked for is not always the one given; it counts where the answer does not tell.
    return measure_of(attempt.service_tier or exchange.call.body.get("service_tier"))
