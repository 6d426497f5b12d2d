"""A tenant that registers itself, with its first administrator. It serves nobody until the mailed link is used."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import Tenant, User
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity import repository
from tollkeeper.domains.roles.service import built_in
from tollkeeper.domains.tenants import service as tenants
from tollkeeper.domains.users import service as users

log = structlog.get_logger(__name__)

# Why such a tenant does not serve yet; only the mailed link, or an administrator of the platform, ends that.
UNVERIFIED: Final = "The address of its first administrator is not confirmed yet."
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")


async def create(session: AsyncSession, wanted: Mapping[str, Any], now: datetime, *, is_verified: bool) -> User:
    """Of `email`, `name`, `organisation` and `password_hash`; in a platform transaction."""
    tenant_id, name = uuid7(), str(wanted["organisation"])
    if await repository.find_tenant_by_name(session, name) is not None:
        # Nobody learns here which organisations are customers.
        name = f"{name} ({tenant_id.hex[-6:]})"
    row = Tenant(
        id=tenant_id,
        name=name,
        slug=_slug(name, tenant_id.hex[-12:]),
        email=wanted["email"],
        is_active=is_verified,
        suspension_reason=None if is_verified else UNVERIFIED,
    )
    await tenants.add(session, audit.SYSTEM, row)
    user = User(
        tenant_id=tenant_id,
        email=wanted["email"],
        name=wanted["name"],
        password_hash=wanted["password_hash"],
        password_changed_at=now,
    )
    await users.add(session, audit.SYSTEM, user, built_in(Role.TENANT_ADMIN))
    log.info("tenant_registered", tenant_id=format_id("ten", tenant_id))
    return user


def is_unverified(tenant: Tenant) -> bool:
    return not tenant.is_active and tenant.suspension_reason == UNVERIFIED


def _slug(name: str, suffix: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return f"{_NOT_SLUG.sub('-', plain).strip('-')[:40] or 'tenant'}-{suffix}"
