"""What it costs to say what a call may come to: the cheap bound, counting exactly, and the forecast, each alone.

`python -m bench.appraise` prints microseconds of CPU as JSON: the best of some rounds, with a price of six tiers.
"""

import json
from collections.abc import Callable
from time import process_time
from timeit import repeat

import orjson

from tollkeeper.contracts.catalog import ModelRoute, Price, PriceTier, ServiceTier
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.gateway.money.appraise import appraise
from tollkeeper.gateway.money.forecast import Forecasts

_ROUNDS = 5
_MODEL = "gpt-4o"


def _best(run: Callable[[], object], times: int) -> float:
    return round(min(repeat(run, number=times, repeat=_ROUNDS, timer=process_time)) / times * 1e6, 2)


def _call(text: str) -> Call:
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": text}]
    body = {"model": _MODEL, "messages": messages, "max_tokens": 200}
    return Call(Operation.CHAT, model=_MODEL, is_stream=False, body=body, raw=orjson.dumps(body))


def measure() -> dict[str, float]:
    rates = Price(uuid7(), input=2_000_000, output=10_000_000, cache_read=200_000, cache_write=2_500_000)
    tiers = tuple(PriceTier(rates, tier, over) for tier in list(ServiceTier)[1:] for over in (0, 272_000))
    price = Price(uuid7(), input=2_000_000, output=10_000_000, cache_read=200_000, tiers=tiers)
    route = ModelRoute(uuid7(), _MODEL, (Target("openai", _MODEL),), price=price)
    principal = Principal(uuid7(), uuid7(), None, Environment.LIVE, frozenset({Permission.GATEWAY_USE}))
    forecasts = Forecasts()
    for length in range(1, 2_000):
        forecasts.learn(_MODEL, principal.key_id, length % 700)
    short, long = _call("Hello there, how are you?"), _call("word and " * 100_000)

    def of(call: Call, *, is_exact: bool = False) -> Callable[[], object]:
        return lambda: appraise(call, route, principal, route.targets, forecasts, is_exact=is_exact)

    return {
        "short_us": _best(of(short), 20_000),
        "short_exact_us": _best(of(short, is_exact=True), 2_000),
        "long_900_kb_us": _best(of(long), 2_000),
        "long_900_kb_exact_us": _best(of(long, is_exact=True), 3),
        "forecast_us": _best(lambda: forecasts.forecast(_MODEL, principal.key_id, 400), 20_000),
        "learn_us": _best(lambda: forecasts.learn(_MODEL, principal.key_id, 300), 20_000),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
