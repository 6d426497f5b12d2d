"""Guardrail policies: written as drafts, compiled when they are saved, published and rolled back whole.

Where one holds and who is exempt is in `holding`. What is the platform's is invisible to tenants and changed by its
administrators alone, so that lower levels can only add.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.ports import GuardrailTrial
from tollkeeper.core.errors import BadRequest, Conflict, NotFound
from tollkeeper.core.ids import uuid7
from tollkeeper.db.models import GuardrailPolicy, GuardrailPolicyVersion
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.desk import Changed, Desk, Expected, TooMany
from tollkeeper.domains.guardrail_policies.reading import path_of_rule, read_policy
from tollkeeper.domains.guardrail_policies.schemas import (
    DOCUMENT,
    MOST_DOCUMENT_BYTES,
    GuardrailPolicyCreate,
    GuardrailPolicyOut,
    GuardrailPolicyUpdate,
    GuardrailPolicyVersionOut,
    PolicyFields,
)
from tollkeeper.domains.guardrail_policies.secret_settings import NONE, Secrets, SecretSettings, joined
from tollkeeper.web.caller import Caller

MOST_POLICIES: Final = 50
# Of a policy, the latest; and the one that holds.
MOST_VERSIONS: Final = 50


class GuardrailInvalid(BadRequest):
    """A rule that there is not, settings that it does not take, or a pattern that cannot be compiled."""

    code = "guardrail_invalid"


class NothingToPublish(Conflict):
    """The policy has no draft, or no version that was published before."""

    code = "nothing_to_publish"


class NameTaken(Conflict):
    """Another policy of the same owner has this name already."""

    code = "name_taken"


@dataclass(frozen=True, slots=True)
class _Written:
    """A document without its secrets, and these."""

    document: dict[str, Any]
    secrets: Secrets


class GuardrailPolicies:
    def __init__(
        self,
        desk: Desk,
        trial: GuardrailTrial,
        secrets: SecretSettings,
    ) -> None:
        self._desk = desk
        self._trial = trial
        self._secrets = secrets

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
        return await self._shown(session, await self._desk.find(session, policy_id))

    async def create(
        self, session: AsyncSession, caller: Caller, tenant_id: UUID | None, body: GuardrailPolicyCreate
    ) -> GuardrailPolicyOut:
        """`tenant_id` None: the platform's."""
        if tenant_id is None:
            self._desk.refuse_declared(name=body.name)
        elif not await repository.has_tenant(session, tenant_id):
            raise NotFound("There is no such tenant.")
        if await repository.count_policies(session, tenant_id) >= MOST_POLICIES:
            raise TooMany(f"There are {MOST_POLICIES} guardrail policies already: delete one, or put rules together.")
        fields = PolicyFields.model_validate(body.model_dump(include=set(DOCUMENT)))
        written = await self._written(body.name, fields.model_dump(mode="json"))
        row = GuardrailPolicy(id=uuid7(), tenant_id=tenant_id, name=body.name, description=body.description, version=1)
        session.add(row)
        try:
            await session.flush()
        except IntegrityError as error:
            raise NameTaken(
                f"There is a guardrail policy named {row.name}. Choose another name.", param="name"
            ) from error
        version = self._version(row, 1, written)
        session.add(version)
        await session.flush()
        if body.publish:
            await self._put_in_force(session, row, version)
        return await self._changed(session, caller, row, "create", None)

    async def update(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, body: GuardrailPolicyUpdate, expected: Expected
    ) -> GuardrailPolicyOut:
        """The draft, begun from what is published where there is none."""
        row = await self._desk.own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        if "description" in body.model_fields_set:
            row.description = body.description
        if changes := body.document():
            latest = await repository.list_latest(session, [row])
            newest = max(latest, key=lambda version: version.number)
            base = newest if newest.published_at is None else _published(row, latest) or newest
            known = self._secrets.open(base)
            written = await self._written(row.name, {**base.document, **changes}, known)
            if newest.published_at is None:
                newest.document = written.document
                newest.secrets = self._secrets.seal(row.tenant_id, newest.id, written.secrets)
            else:
                session.add(self._version(row, newest.number + 1, written))
                await repository.forget_versions(session, row, newest.number + 2 - MOST_VERSIONS)
        row.version += 1
        return await self._changed(session, caller, row, "update", before)

    async def publish(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected
    ) -> GuardrailPolicyOut:
        """The draft becomes what calls are held against, on every worker within a second."""
        row = await self._desk.own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        newest = (await repository.list_versions(session, row.id, None, 1))[0]
        if newest.published_at is not None:
            raise NothingToPublish("There is no draft: change the policy first, or roll it back to an earlier version.")
        await self._written(row.name, self._secrets.whole(newest))
        await self._put_in_force(session, row, newest)
        row.version += 1
        return await self._changed(session, caller, row, "publish", before)

    async def rollback(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, number: int | None, expected: Expected
    ) -> GuardrailPolicyOut:
        """An earlier version holds again. A draft stays a draft."""
        row = await self._desk.own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        if number is None:
            version = await repository.find_published_before(session, row.id, row.published_number or 0)
        else:
            version = await repository.find_version(session, row.id, number)
        if version is None or version.published_at is None or version.number == row.published_number:
            raise NothingToPublish("There is no such version that was published before.", param="version")
        await self._written(row.name, self._secrets.whole(version))
        await self._put_in_force(session, row, version)
        row.version += 1
        return await self._changed(session, caller, row, "rollback", before)

    async def delete(self, session: AsyncSession, caller: Caller, policy_id: UUID, expected: Expected) -> None:
        """With its versions, attachments and exemptions."""
        row = await self._desk.own(session, caller, policy_id, expected)
        before = await self._shown(session, row)
        await session.delete(row)
        await session.flush()
        await self._desk.record(session, caller, row, Changed("delete", _audited(before)))

    async def list_versions(
        self, session: AsyncSession, caller: Caller, policy_id: UUID, before: int | None, limit: int
    ) -> list[GuardrailPolicyVersionOut]:
        """The latest first; those of the file have one, which the file's own history tells."""
        if any(one.id == policy_id for one in self._shown_declared(caller)):
            return []
        row = await self._desk.find(session, policy_id)
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

    async def _written(self, name: str, document: dict[str, Any], known: Secrets = NONE) -> "_Written":
        """As it is stored. Raises `GuardrailInvalid` with every fault and its path."""
        try:
            marked, secrets = self._secrets.part(document, known)
            fields = PolicyFields.model_validate(joined(marked, secrets))
        except KeyError as error:
            path = str(error.args[0])
            raise GuardrailInvalid(f"{path}: nothing is stored for this mark: send the secret.", param=path) from None
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(map(str, details["loc"]))
            raise GuardrailInvalid(f"{path or 'policy'}: {details['msg']}.", param=path or None) from None
        if len(orjson.dumps(marked)) > MOST_DOCUMENT_BYTES:
            raise GuardrailInvalid(f"The policy is larger than {MOST_DOCUMENT_BYTES >> 10} KiB.", param="rules")
        policy = read_policy(fields, name, UUID(int=0), 0)
        # Seconds, for the largest patterns.
        found = await asyncio.to_thread(self._trial.faults, policy)
        if found:
            faults = [{"path": path_of_rule(fields, place), "message": message} for place, message in found]
            told = f"{faults[0]['path']}: {faults[0]['message']}"
            raise GuardrailInvalid(told, param=faults[0]["path"], details={"faults": faults})
        return _Written(marked, secrets)

    def _version(self, row: GuardrailPolicy, number: int, written: "_Written") -> GuardrailPolicyVersion:
        version_id = uuid7()
        return GuardrailPolicyVersion(
            policy_id=row.id,
            number=number,
            tenant_id=row.tenant_id,
            document=written.document,
            id=version_id,
            secrets=self._secrets.seal(row.tenant_id, version_id, written.secrets),
        )

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
        for one in self._desk.declared() if caller.is_platform else ():
            yield GuardrailPolicyOut(
                **self._secrets.marked(one.fields.model_dump(mode="json", include=set(DOCUMENT))),
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

    async def _changed(
        self, session: AsyncSession, caller: Caller, row: GuardrailPolicy, verb: str, before: GuardrailPolicyOut | None
    ) -> GuardrailPolicyOut:
        await session.flush()
        await session.refresh(row)
        after = await self._shown(session, row)
        await self._desk.record(session, caller, row, Changed(verb, _audited(before), _audited(after)))
        return after


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


def _audited(shown: GuardrailPolicyOut | None) -> Mapping[str, Any] | None:
    return None if shown is None else shown.model_dump(mode="json", exclude={"created_at", "updated_at"})
