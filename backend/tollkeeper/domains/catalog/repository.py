"""The SQL of the catalog. Rows go in and out; what they mean is decided in `service` and `stored`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, collate, func, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tollkeeper.db.models.catalog import Model, Price, PriceAdjustment, Provider, ProviderCredential
from tollkeeper.db.models.route_policies import RoutePolicy, RoutePolicyVersion
from tollkeeper.db.models.tenants import Tenant

# Prices that are decided here; those of the file and of the list that ships are kept for the ledger alone.
_STORED: Final = ("api", "list")


@dataclass(slots=True)
class PublishedPolicy:
    """The version of a route policy that calls follow."""

    id: UUID
    tenant_id: UUID | None
    name: str
    number: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """Everything a snapshot is built from, as stored. Times are the database's."""

    providers: Sequence[Provider]
    credentials: Sequence[ProviderCredential]
    models: Sequence[Model]
    prices: Sequence[Price]
    # In force now, of each tenant the latest first.
    adjustments: Sequence[PriceAdjustment]
    policies: "Sequence[PublishedPolicy]"
    next_change: datetime | None


async def read_catalog(session: AsyncSession) -> CatalogRows:
    """The active rows of every tenant, and of each price the one in force."""
    owner = (Price.tenant_id, Price.provider, Price.vendor, Price.model)
    in_force = (
        select(Price)
        .where(Price.source.in_(_STORED), Price.effective_at <= func.now())
        .ext(distinct_on(*owner))
        .order_by(*owner, Price.effective_at.desc(), Price.id.desc())
    )
    adjusted = (
        select(PriceAdjustment)
        .where(PriceAdjustment.effective_at <= func.now())
        .where(or_(PriceAdjustment.ends_at.is_(None), PriceAdjustment.ends_at > func.now()))
        .order_by(PriceAdjustment.effective_at.desc(), PriceAdjustment.id.desc())
    )
    upcoming = union_all(
        select(func.min(Price.effective_at).label("at")).where(
            Price.source.in_(_STORED), Price.effective_at > func.now()
        ),
        select(func.min(PriceAdjustment.effective_at)).where(PriceAdjustment.effective_at > func.now()),
        select(func.min(PriceAdjustment.ends_at)).where(PriceAdjustment.ends_at > func.now()),
    ).subquery()
    return CatalogRows(
        providers=(await session.scalars(select(Provider).where(Provider.is_active))).all(),
        credentials=(
            await session.scalars(
                select(ProviderCredential).where(ProviderCredential.is_active).order_by(ProviderCredential.id)
            )
        ).all(),
        models=(await session.scalars(select(Model).where(Model.is_active))).all(),
        prices=(await session.scalars(in_force)).all(),
        adjustments=(await session.scalars(adjusted)).all(),
        policies=await list_published_policies(session),
        next_change=await session.scalar(select(func.min(upcoming.c.at))),
    )


def _sorted(name: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """By code point, whatever the database's locale: stored names are merged with declared ones."""
    return collate(name, "C")


async def list_providers(session: AsyncSession, after: str, limit: int) -> Sequence[Provider]:
    query = select(Provider).where(Provider.tenant_id.is_(None), _sorted(Provider.name) > after)
    return (await session.scalars(query.order_by(_sorted(Provider.name)).limit(limit))).all()


async def find_provider(session: AsyncSession, provider_id: UUID, *, for_update: bool = False) -> Provider | None:
    query = select(Provider).where(Provider.id == provider_id)
    return await session.scalar(query.with_for_update() if for_update else query)


async def list_provider_names(session: AsyncSession) -> Sequence[str]:
    return (await session.scalars(select(Provider.name).where(Provider.tenant_id.is_(None)))).all()


async def find_provider_by_name(session: AsyncSession, name: str) -> Provider | None:
    return await session.scalar(
        select(Provider).where(Provider.tenant_id.is_(None), func.lower(Provider.name) == name.lower())
    )


async def list_credentials(session: AsyncSession, provider_ids: Sequence[UUID]) -> Sequence[ProviderCredential]:
    query = select(ProviderCredential).where(ProviderCredential.provider_id.in_(provider_ids))
    return (await session.scalars(query.order_by(ProviderCredential.id))).all()


async def list_models(
    session: AsyncSession, tenant_id: UUID | None, after: tuple[str, UUID], limit: int
) -> Sequence[Model]:
    """Models by name; with `tenant_id` the shared ones and that tenant's, else everybody's."""
    query = select(Model).where(tuple_(_sorted(Model.name), Model.id) > after)
    if tenant_id is not None:
        query = query.where(_visible_to(tenant_id, Model.tenant_id))
    return (await session.scalars(query.order_by(_sorted(Model.name), Model.id).limit(limit))).all()


async def find_model(session: AsyncSession, model_id: UUID, *, for_update: bool = False) -> Model | None:
    query = select(Model).where(Model.id == model_id)
    return await session.scalar(query.with_for_update() if for_update else query)


async def list_published_policies(session: AsyncSession) -> Sequence[PublishedPolicy]:
    query = (
        select(
            RoutePolicy.id,
            RoutePolicy.tenant_id,
            RoutePolicy.name,
            RoutePolicyVersion.number,
            RoutePolicyVersion.document,
        )
        .join(RoutePolicyVersion, RoutePolicyVersion.policy_id == RoutePolicy.id)
        .where(RoutePolicyVersion.number == RoutePolicy.published_number)
        .order_by(RoutePolicy.id)
    )
    return [PublishedPolicy(*row) for row in await session.execute(query)]


async def list_active_models(session: AsyncSession) -> Sequence[Model]:
    return (await session.scalars(select(Model).where(Model.is_active))).all()


async def lock_policies(session: AsyncSession) -> None:
    """Until the transaction ends, nobody else changes what leads where."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("route policies", 0))))


async def list_models_of_provider(session: AsyncSession, provider: str) -> Sequence[str]:
    """Names of the models that have the provider among their targets."""
    query = select(Model.name).where(Model.targets.contains([{"provider": provider}]))
    return (await session.scalars(query.order_by(Model.name).limit(5))).all()


def _visible_to(tenant_id: UUID, column: InstrumentedAttribute[UUID | None]) -> ColumnElement[bool]:
    return or_(column.is_(None), column == tenant_id)


async def list_prices(
    session: AsyncSession, tenant_id: UUID | None, model: str | None, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Price]:
    """The history, newest first."""
    query = select(Price)
    if tenant_id is not None:
        query = query.where(_visible_to(tenant_id, Price.tenant_id))
    if model is not None:
        query = query.where(Price.model == model)
    if before is not None:
        query = query.where(tuple_(Price.effective_at, Price.id) < before)
    return (await session.scalars(query.order_by(Price.effective_at.desc(), Price.id.desc()).limit(limit))).all()


async def find_price(session: AsyncSession, price_id: UUID) -> Price | None:
    return await session.get(Price, price_id)


async def find_price_in_force(session: AsyncSession, tenant_id: UUID | None, model: str) -> Price | None:
    """The price of a name of ours as of now; a tenant's own before the shared one."""
    query = (
        select(Price)
        .where(Price.source == "api", Price.provider.is_(None), Price.model == model, Price.effective_at <= func.now())
        .where(or_(Price.tenant_id.is_(None), Price.tenant_id == tenant_id))
        .order_by(Price.tenant_id.is_(None), Price.effective_at.desc(), Price.id.desc())
    )
    return await session.scalar(query.limit(1))


async def lock_price_list(session: AsyncSession) -> None:
    """Until the transaction ends, nobody else compares with the list and adds to it."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("price list", 0))))


async def list_listed_prices(session: AsyncSession) -> Sequence[Price]:
    """Of every vendor's model the price that was put in last."""
    query = select(Price).where(Price.source == "list").ext(distinct_on(Price.vendor, Price.model))
    order = (Price.vendor, Price.model, Price.effective_at.desc(), Price.id.desc())
    return (await session.scalars(query.order_by(*order))).all()


async def list_adjustments(
    session: AsyncSession, tenant_id: UUID | None, after: UUID | None, limit: int
) -> Sequence[PriceAdjustment]:
    """By id; with `tenant_id` that tenant's alone."""
    query = select(PriceAdjustment)
    if tenant_id is not None:
        query = query.where(PriceAdjustment.tenant_id == tenant_id)
    if after is not None:
        query = query.where(PriceAdjustment.id > after)
    return (await session.scalars(query.order_by(PriceAdjustment.id).limit(limit))).all()


async def find_adjustment(
    session: AsyncSession, adjustment_id: UUID, *, for_update: bool = False
) -> PriceAdjustment | None:
    query = select(PriceAdjustment).where(PriceAdjustment.id == adjustment_id)
    return await session.scalar(query.with_for_update() if for_update else query)


async def list_known_tenants(session: AsyncSession, tenant_ids: Collection[UUID]) -> frozenset[UUID]:
    """Of these, those that there are."""
    if not tenant_ids:
        return frozenset()
    return frozenset((await session.scalars(select(Tenant.id).where(Tenant.id.in_(tenant_ids)))).all())


async def has_tenant(session: AsyncSession, tenant_id: UUID) -> bool:
    return await session.get(Tenant, tenant_id) is not None


async def remember_prices(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert prices whose ids are derived from what they say; one that is there already stays as it is."""
    values = [{**row, "effective_at": func.now()} for row in rows]
    await session.execute(insert(Price).values(values).on_conflict_do_nothing(index_elements=[Price.id]))
