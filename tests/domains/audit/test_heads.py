"""What was signed outside the database shows a cut tail and a chain rewritten whole, and is never overwritten by it."""

from uuid import UUID

import orjson
import pytest

from tests.domains.audit.conftest import new_tenant, record, tamper, verify
from tests.domains.control_plane import MASTER, ORIGIN, ControlPlane
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.ids import format_id
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.permissions import Role
from tollkeeper.domains.audit.heads import HeadForged, Heads, HeadSigning
from tollkeeper.domains.audit.verification import renew_heads

CUT = "DELETE FROM audit_logs WHERE tenant_id = :tenant AND sequence > 2"
ALL = "DELETE FROM audit_logs WHERE tenant_id = :tenant"


def newest(tenant_id: UUID) -> str:
    return f"{tenant_id.hex}/audit/heads/newest.json"


async def sign(plane: ControlPlane) -> list[str]:
    """One turn of the job, by a process that has just started; the tenants it found broken."""
    result = await HeadSigning(plane.database, plane.services.audit_heads).handle(None, {})
    return list(result["broken"])


async def test_signed_head_moves_on_with_the_chain(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 3)
    assert (await verify(plane, tenant_id)).signed_sequence is None
    assert await sign(plane) == []
    await record(plane, tenant_id, 4)
    assert (await verify(plane, tenant_id)).signed_sequence == 3
    assert await sign(plane) == []
    report = await verify(plane, tenant_id)
    assert (report.is_intact, report.signed_sequence, report.records) == (True, 4, 4)


async def test_a_head_of_each_day_is_kept(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 1)
    for day in range(3):
        plane.clock.ahead = day * 86_400
        await record(plane, tenant_id, day)
        await sign(plane)
    assert [head.sequence for head in await plane.services.audit_heads.all(tenant_id)] == [2, 3, 4]


@pytest.mark.parametrize("statement", [CUT, ALL])
async def test_cut_tail_is_found_and_its_head_is_not_signed_over(plane: ControlPlane, statement: str) -> None:
    tenant_id = await new_tenant(plane, 5)
    await sign(plane)
    await tamper(plane, statement, tenant_id)
    assert str(tenant_id) in await sign(plane)
    await record(plane, tenant_id, 6)
    assert str(tenant_id) in await sign(plane)
    report = await verify(plane, tenant_id)
    assert (report.is_intact, report.signed_sequence) == (False, 5)
    assert report.problem is not None
    assert "tail was cut" in report.problem


async def test_chain_rewritten_whole_is_found(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 3)
    await sign(plane)
    await tamper(plane, ALL, tenant_id)
    for number in range(4):
        await record(plane, tenant_id, number)
    report = await verify(plane, tenant_id)
    assert (report.is_intact, report.broken_at) == (False, 3)
    assert report.problem is not None
    assert "rewritten" in report.problem


@pytest.mark.parametrize(
    "change", [{"sequence": 1}, {"hash": "00" * 32}, {"signature": "00" * 32}, {"key_id": "00" * 8}, {"tenant_id": "x"}]
)
async def test_forged_head_is_refused(plane: ControlPlane, change: dict[str, object]) -> None:
    tenant_id = await new_tenant(plane, 3)
    await sign(plane)
    found = orjson.loads(await plane.services.objects.get(newest(tenant_id)))
    await plane.services.objects.put(newest(tenant_id), orjson.dumps({**found, **change}))
    with pytest.raises(HeadForged):
        await plane.services.audit_heads.newest(tenant_id)
    assert str(tenant_id) in await sign(plane)
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        report = await admin.get("/api/v1/audit/verify", params={"tenant_id": format_id("ten", tenant_id)})
    assert report.json()["is_intact"] is False
    await plane.services.objects.put(newest(tenant_id), orjson.dumps(found))


async def test_head_of_another_tenant_does_not_count(plane: ControlPlane) -> None:
    tenant_id, other_id = await new_tenant(plane, 3), await new_tenant(plane, 2)
    await sign(plane)
    moved = await plane.services.objects.get(newest(other_id))
    await plane.services.objects.put(newest(tenant_id), moved)
    with pytest.raises(HeadForged):
        await plane.services.audit_heads.newest(tenant_id)
    await plane.services.objects.delete(newest(tenant_id))


async def test_heads_of_the_former_master_key_still_count(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 3)
    await sign(plane)
    new = MasterKey("another-master-key-" * 3)
    rotated = Heads(plane.services.objects, MasterKeys(new, (MASTER,)), plane.clock)
    head = await rotated.newest(tenant_id)
    assert head is not None
    assert head.sequence == 3
    alone = Heads(plane.services.objects, MasterKeys(new), plane.clock)
    with pytest.raises(HeadForged, match="not given"):
        await alone.newest(tenant_id)
    # The next turn of the job, by a gateway that knows both keys, signs them again.
    result = await HeadSigning(plane.database, rotated).handle(None, {})
    assert str(tenant_id) not in result["broken"]
    assert [found.sequence for found in await alone.all(tenant_id)] == [3]
    count, forged = await renew_heads(
        plane.database, Heads(plane.services.objects, MasterKeys(MASTER, (new,)), plane.clock)
    )
    assert (count > 0, forged) == (True, [])
    assert (await verify(plane, tenant_id)).signed_sequence == 3


async def test_route_reports_what_is_signed(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        await admin.post("/api/v1/keys", json={"name": "one"}, headers={"origin": ORIGIN})
    await sign(plane)
    async with plane.as_role(Role.AUDITOR) as auditor:
        report = (await auditor.get("/api/v1/audit/verify")).json()
    assert report["is_intact"] is True
    assert report["signed_sequence"] == report["head_sequence"] > 0
