"""Events are written with the change they tell of, as plain JSON, under names that never change."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from tollkeeper.core import events
from tollkeeper.core.events import Event, emit
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models.tenants import Tenant
from tollkeeper.db.session import Database

ID = UUID(int=1)
TEXT_ID = "00000000-0000-0000-0000-000000000001"
# The contract with subscribers: entries may be added and may gain fields, nothing else.
CONTRACT: list[tuple[Event, str, dict[str, object]]] = [
    (events.KeyCreated(ID, "ci", ID), "key.created", {"key_id": TEXT_ID, "key_name": "ci", "user_id": TEXT_ID}),
    (events.KeyUpdated(ID), "key.updated", {"key_id": TEXT_ID}),
    (
        events.KeyRotated(ID, datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        "key.rotated",
        {"key_id": TEXT_ID, "previous_expires_at": "2026-01-02T03:04:00+00:00"},
    ),
    (events.BatchCreated(ID, ID), "batch.created", {"batch_id": TEXT_ID, "key_id": TEXT_ID}),
    (events.BatchCancelled(ID, ID), "batch.cancelled", {"batch_id": TEXT_ID, "key_id": TEXT_ID}),
    (events.KeyRevoked(ID), "key.revoked", {"key_id": TEXT_ID, "reason": None}),
    (
        events.KeyRunIssued(ID, "run_1", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        "key.run_issued",
        {"key_id": TEXT_ID, "run_id": "run_1", "expires_at": "2026-01-02T03:04:00+00:00"},
    ),
    (events.KeyRunEnded(ID, "run_1"), "key.run_ended", {"key_id": TEXT_ID, "run_id": "run_1"}),
    (events.TenantCreated(ID, "Acme"), "tenant.created", {"tenant_id": TEXT_ID, "tenant_name": "Acme"}),
    (events.TenantChanged(ID, ("name",)), "tenant.changed", {"tenant_id": TEXT_ID, "changed": ["name"]}),
    (events.UserCreated(ID, "viewer"), "user.created", {"user_id": TEXT_ID, "role": "viewer"}),
    (events.UserChanged(ID, ["role"]), "user.changed", {"user_id": TEXT_ID, "changed": ["role"]}),
    (events.LimitCreated(ID, "key"), "limit.created", {"limit_id": TEXT_ID, "scope": "key"}),
    (events.LimitChanged(ID, ["amount"]), "limit.changed", {"limit_id": TEXT_ID, "changed": ["amount"]}),
    (events.LimitDeleted(ID), "limit.deleted", {"limit_id": TEXT_ID}),
    (events.BudgetCreated(ID, "key"), "budget.created", {"budget_id": TEXT_ID, "scope": "key"}),
    (events.BudgetChanged(ID, ["amount_usd"]), "budget.changed", {"budget_id": TEXT_ID, "changed": ["amount_usd"]}),
    (events.BudgetDeleted(ID), "budget.deleted", {"budget_id": TEXT_ID}),
    (events.TargetsReset("openai", None), "targets.reset", {"provider": "openai", "model": None}),
    (
        events.CachePurged(model="m", before=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        "cache.purged",
        {"entry": None, "model": "m", "namespace": None, "before": "2026-01-02T03:04:00+00:00"},
    ),
    (events.CacheAnswerWrong("ab"), "cache.answer_wrong", {"entry": "ab"}),
    (events.CatalogChanged("model", ID), "catalog.changed", {"object_type": "model", "object_id": TEXT_ID}),
    (
        events.BudgetThresholdReached(ID, "r", datetime(2026, 1, 1, tzinfo=UTC), "", 80, "8", "10"),
        "budget.threshold_reached",
        {
            "budget_id": TEXT_ID,
            "ref": "r",
            "window_start": "2026-01-01T00:00:00+00:00",
            "subject": "",
            "percent": 80,
            "spent_usd": "8",
            "amount_usd": "10",
        },
    ),
    (
        events.GuardrailPolicyChanged(ID, "publish"),
        "guardrail_policy.changed",
        {"policy_id": TEXT_ID, "change": "publish"},
    ),
    (
        events.GuardrailHit(ID, ID, ID, "house", "pii", "email", "block", "input", "gpt-4o", 2),
        "guardrail.hit",
        {
            "request_id": TEXT_ID,
            "key_id": TEXT_ID,
            "policy_id": TEXT_ID,
            "policy": "house",
            "rule": "pii",
            "label": "email",
            "action": "block",
            "direction": "input",
            "model": "gpt-4o",
            "count": 2,
        },
    ),
    (events.KeysImported(["key_1"]), "key.imported", {"key_ids": ["key_1"]}),
    (events.UserDeleted(ID), "user.deleted", {"user_id": TEXT_ID}),
    (events.MemberAdded(ID, "viewer"), "member.added", {"user_id": TEXT_ID, "role": "viewer"}),
    (
        events.MemberRoleChanged(ID, "viewer", "auditor"),
        "member.role_changed",
        {"user_id": TEXT_ID, "former_role": "viewer", "role": "auditor"},
    ),
    (events.MemberRemoved(ID), "member.removed", {"user_id": TEXT_ID}),
    (events.InvitationCreated(ID, "viewer"), "invitation.created", {"invitation_id": TEXT_ID, "role": "viewer"}),
    (events.InvitationAccepted(ID, ID), "invitation.accepted", {"invitation_id": TEXT_ID, "user_id": TEXT_ID}),
    (events.InvitationRevoked(ID), "invitation.revoked", {"invitation_id": TEXT_ID}),
    (events.RoleCreated(ID, "ops"), "role.created", {"role_id": TEXT_ID, "role_name": "ops"}),
    (events.RoleChanged(ID, ["name"]), "role.changed", {"role_id": TEXT_ID, "changed": ["name"]}),
    (events.RoleDeleted(ID), "role.deleted", {"role_id": TEXT_ID}),
    (
        events.IdentityProviderChanged(ID, "create"),
        "identity_provider.changed",
        {"provider_id": TEXT_ID, "action": "create"},
    ),
    (events.TeamCreated(ID, "core"), "team.created", {"team_id": TEXT_ID, "team_name": "core"}),
    (events.TeamChanged(ID, ["name"]), "team.changed", {"team_id": TEXT_ID, "changed": ["name"]}),
    (events.TeamDeleted(ID), "team.deleted", {"team_id": TEXT_ID}),
    (
        events.TeamMemberSet(ID, ID, "member"),
        "team.member_set",
        {"team_id": TEXT_ID, "user_id": TEXT_ID, "role": "member"},
    ),
    (events.TeamMemberRemoved(ID, ID), "team.member_removed", {"team_id": TEXT_ID, "user_id": TEXT_ID}),
    (
        events.ProjectCreated(ID, "search", None),
        "project.created",
        {"project_id": TEXT_ID, "project_name": "search", "team_id": None},
    ),
    (events.ProjectChanged(ID, ["name"]), "project.changed", {"project_id": TEXT_ID, "changed": ["name"]}),
    (events.ProjectDeleted(ID), "project.deleted", {"project_id": TEXT_ID}),
]


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def tenant_id(database: Database) -> UUID:
    tenant_id = uuid7()
    async with database.platform() as session:
        session.add(Tenant(id=tenant_id, name=str(tenant_id), slug=tenant_id.hex))
    return tenant_id


async def written(database: Database, tenant_id: UUID) -> list[str]:
    async with database.platform() as session:
        found = await session.execute(
            text("SELECT event FROM outbox WHERE tenant_id = :tenant ORDER BY id"), {"tenant": tenant_id}
        )
        return list(found.scalars())


@pytest.mark.parametrize(("event", "name", "payload"), CONTRACT, ids=lambda value: str(value)[:20])
def test_event_keeps_its_name_and_fields(event: Event, name: str, payload: dict[str, object]) -> None:
    assert event.name == name
    assert event.payload() == payload


def test_every_event_stands_in_the_contract() -> None:
    kinds = {kind for kind in vars(events).values() if dataclasses.is_dataclass(kind)}
    assert kinds == {type(event) for event, _, _ in CONTRACT}


async def test_every_event_can_be_written(database: Database, tenant_id: UUID) -> None:
    async with database.tenant(tenant_id) as session:
        for event, _, _ in CONTRACT:
            await emit(session, tenant_id, event)
    assert await written(database, tenant_id) == [name for _, name, _ in CONTRACT]


async def test_event_of_an_undone_change_is_not_written(database: Database, tenant_id: UUID) -> None:
    with pytest.raises(ZeroDivisionError):
        await emit_and_fail(database, tenant_id)
    assert await written(database, tenant_id) == []


async def emit_and_fail(database: Database, tenant_id: UUID) -> None:
    async with database.tenant(tenant_id) as session:
        await emit(session, tenant_id, events.KeyUpdated(ID))
        raise ZeroDivisionError
