"""Whether a canary failed: what its places and those of the branch it is to replace did within its window. Pure."""

from collections.abc import Iterable, Iterator

from tollkeeper.contracts.routing import CanaryRule, Fork, Target

_MILLION = 1_000_000


def is_failing(rule: CanaryRule, canary: tuple[int, int], first: tuple[int, int]) -> bool:
    """Of each branch its calls and failures. A canary that fails no more than twice as often as the other is kept:
    what troubles both is no fault of its own.
    """
    calls, failures = canary
    if calls < rule.least_calls or failures * _MILLION <= calls * rule.most_errors_millionths:
        return False
    other_calls, other_failures = first
    return other_calls == 0 or failures * other_calls > 2 * other_failures * calls


def branch_places(fork: Fork, branch: int) -> frozenset[tuple[str, str]]:
    """Providers and models under one branch, whatever forks lie between."""
    return frozenset((target.provider, target.model) for target in _targets((fork.branches[branch].to,)))


def canary_name(fork: Fork) -> str:
    """The same for the same canary on every worker and after each reload; another one once its rule or places change."""
    sides = (sorted(branch_places(fork, branch)) for branch in range(2))
    first, second = (",".join(f"{provider}/{model}" for provider, model in side) for side in sides)
    rule = fork.canary
    return f"{fork.name}|{first}|{second}|{'' if rule is None else rule.share_millionths}"


def is_canary_of(name: str, provider: str, model: str | None) -> bool:
    """Whether the second branch of the canary with this name leads to the provider, or to that model there."""
    places = name.rsplit("|", 2)[1].split(",") if name.count("|") >= 2 else []
    return any(place == f"{provider}/{model}" if model else place.startswith(f"{provider}/") for place in places)


def _targets(nodes: Iterable[Target | Fork]) -> Iterator[Target]:
    for node in nodes:
        if isinstance(node, Target):
            yield node
        else:
            yield from _targets(branch.to for branch in node.branches)
