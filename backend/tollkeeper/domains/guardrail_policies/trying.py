"""Tries texts: against the rules that hold, against others, or against a draft beside what is published."""

from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import GuardrailPolicy, RuleKind, Tried, TriedText
from tollkeeper.contracts.ports import GuardrailTrial
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import NotFound
from tollkeeper.db.models import GuardrailPolicy as PolicyRow
from tollkeeper.db.models import GuardrailPolicyVersion
from tollkeeper.domains.guardrail_policies import repository
from tollkeeper.domains.guardrail_policies.reading import read_policy
from tollkeeper.domains.guardrail_policies.schemas import (
    DryRunIn,
    DryRunOut,
    DryRunResult,
    DryRunVerdict,
    GuardrailFinding,
    GuardrailTest,
    PolicyFields,
)
from tollkeeper.domains.guardrail_policies.secret_settings import joined, open_secrets
from tollkeeper.web.caller import Caller

_TRIED = UUID(int=0)


class GuardrailTrials:
    def __init__(self, trial: GuardrailTrial, snapshot: Callable[[], Snapshot], box: SecretBox) -> None:
        self._trial = trial
        self._box = box
        self._snapshot = snapshot

    def rules(self) -> Sequence[RuleKind]:
        return self._trial.rules()

    async def test(self, caller: Caller, asked: GuardrailTest) -> Tried:
        """Raises `BadRequest` for settings that a rule does not take, with the reason."""
        policies: Sequence[GuardrailPolicy] | None = None
        if asked.starter is not None or asked.rules:
            fields = PolicyFields(starter=asked.starter, rules=asked.rules)
            policies = (read_policy(fields, "test", _TRIED, 0),)
        text = TriedText(asked.text, asked.kind, asked.role, asked.direction)
        return await self._trial.test(text, policies, self._snapshot(), caller.tenant_id, asked.model or "")

    async def dry_run(self, session: AsyncSession, policy_id: UUID, asked: DryRunIn) -> DryRunOut:
        """What a version would make of texts, beside what the published one makes of them. Nothing is kept of them."""
        row = await repository.find_policy(session, policy_id)
        if row is None:
            raise NotFound("There is no such guardrail policy.")
        latest = await repository.list_latest(session, [row])
        published = next((one for one in latest if one.number == row.published_number), None)
        if asked.version is None:
            newest = max(latest, key=lambda one: one.number)
            wanted = newest if newest.published_at is None else published or newest
        else:
            found = await repository.find_version(session, row.id, asked.version)
            if found is None:
                raise NotFound("There is no such version of the policy.", param="version")
            wanted = found
        texts = [TriedText(one.text, one.kind, one.role, one.direction) for one in asked.texts]
        tried = await self._try(row, wanted, texts)
        now: Sequence[Tried | None] = [None] * len(texts)
        if published is not None:
            now = tried if published is wanted else await self._try(row, published, texts)
        results = [_result(one, other) for one, other in zip(tried, now, strict=True)]
        return DryRunOut(
            version=wanted.number,
            published_version=row.published_number,
            changed=sum(result.is_changed for result in results),
            results=results,
        )

    async def _try(self, row: PolicyRow, version: GuardrailPolicyVersion, texts: Sequence[TriedText]) -> list[Tried]:
        fields = PolicyFields.model_validate(joined(version.document, open_secrets(version, self._box)))
        policy = read_policy(fields, row.name, row.id, version.number, tenant_id=row.tenant_id)
        return await self._trial.try_policy(policy, texts)


def _result(tried: Tried, published: Tried | None) -> DryRunResult:
    is_changed = (
        published is None
        or (tried.action, tried.text) != (published.action, published.text)
        or _spans(tried) != _spans(published)
    )
    return DryRunResult(
        tried=_verdict(tried), published=None if published is None else _verdict(published), is_changed=is_changed
    )


def _spans(tried: Tried) -> list[tuple[str, str, int, int]]:
    return sorted((found.rule, found.label, found.start, found.end) for found in tried.findings)


def _verdict(tried: Tried) -> DryRunVerdict:
    return DryRunVerdict(
        findings=[GuardrailFinding.model_validate(finding) for finding in tried.findings],
        action=tried.action or "allow",
        text=tried.text,
        milliseconds=round(tried.seconds * 1000, 3),
    )
