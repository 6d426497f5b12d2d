"""Model names and where they lead: listed with the declared ones, changed only where the API owns them."""

from collections.abc import Mapping
from heapq import merge
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import REST, ModelRoute, Price
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.catalog import Model
from tollkeeper.domains.catalog import repository
from tollkeeper.domains.catalog.changes import record_change
from tollkeeper.domains.catalog.declared import DeclaredModel, declared_models, declared_providers, refuse_declared
from tollkeeper.domains.catalog.fields import OWNER, Target, check_rest
from tollkeeper.domains.catalog.kept_policies import refuse_broken, stored_book
from tollkeeper.domains.catalog.parameters import PARAMETERS, Capabilities, stored_parameters
from tollkeeper.domains.catalog.policies import all_targets
from tollkeeper.domains.catalog.price_history import PriceHistory
from tollkeeper.domains.catalog.prices import write_price
from tollkeeper.domains.catalog.schemas import ManagedBy, ModelCreate, ModelOut, ModelUpdate, PriceCreate
from tollkeeper.domains.catalog.service import (
    Catalog,
    Expected,
    add_unique,
    not_found,
    sees_everything,
    visible_tenant,
)
from tollkeeper.domains.catalog.stored import read_model
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match


class UnknownProvider(BadRequest):
    """A target names a provider that does not exist."""

    code = "unknown_provider"


class UnknownPolicy(BadRequest):
    """A model names a route policy that does not exist, or is not published."""

    code = "unknown_policy"


class Models:
    def __init__(self, catalog: Catalog, prices: PriceHistory) -> None:
        self._catalog = catalog
        self._prices = prices

    async def list_page(
        self, session: AsyncSession, caller: Caller, after: tuple[str, UUID], limit: int
    ) -> list[ModelOut]:
        """By name, declared and stored ones together; at most `limit`."""
        rows = await repository.list_models(session, visible_tenant(caller), after, limit)
        declared = [one for one in self._declared() if (one.route.name, one.route.id) > after]
        shown = sorted((_show_declared(one, caller) for one in declared), key=_position)
        stored = [await self._show(session, row) for row in rows]
        return list(merge(stored, shown, key=_position))[:limit]

    async def get(self, session: AsyncSession, caller: Caller, model_id: UUID) -> ModelOut:
        for one in self._declared():
            if one.route.id == model_id:
                return _show_declared(one, caller)
        row = await repository.find_model(session, model_id)
        if row is None or row.tenant_id not in {None, visible_tenant(caller) or row.tenant_id}:
            raise not_found("model")
        return await self._show(session, row)

    async def create(self, session: AsyncSession, caller: Caller, body: ModelCreate) -> ModelOut:
        if body.tenant_id is None:
            self._refuse_declared_name(body.name)
        if body.tenant_id is not None and not await repository.has_tenant(session, body.tenant_id):
            raise not_found("tenant")
        await self._check_targets(session, body.targets)
        await self._check_policy(session, body.name, body.tenant_id, body.policy)
        row = Model(
            id=uuid7(),
            tenant_id=body.tenant_id,
            name=body.name,
            strategy=body.strategy,
            targets=[target.model_dump() for target in body.targets],
            policy=body.policy,
            unpriced_policy=body.unpriced,
            owned_by=body.owned_by or (body.targets[0].provider if body.targets else OWNER),
            is_active=body.is_active,
            max_output_tokens=body.max_output_tokens,
            context_tokens=body.context_tokens,
            capabilities=body.capabilities.model_dump(exclude_none=True),
            parameters=stored_parameters(body.drop_params, body.defaults, body.overrides),
            version=1,
        )
        await add_unique(session, row, "model")
        if body.price is not None:
            price = PriceCreate(model=body.name, tenant_id=body.tenant_id, **body.price.model_dump())
            await self._prices.create(session, caller, price)
        return await self._changed(session, caller, row, "create", before=None)

    async def update(
        self, session: AsyncSession, caller: Caller, model_id: UUID, body: ModelUpdate, expected: Expected
    ) -> ModelOut:
        row = await self._own(session, model_id, expected)
        before = await self._show(session, row)
        changes = body.changes()
        if "targets" in changes or "policy" in changes:
            changes |= await self._where_to(session, row, body)
        if "unpriced" in changes:
            changes["unpriced_policy"] = changes.pop("unpriced")
        if "owned_by" in changes:
            changes["owned_by"] = body.owned_by or (row.targets[0]["provider"] if row.targets else OWNER)
        if "capabilities" in changes:
            changes["capabilities"] = body.capabilities.model_dump(exclude_none=True)
        given = {name: changes.pop(name) for name in PARAMETERS if name in changes}
        if given:
            # A new object: what changes inside one is not seen.
            changes["parameters"] = {**row.parameters, **given}
        for name, value in changes.items():
            setattr(row, name, value)
        row.version += 1
        await session.flush()
        if "targets" in changes:
            await refuse_broken(session, self._catalog, "targets")
        return await self._changed(session, caller, row, "update", before=before)

    async def _where_to(self, session: AsyncSession, row: Model, body: ModelUpdate) -> dict[str, Any]:
        """The columns that say where it leads: targets take the place of a policy, a policy that of targets."""
        if body.targets and body.policy is not None:
            raise BadRequest("Name the targets or the policy, not both.", param="policy")
        if body.targets:
            await self._check_targets(session, body.targets)
            _check_rest(row.name, body.targets)
            return {"targets": [target.model_dump() for target in body.targets], "policy": None}
        if body.policy is None:
            if row.policy is not None:
                raise BadRequest("Name the targets that take the place of the policy.", param="targets")
            return {}
        await self._check_policy(session, row.name, row.tenant_id, body.policy)
        return {"targets": [], "policy": body.policy}

    async def delete(self, session: AsyncSession, caller: Caller, model_id: UUID, expected: Expected) -> None:
        row = await self._own(session, model_id, expected)
        before = await self._show(session, row)
        await session.delete(row)
        await session.flush()
        await refuse_broken(session, self._catalog, "model_id")
        await self._record(session, caller, row, "delete", before, None)

    def _declared(self) -> list[DeclaredModel]:
        return list(declared_models(self._catalog.sources, self._catalog.snapshot))

    async def _own(self, session: AsyncSession, model_id: UUID, expected: Expected) -> Model:
        """The stored model, locked for a change."""
        for one in self._declared():
            if one.route.id == model_id:
                raise refuse_declared("model", one.route.name, one.managed_by, one.place)
        row = await repository.find_model(session, model_id, for_update=True)
        if row is None:
            raise not_found("model")
        check_match(expected, row)
        return row

    def _refuse_declared_name(self, name: str) -> None:
        for one in self._declared():
            # What the environment declares gives way to what is stored.
            if one.route.name == name and one.managed_by is not ManagedBy.ENVIRONMENT:
                raise refuse_declared("model", name, one.managed_by, one.place)

    async def _check_targets(self, session: AsyncSession, targets: list[Target]) -> None:
        declared = {one.config.name for one in declared_providers(self._catalog.sources)}
        for index, target in enumerate(targets):
            if target.provider in declared:
                continue
            row = await repository.find_provider_by_name(session, target.provider)
            if row is None or row.name != target.provider:
                raise UnknownProvider(
                    f"There is no provider {target.provider}. Create it first.", param=f"targets[{index}].provider"
                )

    async def _check_policy(self, session: AsyncSession, name: str, tenant_id: UUID | None, policy: str | None) -> None:
        if policy is None:
            return
        book = await stored_book(session, self._catalog)
        source = book.find_policy(tenant_id, policy)
        if source is None:
            raise UnknownPolicy(f"There is no published policy {policy}. Create and publish it first.", param="policy")
        if not name.endswith("*") and any(target.model == REST for target in all_targets(book.resolve(source)[0])):
            raise BadRequest(f"{REST} in the policy stands for what a * ends a name with, and {name} has none.")

    async def _show(self, session: AsyncSession, row: Model) -> ModelOut:
        """As stored; the price is the one calls are charged at on this worker."""
        served = self._catalog.snapshot
        route = served.models.get((row.tenant_id, row.name))
        price = route.price if route is not None and route.id == row.id else None
        if price is None:
            price = await self._prices.find_in_force(session, row.tenant_id, row.name)
        return _out(read_model(row), price).model_copy(
            update={
                "is_active": row.is_active,
                "is_simulated": route is not None and route.is_simulated,
                "created_at": row.created_at,
                "updated_at": row.updated_at,
                "version": row.version,
            }
        )

    async def _changed(
        self, session: AsyncSession, caller: Caller, row: Model, verb: str, *, before: ModelOut | None
    ) -> ModelOut:
        await session.refresh(row)
        after = await self._show(session, row)
        await self._record(session, caller, row, verb, before, after)
        return after

    async def _record(
        self,
        session: AsyncSession,
        caller: Caller,
        row: Model,
        verb: str,
        before: ModelOut | None,
        after: ModelOut | None,
    ) -> None:
        await record_change(
            session,
            caller,
            f"models.{verb}",
            object_type="model",
            object_id=row.id,
            before=_audited(before),
            after=_audited(after),
        )


def _check_rest(name: str, targets: list[Target]) -> None:
    try:
        check_rest(name, targets)
    except ValueError as error:
        raise BadRequest(f"{error}.", param="targets") from None


def _position(model: ModelOut) -> tuple[str, UUID]:
    return model.name, model.id


def _show_declared(one: DeclaredModel, caller: Caller) -> ModelOut:
    place = one.place if sees_everything(caller) else None
    return _out(one.route, one.route.price).model_copy(update={"managed_by": one.managed_by, "declared_at": place})


def _out(route: ModelRoute, price: Price | None) -> ModelOut:
    unpriced: Literal["allow", "block"] = "block" if route.blocks_unpriced else "allow"
    return ModelOut(
        id=route.id,
        name=route.name,
        tenant_id=route.tenant_id,
        strategy=route.strategy,
        targets=[]
        if route.policy_name is not None
        else [Target(provider=t.provider, model=t.model, weight=t.weight) for t in route.targets],
        policy=route.policy_name,
        price=write_price(price) if price is not None else None,
        unpriced=unpriced,
        owned_by=route.owned_by,
        is_active=True,
        is_simulated=route.is_simulated,
        max_output_tokens=route.max_output_tokens,
        context_tokens=route.context_tokens,
        capabilities=Capabilities.model_validate(dict(route.capabilities)),
        drop_params="refuse" if route.parameters.refuses_dropped else "report",
        defaults=dict(route.parameters.defaults),
        overrides=dict(route.parameters.overrides),
        managed_by=ManagedBy.API,
    )


def _audited(shown: ModelOut | None) -> Mapping[str, Any] | None:
    return shown.model_dump(mode="json", exclude={"created_at", "updated_at"}) if shown is not None else None
