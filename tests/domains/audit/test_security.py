"""Refusals are in the trail of their tenant; a flood of them is not, and costs the caller nothing."""

import asyncio

from sqlalchemy import select

from tests.domains.audit.conftest import new_tenant, verify
from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.db.models import AuditLog
from tollkeeper.db.session import Database
from tollkeeper.domains.audit.schemas import Actor
from tollkeeper.domains.audit.security import SecurityEvents

STRANGER = Actor("user", "usr_1", "ann@example.com", None, "192.0.2.7")


async def written(plane: ControlPlane, tenant_id: object) -> list[AuditLog]:
    async with plane.database.platform() as session:
        query = select(AuditLog).where(AuditLog.tenant_id == tenant_id).order_by(AuditLog.sequence)
        return list(await session.scalars(query))


async def test_refusal_is_recorded_as_one(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    events = SecurityEvents(plane.database, plane.clock)
    events.note(tenant_id, "auth.login_refused", STRANGER, "user", "usr_1", {"reason": "password"})
    await events.settled()
    [row] = await written(plane, tenant_id)
    assert (row.action, row.outcome, row.after, str(row.address)) == (
        "auth.login_refused", "refused", {"reason": "password"}, "192.0.2.7",
    )  # fmt: skip
    assert (await verify(plane, tenant_id)).is_intact


async def test_flood_leaves_a_few_records_and_their_count(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    events = SecurityEvents(plane.database, plane.clock)
    for _ in range(1000):
        events.note(tenant_id, "auth.login_refused", STRANGER, "user", "usr_1")
    await events.settled()
    assert len(await written(plane, tenant_id)) == 5
    plane.clock.ahead = 30
    events.note(tenant_id, "auth.login_refused", STRANGER, "user", "usr_1")
    await events.settled()
    rows = await written(plane, tenant_id)
    assert (len(rows), rows[-1].after) == (6, {"left_out": 995})


async def test_flood_over_many_accounts_is_bounded_by_the_tenant(plane: ControlPlane) -> None:
    tenant_id, quiet_id = await new_tenant(plane), await new_tenant(plane)
    events = SecurityEvents(plane.database, plane.clock)
    for number in range(400):
        events.note(tenant_id, "auth.login_refused", STRANGER, "user", f"usr_{number}")
    events.note(quiet_id, "auth.login_refused", STRANGER, "user", "usr_1")
    await events.settled()
    assert len(await written(plane, tenant_id)) == 120
    assert len(await written(plane, quiet_id)) == 1


async def test_refusal_stands_without_a_database() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    events = SecurityEvents(database, Clock())
    events.note(uuid7(), "auth.login_refused", STRANGER, "user", "usr_1")
    await asyncio.wait_for(events.settled(), 10)
    await database.close()


class Clock:
    def monotonic(self) -> float:
        return 0.0


async def test_use_of_a_revoked_key_is_recorded(plane: ControlPlane) -> None:
    user_id = await plane.user(Role.TENANT_ADMIN)
    key_id, token = await plane.new_key(user_id, "admin", status="revoked")
    async with plane.client(authorization=f"Bearer {token}") as client:
        answers = [(await client.get("/api/v1/keys")).status_code for _ in range(20)]
    await plane.services.security_events.settled()
    assert set(answers) == {401}
    rows = [row for row in await written(plane, plane.tenant_id) if row.object_id == key_id]
    assert [(row.action, row.outcome, row.actor_id) for row in rows] == [("keys.refused", "refused", key_id)] * 5
    assert rows[0].after is not None
    assert "revoked" in rows[0].after["reason"]
