"""`/api/v1/catalog`: providers, models, prices and the reload of the configuration.

Everyone who may see the catalog reads it; only platform administrators change it.
"""

from datetime import datetime
from typing import Annotated, Protocol, cast
from uuid import UUID

from fastapi import Depends, Query, Request, Response

from tollkeeper.contracts.ports import ProviderProbe
from tollkeeper.core.ids import ModelId, PriceAdjustmentId, PriceId, ProviderId, TenantId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.catalog.adjustments import PriceAdjustments
from tollkeeper.domains.catalog.changes import ConfigurationReload
from tollkeeper.domains.catalog.fields import ModelName
from tollkeeper.domains.catalog.models import Models
from tollkeeper.domains.catalog.price_history import PriceHistory
from tollkeeper.domains.catalog.price_list import PublicPrices
from tollkeeper.domains.catalog.price_update import PriceUpdate
from tollkeeper.domains.catalog.providers import Providers
from tollkeeper.domains.catalog.schemas import (
    CredentialCreate,
    CredentialId,
    CredentialTest,
    KindOut,
    ModelCreate,
    ModelOut,
    ModelUpdate,
    PriceAdjustmentCreate,
    PriceAdjustmentOut,
    PriceAdjustmentUpdate,
    PriceCreate,
    PriceOut,
    PriceUpdateIn,
    PriceUpdateOut,
    ProviderCreate,
    ProviderOut,
    ProviderTest,
    ProviderUpdate,
    PublicPrice,
    ReloadOut,
)
from tollkeeper.web.deps import CurrentCaller, ObjectSession, PlatformSession, control_router, requires
from tollkeeper.web.etag import IfMatch
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("catalog")

_VIEW = [requires(Permission.CATALOG_VIEW)]
# Not every developer's business: what the tenant pays is the tenant's.
_TENANT = [requires(Permission.TENANTS_VIEW)]
_UPDATE = [requires(Permission.CATALOG_UPDATE)]
_FIRST = ("", UUID(int=0))
PricePosition = tuple[datetime, UUID]


class CatalogServices(Protocol):
    """What these routes need of the process beside the kernel's services."""

    @property
    def providers(self) -> Providers: ...
    @property
    def models(self) -> Models: ...
    @property
    def prices(self) -> PriceHistory: ...
    @property
    def price_update(self) -> PriceUpdate: ...
    @property
    def price_adjustments(self) -> PriceAdjustments: ...
    @property
    def price_list(self) -> PublicPrices: ...
    @property
    def reload(self) -> ConfigurationReload: ...


def _catalog(request: Request) -> CatalogServices:
    services: CatalogServices = request.app.state.services.catalog
    return services


Catalog = Annotated[CatalogServices, Depends(_catalog)]


def _probe(request: Request) -> ProviderProbe:
    probe: ProviderProbe = request.app.state.services.provider_probe
    return probe


def _tag(response: Response, version: int | None) -> None:
    """Declared objects have no version: they cannot be changed here."""
    if version is not None:
        response.headers["etag"] = f'"{version}"'


@router.get("/providers/kinds", dependencies=_VIEW)
async def list_provider_kinds(catalog: Catalog) -> Page[KindOut]:
    return Page(data=catalog.providers.list_kinds())


@router.get("/providers", dependencies=_VIEW)
async def list_providers(
    catalog: Catalog, caller: CurrentCaller, session: ObjectSession, paging: Paging
) -> Page[ProviderOut]:
    """By name, those of the configuration file and of the environment among them."""
    (after,) = paging.position("providers", str) or ("",)
    found = await catalog.providers.list_page(session, caller, str(after), paging.limit + 1)
    rows, next_cursor = cut(found, paging, "providers", lambda provider: (provider.name,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/providers", status_code=201, dependencies=_UPDATE)
async def create_provider(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, body: ProviderCreate, response: Response
) -> ProviderOut:
    shown = await catalog.providers.create(session, caller, body)
    _tag(response, shown.version)
    return shown


@router.get("/providers/{provider_id}", dependencies=_VIEW)
async def get_provider(
    catalog: Catalog, caller: CurrentCaller, session: ObjectSession, provider_id: ProviderId, response: Response
) -> ProviderOut:
    shown = await catalog.providers.get(session, caller, provider_id)
    _tag(response, shown.version)
    return shown


@router.patch("/providers/{provider_id}", dependencies=_UPDATE)
async def update_provider(
    catalog: Catalog,
    caller: CurrentCaller,
    session: PlatformSession,
    provider_id: ProviderId,
    body: ProviderUpdate,
    if_match: IfMatch,
    response: Response,
) -> ProviderOut:
    shown = await catalog.providers.update(session, caller, provider_id, body, if_match)
    _tag(response, shown.version)
    return shown


@router.delete("/providers/{provider_id}", status_code=204, dependencies=_UPDATE)
async def delete_provider(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, provider_id: ProviderId, if_match: IfMatch
) -> None:
    await catalog.providers.delete(session, caller, provider_id, if_match)


@router.post("/providers/{provider_id}/test", dependencies=_UPDATE)
async def try_provider(
    catalog: Catalog, caller: CurrentCaller, probe: Annotated[ProviderProbe, Depends(_probe)], provider_id: ProviderId
) -> ProviderTest:
    """Ask the provider for its models with each credential, as it is in force now. Nothing is billed for that."""
    config = await catalog.providers.find_in_force(caller, provider_id)
    results = await probe.probe(config)
    failed = next((result for result in results if not result.ok), None)
    shown = failed or results[0]
    return ProviderTest(
        ok=failed is None,
        message=shown.message,
        latency_ms=shown.latency_ms,
        models=shown.models,
        credentials=[
            CredentialTest(
                id=result.credential_id,
                ok=result.ok,
                message=result.message,
                latency_ms=result.latency_ms,
                models=result.models,
            )
            for result in results
        ],
    )


@router.post("/providers/{provider_id}/credentials", status_code=201, dependencies=_UPDATE)
async def add_credential(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, provider_id: ProviderId, body: CredentialCreate
) -> ProviderOut:
    """A further key for the provider, bound to the address it has now. The key is never shown again."""
    return await catalog.providers.add_credential(session, caller, provider_id, body)


@router.delete("/providers/{provider_id}/credentials/{credential_id}", status_code=204, dependencies=_UPDATE)
async def delete_credential(
    catalog: Catalog,
    caller: CurrentCaller,
    session: PlatformSession,
    provider_id: ProviderId,
    credential_id: CredentialId,
) -> None:
    await catalog.providers.delete_credential(session, caller, provider_id, credential_id)


@router.get("/models", dependencies=_VIEW)
async def list_models(
    catalog: Catalog, caller: CurrentCaller, session: ObjectSession, paging: Paging
) -> Page[ModelOut]:
    """By name, those of the configuration file and of the environment among them."""
    after = cast(tuple[str, UUID], paging.position("models", str, UUID) or _FIRST)
    found = await catalog.models.list_page(session, caller, after, paging.limit + 1)
    rows, next_cursor = cut(found, paging, "models", lambda model: (model.name, model.id))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/models", status_code=201, dependencies=_UPDATE)
async def create_model(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, body: ModelCreate, response: Response
) -> ModelOut:
    """A name for callers to use. Without `tenant_id` every tenant sees it."""
    shown = await catalog.models.create(session, caller, body)
    _tag(response, shown.version)
    return shown


@router.get("/models/{model_id}", dependencies=_VIEW)
async def get_model(
    catalog: Catalog, caller: CurrentCaller, session: ObjectSession, model_id: ModelId, response: Response
) -> ModelOut:
    shown = await catalog.models.get(session, caller, model_id)
    _tag(response, shown.version)
    return shown


@router.patch("/models/{model_id}", dependencies=_UPDATE)
async def update_model(
    catalog: Catalog,
    caller: CurrentCaller,
    session: PlatformSession,
    model_id: ModelId,
    body: ModelUpdate,
    if_match: IfMatch,
    response: Response,
) -> ModelOut:
    shown = await catalog.models.update(session, caller, model_id, body, if_match)
    _tag(response, shown.version)
    return shown


@router.delete("/models/{model_id}", status_code=204, dependencies=_UPDATE)
async def delete_model(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, model_id: ModelId, if_match: IfMatch
) -> None:
    await catalog.models.delete(session, caller, model_id, if_match)


@router.get("/prices", dependencies=_VIEW)
async def list_prices(
    catalog: Catalog,
    caller: CurrentCaller,
    session: ObjectSession,
    paging: Paging,
    model: Annotated[ModelName | None, Query(description="Only this model's history.")] = None,
) -> Page[PriceOut]:
    """The history of prices, newest first."""
    before = cast(PricePosition | None, paging.position("prices", datetime, UUID))
    found = await catalog.prices.list_page(session, caller, model=model, before=before, limit=paging.limit + 1)
    rows, next_cursor = cut(found, paging, "prices", lambda price: (price.effective_at, price.id))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/prices", status_code=201, dependencies=_UPDATE)
async def create_price(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, body: PriceCreate
) -> PriceOut:
    """A price that takes over at `effective_at`; what was charged before stays as it was charged."""
    return await catalog.prices.create(session, caller, body)


@router.post("/prices/update", dependencies=_UPDATE)
async def update_prices(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, body: PriceUpdateIn
) -> PriceUpdateOut:
    """What a public price list would change, or with `apply` the change itself: new rows, in force from now on."""
    return await catalog.price_update(session, caller, body.price_list, apply=body.apply)


@router.get("/prices/{price_id}", dependencies=_VIEW)
async def get_price(catalog: Catalog, caller: CurrentCaller, session: ObjectSession, price_id: PriceId) -> PriceOut:
    return await catalog.prices.get(session, caller, price_id)


@router.get("/price-list", dependencies=_VIEW)
async def list_public_prices(
    catalog: Catalog,
    session: ObjectSession,
    paging: Paging,
    vendor: Annotated[str | None, Query(max_length=100, description="Only this kind of provider.")] = None,
) -> Page[PublicPrice]:
    """What vendors charge in public, with where and when it was read: by vendor and model."""
    after = cast(tuple[str, str] | None, paging.position("price-list", str, str))
    found = await catalog.price_list.list_page(session, vendor=vendor, after=after, limit=paging.limit + 1)
    rows, next_cursor = cut(found, paging, "price-list", lambda price: (price.vendor, price.model))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.get("/price-adjustments", dependencies=_TENANT)
async def list_price_adjustments(
    catalog: Catalog,
    caller: CurrentCaller,
    session: ObjectSession,
    paging: Paging,
    tenant_id: Annotated[TenantId | None, Query(description="Only this tenant's.")] = None,
) -> Page[PriceAdjustmentOut]:
    """Margins and discounts, by id: a tenant's own, or for the platform everybody's."""
    found = await catalog.price_adjustments.list_page(
        session, caller, tenant_id=tenant_id, after=paging.after_id("price-adjustments"), limit=paging.limit + 1
    )
    rows, next_cursor = cut(found, paging, "price-adjustments", lambda adjustment: (adjustment.id,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/price-adjustments", status_code=201, dependencies=_UPDATE)
async def create_price_adjustment(
    catalog: Catalog, caller: CurrentCaller, session: PlatformSession, body: PriceAdjustmentCreate, response: Response
) -> PriceAdjustmentOut:
    """Charge a tenant more or less than the vendor takes, from `effective_at` on."""
    shown = await catalog.price_adjustments.create(session, caller, body)
    _tag(response, shown.version)
    return shown


@router.get("/price-adjustments/{adjustment_id}", dependencies=_TENANT)
async def get_price_adjustment(
    catalog: Catalog,
    caller: CurrentCaller,
    session: ObjectSession,
    adjustment_id: PriceAdjustmentId,
    response: Response,
) -> PriceAdjustmentOut:
    shown = await catalog.price_adjustments.get(session, caller, adjustment_id)
    _tag(response, shown.version)
    return shown


@router.patch("/price-adjustments/{adjustment_id}", dependencies=_UPDATE)
async def update_price_adjustment(
    catalog: Catalog,
    caller: CurrentCaller,
    session: PlatformSession,
    adjustment_id: PriceAdjustmentId,
    body: PriceAdjustmentUpdate,
    if_match: IfMatch,
    response: Response,
) -> PriceAdjustmentOut:
    """Calls that are under way are charged as they were admitted; the next ones as this says."""
    shown = await catalog.price_adjustments.update(session, caller, adjustment_id, body, if_match)
    _tag(response, shown.version)
    return shown


@router.delete("/price-adjustments/{adjustment_id}", status_code=204, dependencies=_UPDATE)
async def delete_price_adjustment(
    catalog: Catalog,
    caller: CurrentCaller,
    session: PlatformSession,
    adjustment_id: PriceAdjustmentId,
    if_match: IfMatch,
) -> None:
    """From now on calls are charged as the next wider adjustment says, or what they cost."""
    await catalog.price_adjustments.delete(session, caller, adjustment_id, if_match)


@router.post("/reload", dependencies=[requires(Permission.SYSTEM_UPDATE)])
async def reload_configuration(catalog: Catalog, caller: CurrentCaller, session: PlatformSession) -> ReloadOut:
    """Read the configuration file again on every worker; mistakes are listed and change nothing."""
    return ReloadOut(snapshot_version=await catalog.reload(session, caller))
