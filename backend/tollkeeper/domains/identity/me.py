"""What `/me` tells a caller about themselves: identity, tenants, keys, usage of the month, limits and their sources."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.money import ScopeKind
from tollkeeper.core.errors import NotFound
from tollkeeper.core.money import format_usd, usd_from_nano
from tollkeeper.core.permissions import Permission
from tollkeeper.db.models import Tenant
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.lookup import Membership
from tollkeeper.domains.identity.me_schemas import (
    Me,
    MeLimits,
    MeMembership,
    MeSecondFactor,
    MeSession,
    MeTenant,
    MeUsage,
)
from tollkeeper.domains.keys.schemas import Effective, KeyView, placed
from tollkeeper.domains.keys.service import Explanations, Keys, of_member
from tollkeeper.domains.projects.service import teams_of
from tollkeeper.web.caller import Caller

_MOST_KEYS: Final = 100


class Memberships(Protocol):
    """Of `SqlIdentities`."""

    async def list_memberships(self, user_id: UUID) -> Sequence[Membership]: ...
    async def has_second_factor(self, user_id: UUID) -> bool: ...


class Mirror:
    """Shows callers themselves. `fresh_for` is how long a proof of who they are serves credentials and roles."""

    def __init__(
        self, keys: Keys, explanations: Explanations, memberships: Memberships, *, fresh_for: timedelta
    ) -> None:
        self._keys = keys
        self._explanations = explanations
        self._memberships = memberships
        self._fresh_for = fresh_for

    async def show(self, session: AsyncSession, caller: Caller, now: datetime, csrf_token: str | None) -> Me:
        tenant = await repository.find_tenant(session, caller.tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        since = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        own = await repository.usage_since(session, caller.tenant_id, caller.user_id, since)
        whole = await repository.usage_since(session, caller.tenant_id, None, since)
        return Me(
            id=caller.user_id,
            email=caller.email,
            name=caller.name,
            role=caller.role,
            tenant=MeTenant(id=tenant.id, name=tenant.name),
            home_tenant_id=caller.home_tenant_id,
            tenants=await memberships_of(session, caller, self._memberships),
            permissions=sorted(caller.permissions),
            credential="session" if caller.key is None else "key",
            key_id=caller.key_id,
            csrf_token=csrf_token,
            session=session_of(caller, self._fresh_for),
            second_factor=MeSecondFactor(
                is_set_up=await self._memberships.has_second_factor(caller.user_id),
                is_required=tenant.require_second_factor,
                must_set_up=caller.must_enrol,
            ),
            keys=await self._own_keys(session, caller),
            usage=MeUsage(
                since=since,
                requests=own.requests,
                prompt_tokens=own.prompt_tokens,
                completion_tokens=own.completion_tokens,
                cost_usd=format_usd(own.charge_nano),
            ),
            limits=_limits(caller, tenant, whole.charge_nano),
            effective=await self._effective(caller, tenant, now),
        )

    async def _own_keys(self, session: AsyncSession, caller: Caller) -> list[KeyView]:
        """A key without scope `admin` knows of itself alone, not of its siblings."""
        rows = await self._keys.list_own(session, caller, _MOST_KEYS)
        knows_all = caller.key is None or caller.may(Permission.API_KEYS_VIEW)
        rows = [row for row in rows if knows_all or row.id == caller.key_id]
        teams = await teams_of(session, {row.project_id for row in rows if row.project_id is not None})
        return placed([self._keys.view(row) for row in rows], teams)

    async def _effective(self, caller: Caller, tenant: Tenant, now: datetime) -> Effective:
        if caller.key is None:
            return of_member(caller, tenant)
        return await self._explanations.of_key(caller.tenant_id, caller.key.key_id, now)


async def memberships_of(session: AsyncSession, caller: Caller, memberships: Memberships) -> list[MeMembership]:
    """Where the caller may work, with the current tenant among them. A key knows of its own tenant alone."""
    if caller.key is not None:
        tenant = await repository.find_tenant(session, caller.tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        is_home = tenant.id == caller.home_tenant_id
        return [MeMembership(id=tenant.id, name=tenant.name, role=caller.role, is_home=is_home, is_current=True)]
    return [
        MeMembership(
            id=found.tenant_id,
            name=found.tenant_name,
            role=found.role,
            is_home=found.is_home,
            is_current=found.tenant_id == caller.tenant_id,
        )
        for found in await memberships.list_memberships(caller.user_id)
    ]


def session_of(caller: Caller, fresh_for: timedelta) -> MeSession | None:
    """None for a key. `fresh_for` is how long a proof of who somebody is serves credentials and roles."""
    proven_at = caller.authenticated_at
    if proven_at is None:
        return None
    return MeSession(method=caller.method or "unknown", authenticated_at=proven_at, fresh_until=proven_at + fresh_for)


def _limits(caller: Caller, tenant: Tenant, spent_nano: int) -> MeLimits:
    budget = tenant.monthly_budget_nano
    return MeLimits(
        tenant_requests_per_minute=tenant.rate_limit,
        key_requests_per_minute=None if caller.key is None else caller.key.requests_per_minute(ScopeKind.KEY),
        monthly_budget_usd=None if budget is None else usd_from_nano(budget),
        current_spend_usd=format_usd(spent_nano),
        remaining_usd=None if budget is None else format_usd(max(0, budget - spent_nano)),
        allowed_models=tenant.allowed_models,
        allowed_providers=tenant.allowed_providers,
    )
