"""Finds where the named model leads for this caller, and fixes the plan that `dispatch` follows."""

import random
from dataclasses import replace

from tollkeeper.contracts.catalog import REST, ModelRoute
from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.principal import Environment, Principal, name_allowed
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, Forbidden, ModelNotFound, NoTargetAvailable
from tollkeeper.gateway.routing.plan import plan
from tollkeeper.gateway.stage import Exchange, Next


async def resolve(exchange: Exchange, next_stage: Next) -> Reply:
    principal, name = exchange.principal, exchange.call.model
    route = exchange.snapshot.find_model(principal.tenant_id, name)
    if route is None:
        raise _unknown(name)
    exchange.route = route
    _check_access(principal, route, name)
    if route.price is None and route.blocks_unpriced:
        raise BadRequest(
            f"The model `{name}` has no price, and unpriced models are blocked here. Ask the operator to set one.",
            code="unpriced_model",
            param="model",
        )
    share = random.random() if route.strategy == "weighted" else 0.0  # noqa: S311 - spreads load, guards nothing
    exchange.plan = plan(route, exchange.snapshot, principal.allowed_providers, share)
    if not exchange.plan:
        if principal.allowed_providers is not None:
            raise Forbidden(
                f"The model `{name}` is served by providers that this key may not use.",
                code="provider_not_allowed",
                param="model",
            )
        raise NoTargetAvailable(f"The model `{name}` has no provider at the moment.", should_retry=False)
    if route.name[-1] == "*":
        exchange.plan = _with_rest(exchange.plan, name, route.name)
    return await next_stage(exchange)


def _with_rest(plan: tuple[Target, ...], name: str, pattern: str) -> tuple[Target, ...]:
    """The plan with what the pattern's `*` stands for, where a target asks for that."""
    if all(target.model != REST for target in plan):
        return plan
    rest = name[len(pattern) - 1 :]
    if not rest:
        raise _unknown(name)
    return tuple(replace(target, model=rest) if target.model == REST else target for target in plan)


def _unknown(name: str) -> ModelNotFound:
    # OpenAI's own words: clients match them.
    return ModelNotFound(f"The model `{name}` does not exist or you do not have access to it.", param="model")


def _check_access(principal: Principal, route: ModelRoute, name: str) -> None:
    if principal.allowed_models is not None and not name_allowed(name, principal.allowed_models):
        raise Forbidden(f"This key may not use the model `{name}`.", code="model_not_allowed", param="model")
    if principal.environment is Environment.TEST and not route.is_simulated:
        raise Forbidden(
            f"A test key reaches simulated models only, and `{name}` is a real one. Use a simulated model or a live key.",
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
