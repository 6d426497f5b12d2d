"""Guardrail policies: written as drafts, compiled when they are saved, published and rolled back whole.

A policy holds where it is attached, and exempts whom it names until the moment it names. What is the platform's is
invisible to tenants and changed by its administrators alone, so that lower levels can only add. `trying` is next door.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.guardrails import Level
from tollkeeper.contracts.ports import GuardrailTrial
from tollkeeper.core import events
from tollkeeper.core.announcements import Topic, announce
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, Conflict, NotFound
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.db.models import GuardrailAttachment, GuardrailExemption, GuardrailPolicy, GuardrailPolicyVersion
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.reading import level_of, path_of_rule, read_policy
from tollkeeper.domains.guardrail_policies.schemas import (
    DOCUMENT,
    MOST_DOCUMENT_BYTES,
    AttachFields,
    AttachmentOut,
    DeclaredGuardrail,
    ExemptionCreate,
    ExemptionOut,
    GuardrailPolicyCreate,
    GuardrailPolicyOut,
    GuardrailPolicyUpdate,
    GuardrailPolicyVersionOut,
    PolicyFields,
)
from tollkeeper.web.caller import Caller
from tollkeeper.web.etag import check_match

Expected = frozenset[int] | None

MOST_POLICIES: Final = 50
MOST_ATTACHMENTS: Final = 200
MOST_EXEMPTIONS: Final = 200
_LONGEST_EXEMPTION: Final = timedelta(days=366)


class GuardrailInvalid(BadRequest):
    """A rule that there is not, settings that it does not take, or a pattern that cannot be compiled."""

    code = "guardrail_invalid"


class NothingToPublish(Conflict):
    """The policy has no draft, or no version that was published before."""

    code = "nothing_to_publish"


class NameTaken(Conflict):
    """Another policy of the same owner has this name already."""

    code = "name_taken"


class ManagedElsewhere(Conflict):
    """The policy stands in the configuration file, which decides alone."""

    code = "managed_elsewhere"


class TooMany(Conflict):
    """Every call is held against all that there is."""

    code = "too_many_guardrails"


class AlreadyAttached(Conflict):
    """The policy holds there already."""

    code = "already_attached"


class WrongPlace(BadRequest):
    """Only the platform's policies hold for everybody."""

    code = "wrong_attachment"


@dataclass(frozen=True, slots=True)
class _Changed:
    """What was done to a policy, for the audit trail and for subscribers."""

    verb: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class GuardrailPolicies:
    def __init__(
        self, trial: GuardrailTrial, declared: Callable[[], Sequence[DeclaredGuardrail]], clock: Clock
    ) -> None:
        """`declared`: those of the configuration file, as it was last read."""
        self._trial = trial
        self._declared = declared
        self._clock = clock

    # ── Policies ──

    async def list_page(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID | None, after: tuple[str, UUID], limit: int
    ) -> list[GuardrailPolicyOut]:
        """By name; for the platform's administrators those of the file among them. `tenant_id`: that tenant's alone."""
        rows = await repository.list_policies(session, tenant_id, after, limit)
        versions: dict[UUID, list[GuardrailPolicyVersion]] = {row.id: [] for row in rows}
        for version in await repository.list_latest(session, rows):
            versions[version.policy_id].append(version)
        stored = [_show(row, versions[row.id]) for row in rows]
        declared = self._shown_declared(caller) if tenant_id is None else iter(())
        ahead = sorted((one for one in declared if _position(one) > after), key=_position)
        return list(merge(stored, ahead, key=_position))[:limit]

    async def get(self, session: AsyncSession, caller: Caller, policy_id: UUID) -> GuardrailPolicyOut:
        for one in self._shown_declared(caller):
            if one.id == policy_id:
                return one
        return await self._shown(session, await self.find(session, policy_id))

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID | None, body: GuardrailPolicyCreate
    ) -> GuardrailPolicyOut:
        """`tenant_id` None: the platform's."""
        if tenant_id is None:
            self._refuse_declared(name=body.name)
        elif not await repository.has_tenant(session, tenant_id):
            raise NotFound("There is no such tenant.")
        if await repository.count_policies(session, tenant_id) >= MOST_POLICIES:
            raise TooMany(f"There are {MOST_POLICIES} guardrail policies already: delete one, or put rules together.")
        fields = PolicyFields.model_validate(body.model_dump(include=set(DOCUMENT)))
        document = await self._document(body.name, fields)
        row = GuardrailPolicy(id=uuid7(), tenant_id=tenant_id, name=body.name, description=body.description, version=1)
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise NameTaken(
                f"There is a guardrail policy named {row.name}. Choose another name.", param="name"
            ) from error
        version = GuardrailPolicyVersion(policy_id=row.id, number=1, tenant_id=tenant_id, document=document)
        session.add(version)
        await session.flush()
        if body.publish:
            await self._put_in_force(session, row, version)
        return await self._changed(session, caller, row, "create", None)

    async def update(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, body: GuardrailPolicyUpdate, expected: Expected
    ) -> GuardrailPolicyOut:
        """The draft, begun from what is published where there is none."""
        row = await self._own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        if "description" in body.model_fields_set:
            row.description = body.description
        if changes := body.document():
            latest = await repository.list_latest(session, [row])
            newest = max(latest, key=lambda version: version.number)
            base = newest if newest.published_at is None else _published(row, latest) or newest
            document = await self._document(row.name, _merged(base.document, changes))
            if newest.published_at is None:
                newest.document = document
            else:
                draft = newest.number + 1
                session.add(
                    GuardrailPolicyVersion(policy_id=row.id, number=draft, tenant_id=row.tenant_id, document=document)
                )
        row.version += 1
        return await self._changed(session, caller, row, "update", before)

    async def publish(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected
    ) -> GuardrailPolicyOut:
        """The draft becomes what calls are held against, on every worker within a second."""
        row = await self._own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        newest = (await repository.list_versions(session, row.id, None, 1))[0]
        if newest.published_at is not None:
            raise NothingToPublish("There is no draft: change the policy first, or roll it back to an earlier version.")
        await self._document(row.name, PolicyFields.model_validate(newest.document))
        await self._put_in_force(session, row, newest)
        row.version += 1
        return await self._changed(session, caller, row, "publish", before)

    async def rollback(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, number: int | None, expected: Expected
    ) -> GuardrailPolicyOut:
        """An earlier version holds again. A draft stays a draft."""
        row = await self._own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        if number is None:
            version = await repository.find_published_before(session, row.id, row.published_number or 0)
        else:
            version = await repository.find_version(session, row.id, number)
        if version is None or version.published_at is None or version.number == row.published_number:
            raise NothingToPublish("There is no such version that was published before.", param="version")
        await self._document(row.name, PolicyFields.model_validate(version.document))
        await self._put_in_force(session, row, version)
        row.version += 1
        return await self._changed(session, caller, row, "rollback", before)

    async def delete(self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected) -> None:
        """With its versions, attachments and exemptions."""
        row = await self._own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        await session.delete(row)
        await session.flush()
        await self._record(session, caller, row, _Changed("delete", _audited(before)))

    async def list_versions(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, before: int | None, limit: int
    ) -> list[GuardrailPolicyVersionOut]:
        """The latest first; those of the file have one, which the file's own history tells."""
        if any(one.id == policy_id for one in self._shown_declared(caller)):
            return []
        row = await self.find(session, policy_id)
        return [
            GuardrailPolicyVersionOut(
                **_fields(version),
                number=version.number,
                is_published=version.number == row.published_number,
                created_at=version.created_at,
                published_at=version.published_at,
            )
            for version in await repository.list_versions(session, row.id, before, limit)
        ]

    async def find(self, session: AsyncSession, policy_id: UUID) -> GuardrailPolicy:
        """Row-level security keeps a tenant to its own."""
        row = await repository.find_policy(session, policy_id)
        if row is None:
            raise _not_found("guardrail policy")
        return row

    # ── Where it holds ──

    async def list_attachments(
        self, session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
    ) -> list[AttachmentOut]:
        row = await self.find(session, policy_id)
        return [_show_attachment(one) for one in await repository.list_attachments(session, row.id, after, limit)]

    async def attach(self, session: AsyncSession, caller: Caller, policy_id: UUID, body: AttachFields) -> AttachmentOut:
        row = await self._own(session, caller, policy_id, None)
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
        session.add(attachment)
        try:
            await session.flush()
        except IntegrityError as error:
            raise AlreadyAttached("The policy is attached there already.") from error
        await session.refresh(attachment)
        shown = _show_attachment(attachment)
        await self._record(session, caller, row, _Changed("attach", None, shown.model_dump(mode="json")))
        return shown

    async def detach(self, session: AsyncSession, caller: Caller, policy_id: UUID, attachment_id: UUID) -> None:
        row = await self._own(session, caller, policy_id, None)
        attachment = await repository.find_attachment(session, row.id, attachment_id)
        if attachment is None:
            raise _not_found("attachment")
        before = _show_attachment(attachment).model_dump(mode="json")
        await session.delete(attachment)
        await session.flush()
        await self._record(session, caller, row, _Changed("detach", before))

    # ── Who is exempt ──

    async def list_exemptions(
        self, session: AsyncSession, policy_id: UUID, after: UUID | None, limit: int
    ) -> list[ExemptionOut]:
        """Those that have ended among them."""
        row = await self.find(session, policy_id)
        return [self._show_exemption(one) for one in await repository.list_exemptions(session, row.id, after, limit)]

    async def exempt(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, body: ExemptionCreate
    ) -> ExemptionOut:
        """Until a moment that the clock of each worker tells: nothing has to run for it to end."""
        row = await self._own(session, caller, policy_id, None)
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
        await self._record(session, caller, row, _Changed("exempt", None, shown.model_dump(mode="json")))
        return shown

    async def end_exemption(self, session: AsyncSession, caller: Caller, policy_id: UUID, exemption_id: UUID) -> None:
        row = await self._own(session, caller, policy_id, None)
        exemption = await repository.find_exemption(session, row.id, exemption_id)
        if exemption is None:
            raise _not_found("exemption")
        before = self._show_exemption(exemption).model_dump(mode="json")
        await session.delete(exemption)
        await session.flush()
        await self._record(session, caller, row, _Changed("end_exemption", before))

    # ── What they share ──

    async def _own(self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected) -> GuardrailPolicy:
        """The stored policy, locked for a change."""
        if caller.is_platform:
            self._refuse_declared(policy_id=policy_id)
        row = await repository.find_policy(session, policy_id, for_update=True)
        if row is None:
            raise _not_found("guardrail policy")
        check_match(expected, row)
        return row

    def _refuse_declared(self, *, policy_id: UUID | None = None, name: str | None = None) -> None:
        for one in self._declared():
            if one.id == policy_id or (name is not None and one.name.lower() == name.lower()):
                raise ManagedElsewhere(
                    f"The guardrail policy {one.name} is declared in {one.place}: change it there and reload.",
                    details={"managed_by": "file", "declared_at": one.place},
                )

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
        policies = (read_policy(PolicyFields.model_validate(one.document), row.name, row.id, 0) for one in versions)
        known = sorted({use.name for policy in policies for use in policy.rules})
        if name not in known:
            raise BadRequest(
                f"The policy has no rule named {name}: there are {', '.join(known)}.", code="unknown_rule", param="rule"
            )

    async def _document(self, name: str, fields: PolicyFields) -> dict[str, Any]:
        """As it is stored. Raises `GuardrailInvalid` with every fault and its path."""
        document = fields.model_dump(mode="json")
        if len(orjson.dumps(document)) > MOST_DOCUMENT_BYTES:
            raise GuardrailInvalid(f"The policy is larger than {MOST_DOCUMENT_BYTES >> 10} KiB.", param="rules")
        policy = read_policy(fields, name, UUID(int=0), 0)
        # Seconds, for the largest patterns.
        found = await asyncio.to_thread(self._trial.faults, policy)
        if found:
            faults = [{"path": path_of_rule(fields, place), "message": message} for place, message in found]
            told = f"{faults[0]['path']}: {faults[0]['message']}"
            raise GuardrailInvalid(told, param=faults[0]["path"], details={"faults": faults})
        return document

    async def _put_in_force(self, session: AsyncSession, row: GuardrailPolicy, version: GuardrailPolicyVersion) -> None:
        row.published_number = version.number
        if version.published_at is None:
            # The database's time, as of `created_at`.
            version.published_at = await session.scalar(select(func.now()))
        await session.flush()

    async def _shown(self, session: AsyncSession, row: GuardrailPolicy) -> GuardrailPolicyOut:
        return _show(row, await repository.list_latest(session, [row]))

    def _shown_declared(self, caller: Caller) -> Iterator[GuardrailPolicyOut]:
        """The platform's, and so invisible to others."""
        for one in self._declared() if caller.is_platform else ():
            yield GuardrailPolicyOut(
                **{name: getattr(one.fields, name) for name in DOCUMENT},
                id=one.id,
                name=one.name,
                description="",
                tenant_id=None,
                is_platform=True,
                published_version=None,
                draft_version=None,
                managed_by="file",
                declared_at=one.place,
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

    async def _changed(
        self, session: AsyncSession, caller: Caller, row: GuardrailPolicy, verb: str, before: GuardrailPolicyOut | None
    ) -> GuardrailPolicyOut:
        await session.flush()
        await session.refresh(row)
        after = await self._shown(session, row)
        await self._record(session, caller, row, _Changed(verb, _audited(before), _audited(after)))
        return after

    async def _record(self, session: AsyncSession, caller: Caller, row: GuardrailPolicy, changed: _Changed) -> None:
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


def _merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> PolicyFields:
    try:
        return PolicyFields.model_validate({**document, **changes})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, details["loc"])) or None
        raise GuardrailInvalid(f"{path or 'policy'}: {details['msg']}.", param=path) from None


def _published(row: GuardrailPolicy, versions: Sequence[GuardrailPolicyVersion]) -> GuardrailPolicyVersion | None:
    return next((version for version in versions if version.number == row.published_number), None)


def _position(policy: GuardrailPolicyOut) -> tuple[str, UUID]:
    return policy.name, policy.id


def _fields(version: GuardrailPolicyVersion) -> dict[str, Any]:
    fields = PolicyFields.model_validate(version.document)
    return {name: getattr(fields, name) for name in DOCUMENT}


def _show(row: GuardrailPolicy, versions: Sequence[GuardrailPolicyVersion]) -> GuardrailPolicyOut:
    draft = max(versions, key=lambda version: version.number)
    is_draft = draft.published_at is None
    shown = draft if is_draft else _published(row, versions) or draft
    return GuardrailPolicyOut(
        **_fields(shown),
        id=row.id,
        name=row.name,
        description=row.description,
        tenant_id=row.tenant_id,
        is_platform=row.tenant_id is None,
        published_version=row.published_number,
        draft_version=draft.number if is_draft else None,
        managed_by="api",
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
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


def _audited(shown: GuardrailPolicyOut | None) -> Mapping[str, Any] | None:
    return None if shown is None else shown.model_dump(mode="json", exclude={"created_at", "updated_at"})


def _not_found(noun: str) -> NotFound:
    return NotFound(f"There is no such {noun}.")
