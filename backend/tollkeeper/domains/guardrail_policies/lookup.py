"""The stored policies as calls are held against them, for the snapshot that every worker loads.

A version that does not read any more (a later release wrote it) is told once, and the last one that did holds on; without one the policy stops what it cannot look at.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.guardrails import Attachment, Exemption, GuardrailPolicy, Level, Mode, RuleUse
from tollkeeper.core.crypto import EnvelopeError, SecretBox
from tollkeeper.db.models import GuardrailAttachment, GuardrailPolicyVersion
from tollkeeper.db.models import GuardrailPolicy as PolicyRow
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.reading import read_policy
from tollkeeper.domains.guardrail_policies.schemas import PolicyFields
from tollkeeper.domains.guardrail_policies.secret_settings import NONE, joined, open_secrets

log = structlog.get_logger(__name__)


class StoredGuardrails:
    """One per worker: it remembers what it could read."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box
        self._good: dict[UUID, GuardrailPolicy] = {}
        self._told: set[tuple[UUID, int]] = set()

    async def read(self, session: AsyncSession) -> tuple[Attachment, ...]:
        """Every place where a published policy holds."""
        attached = await repository.list_attached(session)
        rows = {policy.id: policy for _, policy in attached}
        self._good = {policy_id: policy for policy_id, policy in self._good.items() if policy_id in rows}
        if not rows:
            return ()
        fresh = [
            (row.id, row.published_number)
            for row in rows.values()
            if row.published_number is not None and not self._has(row.id, row.published_number)
        ]
        versions = {one.policy_id: one for one in await repository.list_numbered(session, fresh)}
        exemptions: dict[UUID, list[Exemption]] = defaultdict(list)
        for row in await repository.list_present_exemptions(session):
            exemptions[row.policy_id].append(Exemption(row.rule, row.key_id, row.expires_at.timestamp(), row.label))
        whole = {
            policy.id: replace(self._policy(policy, versions.get(policy.id)), exemptions=tuple(exemptions[policy.id]))
            for policy in rows.values()
        }
        return tuple(_attachment(whole[row.policy_id], row) for row, _ in attached)

    def _has(self, policy_id: UUID, number: int) -> bool:
        good = self._good.get(policy_id)
        return good is not None and good.version == number

    def _policy(self, row: PolicyRow, version: GuardrailPolicyVersion | None) -> GuardrailPolicy:
        number = row.published_number or 0
        good = self._good.get(row.id)
        if good is not None and good.version == number:
            return good
        document = {} if version is None else version.document
        try:
            secrets = NONE if version is None else open_secrets(version, self._box)
            fields = PolicyFields.model_validate(joined(document, secrets))
        except (ValidationError, EnvelopeError) as error:
            self._tell(row, error, good)
            return good or _closed(row, number, document)
        self._good[row.id] = read_policy(fields, row.name, row.id, number, tenant_id=row.tenant_id)
        return self._good[row.id]

    def _tell(self, row: PolicyRow, error: Exception, good: GuardrailPolicy | None) -> None:
        number = row.published_number or 0
        if (row.id, number) not in self._told:
            self._told.add((row.id, number))
            log.error(
                "guardrail_policy_unreadable",
                id=str(row.id),
                version=number,
                # The reason's class only: a message may quote the settings.
                reason=type(error).__name__,
                holds_version=None if good is None else good.version,
            )


def _closed(row: PolicyRow, number: int, document: Mapping[str, Any]) -> GuardrailPolicy:
    """Of which nothing is known: it stops what it holds for, unless it only watched. Silence would be a pass."""
    mode = Mode.MONITOR if document.get("mode") == Mode.MONITOR else Mode.ENFORCE
    return GuardrailPolicy(
        row.id, row.name, number, (RuleUse("unreadable", "unreadable"),), tenant_id=row.tenant_id, mode=mode
    )


def _attachment(policy: GuardrailPolicy, row: GuardrailAttachment) -> Attachment:
    subject = row.team_id or row.project_id or row.key_id or row.model or row.subject_tenant_id
    return Attachment(policy, Level(row.level), subject)
