"""Orders the targets of a model's route: the first is tried first, the others stand in for it."""

from collections.abc import Sequence

from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.principal import name_allowed
from tollkeeper.contracts.routing import Target


def plan(
    route: ModelRoute, snapshot: Snapshot, allowed_providers: frozenset[str] | None, share: float
) -> tuple[Target, ...]:
    """The targets worth trying, best first. Pure: `share` is the caller's random number in [0, 1).

    Targets whose provider is unknown or not allowed are left out. `weighted` draws the first target by its weight and
    keeps the order of the others; every other strategy goes by the order of the configuration.
    """
    if len(route.targets) == 1 and allowed_providers is None:
        return route.targets if route.targets[0].provider in snapshot.providers else ()
    targets = tuple(
        target
        for target in route.targets
        if target.provider in snapshot.providers and name_allowed(target.provider, allowed_providers)
    )
    if route.strategy == "weighted" and len(targets) > 1:
        first = _draw(targets, share)
        return (targets[first], *targets[:first], *targets[first + 1 :])
    return targets


def _draw(targets: Sequence[Target], share: float) -> int:
    point = share * sum(target.weight for target in targets)
    for position, target in enumerate(targets):
        point -= target.weight
        if point < 0:
            return position
    return 0
