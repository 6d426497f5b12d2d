"""Decides where a call goes: the targets of its route in the order to try them, and what was left out for which reason.

Pure: the clock, the random number and everything known of targets come in with `Facts` and `HealthView`, so that
`tollkeeper routing explain` and the console show the very decision that a call would get. How branches of one fork are
ordered is in `order`, what a condition asks in `conditions`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from tollkeeper.contracts.catalog import REST, ModelRoute, Snapshot
from tollkeeper.contracts.principal import Principal, name_allowed
from tollkeeper.contracts.routing import Branch, FallbackKind, Fork, Strategy, Target
from tollkeeper.gateway.routing.conditions import unmet
from tollkeeper.gateway.routing.facts import ROUTE_HEADER, Facts
from tollkeeper.gateway.routing.health import UNKNOWN, HealthView, Standing
from tollkeeper.gateway.routing.order import Draws, Group, by_cost, by_hash, by_latency, by_weight

_NO_FALLBACKS: Final[Mapping[FallbackKind, tuple[Target, ...]]] = MappingProxyType({})
_TOO_SMALL: Final = "context_too_small"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`reason`: `provider_unknown`, `provider_not_allowed`, `not_named`, `condition`, `capability` or
    `context_too_small`; `detail` says which condition, which capability, how many tokens.
    """

    target: Target
    reason: str
    detail: str = ""


@dataclass(slots=True)  # not frozen: made for every call, and freezing costs a microsecond
class Decision:
    """`targets` best first; every target of the route's tree is among them or among `left_out`, never both."""

    targets: tuple[Target, ...]
    fallbacks: Mapping[FallbackKind, tuple[Target, ...]] = field(default_factory=lambda: _NO_FALLBACKS)
    left_out: tuple[LeftOut, ...] = ()
    # Of the caller's own narrowing, what the route does not have.
    unknown_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Blind:
    """A view of nothing: every target is unknown and at rest."""

    def standing(self, provider: str, model: str, now: float) -> Standing:  # noqa: ARG002 - the interface
        return UNKNOWN

    def is_rolled_back(self, fork: Fork, now: float) -> bool:  # noqa: ARG002 - the interface
        return False


def only_target(
    route: ModelRoute, snapshot: Snapshot, principal: Principal, headers: Mapping[bytes, bytes]
) -> tuple[Target, ...] | None:
    """The plan of a route with one target and nothing to decide; None: ask `decide`."""
    if len(route.targets) != 1 or route.policy is not None or principal.allowed_providers is not None:
        return None
    if ROUTE_HEADER in headers or route.targets[0].provider not in snapshot.providers or route.name[-1] == "*":
        return None
    return route.targets


def decide(route: ModelRoute, snapshot: Snapshot, facts: Facts, view: HealthView) -> Decision:
    """The same for the same facts: `facts.share` is all the chance there is in it."""
    return _Deciding(route, snapshot, facts, view).decide()


def root_of(route: ModelRoute) -> Fork:
    """The policy's tree, or that of the route's own targets."""
    if route.policy is not None:
        return route.policy.root
    return Fork(Strategy(route.strategy), tuple(Branch(target, target.weight) for target in route.targets))


def targets_of(fork: Fork) -> Iterator[Target]:
    """Every target below a fork, in the order of the configuration; one that stands there twice comes twice."""
    for branch in fork.branches:
        if isinstance(branch.to, Fork):
            yield from targets_of(branch.to)
        else:
            yield branch.to


class _Deciding:
    __slots__ = (
        "_allowed",
        "_draws",
        "_facts",
        "_left",
        "_names",
        "_notes",
        "_route",
        "_snapshot",
        "_standings",
        "_view",
    )

    def __init__(self, route: ModelRoute, snapshot: Snapshot, facts: Facts, view: HealthView) -> None:
        self._route = route
        self._snapshot = snapshot
        self._facts = facts
        self._view = view
        self._allowed = facts.principal.allowed_providers
        self._names = facts.names() if ROUTE_HEADER in facts.headers else None
        self._draws = Draws(facts.share)
        self._left: list[LeftOut] = []
        self._notes: list[str] = []
        self._standings: dict[tuple[str, str], Standing] = {}

    def decide(self) -> Decision:
        route, policy = self._route, self._route.policy
        root = root_of(route)
        unknown = self._unknown_names(root)
        if unknown:
            return Decision((), unknown_names=unknown)
        has_larger = policy is not None and FallbackKind.CONTEXT_WINDOW in policy.fallbacks
        ordered, unfit = self._ordered(root, has_others=has_larger)
        left = self._left
        fallbacks: Mapping[FallbackKind, tuple[Target, ...]] = _NO_FALLBACKS
        if policy is not None and policy.fallbacks:
            fallbacks = self._fallbacks(policy.fallbacks)
            if not ordered and any(one.reason == _TOO_SMALL for one in unfit):
                larger = fallbacks.get(FallbackKind.CONTEXT_WINDOW, ())
                ordered = [target for target in larger if self._unfit(target) is None]
                if ordered:
                    self._notes.append("context_window: none of the policy's own targets holds the input")
                    fallbacks = MappingProxyType(
                        {kind: some for kind, some in fallbacks.items() if kind is not FallbackKind.CONTEXT_WINDOW}
                    )
        if not ordered:
            # Our figures may be wrong: the vendors have the last word where nobody else is there.
            ordered, unfit = self._all(unfit), []
        left += unfit
        if left:
            names = {(target.provider, target.model) for target in ordered}
            left = [one for one in left if (one.target.provider, one.target.model) not in names]
        return Decision(tuple(ordered), fallbacks, tuple(left), (), tuple(self._notes))

    def _ordered(self, root: Fork, *, has_others: bool = False) -> tuple[list[Target], list[LeftOut]]:
        """What fits in order, those that may not be asked for now last, and what does not fit."""
        named = self._names is None or (bool(root.name) and root.name in self._names)
        found = self._fork(root, is_named=named)
        if len(found) < 2 and not has_others:
            return found, []
        fit: list[Target] = []
        unfit: list[LeftOut] = []
        blocked: list[Target] = []
        now, view, known, called = self._facts.now, self._view, self._standings, self._facts.call.model
        windows = [target.context_tokens for target in found if target.context_tokens is not None]
        # Nearly every call is known to fit everywhere by its length alone.
        is_long = bool(windows) and self._facts.input_bound > min(windows)
        seen: set[tuple[str, str]] = set()
        for target in found:
            place = (target.provider, target.model)
            if place in seen:
                # Each provider and model once, where it stands first.
                continue
            seen.add(place)
            if (is_long or target.lacks) and (why := self._unfit(target)) is not None:
                unfit.append(why)
                continue
            standing = known.get(place) if known else None
            model = called if target.model == "*" else target.model
            if (standing or view.standing(target.provider, model, now)).blocked_until > now:
                blocked.append(target)
            else:
                fit.append(target)
        if blocked and fit:
            self._notes += [f"blocked: {target.provider}/{target.model} is tried last" for target in blocked]
        return fit + blocked, unfit

    def _fork(self, fork: Fork, *, is_named: bool) -> list[Target]:
        groups: list[Group] = []
        providers, is_free = self._snapshot.providers, self._allowed is None and (is_named or self._names is None)
        for position, branch in enumerate(fork.branches):
            if branch.when is not None and (why := unmet(branch.when, self._facts)) is not None:
                self._leave(branch, "condition", why)
                continue
            to = branch.to
            if isinstance(to, Target):
                target = to if to.model != REST else self._with_rest(to)
                if target is not None and (
                    (is_free and target.provider in providers) or self._may(target, is_named=is_named)
                ):
                    groups.append((position, branch.weight, [target], branch))
            else:
                inner = self._fork(to, is_named=is_named or (self._names is not None and to.name in self._names))
                if inner:
                    groups.append((position, branch.weight, inner, branch))
        if len(groups) > 1 and fork.strategy is not Strategy.PRIORITY:
            groups = self._by_strategy(fork, groups)
        elif not groups:
            return []
        return groups[0][2] if len(groups) == 1 else [target for _, _, targets, _ in groups for target in targets]

    def _by_strategy(self, fork: Fork, groups: list[Group]) -> list[Group]:
        strategy = fork.strategy
        if strategy is Strategy.WEIGHTED:
            return by_weight(groups, self._draws)
        if strategy is Strategy.STICKY:
            return by_hash(groups, self._facts.affinity(fork.sticky_by))
        if strategy is Strategy.CANARY:
            return self._by_canary(fork, groups)
        if strategy is Strategy.LEAST_LATENCY:
            return by_latency(groups, self._standing, self._facts.now, self._draws)
        return by_cost(groups, self._route, self._facts, self._standing)

    def _by_canary(self, fork: Fork, groups: list[Group]) -> list[Group]:
        rule = fork.canary
        assert rule is not None
        drawn = self._draws.next() * 1_000_000 < rule.share_millionths
        if self._view.is_rolled_back(fork, self._facts.now):
            self._notes.append(f"canary: {fork.name or 'the second branch'} is rolled back")
            return groups
        return groups[::-1] if drawn else groups

    def _may(self, target: Target, *, is_named: bool) -> bool:
        if target.provider not in self._snapshot.providers:
            self._left.append(LeftOut(target, "provider_unknown"))
        elif self._allowed is not None and not name_allowed(target.provider, self._allowed):
            self._left.append(LeftOut(target, "provider_not_allowed"))
        elif not (is_named or self._is_named(target)):
            self._left.append(LeftOut(target, "not_named"))
        else:
            return True
        return False

    def _is_named(self, target: Target) -> bool:
        names = self._names
        return names is None or target.provider in names or f"{target.provider}/{target.model}" in names

    def _unfit(self, target: Target) -> LeftOut | None:
        """Why a target is known to refuse this call."""
        facts = self._facts
        if target.lacks and (missing := target.lacks & facts.asked):
            return LeftOut(target, "capability", ", ".join(sorted(missing)))
        most = target.context_tokens
        if most is not None and facts.input_bound > most and facts.input_tokens > most:
            return LeftOut(target, _TOO_SMALL, f"about {facts.input_tokens} tokens, {most} at most")
        return None

    def _fallbacks(self, forks: Mapping[FallbackKind, Fork]) -> Mapping[FallbackKind, tuple[Target, ...]]:
        found: dict[FallbackKind, tuple[Target, ...]] = {}
        left, notes = self._left, self._notes
        for kind, fork in forks.items():
            # What is said of targets is said of the tree's.
            self._left, self._notes = [], []
            ordered, unfit = self._ordered(fork)
            if kept := ordered or self._all(unfit):
                found[kind] = tuple(kept)
        self._left, self._notes = left, notes
        return MappingProxyType(found)

    def _all(self, unfit: Sequence[LeftOut]) -> list[Target]:
        """All the same, those that may not be asked for now last."""
        now = self._facts.now
        return sorted((one.target for one in unfit), key=lambda target: self._standing(target).blocked_until > now)

    def _standing(self, target: Target) -> Standing:
        place = (target.provider, target.model)
        standing = self._standings.get(place)
        if standing is None:
            model = self._facts.call.model if target.model == "*" else target.model
            standing = self._standings[place] = self._view.standing(target.provider, model, self._facts.now)
        return standing

    def _with_rest(self, target: Target) -> Target | None:
        """With what the `*` at the end of the route's name stands for; None where that is nothing."""
        rest = self._facts.call.model[len(self._route.name) - 1 :] if self._route.name[-1:] == "*" else ""
        return replace(target, model=rest) if rest else None

    def _leave(self, branch: Branch, reason: str, detail: str) -> None:
        targets: Iterable[Target] = (branch.to,) if isinstance(branch.to, Target) else targets_of(branch.to)
        self._left += [LeftOut(target, reason, detail) for target in targets]

    def _unknown_names(self, root: Fork) -> tuple[str, ...]:
        if self._names is None:
            return ()
        policy = self._route.policy
        forks = (root, *policy.fallbacks.values()) if policy is not None else (root,)
        known: set[str] = set()
        for fork in forks:
            known.update(self._names_below(fork))
        return tuple(sorted(self._names - known)) if self._names else ("",)

    def _names_below(self, fork: Fork) -> Iterator[str]:
        if fork.name:
            yield fork.name
        for branch in fork.branches:
            if isinstance(branch.to, Fork):
                yield from self._names_below(branch.to)
            elif name_allowed(branch.to.provider, self._allowed):
                target = self._with_rest(branch.to) if branch.to.model == REST else branch.to
                if target is not None:
                    yield target.provider
                    yield f"{target.provider}/{target.model}"
