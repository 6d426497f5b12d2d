"""Which places a catalogue names: what may stand in a metric's label, and what a tenant may be told of."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from tollkeeper.contracts.catalog import ModelRoute, Snapshot
from tollkeeper.contracts.routing import Fork, RoutePolicy, Target

Names = tuple[str, str]


def named_places(snapshot: Snapshot, tenant_id: UUID | None = None) -> frozenset[Names]:
    """Provider and model of every target. Of one tenant: those of its own routes and of the shared ones."""
    routes = (*snapshot.models.values(), *snapshot.wildcards)
    return frozenset(
        (target.provider, target.model)
        for route in routes
        if tenant_id is None or route.tenant_id in {None, tenant_id}
        for target in _targets_of(route)
    )


def targets_under(nodes: Iterable[Target | Fork]) -> Iterator[Target]:
    """Whatever forks lie between."""
    for node in nodes:
        if isinstance(node, Target):
            yield node
        else:
            yield from targets_under(branch.to for branch in node.branches)


def policy_targets(policy: RoutePolicy) -> Iterator[Target]:
    return targets_under((policy.root, *policy.fallbacks.values()))


def _targets_of(route: ModelRoute) -> Iterator[Target]:
    yield from route.targets
    if route.policy is not None:
        yield from policy_targets(route.policy)
