"""What tests of the decision have in common: routes made of a policy, facts of a call, and a view that is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.gateway.serving import principal, provider, route, snapshot
from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import Branch, CanaryRule, Fork, RoutePolicy, Strategy, Target
from tollkeeper.gateway.routing.facts import Facts
from tollkeeper.gateway.routing.health import UNKNOWN, Standing
from tollkeeper.gateway.routing.plan import Decision, decide, targets_of

SNAPSHOT: Snapshot = snapshot([provider(name, None) for name in "abcdefghij"], [])


@dataclass
class Told:
    """A view of what a test says."""

    standings: dict[str, Standing] = field(default_factory=dict)
    rolled_back: bool = False

    def standing(self, provider: str, model: str, now: float) -> Standing:
        return self.standings.get(provider, UNKNOWN)

    def is_rolled_back(self, fork: Fork, now: float) -> bool:
        return self.rolled_back


@dataclass
class Reckoned:
    """A reckoner that is told how long the input is."""

    tokens: int

    def bound_input(self, call: Call) -> int:
        return self.tokens

    def estimate_input(self, call: Call) -> int:
        return self.tokens

    def expect_output(self, principal: Principal, call: Call) -> int:
        return 100


def chat(*texts: str, model: str = "m", **body: Any) -> Call:
    """Turns of a system, a user, an assistant, a user …"""
    roles = ("system", *("user", "assistant") * len(texts))
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return Call(Operation.CHAT, model, False, {"model": model, "messages": messages, **body})


def facts(call: Call | None = None, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Facts:
    named = {name: fields.pop(name) for name in ("share", "now", "unix") if name in fields}
    tokens = fields.pop("tokens", 10)
    return Facts(
        principal=principal(**fields),
        call=call or chat("be kind", "hello"),
        headers={name.encode(): value.encode() for name, value in (headers or {}).items()},
        reckon=Reckoned(tokens),
        **named,
    )


def fork(strategy: Strategy, *to: Target | Fork | Branch, **fields: Any) -> Fork:
    branches = tuple(one if isinstance(one, Branch) else Branch(one, getattr(one, "weight", 1)) for one in to)
    if strategy is Strategy.CANARY:
        fields.setdefault("canary", CanaryRule(100_000))
    return Fork(strategy, branches, **fields)


def routed(root: Fork, **fields: Any) -> ModelRoute:
    policy = RoutePolicy(root, **{name: fields.pop(name) for name in ("fallbacks",) if name in fields})
    made = route("m", **fields)
    return type(made)(
        **{
            **{name: getattr(made, name) for name in ("id", "name", "price")},
            **fields,
            "targets": tuple(targets_of(root)),
            "policy": policy,
        }
    )


def decided(root: Fork, what: Facts | None = None, view: Told | None = None, **fields: Any) -> Decision:
    return decide(routed(root, **fields), SNAPSHOT, what or facts(), view or Told())


def names(decision: Decision) -> str:
    return "".join(target.provider for target in decision.targets)
