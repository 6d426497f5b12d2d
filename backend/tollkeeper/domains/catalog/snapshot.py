"""Builds the immutable snapshot a worker serves from, out of everything that declares providers, models and prices.

Pure: no clock, no I/O. Who declares wins in this order: configuration file, database, environment, built in. Reading
the database and swapping snapshots is `loader.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Final
from uuid import UUID

from tollkeeper.contracts.cache import CacheAttachment
from tollkeeper.contracts.catalog import REST, Adjustment, DeclaredCatalog, ModelRoute, Price, ProviderConfig, Snapshot
from tollkeeper.contracts.guardrails import Attachment
from tollkeeper.contracts.routing import RoutePolicy, Target
from tollkeeper.domains.catalog.parameters import common_capabilities
from tollkeeper.domains.catalog.policies import PolicyBook, PolicySource, all_targets, with_targets
from tollkeeper.domains.catalog.prices import FREE, UNKNOWN_FIGURES, Figures, PriceList, stable_id
from tollkeeper.domains.guardrail_policies.schemas import DeclaredGuardrail

SIMULATED: Final = "simulated"


@dataclass(frozen=True, slots=True)
class StoredPrice:
    """A price from the database that is in force now.

    With a provider it prices that provider's model, with a vendor the model of every provider of that kind; with
    neither the name that callers use.
    """

    tenant_id: UUID | None
    provider: str | None
    model: str
    price: Price
    vendor: str | None = None
    checked: date | None = None
    figures: Figures = UNKNOWN_FIGURES


@dataclass(frozen=True, slots=True)
class StoredCatalog:
    """What the database holds, as far as it could be read."""

    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelRoute, ...] = ()
    prices: tuple[StoredPrice, ...] = ()
    # In force now, of each tenant the latest first.
    adjustments: tuple[Adjustment, ...] = ()
    # The published version of each.
    policies: tuple[PolicySource, ...] = ()
    # Every place where a published guardrail policy holds.
    guardrails: tuple[Attachment, ...] = ()
    # When the next stored price begins, or an adjustment begins or ends.
    next_change_unix: float | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything a snapshot is built from."""

    file: DeclaredCatalog = field(default_factory=DeclaredCatalog)
    # Of the file.
    policies: tuple[PolicySource, ...] = ()
    policy_places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # Of the file: where its guardrail policies hold, and what they say.
    guardrails: tuple[Attachment, ...] = ()
    guardrail_policies: tuple[DeclaredGuardrail, ...] = ()
    # Of the file.
    caches: tuple[CacheAttachment, ...] = ()
    stored: StoredCatalog = field(default_factory=StoredCatalog)
    environment: DeclaredCatalog = field(default_factory=DeclaredCatalog)
    price_list: PriceList = field(default_factory=lambda: PriceList(MappingProxyType({})))


def builtin_catalog() -> DeclaredCatalog:
    """The simulated provider and its models: always there, free, for trying things without a key.

    The provider reads faults and paces from the rest of a name that starts with `simulated-`.
    """
    provider = ProviderConfig(stable_id("provider", SIMULATED), SIMULATED, SIMULATED, base_url=None)
    models = tuple(
        ModelRoute(stable_id("model", name), name, (Target(SIMULATED, upstream),), price=FREE, is_simulated=True)
        for name, upstream in (
            (SIMULATED, SIMULATED),
            ("simulated-embedding", "simulated-embedding"),
            ("simulated-reasoning", "simulated-reasoning"),
            ("simulated-*", "*"),
        )
    )
    return DeclaredCatalog((provider,), models)


def build_snapshot(version: int, sources: Sources) -> Snapshot:
    builtin = builtin_catalog()
    providers: dict[str, ProviderConfig] = {}
    for provider in (
        *sources.file.providers,
        *sources.stored.providers,
        *sources.environment.providers,
        *builtin.providers,
    ):
        providers.setdefault(provider.name, provider)
    pricing = _Pricing(providers, sources.stored.prices, sources.price_list)
    models: dict[tuple[UUID | None, str], ModelRoute] = {}
    routed = _with_policies(sources, builtin.models)
    for route in (*sources.file.models, *sources.stored.models):
        models.setdefault((route.tenant_id, route.name), pricing.complete(routed(route)))
    for route in (*sources.environment.models, *pricing.newly_listed(sources.environment.providers)):
        models.setdefault((route.tenant_id, route.name), pricing.newest(route))
    for route in builtin.models:
        models.setdefault((route.tenant_id, route.name), pricing.complete(route))
    for route in [*pricing.of_tenants(models), *pricing.known_names(models.values())]:
        models.setdefault((route.tenant_id, route.name), route)
    wildcards = sorted((route for route in models.values() if route.name.endswith("*")), key=_by_prefix)
    return Snapshot(
        version=version,
        providers=MappingProxyType(providers),
        models=MappingProxyType({key: route for key, route in models.items() if not route.name.endswith("*")}),
        wildcards=tuple(wildcards),
        adjustments=_adjustments((*sources.file.adjustments, *sources.stored.adjustments)),
        guardrails=_guardrails((*sources.guardrails, *sources.stored.guardrails)),
        caches=MappingProxyType({None: sources.caches} if sources.caches else {}),
    )


def book_of(sources: Sources, builtin: Iterable[ModelRoute] = ()) -> PolicyBook:
    """Every policy and model of `sources`, in the order in which they win over each other."""
    models = (*sources.file.models, *sources.stored.models, *sources.environment.models, *builtin)
    return PolicyBook((*sources.policies, *sources.stored.policies), models)


def _with_policies(sources: Sources, builtin: Iterable[ModelRoute]) -> Callable[[ModelRoute], ModelRoute]:
    """Puts the policy that a route refers to into it. One that is not whole leads nowhere: `loader` says so."""
    book = book_of(sources, builtin)
    known: dict[tuple[UUID | None, str], RoutePolicy | None] = {}

    def policy_of(source: PolicySource) -> RoutePolicy | None:
        key = (source.tenant_id, source.name)
        if key not in known:
            policy, faults = book.resolve(source)
            known[key] = None if faults else policy
        return known[key]

    def routed(route: ModelRoute) -> ModelRoute:
        if route.policy_name is None:
            return route
        source = book.find_policy(route.tenant_id, route.policy_name)
        return route if source is None else replace(route, policy=policy_of(source))

    return routed


def _guardrails(attachments: Iterable[Attachment]) -> Mapping[UUID | None, tuple[Attachment, ...]]:
    """A tenant's own by the tenant; the platform's, wherever they hold, by None."""
    found: dict[UUID | None, list[Attachment]] = defaultdict(list)
    for attachment in attachments:
        found[attachment.policy.tenant_id].append(attachment)
    return MappingProxyType({tenant_id: tuple(some) for tenant_id, some in found.items()})


def _adjustments(found: Iterable[Adjustment]) -> Mapping[UUID, tuple[Adjustment, ...]]:
    """Of each tenant the most specific first; of equally specific ones the file's, then the latest."""
    of_tenants: dict[UUID, list[Adjustment]] = defaultdict(list)
    # Sorting keeps the order of equals.
    for adjustment in sorted(found, key=_by_width):
        of_tenants[adjustment.tenant_id].append(adjustment)
    return MappingProxyType({tenant_id: tuple(adjustments) for tenant_id, adjustments in of_tenants.items()})


def _by_width(adjustment: Adjustment) -> tuple[bool, bool, bool, int]:
    """A model before a provider, both before either; of patterns the longest first."""
    model = adjustment.model or ""
    return adjustment.model is None, adjustment.provider is None, model.endswith("*"), -len(model)


def _by_prefix(route: ModelRoute) -> tuple[int, str, bool]:
    """Longest prefix first; of two equal ones a tenant's own comes before the shared one."""
    return -len(route.name), route.name, route.tenant_id is None


class _Pricing:
    """Which price a route has: its own, else the database's, else the vendor's public one."""

    def __init__(
        self, providers: Mapping[str, ProviderConfig], stored: Sequence[StoredPrice], price_list: PriceList
    ) -> None:
        self._providers = providers
        self._stored = {(row.tenant_id, row.provider, row.model): row.price for row in stored if row.vendor is None}
        self._updated = {(row.vendor, row.model): row for row in stored if row.vendor is not None}
        self._price_list = price_list

    def complete(self, route: ModelRoute) -> ModelRoute:
        """The route with its price, and marked when nothing real is behind it."""
        if route.policy_name is not None:
            return self._complete_policy(route)
        is_simulated = all(self._kind(target.provider) == SIMULATED for target in route.targets)
        price = route.price or self._find(route) or (FREE if is_simulated else None)
        figures = self._figures(route)
        return replace(
            route,
            targets=tuple(self._with_figures(target, route) for target in route.targets),
            is_simulated=is_simulated,
            price=price,
            max_output_tokens=route.max_output_tokens or figures.max_output_tokens,
            context_tokens=route.context_tokens or figures.context_tokens,
            capabilities=MappingProxyType({**figures.capabilities, **route.capabilities}),
        )

    def _complete_policy(self, route: ModelRoute) -> ModelRoute:
        """The same for a route whose targets are its policy's: each is charged by its own price, where it has one."""
        if route.policy is None:
            return route
        policy = with_targets(route.policy, lambda target: self._with_figures(target, route))
        route = replace(route, policy=policy, targets=all_targets(policy))
        is_simulated = all(self._kind(target.provider) == SIMULATED for target in route.targets)
        prices: dict[tuple[str, str], Price] = {}
        known: list[Price] = []
        for target in route.targets:
            named = self._named(target, route)
            price = self._of_target(named) or (FREE if self._kind(target.provider) == SIMULATED else None)
            if price is not None:
                prices[target.provider, target.model] = prices[named.provider, named.model] = price
                known.append(price)
        own = route.price or self._of_name(route)
        is_whole = len(known) == len(route.targets) > 0
        dearest = max(known, key=lambda price: (price.output, price.input)) if is_whole else None
        figures = self._figures(route)
        return replace(
            route,
            is_simulated=is_simulated,
            price=own or dearest,
            target_prices=MappingProxyType(prices),
            is_priced_by_target=own is None and is_whole,
            max_output_tokens=route.max_output_tokens or figures.max_output_tokens,
            context_tokens=route.context_tokens or figures.context_tokens,
            capabilities=MappingProxyType({**figures.capabilities, **route.capabilities}),
        )

    def _named(self, target: Target, route: ModelRoute) -> Target:
        """Where a target passes on the caller's name, and that can be one only."""
        is_one = target.model == "*" and not route.name.endswith("*")
        return replace(target, model=route.name) if is_one else target

    def _with_figures(self, target: Target, route: ModelRoute) -> Target:
        """A route's own longest answer bounds all its targets; its own window and abilities are those of each."""
        named = self._named(target, route) if route.policy is not None else target
        listed = self._listed_figures(self._kind(named.provider), named.model)
        known = [most for most in (route.max_output_tokens, listed.max_output_tokens) if most is not None]
        longest = min(known, default=target.max_output_tokens)
        if route.policy is None and len(route.targets) == 1:
            # Nothing is chosen by what the only target can do.
            return replace(target, max_output_tokens=longest) if known else target
        capabilities = {**listed.capabilities, **route.capabilities}
        return replace(
            target,
            max_output_tokens=longest,
            context_tokens=route.context_tokens or listed.context_tokens,
            lacks=frozenset(name for name, has in capabilities.items() if not has),
        )

    def newest(self, route: ModelRoute) -> ModelRoute:
        """A route that took its price from the list, with the price that has taken that one's place since."""
        return self.complete(replace(route, price=self._find(route) or route.price))

    def newly_listed(self, providers: Iterable[ProviderConfig]) -> Iterable[ModelRoute]:
        """The models that an updated list added to vendors which serve all that is listed."""
        for provider in providers:
            for (vendor, model), row in self._updated.items():
                if vendor == provider.kind and self._providers[provider.name] is provider:
                    for name in (model, f"{provider.name}/{model}"):
                        target = (Target(provider.name, model),)
                        route = ModelRoute(stable_id("model", name), name, target, price=row.price)
                        yield replace(route, owned_by=provider.name)

    def of_tenants(self, models: Mapping[tuple[UUID | None, str], ModelRoute]) -> Iterable[ModelRoute]:
        """A price agreed with one tenant makes a route of the tenant's own out of the shared one."""
        for (tenant_id, provider, model), price in self._stored.items():
            shared = models.get((None, model))
            if tenant_id is not None and provider is None and shared is not None:
                yield replace(shared, tenant_id=tenant_id, price=price, is_priced_by_target=False)

    def known_names(self, routes: Iterable[ModelRoute]) -> Iterable[ModelRoute]:
        """A wildcard cannot have one price for all; the names it covers that have a public price become routes."""
        for route in routes:
            if route.policy_name is not None:
                continue
            models = {target.model for target in route.targets}
            if not route.name.endswith("*") or route.price is not None or models not in ({"*"}, {REST}):
                continue
            prefix, kind = route.name[:-1], self._kind(route.targets[0].provider)
            listed = [model for model, _ in self._price_list.models_of(kind)]
            for model in (*listed, *(model for vendor, model in self._updated if vendor == kind)):
                name = prefix + model if models == {REST} else model
                if name.startswith(prefix):
                    targets = tuple(replace(target, model=model) for target in route.targets)
                    named = replace(route, id=stable_id("model", str(route.id), name), name=name, targets=targets)
                    if (priced := self.complete(named)).price is not None:
                        yield priced

    def _kind(self, provider: str) -> str:
        config = self._providers.get(provider)
        return config.kind if config else ""

    def _find(self, route: ModelRoute) -> Price | None:
        if (named := self._of_name(route)) is not None:
            return named
        found = [self._of_target(target) for target in route.targets]
        prices = [price for price in found if price is not None]
        # One unpriced target makes the route unpriced: a call that ends there would be charged at a guess.
        if len(prices) < len(found):
            return None
        return max(prices, key=lambda price: (price.output, price.input))

    def _of_name(self, route: ModelRoute) -> Price | None:
        return self._stored.get((route.tenant_id, None, route.name)) or self._stored.get((None, None, route.name))

    def _figures(self, route: ModelRoute) -> Figures:
        """The largest of the targets' figures, each where all of them have one: they bound what a call may cost."""
        found = [self._listed_figures(self._kind(target.provider), target.model) for target in route.targets]
        outputs = [one.max_output_tokens for one in found if one.max_output_tokens is not None]
        contexts = [one.context_tokens for one in found if one.context_tokens is not None]
        return Figures(
            max(outputs) if len(outputs) == len(found) else None,
            max(contexts) if len(contexts) == len(found) else None,
            common_capabilities([one.capabilities for one in found]),
        )

    def _listed_figures(self, kind: str, model: str) -> Figures:
        shipped, updated = (
            self._price_list.figures.get((kind, model), UNKNOWN_FIGURES),
            self._updated.get((kind, model)),
        )
        if updated is None or self._is_newer_shipped(kind, model, updated):
            return shipped
        # A list that says nothing of them does not make them unknown.
        return Figures(
            updated.figures.max_output_tokens or shipped.max_output_tokens,
            updated.figures.context_tokens or shipped.context_tokens,
            {**shipped.capabilities, **updated.figures.capabilities},
        )

    def _of_target(self, target: Target) -> Price | None:
        stored = self._stored.get((None, target.provider, target.model))
        return stored or self._public(self._kind(target.provider), target.model)

    def _public(self, kind: str, model: str) -> Price | None:
        """Of the list that ships and the one that an operator put in, what was read last."""
        updated = self._updated.get((kind, model))
        if updated is None or self._is_newer_shipped(kind, model, updated):
            return self._price_list.find(kind, model)
        return updated.price

    def _is_newer_shipped(self, kind: str, model: str, updated: StoredPrice) -> bool:
        shipped = self._price_list.find(kind, model)
        return shipped is not None and self._price_list.checked(shipped) > (updated.checked or date.min)
