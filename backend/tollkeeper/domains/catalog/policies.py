"""Route policies with every name in them resolved, or what is wrong with them, each fault with its path. Pure.

A policy may lead to other policies and to models of the catalogue, and these to policies again: whatever leads back to
where it began, or grows beyond what a call can look at, is a fault.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from tollkeeper.contracts.catalog import REST, ModelRoute
from tollkeeper.contracts.routing import (
    Branch,
    BreakerRule,
    CanaryRule,
    Condition,
    Deadlines,
    FallbackKind,
    Fork,
    HedgeRule,
    Hours,
    RetryRule,
    RoutePolicy,
    Strategy,
    Target,
)
from tollkeeper.core.ids import parse_id
from tollkeeper.domains.catalog.policy_fields import (
    DEEPEST,
    MOST_TARGETS,
    WEEKDAYS,
    BranchFields,
    CanaryFields,
    ConditionFields,
    HoursFields,
    PolicyFields,
)

Path = tuple[str | int, ...]
Key = tuple[UUID | None, str]
# What has been passed on the way to a branch: what it is called, and whose it is.
Chain = tuple[tuple[str, UUID | None], ...]

_STICKY: Final = ("conversation", "user", "key")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,100}")
_BY_WEIGHT: Final = (Strategy.WEIGHTED, Strategy.STICKY)
_MOST_BRANCHES: Final = 4 * MOST_TARGETS
_ONE_OF: Final = "name one of provider with model, model, policy, or branches"


class Fault(NamedTuple):
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as written. `version` is the published one's number; None for those of the file."""

    name: str
    fields: PolicyFields
    id: UUID
    tenant_id: UUID | None = None
    version: int | None = None
    is_managed_by_file: bool = False


class PolicyBook:
    """All policies and models that names may mean; the first of a name counts, a tenant's own before the shared one."""

    def __init__(
        self,
        policies: Iterable[PolicySource],
        models: Iterable[ModelRoute],
        providers: Collection[str] | None = None,
    ) -> None:
        """`providers`: those that there are; None: nobody asks. The same holds for `tenants`."""
        self.tenants: Collection[UUID] | None = None
        self.policies: dict[Key, PolicySource] = {}
        for policy in policies:
            self.policies.setdefault((policy.tenant_id, policy.name), policy)
        self._models: dict[Key, ModelRoute] = {}
        for model in models:
            self._models.setdefault((model.tenant_id, model.name), model)
        self.providers = providers

    def find_policy(self, tenant_id: UUID | None, name: str) -> PolicySource | None:
        return self.policies.get((tenant_id, name)) or self.policies.get((None, name))

    def find_model(self, tenant_id: UUID | None, name: str) -> ModelRoute | None:
        return self._models.get((tenant_id, name)) or self._models.get((None, name))

    def models_of(self, name: str, tenant_id: UUID | None) -> Sequence[str]:
        """Names of the models that refer to this very policy, at most five."""
        found = [
            model.name
            for model in self._models.values()
            if model.policy_name == name
            and (policy := self.find_policy(model.tenant_id, name)) is not None
            and policy.tenant_id == tenant_id
        ]
        return sorted(found)[:5]

    def resolve(self, source: PolicySource) -> tuple[RoutePolicy, list[Fault]]:
        """What a call follows; only without faults is it whole."""
        return _Resolving(self, source).resolve()

    def faults_by_name(self) -> Mapping[Key, Sequence[Fault]]:
        """Of each policy that is not whole."""
        found = {key: self.resolve(source)[1] for key, source in self.policies.items()}
        return {key: faults for key, faults in found.items() if faults}


def distinct(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Each provider and model once."""
    first: dict[tuple[str, str], Target] = {}
    for target in targets:
        first.setdefault((target.provider, target.model), target)
    return tuple(first.values())


def targets_of(fork: Fork) -> Iterator[Target]:
    for branch in fork.branches:
        if isinstance(branch.to, Fork):
            yield from targets_of(branch.to)
        else:
            yield branch.to


def all_targets(policy: RoutePolicy) -> tuple[Target, ...]:
    """Wherever it can send a call, each place once; the tree's own first."""
    forks = (policy.root, *policy.fallbacks.values())
    return distinct(target for fork in forks for target in targets_of(fork))


def with_targets(policy: RoutePolicy, change: Callable[[Target], Target]) -> RoutePolicy:
    """The policy with every target changed."""

    def changed(fork: Fork) -> Fork:
        branches = tuple(
            replace(one, to=changed(one.to) if isinstance(one.to, Fork) else change(one.to)) for one in fork.branches
        )
        return replace(fork, branches=branches)

    fallbacks = {kind: changed(fork) for kind, fork in policy.fallbacks.items()}
    return replace(policy, root=changed(policy.root), fallbacks=MappingProxyType(fallbacks))


def tenants_in(fields: PolicyFields) -> frozenset[UUID]:
    """Whom its conditions name, as far as they are ids."""
    kinds = (fields.fallbacks.of(kind) for kind in FallbackKind)
    branches = [*fields.branches, *(branch for some in kinds for branch in some)]
    found = set()
    while branches:
        branch = branches.pop()
        branches += branch.branches
        for name in () if branch.when is None else branch.when.tenants or ():
            with suppress(ValueError):
                found.add(parse_id("ten", name))
    return frozenset(found)


class _Resolving:
    def __init__(self, book: PolicyBook, source: PolicySource) -> None:
        self._book = book
        self._source = source
        self._faults: list[Fault] = []
        # Whose names are meant.
        self._tenant_id = source.tenant_id
        self._targets = 0
        self._seen = 0
        self._models: set[str] = set()
        # Inside another policy: what is wrong with single values there is that one's fault.
        self._is_own = True

    def resolve(self) -> tuple[RoutePolicy, list[Fault]]:
        source, fields = self._source, self._source.fields
        chain: Chain = ((f"policy {source.name}", source.tenant_id),)
        root = self._fork(fields, (), chain, 1)
        root = replace(root, name=source.name)
        own = {(target.provider, target.model) for target in targets_of(root)}
        fallbacks: dict[FallbackKind, Fork] = {}
        for kind in FallbackKind:
            branches = fields.fallbacks.of(kind)
            if not branches:
                continue
            path = ("fallbacks", kind.value)
            fork = self._branches(Strategy.PRIORITY, branches, path, chain, 1)
            fallbacks[kind] = fork
            places = {(target.provider, target.model) for target in targets_of(fork)}
            if places and places <= own:
                self._fault(path, "falls back to itself: none of its targets is another than the policy's own")
        policy = RoutePolicy(
            root=root,
            name=source.name,
            id=source.id,
            version=source.version,
            tenant_id=source.tenant_id,
            fallbacks=MappingProxyType(fallbacks),
            is_managed_by_file=source.is_managed_by_file,
            models=frozenset(self._models),
            **_rules(fields),
        )
        return policy, self._faults

    def _fault(self, path: Path, message: str, *, is_of_whole: bool = False) -> None:
        """Of a policy inside another one only what comes of them being together is told, once, at its reference."""
        fault = Fault(path, message)
        if (self._is_own or is_of_whole) and fault not in self._faults:
            self._faults.append(fault)

    def _fork(self, fields: PolicyFields | BranchFields, path: Path, chain: Chain, depth: int) -> Fork:
        strategy = fields.strategy or Strategy.PRIORITY
        fork = self._branches(strategy, fields.branches, (*path, "branches") if self._is_own else path, chain, depth)
        canary = self._canary(fields.canary, strategy, len(fields.branches), path)
        return replace(fork, canary=canary, sticky_by=self._sticky(fields.sticky_by, strategy, path))

    def _branches(
        self, strategy: Strategy, branches: Sequence[BranchFields], path: Path, chain: Chain, depth: int
    ) -> Fork:
        if depth > DEEPEST:
            self._fault(path, f"is nested more than {DEEPEST} levels deep", is_of_whole=True)
            return Fork(strategy, ())
        if strategy in _BY_WEIGHT and branches and not any(branch.weight for branch in branches):
            self._fault(path, "the weights sum to zero: give at least one branch a weight")
        found = []
        for index, branch in enumerate(branches):
            if self._targets > MOST_TARGETS or self._is_too_much(path):
                break
            to = self._branch(branch, (*path, index) if self._is_own else path, chain, depth)
            if to is not None:
                when = None if branch.when is None else self._condition(branch.when, (*path, index, "when"))
                found.append(Branch(to, branch.weight, when))
        return Fork(strategy, tuple(found))

    def _is_too_much(self, path: Path) -> bool:
        """So that no few policies that lead to one another many times over keep anybody busy."""
        self._seen += 1
        if self._seen > _MOST_BRANCHES:
            self._fault(path if not self._is_own else path[:1], "leads to too many branches", is_of_whole=True)
        return self._seen > _MOST_BRANCHES

    def _branch(self, branch: BranchFields, path: Path, chain: Chain, depth: int) -> Target | Fork | None:
        told = [branch.provider is not None, branch.policy is not None, bool(branch.branches)]
        if sum(told) > 1 or (branch.model is not None and any(told[1:])):
            self._fault(path, f"leads to several places: {_ONE_OF}")
            return None
        if branch.strategy is not None and not branch.branches:
            self._fault((*path, "strategy"), "orders branches, and there are none here")
        if branch.branches:
            return self._fork(branch, path, chain, depth + 1)
        self._no_fork_rules(branch, path)
        if branch.policy is not None:
            return self._policy(branch.policy, (*path, "policy") if self._is_own else path, chain, depth)
        if branch.provider is not None:
            return self._target(branch, path)
        if branch.model is not None:
            return self._model(branch.model, (*path, "model") if self._is_own else path, chain, depth)
        self._fault(path, f"leads nowhere: {_ONE_OF}")
        return None

    def _target(self, branch: BranchFields, path: Path) -> Target | None:
        assert branch.provider is not None
        if branch.model is None:
            self._fault((*path, "model"), "is required: the model's name at the provider, or * for the caller's own")
            return None
        if self._book.providers is not None and branch.provider not in self._book.providers:
            self._fault((*path, "provider"), f"there is no provider {branch.provider}")
            return None
        return self._counted(Target(branch.provider, branch.model, max(branch.weight, 1)), path)

    def _counted(self, target: Target, path: Path) -> Target | None:
        self._targets += 1
        if self._targets > MOST_TARGETS:
            whole = path if not self._is_own else path[:1]
            self._fault(whole, f"leads to more than {MOST_TARGETS} targets", is_of_whole=True)
            return None
        return target

    def _policy(self, name: str, path: Path, chain: Chain, depth: int) -> Fork | None:
        inner = self._book.find_policy(self._tenant_id, name)
        if inner is None:
            self._fault(path, f"there is no policy {name}", is_of_whole=True)
            return None
        step = (f"policy {name}", inner.tenant_id)
        if self._is_circle(chain, step, path):
            return None
        with self._inside(inner.tenant_id):
            return replace(self._fork(inner.fields, path, (*chain, step), depth + 1), name=name)

    def _model(self, name: str, path: Path, chain: Chain, depth: int) -> Fork | None:
        model = self._book.find_model(self._tenant_id, name)
        if model is None:
            self._fault(path, f"there is no model {name} in the catalogue; with provider it is a name there")
            return None
        if model.name.endswith("*") or any(target.model in ("*", REST) for target in model.targets):
            self._fault(path, f"{name} stands for the names of callers: name the provider and its model")
            return None
        self._models.add(name)
        step = (f"model {name}", model.tenant_id)
        if self._is_circle(chain, step, path):
            return None
        if model.policy_name is not None:
            with self._inside(model.tenant_id):
                return self._policy(model.policy_name, path, (*chain, step), depth)
        targets = [target for one in model.targets if (target := self._counted(one, path)) is not None]
        return Fork(Strategy(model.strategy), tuple(Branch(one, one.weight) for one in targets))

    def _is_circle(self, chain: Chain, step: tuple[str, UUID | None], path: Path) -> bool:
        if step not in chain:
            return False
        names = [name for name, _ in (*chain[chain.index(step) :], step)]
        self._fault(path, f"leads back to itself: {' → '.join(names)}", is_of_whole=True)
        return True

    @contextmanager
    def _inside(self, tenant_id: UUID | None) -> Iterator[None]:
        kept = self._is_own, self._tenant_id
        self._is_own, self._tenant_id = False, tenant_id
        try:
            yield
        finally:
            self._is_own, self._tenant_id = kept

    def _no_fork_rules(self, branch: BranchFields, path: Path) -> None:
        if branch.sticky_by is not None:
            self._fault((*path, "sticky_by"), "belongs to branches with the strategy sticky")
        if branch.canary is not None:
            self._fault((*path, "canary"), "belongs to branches with the strategy canary")

    def _sticky(self, by: str | None, strategy: Strategy, path: Path) -> str:
        path = (*path, "sticky_by")
        if by is None:
            return "conversation"
        if strategy is not Strategy.STICKY:
            self._fault(path, "belongs to the strategy sticky")
        kind, _, name = by.lower().partition(":")
        if by in _STICKY or (kind == "header" and _HEADER.fullmatch(name)):
            return by.lower()
        self._fault(path, "is conversation, user, key or header:<name>")
        return "conversation"

    def _canary(self, fields: CanaryFields | None, strategy: Strategy, branches: int, path: Path) -> CanaryRule | None:
        if strategy is not Strategy.CANARY:
            if fields is not None:
                self._fault((*path, "canary"), "belongs to the strategy canary")
            return None
        if branches != 2:
            self._fault((*path, "branches"), "a canary has two branches: what is there, and what is tried out")
        if fields is None:
            self._fault((*path, "canary"), "is required with the strategy canary: say the share of the second branch")
            return CanaryRule(0)
        return CanaryRule(
            _millionths(fields.share), _millionths(fields.most_errors), fields.least_calls, fields.window_seconds
        )

    def _condition(self, fields: ConditionFields, path: Path) -> Condition:
        headers: dict[str, frozenset[str]] = {}
        for name, values in fields.headers.items():
            if not _HEADER.fullmatch(name.lower()):
                self._fault((*path, "headers", name), "is no name of a header")
            headers[name.lower()] = frozenset(values)
        least, most = fields.min_input_tokens, fields.max_input_tokens
        if least is not None and most is not None and least > most:
            self._fault((*path, "max_input_tokens"), "is less than min_input_tokens: the branch would never be there")
        return Condition(
            tenants=self._tenants(fields.tenants, (*path, "tenants")),
            tags=_set(fields.tags),
            headers=MappingProxyType(headers),
            min_input_tokens=least,
            max_input_tokens=most,
            hours=tuple(self._hours(hours, (*path, "hours", index)) for index, hours in enumerate(fields.hours)),
            capabilities=_set(fields.capabilities),
        )

    def _tenants(self, names: Sequence[str] | None, path: Path) -> frozenset[UUID] | None:
        if names is None:
            return None
        found = set()
        for index, name in enumerate(names):
            try:
                tenant_id = parse_id("ten", name)
            except ValueError as error:
                self._fault((*path, index), str(error))
                continue
            found.add(tenant_id)
            if self._book.tenants is not None and tenant_id not in self._book.tenants:
                self._fault((*path, index), "there is no such tenant")
        return frozenset(found)

    def _hours(self, fields: HoursFields, path: Path) -> Hours:
        try:
            ZoneInfo(fields.zone)
        except (KeyError, ValueError, OSError):
            self._fault((*path, "zone"), "is no time zone: name one like Europe/Berlin")
        since, until = _minutes(fields.since), _minutes(fields.until)
        if since == until or since == _minutes("24:00"):
            self._fault((*path, "until"), "these hours are empty: leave them out for the whole day")
        weekdays = frozenset(WEEKDAYS.index(day) for day in fields.weekdays or WEEKDAYS)
        return Hours(fields.zone, since, until, weekdays)


def _rules(fields: PolicyFields) -> dict[str, Any]:
    retry, deadlines, hedge, breaker = fields.retry, fields.deadlines, fields.hedge, fields.breaker
    return {
        "retry": RetryRule(
            retry.most_attempts, retry.base_seconds, retry.most_seconds, _millionths(retry.budget), retry.before_next
        ),
        "deadlines": Deadlines(
            deadlines.connect,
            deadlines.first_byte,
            deadlines.first_token,
            deadlines.idle,
            deadlines.total,
            deadlines.least_bytes_per_second,
        ),
        "hedge": None
        if hedge is None
        else HedgeRule(hedge.after_seconds, _millionths(hedge.share), _millionths(hedge.spend)),
        "breaker": BreakerRule(
            failures=breaker.failures,
            window_seconds=breaker.window_seconds,
            least_calls=breaker.least_calls,
            most_errors_millionths=_millionths(breaker.most_errors),
            open_seconds=breaker.open_seconds,
            most_open_seconds=breaker.most_open_seconds,
            floor_millionths=_millionths(breaker.floor),
            successes=breaker.successes,
        ),
        "probe_seconds": fields.probe_seconds,
    }


def _millionths(share: Decimal) -> int:
    return int(share * 1_000_000)


def _minutes(moment: str) -> int:
    hours, _, minutes = moment.partition(":")
    return int(hours) * 60 + int(minutes)


def _set(values: tuple[Any, ...] | None) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)
