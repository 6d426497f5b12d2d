"""What it costs to decide where a call goes, by strategy: ten targets, each known, and a call of ordinary size.

`python -m bench.routing` prints microseconds of CPU as JSON: the best of some rounds. Bar: 25 µs with ten targets.
"""

import json
from collections.abc import Callable
from functools import partial
from time import process_time
from timeit import repeat
from types import MappingProxyType
from typing import Any

import orjson

from tollkeeper.contracts.catalog import ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.contracts.routing import Branch, CanaryRule, Condition, Fork, RoutePolicy, Strategy, Target
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Permission
from tollkeeper.gateway.routing.facts import Facts
from tollkeeper.gateway.routing.health import Standing
from tollkeeper.gateway.routing.plan import decide, only_target
from tollkeeper.gateway.stages.resolve import Reckoning

_ROUNDS = 5
_TIMES = 5_000
_MODEL = "gpt-4o"
_NAMES = tuple(f"provider-{number}" for number in range(10))
_TARGETS = tuple(Target(name, _MODEL, weight=number + 1, context_tokens=128_000) for number, name in enumerate(_NAMES))


class _View:
    """Health as a table: what the registry's own look-up costs is measured with it."""

    def __init__(self) -> None:
        self._standings = {
            (target.provider, target.model): Standing(0.1 + number / 50, 0.5, number % 3)
            for number, target in enumerate(_TARGETS)
        }

    def standing(self, provider: str, model: str, now: float) -> Standing:  # noqa: ARG002 - the interface
        return self._standings[provider, model]

    def is_rolled_back(self, fork: Fork, now: float) -> bool:  # noqa: ARG002 - the interface
        return False


def _best(run: Callable[[], object], times: int = _TIMES) -> float:
    return round(min(repeat(run, number=times, repeat=_ROUNDS, timer=process_time)) / times * 1e6, 2)


def _route(root: Fork) -> ModelRoute:
    prices = {(target.provider, target.model): Price(uuid7(), 2_000_000, 10_000_000) for target in _TARGETS}
    return ModelRoute(uuid7(), _MODEL, _TARGETS, policy=RoutePolicy(root), target_prices=prices)


def _fork(strategy: Strategy, **fields: Any) -> Fork:
    return Fork(strategy, tuple(Branch(target, target.weight) for target in _TARGETS), **fields)


def measure() -> dict[str, float]:
    config = {name: ProviderConfig(uuid7(), name, "openai_compatible", None) for name in _NAMES}
    snapshot = Snapshot(1, MappingProxyType(config), MappingProxyType({}))
    principal = Principal(uuid7(), uuid7(), None, Environment.LIVE, frozenset({Permission.GATEWAY_USE}))
    messages = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Hello there. " * 20}]
    body = {"model": _MODEL, "messages": messages, "max_tokens": 200}
    call = Call(Operation.CHAT, model=_MODEL, is_stream=False, body=body, raw=orjson.dumps(body))
    view, reckon = _View(), Reckoning()

    def deciding(route: ModelRoute) -> Callable[[], object]:
        def run() -> object:
            facts = Facts(principal, call, reckon, share=0.4321, now=5.0, unix=1_795_000_000.0)
            return decide(route, snapshot, facts, view)

        return run

    plain = [strategy for strategy in Strategy if strategy is not Strategy.CANARY]
    figures = {f"{strategy.value}_us": _best(deciding(_route(_fork(strategy)))) for strategy in plain}
    halves = (Fork(Strategy.WEIGHTED, tuple(map(Branch, half)), name="half") for half in (_TARGETS[:5], _TARGETS[5:]))
    canary = Fork(Strategy.CANARY, tuple(map(Branch, halves)), canary=CanaryRule(100_000))
    figures["canary_of_two_policies_us"] = _best(deciding(_route(canary)))
    when = Condition(tags=frozenset({"team:red"}), headers={"x-env": frozenset({"test"})}, max_input_tokens=9_000)
    conditional = Fork(Strategy.PRIORITY, (*(Branch(one, when=when) for one in _TARGETS[:9]), Branch(_TARGETS[9])))
    figures["priority_with_conditions_us"] = _best(deciding(_route(conditional)))
    figures["without_policy_us"] = _best(deciding(ModelRoute(uuid7(), _MODEL, _TARGETS)))
    single = ModelRoute(uuid7(), _MODEL, _TARGETS[:1])
    figures["one_target_us"] = _best(partial(only_target, single, snapshot, principal, {}), 200_000)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
