"""Where a guardrail policy holds, and who is exempt from one of its rules until when.

Attaching adds and detaching takes away what the policy's owner attached; an exemption ends by the clock.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.guardrails import Level
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, Conflict, NotFound
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import GuardrailAttachment, GuardrailExemption, GuardrailPolicy
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.desk import Changed, Desk, TooMany, not_found
from tollkeeper.domains.guardrail_policies.reading import level_of, names_of_rules
from tollkeeper.domains.guardrail_policies.schemas import (
    AttachFields,
    AttachmentOut,
    ExemptionCreate,
    ExemptionOut,
)
from tollkeeper.web.caller import Caller

MOST_ATTACHMENTS: Final = 200
MOST_AT_ONE_PLACE: Final = 10
MOST_EXEMPTIONS: Final = 200
_LONGEST_EXEMPTION: Final = timedelta(days=366)


class AlreadyAttached(Conflict):
    """The policy holds there already."""

    code = "already_attached"


class WrongPlace(BadRequest):
    """Only the platform's policies hold for everybody."""

    code = "wrong_attachment"


class GuardrailHolding:
    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def list_attachments(
        self, session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
    ) -> list[AttachmentOut]:
        row = await self._desk.find(session, policy_id)
        return [_show_attachment(one) for one in await repository.list_attachments(session, row.id, after, limit)]

    async def attach(self, session: AsyncSession, caller: Caller, policy_id: UUID, body: AttachFields) -> AttachmentOut:
        row = await self._desk.own(session, caller, policy_id, None)
        level, subject = level_of(body)
        if level is Level.PLATFORM and row.tenant_id is not None:
            raise WrongPlace(
                "A tenant's policy holds within the tenant: attach it to the tenant instead.", param="everyone"
            )
        if await repository.count_attachments(session, row.id) >= MOST_ATTACHMENTS:
            raise TooMany(f"The policy is attached to {MOST_ATTACHMENTS} places already: attach it higher up.")
        attachment = GuardrailAttachment(id=uuid7(), policy_id=row.id, tenant_id=row.tenant_id, level=level.value)
        if isinstance(subject, str):
            attachment.model = subject
        elif subject is not None:
            attachment.subject_tenant_id = await self._tenant_of(session, row, level, subject)
            if level is not Level.TENANT:
                setattr(attachment, f"{level.value}_id", subject)
        if await repository.count_at(session, attachment) >= MOST_AT_ONE_PLACE:
            raise TooMany(
                f"{MOST_AT_ONE_PLACE} policies hold there already, and every call is held against all: put rules together."
            )
        session.add(attachment)
        try:
            await session.flush()
        except IntegrityError as error:
            raise AlreadyAttached("The policy is attached there already.") from error
        await session.refresh(attachment)
        shown = _show_attachment(attachment)
        await self._desk.record(session, caller, row, Changed("attach", None, shown.model_dump(mode="json")))
        return shown

    async def detach(self, session: AsyncSession, caller: Caller, policy_id: UUID, attachment_id: UUID) -> None:
        row = await self._desk.own(session, caller, policy_id, None)
        attachment = await repository.find_attachment(session, row.id, attachment_id)
        if attachment is None:
            raise not_found("attachment")
        before = _show_attachment(attachment).model_dump(mode="json")
        await session.delete(attachment)
        await session.flush()
        await self._desk.record(session, caller, row, Changed("detach", before))

    # ── Who is exempt ──

    async def list_exemptions(
        self, session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
    ) -> list[ExemptionOut]:
        """Those that have ended among them."""
        row = await self._desk.find(session, policy_id)
        return [self._show_exemption(one) for one in await repository.list_exemptions(session, row.id, after, limit)]

    async def exempt(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, body: ExemptionCreate
    ) -> ExemptionOut:
        """Until a moment that the clock of each worker tells: nothing has to run for it to end."""
        row = await self._desk.own(session, caller, policy_id, None)
        ahead = body.expires_at - self._clock.now()
        if not timedelta() < ahead <= _LONGEST_EXEMPTION:
            raise BadRequest(
                "An exemption ends in the future, and within a year.", code="invalid_expiry", param="expires_at"
            )
        await self._check_rule(session, row, body.rule)
        if await repository.count_exemptions(session, row.id) >= MOST_EXEMPTIONS:
            raise TooMany(f"The policy has {MOST_EXEMPTIONS} exemptions already: end some, or change the rule.")
        key_tenant_id = await self._tenant_of(session, row, Level.KEY, body.key)
        exemption = GuardrailExemption(
            id=uuid7(),
            policy_id=row.id,
            tenant_id=row.tenant_id,
            rule=body.rule,
            label=body.label,
            key_tenant_id=key_tenant_id,
            key_id=body.key,
            reason=body.reason,
            created_by=caller.user_id,
            expires_at=body.expires_at,
        )
        session.add(exemption)
        await session.flush()
        await session.refresh(exemption)
        shown = self._show_exemption(exemption)
        await self._desk.record(session, caller, row, Changed("exempt", None, shown.model_dump(mode="json")))
        return shown

    async def end_exemption(self, session: AsyncSession, caller: Caller, policy_id: UUID, exemption_id: UUID) -> None:
        row = await self._desk.own(session, caller, policy_id, None)
        exemption = await repository.find_exemption(session, row.id, exemption_id)
        if exemption is None:
            raise not_found("exemption")
        before = self._show_exemption(exemption).model_dump(mode="json")
        await session.delete(exemption)
        await session.flush()
        await self._desk.record(session, caller, row, Changed("end_exemption", before))

    async def _tenant_of(self, session: AsyncSession, row: GuardrailPolicy, level: Level, subject: UUID) -> UUID:
        """Whose it is; of a tenant's policy the tenant itself, or it is as if it were not there."""
        if level is Level.TENANT:
            is_there = subject == row.tenant_id or (
                row.tenant_id is None and await repository.has_tenant(session, subject)
            )
            found = subject if is_there else None
        else:
            found = await repository.find_tenant_of(session, level, subject, row.tenant_id)
        if found is None:
            raise NotFound(f"There is no such {level.value}.", param=level.value)
        return found

    async def _check_rule(self, session: AsyncSession, row: GuardrailPolicy, name: str) -> None:
        versions = await repository.list_latest(session, [row])
        known = sorted({known for version in versions for known in names_of_rules(version.document)})
        if name not in known:
            raise BadRequest(
                f"The policy has no rule named {name}: there are {', '.join(known)}.", code="unknown_rule", param="rule"
            )

    def _show_exemption(self, row: GuardrailExemption) -> ExemptionOut:
        return ExemptionOut(
            id=row.id,
            policy_id=row.policy_id,
            rule=row.rule,
            label=row.label,
            key=row.key_id,
            reason=row.reason,
            created_by=row.created_by,
            expires_at=row.expires_at,
            is_expired=row.expires_at <= self._clock.now(),
            created_at=row.created_at,
        )


def _show_attachment(row: GuardrailAttachment) -> AttachmentOut:
    return AttachmentOut(
        id=row.id,
        policy_id=row.policy_id,
        level=Level(row.level),
        tenant=row.subject_tenant_id,
        team=row.team_id,
        project=row.project_id,
        key=row.key_id,
        model=row.model,
        created_at=row.created_at,
    )
