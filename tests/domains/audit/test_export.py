"""An export is the whole trail of one tenant, in order, provable without us; that it was taken is in the trail."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.domains.audit.conftest import new_tenant, record
from tests.domains.control_plane import ControlPlane
from tollkeeper.core.ids import format_id
from tollkeeper.core.permissions import Role
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.audit.schemas import GENESIS, Entry


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_export_holds_every_record_in_order_and_its_chain_can_be_followed(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    async with plane.database.tenant(tenant_id) as session:
        for number in range(1203):
            await audit.record(session, audit.SYSTEM, "a.b", "thing", f"t{number}", tenant_id=tenant_id)
    async with plane.as_role(Role.PLATFORM_ADMIN) as admin:
        answer = await admin.get("/api/v1/audit/export", params={"tenant_id": format_id("ten", tenant_id)})
    found = lines(answer)
    assert [item["sequence"] for item in found] == list(range(1, 1204))
    previous = GENESIS.hex()
    for item in found:
        assert item["previous_hash"] == previous
        previous = item["hash"]
    # What a reader without our code computes from the page on the format.
    first = found[0]
    document = {
        "id": first["id"].removeprefix("aud_"), "tenant_id": tenant_id.hex, "sequence": 1, "actor_type": "system",
        "actor_id": "tollkeeper", "actor_name": "Tollkeeper", "action": "a.b", "object_type": "thing",
        "object_id": "t0", "before": None, "after": None, "request_id": None, "address": None,
        "created_at": first["created_at"].replace("Z", "+00:00"),
    }  # fmt: skip
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(GENESIS + text.encode()).hexdigest() == first["hash"]


async def test_export_is_recorded_and_does_not_hold_itself(plane: ControlPlane) -> None:
    async with plane.as_role(Role.AUDITOR) as auditor:
        before = lines(await auditor.get("/api/v1/audit/export", params={"format": "jsonl"}))
        after = lines(await auditor.get("/api/v1/audit/export", params={"action": "audit.export"}))
    assert all(item["action"] != "audit.export" for item in before)
    assert [item["after"]["records_up_to"] for item in after] == [len(before)]


async def test_export_needs_its_own_permission_a_fresh_sign_in_and_the_own_tenant(plane: ControlPlane) -> None:
    async with plane.as_role(Role.VIEWER) as viewer:
        assert (await viewer.get("/api/v1/audit/export")).status_code == 403
    async with plane.as_role(Role.AUDITOR) as auditor:
        foreign = {"tenant_id": format_id("ten", plane.other_tenant_id)}
        assert (await auditor.get("/api/v1/audit/export", params=foreign)).status_code == 404
        assert (await auditor.get("/api/v1/audit/export", params={"format": "csv"})).status_code == 422
        plane.clock.ahead = plane.services.settings.step_up_seconds + 1
        late = await auditor.get("/api/v1/audit/export")
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


async def test_slow_reader_holds_no_transaction(plane: ControlPlane) -> None:
    tenant_id = await new_tenant(plane)
    async with plane.database.tenant(tenant_id) as session:
        for number in range(501):
            await audit.record(session, audit.SYSTEM, "a.b", "thing", f"t{number}", tenant_id=tenant_id)
    batches = audit.export(plane.database, tenant_id, audit.Filter(), last=501)
    first = await anext(batches)
    assert first.count(b"\n") == 500
    # More readers than there are connections wait here, and writers still get one.
    others = [audit.export(plane.database, tenant_id, audit.Filter(), last=501) for _ in range(15)]
    await asyncio.gather(*(anext(other) for other in others))
    await record(plane, tenant_id, 502)
    assert (await anext(batches)).count(b"\n") == 1
    with pytest.raises(StopAsyncIteration):
        await anext(batches)
    for other in others:
        await other.aclose()


def test_entry_hash_is_the_one_of_before_there_were_outcomes() -> None:
    """Chains written by the first version stay whole."""
    entry = Entry(
        UUID(int=1), UUID(int=2), 1, "user", "usr_1", "a", "a.b", "t", "o", None, None, None, None,
        datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    assert entry.hash_after(GENESIS).hex() == KNOWN_HASH


KNOWN_HASH = "5ddfde0d256d32dbddebbe5ba9d019b2a11c78b77ea41f2e288b93a935d90aa3"
