"""Callers as the web kernel proves them, for services that are called without it."""

from uuid import UUID

from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role, permissions_of
from tollkeeper.web.caller import Caller


def someone(tenant_id: UUID, role: Role) -> Caller:
    granted = permissions_of(role)
    return Caller(tenant_id, uuid7(), role, granted, granted, "Someone", "someone@example.com", uuid7(), tenant_id)
