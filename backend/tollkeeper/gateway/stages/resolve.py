"""Finds where the named model leads for this caller, and fixes the plan that `dispatch` follows."""

import random
from typing import Final

from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.principal import Environment, Principal, name_allowed
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, Forbidden, ModelNotFound, NoTargetAvailable, TollkeeperError
from tollkeeper.gateway.money.estimate import bound_input_tokens, estimate_input_tokens
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.routing.facts import ROUTE_HEADER, Facts, Reckoner
from tollkeeper.gateway.routing.health import HealthView
from tollkeeper.gateway.routing.plan import Blind, Decision, decide, only_target
from tollkeeper.gateway.stage import Exchange, Step

_CAPS: Final = ("max_completion_tokens", "max_tokens")


class Reckoning:
    """A call's tokens as the money side sees them: by its bytes, and by how long answers of its model and key get."""

    def __init__(self, forecasts: Forecasts | None = None) -> None:
        self._forecasts = forecasts or Forecasts()

    def bound_input(self, call: Call) -> int:
        return bound_input_tokens(call)

    def estimate_input(self, call: Call) -> int:
        return estimate_input_tokens(call)

    def expect_output(self, principal: Principal, call: Call) -> int:
        caps = [cap for name in _CAPS if type(cap := call.body.get(name)) is int and cap > 0]
        return self._forecasts.forecast(call.model, principal.key_id, max(caps, default=None))


class Resolve(Step):
    def __init__(self, clock: Clock, view: HealthView | None = None, reckon: Reckoner | None = None) -> None:
        """Without a view every target is taken for well."""
        self._clock = clock
        self._view = view or Blind()
        self._reckon = reckon or Reckoning()

    def enter(self, exchange: Exchange) -> None:
        principal, name = exchange.principal, exchange.call.model
        route = exchange.snapshot.find_model(principal.tenant_id, name)
        if route is None:
            raise unknown_model(name)
        exchange.route = route
        check_access(principal, route, name)
        only = only_target(route, exchange.snapshot, principal, exchange.headers)
        if only is not None:
            exchange.plan = only
            return
        facts = Facts(
            principal,
            exchange.call,
            self._reckon,
            share=random.random(),  # noqa: S311 - spreads load, guards nothing
            now=self._clock.monotonic(),
            unix=self._clock.unix(),
            headers=exchange.headers,
        )
        decision = decide(route, exchange.snapshot, facts, self._view)
        if not decision.targets:
            raise refusal_of(decision, route, facts)
        exchange.plan = decision.targets
        if decision.fallbacks:
            exchange.fallbacks = decision.fallbacks


def refusal_of(decision: Decision, route: ModelRoute, facts: Facts) -> TollkeeperError:
    """Why no target is left. What the caller's own header took away is the caller's to mend."""
    name = facts.call.model
    if ROUTE_HEADER in facts.headers:
        unknown = decision.unknown_names
        if unknown or any(one.reason == "not_named" for one in decision.left_out):
            told = f"'{unknown[0]}' is no part of" if unknown and unknown[0] else "it leaves nothing of"
            return BadRequest(
                f"'x-tollkeeper-route' names what this call may be kept to, and {told} the route of `{name}`. Name its "
                "policies or providers, separated by commas, or leave the header out.",
                code="route_not_allowed",
                param=ROUTE_HEADER.decode(),
            )
    if route.policy_name is not None and route.policy is None:
        return NoTargetAvailable(
            f"The model `{name}` leads by the route policy `{route.policy_name}`, which is gone or faulty. Tell the operator.",
            should_retry=False,
        )
    reasons = {one.reason for one in decision.left_out}
    if "provider_not_allowed" in reasons:
        return Forbidden(
            f"The model `{name}` is served by providers that this key may not use.",
            code="provider_not_allowed",
            param="model",
        )
    if "condition" in reasons:
        return NoTargetAvailable(
            f"No branch of the route of `{name}` is there for this call: its conditions hold for other callers, calls or "
            "times.",
            should_retry=False,
        )
    if name == route.name[:-1] and route.name[-1:] == "*":
        # Nothing stands where the pattern has its `*`.
        return unknown_model(name)
    return NoTargetAvailable(f"The model `{name}` has no provider at the moment.", should_retry=False)


def unknown_model(name: str) -> ModelNotFound:
    # OpenAI's own words: clients match them.
    return ModelNotFound(f"The model `{name}` does not exist or you do not have access to it.", param="model")


def check_access(principal: Principal, route: ModelRoute, name: str) -> None:
    """Raises what keeps this caller from the model, whatever its targets."""
    if principal.allowed_models is not None and not name_allowed(name, principal.allowed_models):
        raise Forbidden(f"This key may not use the model `{name}`.", code="model_not_allowed", param="model")
    if principal.environment is Environment.TEST and not route.is_simulated:
        raise Forbidden(
            f"A test key reaches simulated models only, and `{name}` is a real one. Use a simulated model or a live key.",
            param="model",
        )
    if route.price is None and route.blocks_unpriced:
        raise BadRequest(
            f"The model `{name}` has no price, and unpriced models are blocked here. Ask the operator to set one.",
            code="unpriced_model",
            param="model",
        )


def is_visible(principal: Principal, route: ModelRoute) -> bool:
    """Whether a model belongs in this caller's list."""
    if route.tenant_id is not None and route.tenant_id != principal.tenant_id:
        return False
    if principal.environment is Environment.TEST and not route.is_simulated:
        return False
    if not any(name_allowed(target.provider, principal.allowed_providers) for target in route.targets):
        return False
    return name_allowed(route.name, principal.allowed_models)
