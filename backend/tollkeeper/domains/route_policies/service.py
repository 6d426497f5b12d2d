"""Route policies: written as drafts, checked when they are saved, published and rolled back whole.

A draft changes nothing for calls. What is published reaches every worker as a change of the catalogue does.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Protocol
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import BadRequest, Conflict
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.db.models.route_policies import RoutePolicy, RoutePolicyVersion
from tollkeeper.domains.catalog.schemas import BranchFields, ManagedBy, PolicyFields
from tollkeeper.domains.catalog.service import Expected, add_unique, not_found, sees_everything, visible_tenant
from tollkeeper.domains.route_policies import repository
from tollkeeper.domains.route_policies.schemas import (
    DOCUMENT,
    RoutePolicyCreate,
    RoutePolicyOut,
    RoutePolicyUpdate,
    RoutePolicyVersionOut,
)
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match


class InvalidDocument(BadRequest):
    """What a change makes of a policy is none: a member is missing, or does not fit."""

    code = "invalid_route_policy"


class PolicyInUse(Conflict):
    """Models refer to the policy."""

    code = "policy_in_use"


class NothingToPublish(Conflict):
    """The policy has no draft, or no version that was published before."""

    code = "nothing_to_publish"


class Declared(Protocol):
    """A policy of the configuration file."""

    @property
    def id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def fields(self) -> PolicyFields: ...
    @property
    def place(self) -> str | None: ...


class Desk(Protocol):
    """What the catalogue does here: it knows the names that policies lead to, and puts what is published in force."""

    def declared(self) -> Iterator[Declared]: ...

    def refuse_declared(self, *, policy_id: UUID | None = None, name: str | None = None) -> None:
        """Raises `Conflict` for a policy of the file."""
        ...

    async def lock(self, session: AsyncSession) -> None:
        """Until the transaction ends, nobody else changes what leads where."""
        ...

    async def check(
        self, session: AsyncSession, *, policy_id: UUID, name: str, tenant_id: UUID | None, fields: PolicyFields
    ) -> None:
        """Raises `BadRequest` (`invalid_route_policy`) with every fault and its path."""
        ...

    async def refuse_broken(self, session: AsyncSession, param: str) -> None:
        """Raises `Conflict` (`policy_in_use`) when this transaction breaks a policy that calls follow."""
        ...

    async def models_of(self, session: AsyncSession, name: str, tenant_id: UUID | None) -> Sequence[str]: ...

    async def record(
        self,
        session: AsyncSession,
        caller: Caller,
        verb: str,
        policy_id: UUID,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None: ...


class RoutePolicies:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list_page(
        self, session: AsyncSession, caller: Caller, after: tuple[str, UUID], limit: int
    ) -> list[RoutePolicyOut]:
        """By name, those of the configuration file among them; at most `limit`."""
        rows = await repository.list_policies(session, visible_tenant(caller), after, limit)
        versions: dict[UUID, list[RoutePolicyVersion]] = {row.id: [] for row in rows}
        for version in await repository.list_latest(session, rows):
            versions[version.policy_id].append(version)
        stored = [_show(row, versions[row.id], caller) for row in rows]
        declared = sorted((one for one in self._declared(caller) if _position(one) > after), key=_position)
        return list(merge(stored, declared, key=_position))[:limit]

    async def get(self, session: AsyncSession, caller: Caller, policy_id: UUID) -> RoutePolicyOut:
        for one in self._declared(caller):
            if one.id == policy_id:
                return one
        row = await self._find(session, caller, policy_id)
        return _show(row, await repository.list_latest(session, [row]), caller)

    async def create(self, session: AsyncSession, caller: Caller, body: RoutePolicyCreate) -> RoutePolicyOut:
        if body.tenant_id is None:
            self._desk.refuse_declared(name=body.name)
        elif not await repository.has_tenant(session, body.tenant_id):
            raise not_found("tenant")
        await self._desk.lock(session)
        fields = PolicyFields.model_validate(body.model_dump(include=set(DOCUMENT)))
        row = RoutePolicy(id=uuid7(), tenant_id=body.tenant_id, name=body.name, description=body.description, version=1)
        await self._check(session, row, fields)
        await add_unique(session, row, "route policy")
        version = RoutePolicyVersion(
            policy_id=row.id, number=1, tenant_id=row.tenant_id, document=fields.model_dump(mode="json")
        )
        session.add(version)
        await session.flush()
        if body.publish:
            await self._put_in_force(session, row, version)
        return await self._changed(session, caller, row, "create", before=None)

    async def update(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, body: RoutePolicyUpdate, expected: Expected
    ) -> RoutePolicyOut:
        """The draft, begun from what is published where there is none."""
        row = await self._own(session, policy_id, expected)
        before = await self._shown(session, caller, row)
        if "description" in body.model_fields_set:
            row.description = body.description
        if changes := body.document():
            latest = await repository.list_latest(session, [row])
            newest = max(latest, key=lambda version: version.number)
            base = newest if newest.published_at is None else _published(row, latest) or newest
            document = _merged(base.document, changes)
            await self._check(session, row, document)
            stored = document.model_dump(mode="json")
            if newest.published_at is None:
                newest.document = stored
            else:
                session.add(
                    RoutePolicyVersion(
                        policy_id=row.id, number=newest.number + 1, tenant_id=row.tenant_id, document=stored
                    )
                )
        row.version += 1
        return await self._changed(session, caller, row, "update", before=before)

    async def publish(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected
    ) -> RoutePolicyOut:
        """The draft becomes what calls follow, on every worker within a second."""
        row = await self._own(session, policy_id, expected)
        before = await self._shown(session, caller, row)
        newest = (await repository.list_versions(session, row.id, None, 1))[0]
        if newest.published_at is not None:
            raise NothingToPublish("There is no draft: change the policy first, or roll it back to an earlier version.")
        await self._check(session, row, PolicyFields.model_validate(newest.document))
        await self._put_in_force(session, row, newest)
        row.version += 1
        return await self._changed(session, caller, row, "publish", before=before)

    async def rollback(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, number: int | None, expected: Expected
    ) -> RoutePolicyOut:
        """Calls follow an earlier version again. A draft stays a draft."""
        row = await self._own(session, policy_id, expected)
        before = await self._shown(session, caller, row)
        if number is None:
            version = await repository.find_published_before(session, row.id, row.published_number or 0)
        else:
            version = await repository.find_version(session, row.id, number)
        if version is None or version.published_at is None or version.number == row.published_number:
            raise NothingToPublish("There is no such version that was published before.", param="version")
        await self._check(session, row, PolicyFields.model_validate(version.document))
        await self._put_in_force(session, row, version)
        row.version += 1
        return await self._changed(session, caller, row, "rollback", before=before)

    async def delete(self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected) -> None:
        row = await self._own(session, policy_id, expected)
        before = await self._shown(session, caller, row)
        models = await self._desk.models_of(session, row.name, row.tenant_id)
        if row.published_number is not None and models:
            raise PolicyInUse(f"Models refer to this policy: {', '.join(models)}. Change or delete them first.")
        await session.delete(row)
        await session.flush()
        await self._desk.refuse_broken(session, "policy_id")
        await self._record(session, caller, row.id, "delete", before, None)

    async def list_versions(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, before: int | None, limit: int
    ) -> list[RoutePolicyVersionOut]:
        """Of a stored policy, the latest first; those of the file have one, which the file's own history tells."""
        if any(one.id == policy_id for one in self._declared(caller)):
            return []
        row = await self._find(session, caller, policy_id)
        return [
            RoutePolicyVersionOut(
                **_visible(version.document, caller),
                number=version.number,
                is_published=version.number == row.published_number,
                created_at=version.created_at,
                published_at=version.published_at,
            )
            for version in await repository.list_versions(session, row.id, before, limit)
        ]

    def _declared(self, caller: Caller) -> Iterator[RoutePolicyOut]:
        for one in self._desk.declared():
            yield RoutePolicyOut(
                **_visible(one.fields.model_dump(mode="json", include=set(DOCUMENT)), caller),
                id=one.id,
                name=one.name,
                description=one.description,
                tenant_id=None,
                published_version=None,
                draft_version=None,
                managed_by=ManagedBy.FILE,
                declared_at=one.place if sees_everything(caller) else None,
            )

    async def _find(self, session: AsyncSession, caller: Caller, policy_id: UUID) -> RoutePolicy:
        row = await repository.find_policy(session, policy_id)
        if row is None or row.tenant_id not in {None, visible_tenant(caller) or row.tenant_id}:
            raise not_found("route policy")
        return row

    async def _own(self, session: AsyncSession, policy_id: UUID, expected: Expected) -> RoutePolicy:
        """The stored policy, locked for a change."""
        self._desk.refuse_declared(policy_id=policy_id)
        await self._desk.lock(session)
        row = await repository.find_policy(session, policy_id, for_update=True)
        if row is None:
            raise not_found("route policy")
        check_match(expected, row)
        return row

    async def _check(self, session: AsyncSession, row: RoutePolicy, fields: PolicyFields) -> None:
        await self._desk.check(session, policy_id=row.id, name=row.name, tenant_id=row.tenant_id, fields=fields)

    async def _put_in_force(self, session: AsyncSession, row: RoutePolicy, version: RoutePolicyVersion) -> None:
        row.published_number = version.number
        if version.published_at is None:
            # The database's time, as of `created_at`.
            version.published_at = await session.scalar(select(func.now()))
        await session.flush()
        await self._desk.refuse_broken(session, "policy_id")

    async def _shown(self, session: AsyncSession, caller: Caller, row: RoutePolicy) -> RoutePolicyOut:
        return _show(row, await repository.list_latest(session, [row]), caller)

    async def _changed(
        self, session: AsyncSession, caller: Caller, row: RoutePolicy, verb: str, *, before: RoutePolicyOut | None
    ) -> RoutePolicyOut:
        await session.flush()
        await session.refresh(row)
        after = await self._shown(session, caller, row)
        await self._record(session, caller, row.id, verb, before, after)
        return after

    async def _record(
        self,
        session: AsyncSession,
        caller: Caller,
        policy_id: UUID,
        verb: str,
        before: RoutePolicyOut | None,
        after: RoutePolicyOut | None,
    ) -> None:
        await self._desk.record(session, caller, verb, policy_id, _audited(before), _audited(after))


def _merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> PolicyFields:
    try:
        return PolicyFields.model_validate({**document, **changes})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, details["loc"]))
        raise InvalidDocument(f"{path}: {details['msg']}.", param=path) from None


def _published(row: RoutePolicy, versions: Sequence[RoutePolicyVersion]) -> RoutePolicyVersion | None:
    return next((version for version in versions if version.number == row.published_number), None)


def _position(policy: RoutePolicyOut) -> tuple[str, UUID]:
    return policy.name, policy.id


def _show(row: RoutePolicy, versions: Sequence[RoutePolicyVersion], caller: Caller) -> RoutePolicyOut:
    draft = max(versions, key=lambda version: version.number)
    is_draft = draft.published_at is None
    shown = draft if is_draft else _published(row, versions) or draft
    return RoutePolicyOut(
        **_visible(shown.document, caller),
        id=row.id,
        name=row.name,
        description=row.description,
        tenant_id=row.tenant_id,
        published_version=row.published_number,
        draft_version=draft.number if is_draft else None,
        managed_by=ManagedBy.API,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _visible(document: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """Conditions name tenants; a tenant learns of no other than itself that it is there."""
    fields = PolicyFields.model_validate(document)
    if not caller.is_platform:
        own = format_id("ten", caller.tenant_id)
        fallbacks = fields.fallbacks
        fields = fields.model_copy(
            update={
                "branches": _without_others(fields.branches, own),
                "fallbacks": fallbacks.model_copy(
                    update={
                        name: _without_others(getattr(fallbacks, name), own) for name in type(fallbacks).model_fields
                    }
                ),
            }
        )
    return {name: getattr(fields, name) for name in DOCUMENT}


def _without_others(branches: Sequence[BranchFields], own: str) -> tuple[BranchFields, ...]:
    return tuple(_without_other(branch, own) for branch in branches)


def _without_other(branch: BranchFields, own: str) -> BranchFields:
    when = branch.when
    if when is not None and when.tenants is not None:
        when = when.model_copy(update={"tenants": tuple(tenant for tenant in when.tenants if tenant == own)})
    return branch.model_copy(update={"when": when, "branches": _without_others(branch.branches, own)})


def _audited(shown: RoutePolicyOut | None) -> Mapping[str, Any] | None:
    return None if shown is None else shown.model_dump(mode="json", exclude={"created_at", "updated_at"})
