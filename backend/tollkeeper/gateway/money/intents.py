"""What is put on record before an attempt is sent. `admit` puts the first attempt's into the hold, `dispatch` writes each."""

from tollkeeper.contracts.chat import Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.contracts.usage import Intent
from tollkeeper.gateway.money.estimate import estimate_input_tokens
from tollkeeper.gateway.money.extent import asked_of, measure
from tollkeeper.gateway.money.hold import Hold
from tollkeeper.gateway.money.price import ONE_CALL, adjustment_of, at_batch_rate, charge_nano, cost_nano, measure_of
from tollkeeper.gateway.stage import Exchange


def make_intent(exchange: Exchange, target: Target, attempt: int, hold: Hold | None) -> Intent:
    """Its estimate is what the input costs: the least that an interrupted attempt is charged.

    `hold`: what pays for it, if anything does.
    """
    principal, call, price = exchange.principal, exchange.call, exchange.route.price_of(target)
    tokens = estimate_input_tokens(call) if exchange.appraisal is None else exchange.appraisal.input_tokens
    cost = charge = None
    if price is not None:
        counted = measure_of(call.body.get("service_tier")) if price.tiers else ONE_CALL
        asked = asked_of(call)
        if asked is not None:
            counted = measure(asked, counted.service_tier)
        usage = Usage(input=tokens)
        cost = cost_nano(usage, price, counted)
        due = cost_nano(usage, price, at_batch_rate(price, counted)) if exchange.is_batch else cost
        charge = charge_nano(due, adjustment_of(exchange.snapshot, principal.tenant_id, target.provider, call.model))
    return Intent(
        request_id=exchange.request_id,
        attempt=attempt,
        tenant_id=principal.tenant_id,
        key_id=principal.key_id,
        user_id=principal.user_id,
        operation=exchange.operation,
        model=call.model,
        provider=target.provider,
        upstream_model=call.model if target.model == "*" else target.model,
        estimated_input_tokens=tokens,
        price_version=None if price is None else price.version,
        estimated_cost_nano=cost,
        estimated_charge_nano=charge,
        is_stream=call.is_stream,
        environment=principal.environment,
        end_user=call.end_user,
        team_id=principal.team_id,
        project_id=principal.project_id,
        tags=dict(principal.tags) if principal.tags else None,
        budgets=() if hold is None else hold.refs,
        run_id=principal.run_id,
        hold=0 if hold is None else hold.number,
    )
