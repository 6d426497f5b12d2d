"""The trail has no gap, shows every edit, and belongs to one tenant."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from tests.callers import someone
from tests.domains.audit.conftest import new_tenant, record, tamper, verify
from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Role
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.audit.schemas import plain


async def test_a_whole_chain_is_intact(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 5)
    report = await verify(plane, tenant_id)
    assert report.is_intact
    assert report.records == 5


async def test_many_writers_leave_no_gap(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    await asyncio.gather(*(record(plane, tenant_id, number) for number in range(25)))
    report = await verify(plane, tenant_id)
    assert (report.is_intact, report.records) == (True, 25)


async def test_a_rolled_back_change_leaves_no_record_and_no_gap(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 1)
    async with plane.database.tenant(tenant_id) as session:
        await audit.record(session, audit.SYSTEM, "a.b", "thing", "x", tenant_id=tenant_id)
        await session.rollback()
    await record(plane, tenant_id, 2)
    assert (await verify(plane, tenant_id)).records == 2


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE audit_logs SET action = 'nothing' WHERE tenant_id = :tenant AND sequence = 3", 3),
        ("UPDATE audit_logs SET after = '{}' WHERE tenant_id = :tenant AND sequence = 3", 3),
        ("UPDATE audit_logs SET created_at = now() WHERE tenant_id = :tenant AND sequence = 3", 3),
        ("UPDATE audit_logs SET actor_id = 'usr_1' WHERE tenant_id = :tenant AND sequence = 1", 1),
        ("DELETE FROM audit_logs WHERE tenant_id = :tenant AND sequence = 3", 4),
        ("DELETE FROM audit_logs WHERE tenant_id = :tenant AND sequence = 1", 2),
        (
            "UPDATE audit_logs SET sequence = CASE sequence WHEN 2 THEN 30 ELSE sequence END WHERE tenant_id = :tenant",
            3,
        ),
    ],
)
async def test_every_tampering_is_found(plane: ControlPlane, statement: str, broken_at: int) -> None:
    tenant_id = await new_tenant(plane, 5)
    await tamper(plane, statement, tenant_id)
    report = await verify(plane, tenant_id)
    assert not report.is_intact
    assert report.broken_at == broken_at


async def test_a_cut_tail_is_found_by_a_noted_head(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 5)
    head = bytes.fromhex((await verify(plane, tenant_id)).head)
    await record(plane, tenant_id, 6)
    assert (await verify(plane, tenant_id, head)).is_intact
    await tamper(plane, "DELETE FROM audit_logs WHERE tenant_id = :tenant AND sequence > 4", tenant_id)
    assert (await verify(plane, tenant_id)).is_intact
    assert not (await verify(plane, tenant_id, head)).is_intact


async def test_no_role_of_ours_changes_or_deletes_a_record(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane, 1)
    for statement in ("UPDATE audit_logs SET action = 'x'", "DELETE FROM audit_logs"):
        for context in (plane.database.tenant(tenant_id), plane.database.platform()):
            with pytest.raises(ProgrammingError, match="permission denied"):
                async with context as session:
                    await session.execute(text(statement))


def test_only_plain_values_are_kept() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    assert plain({"a": (1, 2.5, when, Role.VIEWER, frozenset({"b"}))}) == {
        "a": [1, "2.5", "2026-01-02T00:00:00+00:00", "viewer", ["b"]]
    }
    with pytest.raises(TypeError):
        plain({"a": object()})


async def test_the_trail_is_listed_filtered_and_paged(plane: ControlPlane) -> None:
    async with plane.as_role(Role.TENANT_ADMIN) as admin:
        key_ids = [(await admin.post("/api/v1/keys", json={"name": f"key {n}"})).json()["id"] for n in range(3)]
    async with plane.as_role(Role.AUDITOR) as auditor:
        mine = (await auditor.get("/api/v1/audit", params={"object_id": key_ids[1]})).json()["data"]
        first = (await auditor.get("/api/v1/audit", params={"limit": 2})).json()
        rest = (await auditor.get("/api/v1/audit", params={"limit": 100, "cursor": first["next_cursor"]})).json()
        late = (await auditor.get("/api/v1/audit", params={"from": "2999-01-01T00:00:00Z"})).json()
        assert (await auditor.get("/api/v1/audit/verify")).json()["is_intact"] is True
        foreign = await auditor.get("/api/v1/audit", params={"tenant_id": format_id("ten", plane.other_tenant_id)})
        assert foreign.status_code == 404
        assert (await auditor.get("/api/v1/audit", params={"cursor": "x"})).status_code == 400
        assert (await auditor.get("/api/v1/audit", params={"action": "a' OR 1=1"})).status_code == 422
        assert (await auditor.get("/api/v1/audit", params={"from": "2026-01-01T00:00:00"})).status_code == 422
    assert [(item["action"], item["actor"]["type"]) for item in mine] == [("keys.create", "user")]
    assert mine[0]["after"]["name"] == "key 1"
    assert mine[0]["request_id"].startswith("req_")
    sequences = [item["sequence"] for item in first["data"] + rest["data"]]
    assert sequences == list(range(len(sequences), 0, -1))
    assert late == {"data": [], "next_cursor": None}
    async with plane.as_role(Role.DEVELOPER) as developer:
        assert (await developer.get("/api/v1/audit")).status_code == 403


async def test_reading_stored_content_is_recorded(plane: ControlPlane) -> None:
    reader = someone(plane.tenant_id, Role.AUDITOR)
    async with plane.database.tenant(plane.tenant_id) as session:
        await audit.record_read(session, reader, "request", "req_1")
    assert await plane.audited("req_1") == ["request.read"]
