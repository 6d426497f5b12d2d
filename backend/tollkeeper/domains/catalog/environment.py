"""Zero configuration: a vendor's usual variable (`OPENAI_API_KEY`) in the environment serves its priced models.

Only while the configuration file declares no provider: who wrote one decides alone which vendors are reached.
"""

from collections.abc import Iterator, Mapping, Sequence

from tollkeeper.contracts.catalog import Credential, DeclaredCatalog, ModelRoute, ProviderConfig, ProviderKind
from tollkeeper.contracts.routing import Target
from tollkeeper.domains.catalog.fields import origin_of
from tollkeeper.domains.catalog.prices import PriceList, stable_id


def vendor_names(environ: Mapping[str, str], kinds: Sequence[ProviderKind]) -> Iterator[str]:
    """The providers that the environment configures, in the order of the registry."""
    return (kind.kind for kind in _found(environ, kinds))


def environment_catalog(
    environ: Mapping[str, str], kinds: Sequence[ProviderKind], price_list: PriceList
) -> DeclaredCatalog:
    """One provider for each vendor with a key in the environment, and its models as `name` and `vendor/name`.

    Where two vendors have a model of the same name, the first of the registry gets the bare name.
    """
    providers: list[ProviderConfig] = []
    models: dict[str, ModelRoute] = {}
    places: dict[str, str] = {}
    for kind in _found(environ, kinds):
        providers.append(_provider(kind, environ[kind.env_var or ""]))
        places[kind.kind] = f"the variable {kind.env_var}"
        for model, price in price_list.models_of(kind.kind):
            target = (Target(kind.kind, model),)
            for name in (model, f"{kind.kind}/{model}"):
                route = ModelRoute(stable_id("model", name), name, target, price=price, owned_by=kind.kind)
                models.setdefault(name, route)
    return DeclaredCatalog(tuple(providers), tuple(models.values()), provider_places=places)


def _found(environ: Mapping[str, str], kinds: Sequence[ProviderKind]) -> Iterator[ProviderKind]:
    return (kind for kind in kinds if kind.env_var and kind.base_url and environ.get(kind.env_var, "").strip())


def _provider(kind: ProviderKind, secret: str) -> ProviderConfig:
    base_url = kind.base_url or ""
    credential = Credential(
        stable_id("credential", kind.kind, "environment"), secret.strip(), frozenset({origin_of(base_url)})
    )
    return ProviderConfig(stable_id("provider", kind.kind), kind.kind, kind.kind, base_url, (credential,))
