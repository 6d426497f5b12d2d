"""Tenants of a test's own, and the hands of somebody who owns the tables."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import Tenant
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.audit.schemas import ChainReport


async def new_tenant(plane: ControlPlane, records: int = 0) -> UUID:
    tenant_id = uuid7()
    async with plane.database.platform() as session:
        session.add(Tenant(id=tenant_id, name=tenant_id.hex, slug=tenant_id.hex))
    for number in range(records):
        await record(plane, tenant_id, number)
    return tenant_id


async def record(plane: ControlPlane, tenant_id: UUID, number: int) -> None:
    after = {"number": number, "when": datetime.now(UTC), "share": 0.1, "cost": Decimal("1.50"), "large": 2**70}
    async with plane.database.tenant(tenant_id) as session:
        await audit.record(
            session, audit.SYSTEM, "things.update", "thing", f"thing_{number}", {"a": [1, {"b": None}]}, after,
            tenant_id=tenant_id,
        )  # fmt: skip


async def verify(plane: ControlPlane, tenant_id: UUID, head: bytes | None = None) -> ChainReport:
    """As the route does it: against the noted head and everything signed."""
    signed = await plane.services.audit_heads.all(tenant_id)
    async with plane.database.tenant(tenant_id) as session:
        return await audit.verify_chain(session, tenant_id, head=head, signed=signed)


async def tamper(plane: ControlPlane, statement: str, tenant_id: UUID) -> None:
    """As somebody who owns the table: no role of ours may."""
    async with plane.database.owner() as session:
        await session.execute(text("ALTER TABLE audit_logs NO FORCE ROW LEVEL SECURITY"))
        await session.execute(text(statement), {"tenant": tenant_id})
        await session.execute(text("ALTER TABLE audit_logs FORCE ROW LEVEL SECURITY"))
