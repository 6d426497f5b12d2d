"""Making, limiting, suspending and removing tenants.

Limits are the platform's to set: a tenant's own administrator changes its name, address, logging policy, settings, the
duty of a second factor and the flags that are marked self-service.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import Conflict, Forbidden, MalformedPayload, NotFound
from tollkeeper.core.flags import FLAGS
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.money import format_usd, nano_from_usd, usd_from_nano
from tollkeeper.core.tenant_settings import TenantSettings
from tollkeeper.db.models import Budget, Tenant
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.budgets.service import count_whole_month
from tollkeeper.domains.tenants import repository
from tollkeeper.domains.tenants.schemas import FlagView, TenantCreate, TenantUpdate, TenantView
from tollkeeper.domains.users import service as users_service
from tollkeeper.domains.users.service import Users
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match
from tollkeeper.web.integrity import refuse_on
from tollkeeper.web.tree import LoggingPolicy, change_flags, shown_flags

_OWN_FIELDS: Final = frozenset({"name", "email", "logging_policy", "require_second_factor", "settings"})
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


class TenantNotFound(NotFound):
    """No tenant of that id, or another's."""


class NameTaken(Conflict):
    """Names are unique, whatever their case."""

    code = "name_taken"


class PlatformOnly(Forbidden):
    """A limit that the platform sets for a tenant."""

    code = "platform_only"


class OwnTenant(Conflict):
    """What nobody does to the tenant they work from."""

    code = "own_tenant"


class Tenants:
    def __init__(self, users: Users, clock: Clock) -> None:
        self._users = users
        self._clock = clock

    async def create(self, session: AsyncSession, caller: Caller, wanted: TenantCreate) -> Tenant:
        """In a platform transaction. The tenant begins with a service account for keys of no person."""
        tenant_id = uuid7()
        slug = await _free_slug(session, wanted.name, tenant_id)
        row = Tenant(id=tenant_id, slug=slug, **_row_values(wanted, flags={}, settings={}))
        await add(session, caller, row)
        await self._count_month(session, row, None)
        return row

    async def get(self, session: AsyncSession, tenant_id: UUID) -> Tenant:
        row = await repository.find(session, tenant_id)
        if row is None:
            raise _not_found()
        return row

    async def list_page(self, session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[Tenant]:
        return await repository.list_page(session, after=after, limit=limit)

    async def update(
        self,
        session: AsyncSession,
        caller: Caller,
        tenant_id: UUID,
        changed: TenantUpdate,
        if_match: frozenset[int] | None,
    ) -> Tenant:
        row = await self._for_change(session, tenant_id)
        check_match(if_match, row)
        values = _row_values(changed, flags=row.flags, settings=row.settings)
        _check_fields(caller, row, values)
        return await self._change(session, caller, row, "tenants.update", values)

    async def suspend(self, session: AsyncSession, caller: Caller, tenant_id: UUID, reason: str) -> Tenant:
        row = await self._for_change(session, tenant_id)
        if row.id == caller.tenant_id:
            raise _own_suspension()
        values = {"is_active": False, "suspension_reason": reason}
        return await self._change(session, caller, row, "tenants.suspend", values)

    async def resume(self, session: AsyncSession, caller: Caller, tenant_id: UUID) -> Tenant:
        row = await self._for_change(session, tenant_id)
        return await self._change(session, caller, row, "tenants.resume", {"is_active": True})

    async def delete(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID, if_match: frozenset[int] | None
    ) -> None:
        """Revoke its keys, remove its users, refuse it from now on. Its usage and its audit trail stay."""
        row = await self._for_change(session, tenant_id)
        check_match(if_match, row)
        if row.id == caller.tenant_id:
            raise OwnTenant("You cannot delete the tenant you belong to.")
        await self._users.delete_all_of(session, caller, row.id)
        row.is_active, row.email = False, None
        row.name, row.slug = f"{row.name} (deleted {row.id.hex})", f"{repository.DELETED_SLUG}{row.id.hex}"
        await session.flush()
        await audit.record(session, caller, "tenants.delete", "tenant", _id(row), None, None, tenant_id=row.id)
        await events.emit(session, row.id, events.TenantChanged(row.id, ["deleted"]))
        await announce(session, Topic.TENANT, row.id)

    async def views(self, session: AsyncSession, rows: Sequence[Tenant]) -> list[TenantView]:
        spent = await repository.spent_since(session, [row.id for row in rows], month_start(self._clock.now()))
        return [_view(row, spent.get(row.id, 0)) for row in rows]

    async def view(self, session: AsyncSession, row: Tenant) -> TenantView:
        return (await self.views(session, [row]))[0]

    async def _change(
        self, session: AsyncSession, caller: Caller, row: Tenant, action: str, values: dict[str, Any]
    ) -> Tenant:
        before, former = _facts(row), row.budget_rule
        for name, value in values.items():
            setattr(row, name, value)
        if row.is_active:
            row.suspension_reason = None
        old, new = audit.changes(before, _facts(row))
        if not new:
            return row
        with refuse_on(uq_tenants_name=_taken()):
            await session.flush()
        await self._count_month(session, row, former)
        await audit.record(session, caller, action, "tenant", _id(row), old, new, tenant_id=row.id)
        await events.emit(session, row.id, events.TenantChanged(row.id, sorted(new)))
        await announce(session, Topic.TENANT, row.id)
        return row

    async def _count_month(self, session: AsyncSession, row: Tenant, former: Budget | None) -> None:
        """A monthly budget that is new counts what `current_spend_usd` shows."""
        if row.budget_rule is not None and row.budget_rule is not former:
            await count_whole_month(session, row.budget_rule, self._clock.now())

    async def _for_change(self, session: AsyncSession, tenant_id: UUID) -> Tenant:
        row = await repository.find_locked(session, tenant_id)
        if row is None:
            raise _not_found()
        return row


async def add(session: AsyncSession, caller: Caller | audit.Actor, row: Tenant) -> Tenant:
    repository.add(session, row)
    with refuse_on(uq_tenants_name=_taken()):
        await session.flush()
    await audit.record(session, caller, "tenants.create", "tenant", _id(row), None, _facts(row), tenant_id=row.id)
    await events.emit(session, row.id, events.TenantCreated(row.id, row.name))
    await users_service.add_service_account(session, caller, row.id)
    return row


def month_start(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _check_fields(caller: Caller, row: Tenant, values: dict[str, Any]) -> None:
    altered = {name for name, value in values.items() if name != "flags" and getattr(row, name) != value}
    altered |= {f"flags.{name}" for name in _altered_flags(row, values) if not FLAGS[name].is_self_service}
    if not caller.is_platform and not altered <= _OWN_FIELDS:
        names = ", ".join(sorted(altered - _OWN_FIELDS)).replace("_nano", "_usd")
        raise PlatformOnly(f"Only a platform administrator changes {names}.")
    if row.id == caller.tenant_id and values.get("is_active") is False:
        raise _own_suspension()


def _altered_flags(row: Tenant, values: dict[str, Any]) -> set[str]:
    stored = shown_flags(row.flags)
    wanted = values.get("flags", stored)
    return {name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name)}


def _row_values(
    sent: TenantCreate | TenantUpdate, *, flags: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What to write; `flags` and `settings` are what is stored so far, of which unnamed ones stay."""
    values = sent.columns()
    if "flags" in values:
        values["flags"] = change_flags(flags, values["flags"])
    if "settings" in values:
        values["settings"] = _merged(settings, values["settings"])
    if "monthly_budget_usd" in values:
        amount = values.pop("monthly_budget_usd")
        values["monthly_budget_nano"] = None if amount is None else nano_from_usd(amount)
    return values


def _merged(stored: Mapping[str, Any], sent: TenantSettings) -> dict[str, Any]:
    known = TenantSettings.read(stored).model_dump(exclude_none=True)
    merged = TenantSettings.model_validate({**known, **sent.model_dump(exclude_unset=True)})
    usual, longest = merged.default_key_days, merged.longest_key_days
    if usual is not None and longest is not None and usual > longest:
        raise MalformedPayload("default_key_days is above longest_key_days.", param="settings.default_key_days")
    return merged.model_dump(exclude_none=True)


async def _free_slug(session: AsyncSession, name: str, tenant_id: UUID) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = _NOT_SLUG.sub("-", plain).strip("-")[:60] or "tenant"
    return f"{slug}-{tenant_id.hex[-12:]}" if await repository.slug_exists(session, slug) else slug


def _view(row: Tenant, spent_nano: int) -> TenantView:
    budget = None if row.monthly_budget_nano is None else usd_from_nano(row.monthly_budget_nano)
    policy: LoggingPolicy = row.logging_policy  # type: ignore[assignment]
    return TenantView(
        id=row.id,
        name=row.name,
        slug=row.slug,
        email=row.email,
        is_active=row.is_active,
        suspension_reason=row.suspension_reason,
        rate_limit=row.rate_limit,
        monthly_budget_usd=budget,
        monthly_budget=budget,
        current_spend_usd=format_usd(spent_nano),
        allowed_models=row.allowed_models,
        allowed_providers=row.allowed_providers,
        logging_policy=policy,
        require_second_factor=row.require_second_factor,
        flags=shown_flags(row.flags),
        settings=TenantSettings.read(row.settings),
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def list_flags() -> list[FlagView]:
    return [
        FlagView(name=flag.name, default=flag.default, is_self_service=flag.is_self_service, description=flag.sentence)
        for flag in FLAGS.values()
    ]


def _own_suspension() -> OwnTenant:
    return OwnTenant("You cannot suspend the tenant you belong to.")


def _not_found() -> TenantNotFound:
    return TenantNotFound("There is no such tenant.")


def _taken() -> NameTaken:
    return NameTaken("A tenant of this name exists already; take another name.", param="name")


def _id(row: Tenant) -> str:
    return format_id("ten", row.id)


def _facts(row: Tenant) -> dict[str, Any]:
    budget = row.monthly_budget_nano
    return {
        "name": row.name,
        "email": row.email,
        "is_active": row.is_active,
        "rate_limit": row.rate_limit,
        "monthly_budget_usd": None if budget is None else format_usd(budget),
        "allowed_models": row.allowed_models,
        "allowed_providers": row.allowed_providers,
        "logging_policy": row.logging_policy,
        "require_second_factor": row.require_second_factor,
        "flags": dict(row.flags),
        "settings": dict(row.settings),
        "suspension_reason": row.suspension_reason,
    }
