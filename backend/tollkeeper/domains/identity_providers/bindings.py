"""Which of an issuer's tokens act as which key.

A binding hands a key to whoever holds such a token, so the key must be one the caller might use up to its last
permission: of the same tenant, of an owner who may do no more than the caller, seen by the caller.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.db.models import IdentityProvider, WorkloadBinding
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.schemas import BindingCreate, BindingUpdate, BindingView
from tollkeeper.domains.identity_providers.service import get_for_change, record
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on


class BindingNotFound(NotFound):
    """No binding of that id at the provider."""


class BindingNameTaken(Conflict):
    """Names are unique in a tenant, whatever their case."""

    code = "name_taken"


class Bindings:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def create(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, wanted: BindingCreate
    ) -> WorkloadBinding:
        provider = await get_for_change(session, caller, provider_id)
        await self._check_key(session, caller, provider, wanted.key_id)
        row = WorkloadBinding(
            tenant_id=provider.tenant_id,
            provider_id=provider.id,
            key_id=wanted.key_id,
            name=wanted.name,
            claims=dict(wanted.claims),
            is_active=wanted.is_active,
        )
        repository.add(session, row)
        with refuse_on(uq_workload_bindings_tenant_id_name=_taken()):
            await session.flush()
        await _record(session, caller, provider, row, "create", None, _facts(row))
        return row

    async def get(self, session: AsyncSession, provider_id: UUID, binding_id: UUID) -> WorkloadBinding:
        row = await repository.find_binding(session, provider_id, binding_id)
        if row is None:
            raise _not_found()
        return row

    async def list_page(
        self, session: AsyncSession, provider_id: UUID, *, after: UUID | None, limit: int
    ) -> Sequence[WorkloadBinding]:
        return await repository.list_bindings(session, provider_id, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        provider_id: UUID,
        binding_id: UUID,
        changed: BindingUpdate,
        if_match: frozenset[int] | None,
    ) -> WorkloadBinding:
        provider, row = await self._for_change(session, caller, provider_id, binding_id)
        check_match(if_match, row)
        before, former_key = _facts(row), row.key_id
        # Also when it stays: a change of claims hands it to others.
        await self._check_key(session, caller, provider, changed.key_id or former_key)
        for name in changed.model_fields_set:
            if getattr(row, name) != getattr(changed, name):
                setattr(row, name, getattr(changed, name))
        old, new = audit.changes(before, _facts(row))
        if not new:
            return row
        with refuse_on(uq_workload_bindings_tenant_id_name=_taken()):
            await session.flush()
        await announce(session, Topic.KEY, former_key)
        await _record(session, caller, provider, row, "update", old, new)
        return row

    async def delete(
        self,
        session: AsyncSession,
        caller: Caller,
        provider_id: UUID,
        binding_id: UUID,
        if_match: frozenset[int] | None,
    ) -> None:
        provider, row = await self._for_change(session, caller, provider_id, binding_id)
        check_match(if_match, row)
        await _record(session, caller, provider, row, "delete", _facts(row), None)
        await repository.remove(session, row)

    def view(self, row: WorkloadBinding) -> BindingView:
        return BindingView.model_validate(row)

    async def _for_change(
        self, session: AsyncSession, caller: Caller, provider_id: UUID, binding_id: UUID
    ) -> tuple[IdentityProvider, WorkloadBinding]:
        provider = await get_for_change(session, caller, provider_id)
        row = await repository.find_binding_locked(session, provider_id, binding_id)
        if row is None:
            raise _not_found()
        return provider, row

    async def _check_key(self, session: AsyncSession, caller: Caller, provider: IdentityProvider, key_id: UUID) -> None:
        """Raises NotFound, `BeyondAuthority`."""
        key = await self._keys.get_to_hand_on(session, caller, key_id)
        if key.tenant_id != provider.tenant_id:
            raise NotFound("There is no such key.")


async def _record(
    session: AsyncSession,
    caller: Caller,
    provider: IdentityProvider,
    row: WorkloadBinding,
    action: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    await record(
        session,
        caller,
        provider,
        action,
        before,
        after,
        noun="workload_bindings",
        object_type="workload_binding",
        object_id=format_id("wlb", row.id),
    )


def _facts(row: WorkloadBinding) -> dict[str, Any]:
    return {"name": row.name, "key_id": row.key_id, "claims": dict(row.claims), "is_active": row.is_active}


def _not_found() -> BindingNotFound:
    return BindingNotFound("There is no such binding.")


def _taken() -> BindingNameTaken:
    return BindingNameTaken("The tenant has a binding of this name already; take another name.", param="name")
