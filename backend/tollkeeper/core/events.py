"""What happened, for those who asked to be told: an event is written with the change it tells of, or not at all.

`emit` puts it into the outbox in the caller's transaction; `domains/jobs/outbox.py` delivers it afterwards, at least
once. Names are a contract with subscribers: add events, add fields, never rename. Payloads hold ids, never secrets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_INSERT: Final = text(
    "INSERT INTO outbox (tenant_id, event, payload) VALUES (:tenant_id, :event, CAST(:payload AS jsonb))"
)


class Event(Protocol):
    """What `emit` takes."""

    name: ClassVar[str]

    def payload(self) -> dict[str, Any]:
        """As subscribers get it: JSON values."""
        ...


async def emit(session: AsyncSession, tenant_id: UUID, event: Event) -> None:
    """Tell subscribers, if and only if the session's transaction commits. Of the platform's own: its first tenant."""
    await session.execute(
        _INSERT,
        {"tenant_id": tenant_id, "event": event.name, "payload": orjson.dumps(event.payload()).decode()},
    )


class _Fields:
    """The payload of a dataclass is its fields."""

    __slots__ = ()

    def payload(self) -> dict[str, Any]:
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case tuple():
            return list(value)
        case _:
            return value


@dataclass(frozen=True, slots=True)
class KeyCreated(_Fields):
    name: ClassVar[str] = "key.created"
    key_id: UUID
    key_name: str
    user_id: UUID


@dataclass(frozen=True, slots=True)
class KeysImported(_Fields):
    """Keys of another gateway, taken over in one request."""

    name: ClassVar[str] = "key.imported"
    key_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class KeyUpdated(_Fields):
    name: ClassVar[str] = "key.updated"
    key_id: UUID


@dataclass(frozen=True, slots=True)
class KeyRotated(_Fields):
    """The former secret works until `previous_expires_at`; None: it ended at once."""

    name: ClassVar[str] = "key.rotated"
    key_id: UUID
    previous_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRevoked(_Fields):
    name: ClassVar[str] = "key.revoked"
    key_id: UUID
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class KeyRunIssued(_Fields):
    """A key was exchanged for a run key."""

    name: ClassVar[str] = "key.run_issued"
    key_id: UUID
    run_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyRunEnded(_Fields):
    """Before its time: its run keys are refused."""

    name: ClassVar[str] = "key.run_ended"
    key_id: UUID
    run_id: str


@dataclass(frozen=True, slots=True)
class TenantCreated(_Fields):
    name: ClassVar[str] = "tenant.created"
    tenant_id: UUID
    tenant_name: str


@dataclass(frozen=True, slots=True)
class TenantChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "tenant.changed"
    tenant_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UserCreated(_Fields):
    name: ClassVar[str] = "user.created"
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class UserChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "user.changed"
    user_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UserDeleted(_Fields):
    """The account is gone everywhere; a `member.removed` follows for each tenant that had it as a guest."""

    name: ClassVar[str] = "user.deleted"
    user_id: UUID


@dataclass(frozen=True, slots=True)
class MemberAdded(_Fields):
    """A person of another tenant joined as a guest."""

    name: ClassVar[str] = "member.added"
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class MemberRoleChanged(_Fields):
    name: ClassVar[str] = "member.role_changed"
    user_id: UUID
    former_role: str
    role: str


@dataclass(frozen=True, slots=True)
class MemberRemoved(_Fields):
    """A guest left the tenant; the account goes on elsewhere."""

    name: ClassVar[str] = "member.removed"
    user_id: UUID


@dataclass(frozen=True, slots=True)
class InvitationCreated(_Fields):
    name: ClassVar[str] = "invitation.created"
    invitation_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class InvitationAccepted(_Fields):
    name: ClassVar[str] = "invitation.accepted"
    invitation_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class InvitationRevoked(_Fields):
    name: ClassVar[str] = "invitation.revoked"
    invitation_id: UUID


@dataclass(frozen=True, slots=True)
class RoleCreated(_Fields):
    name: ClassVar[str] = "role.created"
    role_id: UUID
    role_name: str


@dataclass(frozen=True, slots=True)
class RoleChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "role.changed"
    role_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RoleDeleted(_Fields):
    name: ClassVar[str] = "role.deleted"
    role_id: UUID


@dataclass(frozen=True, slots=True)
class IdentityProviderChanged(_Fields):
    """`action` is `create`, `update` or `delete`, of the provider or of one of its bindings."""

    name: ClassVar[str] = "identity_provider.changed"
    provider_id: UUID
    action: str


@dataclass(frozen=True, slots=True)
class TeamCreated(_Fields):
    name: ClassVar[str] = "team.created"
    team_id: UUID
    team_name: str


@dataclass(frozen=True, slots=True)
class TeamChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "team.changed"
    team_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TeamDeleted(_Fields):
    name: ClassVar[str] = "team.deleted"
    team_id: UUID


@dataclass(frozen=True, slots=True)
class TeamMemberSet(_Fields):
    """Somebody came into the team, or has another part in it."""

    name: ClassVar[str] = "team.member_set"
    team_id: UUID
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class TeamMemberRemoved(_Fields):
    name: ClassVar[str] = "team.member_removed"
    team_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class ProjectCreated(_Fields):
    """`team_id` is None for a project directly in the tenant."""

    name: ClassVar[str] = "project.created"
    project_id: UUID
    project_name: str
    team_id: UUID | None


@dataclass(frozen=True, slots=True)
class ProjectChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "project.changed"
    project_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProjectDeleted(_Fields):
    name: ClassVar[str] = "project.deleted"
    project_id: UUID


@dataclass(frozen=True, slots=True)
class TargetsReset(_Fields):
    """Every worker forgets the troubles of a provider, or of one model there."""

    name: ClassVar[str] = "targets.reset"
    provider: str
    model: str | None


@dataclass(frozen=True, slots=True)
class CachePurged(_Fields):
    """What was said of the entries that went; nothing said: all of the tenant's."""

    name: ClassVar[str] = "cache.purged"
    entry: str | None = None
    model: str | None = None
    namespace: str | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class CacheAnswerWrong(_Fields):
    """Somebody says that an answer was given again wrongly; it is not any more."""

    name: ClassVar[str] = "cache.answer_wrong"
    entry: str


@dataclass(frozen=True, slots=True)
class CatalogChanged(_Fields):
    """`object_type` is `provider`, `model`, `price`, `price_adjustment` or `price_list`."""

    name: ClassVar[str] = "catalog.changed"
    object_type: str
    object_id: UUID


@dataclass(frozen=True, slots=True)
class BatchCreated(_Fields):
    name: ClassVar[str] = "batch.created"
    batch_id: UUID
    key_id: UUID


@dataclass(frozen=True, slots=True)
class BatchCancelled(_Fields):
    """Told to stop; what is under way may still end well."""

    name: ClassVar[str] = "batch.cancelled"
    batch_id: UUID
    key_id: UUID


@dataclass(frozen=True, slots=True)
class BudgetThresholdReached(_Fields):
    """Once for each threshold, window and subject. `ref` names them all; `amount_usd` is the amount in force then."""

    name: ClassVar[str] = "budget.threshold_reached"
    budget_id: UUID
    ref: str
    window_start: datetime
    subject: str
    percent: int
    spent_usd: str
    amount_usd: str


@dataclass(frozen=True, slots=True)
class LimitCreated(_Fields):
    """`scope` is the kind of what it is about."""

    name: ClassVar[str] = "limit.created"
    limit_id: UUID
    scope: str


@dataclass(frozen=True, slots=True)
class LimitChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "limit.changed"
    limit_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LimitDeleted(_Fields):
    name: ClassVar[str] = "limit.deleted"
    limit_id: UUID


@dataclass(frozen=True, slots=True)
class BudgetCreated(_Fields):
    """`scope` is the kind of what it is about."""

    name: ClassVar[str] = "budget.created"
    budget_id: UUID
    scope: str


@dataclass(frozen=True, slots=True)
class BudgetChanged(_Fields):
    """`changed` names the fields, without their values."""

    name: ClassVar[str] = "budget.changed"
    budget_id: UUID
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class BudgetDeleted(_Fields):
    name: ClassVar[str] = "budget.deleted"
    budget_id: UUID


@dataclass(frozen=True, slots=True)
class GuardrailPolicyChanged(_Fields):
    """`change` is what was done: create, update, publish, rollback, delete, attach, detach, exempt, end_exemption."""

    name: ClassVar[str] = "guardrail_policy.changed"
    policy_id: UUID
    change: str


@dataclass(frozen=True, slots=True)
class GuardrailHit(_Fields):
    """A rule blocked or took out something of a call; `label` is the kind of thing, never the thing itself."""

    name: ClassVar[str] = "guardrail.hit"
    request_id: UUID
    key_id: UUID
    policy_id: UUID
    policy: str
    rule: str
    label: str
    action: str
    direction: str
    model: str | None
    count: int
