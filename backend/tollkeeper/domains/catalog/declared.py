"""What is declared outside the database, as the API shows it: read-only, each with the place that declares it."""

from collections.abc import Iterator
from dataclasses import dataclass

from tollkeeper.contracts.catalog import DeclaredCatalog, ModelRoute, ProviderConfig, Snapshot
from tollkeeper.core.errors import Conflict
from tollkeeper.domains.catalog.schemas import ManagedBy
from tollkeeper.domains.catalog.snapshot import Sources, builtin_catalog


class ManagedElsewhere(Conflict):
    """The object is declared in a file or by the environment, which decides alone."""

    code = "managed_elsewhere"


@dataclass(frozen=True, slots=True)
class DeclaredProvider:
    config: ProviderConfig
    managed_by: ManagedBy
    place: str | None


@dataclass(frozen=True, slots=True)
class DeclaredModel:
    route: ModelRoute
    managed_by: ManagedBy
    place: str | None


def declared_providers(sources: Sources) -> Iterator[DeclaredProvider]:
    """The declared providers that are in force, in the order in which they win over each other."""
    stored = {provider.name for provider in sources.stored.providers}
    seen: set[str] = set()
    for catalog, managed_by in _catalogs(sources):
        for provider in catalog.providers:
            shadowed = managed_by is not ManagedBy.FILE and provider.name in stored
            if provider.name not in seen and not shadowed:
                seen.add(provider.name)
                yield DeclaredProvider(provider, managed_by, catalog.provider_places.get(provider.name))


def declared_models(sources: Sources, snapshot: Snapshot) -> Iterator[DeclaredModel]:
    """The declared models that are in force, as the snapshot prices them."""
    routes = (*snapshot.models.values(), *snapshot.wildcards)
    # A declared name that another source has taken is not in the snapshot under this id.
    served = {route.id: route for route in routes if route.tenant_id is None}
    for catalog, managed_by in _catalogs(sources):
        for model in catalog.models:
            if (route := served.pop(model.id, None)) is not None:
                yield DeclaredModel(route, managed_by, catalog.model_places.get(model.name))


def _catalogs(sources: Sources) -> Iterator[tuple[DeclaredCatalog, ManagedBy]]:
    yield sources.file, ManagedBy.FILE
    yield sources.environment, ManagedBy.ENVIRONMENT
    yield builtin_catalog(), ManagedBy.BUILTIN


def refuse_declared(kind: str, name: str, managed_by: ManagedBy, place: str | None) -> ManagedElsewhere:
    """The error for a change of a declared object; names the place where it can be changed."""
    where = {
        ManagedBy.FILE: f"is declared in {place}: change it there and reload",
        ManagedBy.ENVIRONMENT: f"comes from {place}: change the environment and restart",
        ManagedBy.BUILTIN: "is built in",
    }[managed_by]
    return ManagedElsewhere(
        f"The {kind} {name} {where}.", details={"managed_by": managed_by.value, "declared_at": place}
    )
