"""What `/me` tells a caller about themselves: identity, keys, usage of the month, limits."""

from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.errors import NotFound
from tollkeeper.core.money import format_usd, usd_from_nano
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.identity import repository
from tollkeeper.domains.identity.schemas import Me, MeLimits, MeTenant, MeUsage
from tollkeeper.domains.keys.schemas import KeyView
from tollkeeper.domains.keys.service import Keys
from tollkeeper.web.caller import Caller

_MOST_KEYS: Final = 100


async def show(session: AsyncSession, caller: Caller, keys: Keys, now: datetime, csrf_token: str | None) -> Me:
    tenant = await repository.find_tenant(session, caller.tenant_id)
    if tenant is None:
        raise NotFound("There is no such tenant.")
    since = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    own = await repository.usage_since(session, caller.tenant_id, caller.user_id, since)
    whole = await repository.usage_since(session, caller.tenant_id, None, since)
    budget = tenant.monthly_budget_nano
    remaining = None if budget is None else max(0, budget - whole.charge_nano)
    return Me(
        id=caller.user_id,
        email=caller.email,
        name=caller.name,
        role=caller.role,
        tenant=MeTenant(id=tenant.id, name=tenant.name),
        permissions=sorted(caller.permissions),
        credential="session" if caller.key is None else "key",
        key_id=caller.key_id,
        csrf_token=csrf_token,
        keys=await _own_keys(session, caller, keys),
        usage=MeUsage(
            since=since,
            requests=own.requests,
            prompt_tokens=own.prompt_tokens,
            completion_tokens=own.completion_tokens,
            cost_usd=format_usd(own.charge_nano),
        ),
        limits=MeLimits(
            tenant_requests_per_minute=tenant.rate_limit,
            key_requests_per_minute=None if caller.key is None else caller.key.key_requests_per_minute,
            monthly_budget_usd=None if budget is None else usd_from_nano(budget),
            current_spend_usd=format_usd(whole.charge_nano),
            remaining_usd=None if remaining is None else format_usd(remaining),
            allowed_models=tenant.allowed_models,
            allowed_providers=tenant.allowed_providers,
        ),
    )


async def _own_keys(session: AsyncSession, caller: Caller, keys: Keys) -> list[KeyView]:
    """A key without scope `admin` knows of itself alone, not of its siblings."""
    rows = await keys.list_own(session, caller, _MOST_KEYS)
    knows_all = caller.key is None or caller.may(Permission.API_KEYS_VIEW)
    return [keys.view(row) for row in rows if knows_all or row.id == caller.key_id]
