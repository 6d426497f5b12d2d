"""Whether a canary failed: what its places and those of the branch it is to replace did within its window. Pure."""

import orjson

from tollkeeper.contracts.routing import CanaryRule, Fork
from tollkeeper.gateway.routing.catalogue import Names, targets_under

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


def branch_places(fork: Fork, branch: int) -> frozenset[Names]:
    """Providers and models under one branch, whatever forks lie between."""
    return frozenset((target.provider, target.model) for target in targets_under((fork.branches[branch].to,)))


def canary_name(fork: Fork) -> str:
    """The same for the same canary on every worker and after each reload; another one once its rule or places change."""
    sides = [sorted(branch_places(fork, branch)) for branch in range(2)]
    share = None if fork.canary is None else fork.canary.share_millionths
    return orjson.dumps([fork.name, *sides, share]).decode()


def canary_places(name: str) -> list[Names]:
    """Providers and models of the second branch of the canary with this name; none of what is no such name."""
    try:
        return [(str(provider), str(model)) for provider, model in orjson.loads(name)[2]]
    except (ValueError, LookupError, TypeError):
        return []
