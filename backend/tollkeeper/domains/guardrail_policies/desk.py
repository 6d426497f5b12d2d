"""What every change of a guardrail policy takes: the policy, if it may be changed here, and what follows the change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.errors import Conflict, NotFound
from tollkeeper.core.ids import format_id
from tollkeeper.db.models import GuardrailPolicy
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.schemas import DeclaredGuardrail
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match

Expected = frozenset[int] | None


class ManagedElsewhere(Conflict):
    """The policy stands in the configuration file, which decides alone."""

    code = "managed_elsewhere"


class TooMany(Conflict):
    """Every call is held against all that there is."""

    code = "too_many_guardrails"


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done to a policy, for the audit trail and for subscribers."""

    verb: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class Desk:
    def __init__(self, declared: Callable[[], Sequence[DeclaredGuardrail]]) -> None:
        """`declared`: those of the configuration file, as it was last read."""
        self.declared = declared

    async def find(self, session: AsyncSession, policy_id: UUID) -> GuardrailPolicy:
        """Row-level security keeps a tenant to its own."""
        row = await repository.find_policy(session, policy_id)
        if row is None:
            raise not_found("guardrail policy")
        return row

    async def own(self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected) -> GuardrailPolicy:
        """The stored policy, locked for a change."""
        if caller.is_platform:
            self.refuse_declared(policy_id=policy_id)
        row = await repository.find_policy(session, policy_id, for_update=True)
        if row is None:
            raise not_found("guardrail policy")
        check_match(expected, row)
        return row

    def refuse_declared(self, *, policy_id: UUID | None = None, name: str | None = None) -> None:
        for one in self.declared():
            if one.id == policy_id or (name is not None and one.name.lower() == name.lower()):
                raise ManagedElsewhere(
                    f"The guardrail policy {one.name} is declared in {one.place}: change it there and reload.",
                    details={"managed_by": "file", "declared_at": one.place},
                )

    async def record(self, session: AsyncSession, caller: Caller, row: GuardrailPolicy, changed: Changed) -> None:
        """Audit, event, and the announcement by which every worker loads the change."""
        tenant_id = row.tenant_id or caller.tenant_id
        await audit.record(
            session,
            caller,
            f"guardrail_policies.{changed.verb}",
            "guardrail_policy",
            format_id("grp", row.id),
            changed.before,
            changed.after,
            tenant_id=tenant_id,
        )
        await events.emit(session, tenant_id, events.GuardrailPolicyChanged(row.id, changed.verb))
        await announce(session, Topic.CATALOG, row.id)


def not_found(noun: str) -> NotFound:
    return NotFound(f"There is no such {noun}.")
