"""What a call may come to before it is made: the worst case of its price, and what nearly all calls like it cost. Pure.

The input is never taken too low, because it cannot be cut: by its bytes, or counted with the family's upper factor. The
output is the caller's cap, else the model's published maximum, at the dearest class it can be charged as. Whatever tier
the vendor may charge at, standard or the one asked for, long prompts or not, is in the maximum.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from tollkeeper.contracts.catalog import EMPTY_SNAPSHOT, ModelRoute, Price, ServiceTier, Snapshot
from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.money import encodings, tokens
from tollkeeper.gateway.money.estimate import (
    beyond_bytes,
    bound_of,
    estimate_of,
    media_most,
    media_usual,
    survey,
    texts_of,
)
from tollkeeper.gateway.money.extent import TEXTS, measure, output_tokens
from tollkeeper.gateway.money.families import Family, family_of
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.price import adjustment_of, cost_pico, measure_of
from tollkeeper.gateway.money.survey import Survey

# `unbounded_because` where a cap of the output is all that is missing.
OUTPUT: Final = "output"
# One hour's cache writes cost more and have to be asked for in so many words; \u00 could spell them.
_HOUR: Final = b'"1h"'
_NO_TOKENS: Final = Usage()
_ESCAPE: Final = b"\\u00"


def appraise(
    call: Call,
    route: ModelRoute,
    principal: Principal,
    plan: Sequence[Target],
    forecasts: Forecasts,
    *,
    snapshot: Snapshot = EMPTY_SNAPSHOT,
    is_exact: bool = False,
) -> Appraisal:
    """Charges for one attempt, rounded up; zero amounts where the route has no price.

    With a budget of the platform among the principal's, which counts costs, the dearer of cost and charge.
    """
    seen = survey(call)
    bound = usual = 0
    for target in plan:
        family = family_of(call.model if target.model == "*" else target.model)
        most, middle = _counted(call, seen, family) if is_exact else (bound_of(seen, family), estimate_of(seen, family))
        bound, usual = max(bound, most), max(usual, middle)
    if seen.unseen is not None and route.context_tokens is not None:
        bound = max(bound, route.context_tokens * seen.prompts)
    usual = min(usual, bound)
    if call.operation in TEXTS:
        cap, is_callers = _output_cap(call, seen, route)
        output = forecasts.forecast(call.model, principal.key_id, cap) if cap != 0 else 0
    else:
        # Whose end is the call's own, and nobody else's to set.
        (output, cap), is_callers = _other_output(call, route, plan), True
    prices = _prices(route, plan)
    if not prices:
        return Appraisal(usual, output, 0, 0, cap, has_caller_cap=is_callers, input_bound=bound)
    input_pico, output_pico, beside_pico = _dearest(prices, bound, call, seen)
    own_pico = bound * input_pico + beside_pico
    because = None
    if own_pico or output_pico:
        if seen.open_cost is not None:
            because = f"{seen.open_cost} costs what it takes."
        elif seen.unseen is not None and route.context_tokens is None:
            because = f"{seen.unseen} has no known length."
        elif cap is None and call.operation not in TEXTS and output_pico:
            because = "what this model makes of it has no known end."
    needs_cap = because is None and cap is None and output_pico > 0
    is_bounded = because is None and not needs_cap
    full = own_pico + (cap or 0) * output_pico if is_bounded else None
    forecast = own_pico + output * output_pico
    full_nano, forecast_nano = None if full is None else -(-full // 1000), -(-forecast // 1000)
    if snapshot.adjustments:
        full_nano, forecast_nano, output_pico = _charged(
            snapshot, principal, plan, call.model, full_nano, forecast_nano, output_pico
        )
    return Appraisal(
        usual,
        output,
        full_nano,
        forecast_nano,
        cap,
        output_pico,
        OUTPUT if needs_cap else because,
        needs_cap,
        is_callers,
        bound,
    )


async def appraise_exactly(
    call: Call,
    route: ModelRoute,
    principal: Principal,
    plan: Sequence[Target],
    forecasts: Forecasts,
    *,
    snapshot: Snapshot = EMPTY_SNAPSHOT,
) -> Appraisal:
    """`appraise` with the text counted: a long one, and the first of all, in a thread, so that nobody else waits for it."""
    size = len(call.raw) if call.raw is not None else tokens.OFF_LOOP_BYTES + 1
    if size <= tokens.OFF_LOOP_BYTES and encodings.is_loaded():
        return appraise(call, route, principal, plan, forecasts, snapshot=snapshot, is_exact=True)
    return await asyncio.to_thread(appraise, call, route, principal, plan, forecasts, snapshot=snapshot, is_exact=True)


def _output_cap(call: Call, seen: Survey, route: ModelRoute) -> tuple[int | None, bool]:
    """Tokens of output, all choices together, and whether the caller bounds them. What was predicted can be charged too."""
    body = call.body
    # Both names, because vendors that do not know one ignore it; the larger is what may come.
    first, second = body.get("max_completion_tokens"), body.get("max_tokens")
    first = first if type(first) is int and first > 0 else 0
    second = second if type(second) is int and second > 0 else 0
    own = max(first, second)
    cap: int | None = own or route.max_output_tokens
    if cap is None:
        return None, False
    if "n" in body or "best_of" in body or seen.prompts > 1:
        cap *= _choices(body) * seen.prompts
    if body.get("prediction") is not None:
        cap += seen.text_bytes
    return cap, own > 0


def _other_output(call: Call, route: ModelRoute, plan: Sequence[Target]) -> tuple[int, int | None]:
    """The likely count and the most, at the target where that is most."""
    likely, most = 0, 0
    has_end = True
    for target in plan:
        model = call.model if target.model == "*" else target.model
        usual, bound = output_tokens(call, model, route.max_output_tokens)
        likely, most, has_end = max(likely, usual), max(most, bound or 0), has_end and bound is not None
    return likely, most if has_end else None


def _choices(body: Mapping[str, Any]) -> int:
    given = [value for name in ("n", "best_of") if type(value := body.get(name)) is int]
    return max(1, *given) if given else 1


def _prices(route: ModelRoute, plan: Sequence[Target]) -> Sequence[Price]:
    """Those that an attempt may be charged by; empty where none is known."""
    if not route.is_priced_by_target:
        return () if route.price is None else (route.price,)
    found = {id(price): price for target in plan if (price := route.price_of(target)) is not None}
    return tuple(found.values())


def _dearest(prices: Sequence[Price], bound: int, call: Call, seen: Survey) -> tuple[int, int, int]:
    """Pico-dollars: of a token of input, of a token of output, and of everything beside tokens."""
    rates = list(prices)
    for price in prices:
        if price.tiers:
            asked = measure_of(call.body.get("service_tier")).service_tier
            rates += [
                tier.rates
                for tier in price.tiers
                if tier.over_input_tokens < bound
                and (tier.service_tier is ServiceTier.STANDARD or tier.service_tier is asked)
            ]
    input_pico = output_pico = beside_pico = 0
    for rate in rates:
        input_pico = max(input_pico, _input_pico(rate, call, seen))
        output_pico = max(output_pico, _output_pico(rate, call))
        if rate.request or rate.image or rate.audio_second or rate.character:
            beside_pico = max(beside_pico, _beside_pico(rate, seen))
    return input_pico, output_pico, beside_pico


def _input_pico(rate: Price, call: Call, seen: Survey) -> int:
    most = rate.input
    if rate.cache_write is not None and rate.cache_write > most:
        most = rate.cache_write
    if rate.cache_read is not None and rate.cache_read > most:
        most = rate.cache_read
    if rate.cache_write_1h is not None and rate.cache_write_1h > most and _may_ask_for_an_hour(call):
        most = rate.cache_write_1h
    if rate.input_audio is not None and (seen.has_sound or seen.unseen):
        most = max(most, rate.input_audio)
    if rate.input_image is not None and (seen.pictures or seen.unseen):
        most = max(most, rate.input_image)
    return most


def _may_ask_for_an_hour(call: Call) -> bool:
    raw = call.raw if call.raw is not None else orjson.dumps(call.body)
    return _HOUR in raw or _ESCAPE in raw


def _output_pico(rate: Price, call: Call) -> int:
    most = rate.output
    if rate.reasoning is not None and rate.reasoning > most:
        most = rate.reasoning
    if rate.output_audio is not None or rate.output_image is not None:
        # Who says nothing about it may get what the model can make.
        asked = call.body.get("modalities")
        made = asked if type(asked) is list else ("audio", "image")
        if rate.output_audio is not None and ("audio" in made or "audio" in call.body):
            most = max(most, rate.output_audio)
        if rate.output_image is not None and "image" in made:
            most = max(most, rate.output_image)
    return most


def _beside_pico(rate: Price, seen: Survey) -> int:
    if seen.most is not None:
        # Rounded up where the bill of a part of a second is rounded down.
        up = 1 if rate.audio_second and seen.most.audio_ms else 0
        return cost_pico(_NO_TOKENS, replace(rate, tiers=()), measure(seen.most)) + up
    total = rate.request or 0
    if rate.image:
        total += rate.image * (len(seen.pictures) + seen.prompts)
    if rate.audio_second:
        total += -(-rate.audio_second * seen.most_sound_ms // 1000)
    if rate.character:
        total += rate.character * seen.text_bytes
    return total


def _charged(
    snapshot: Snapshot,
    principal: Principal,
    plan: Sequence[Target],
    model: str,
    full_nano: int | None,
    forecast_nano: int,
    output_pico: int,
) -> tuple[int | None, int, int]:
    """The same amounts after margin or discount, at the target where that is most."""
    counts_costs = any(budget.is_platform for budget in principal.budgets)
    full, forecast, pico = 0, 0, 0
    for target in plan:
        adjustment = adjustment_of(snapshot, principal.tenant_id, target.provider, model)
        if adjustment is None or counts_costs:
            full, forecast, pico = max(full, full_nano or 0), max(forecast, forecast_nano), max(pico, output_pico)
        if adjustment is not None:
            full = max(full, adjustment.apply_up(full_nano or 0))
            forecast = max(forecast, adjustment.apply_up(forecast_nano))
            pico = max(pico, adjustment.scale_pico(output_pico))
    return None if full_nano is None else full, forecast, pico


def _counted(call: Call, seen: Survey, family: Family) -> tuple[int, int]:
    """The upper and the likely count of a call's input. The upper one counts the JSON: no text of it can hide."""
    if call.operation is Operation.CHAT:
        usual = tokens.count_chat(call.body, family) + media_usual(seen, family)
    else:
        usual = seen.ids + sum(tokens.count(text, family) for text in texts_of(call)) + media_usual(seen, family)
    body: Any = call.body
    if seen.ids:
        body = {name: value for name, value in body.items() if name not in {"prompt", "input"}}
    if seen.data:
        body = _without(body, frozenset(map(id, seen.data)))
    text = orjson.dumps(body).decode()
    most = tokens.count_upper(text, family) + seen.ids + media_most(seen, family) + family.added + beyond_bytes(call)
    if seen.has_tools:
        most += family.added_for_tools
    return min(most, bound_of(seen, family)), usual


def _without(value: Any, data: frozenset[int]) -> Any:
    """The same without the strings that are no text, told by identity."""
    if type(value) is dict:
        return {name: _without(inner, data) for name, inner in value.items()}
    if type(value) is list:
        return [_without(inner, data) for inner in value]
    return "" if type(value) is str and id(value) in data else value
