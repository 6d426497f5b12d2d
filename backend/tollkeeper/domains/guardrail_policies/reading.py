"""Policies as written turned into those that calls are held against. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tollkeeper.contracts.guardrails import Attachment, GuardrailPolicy, Level, RuleUse
from tollkeeper.domains.guardrail_policies.schemas import AttachFields, PolicyFields, RuleFields
from tollkeeper.domains.guardrail_policies.starters import STARTERS


def read_policy(
    fields: PolicyFields,
    name: str,
    policy_id: UUID,
    version: int,
    *,
    tenant_id: UUID | None = None,
    of_file: bool = False,
) -> GuardrailPolicy:
    starter = STARTERS[fields.starter] if fields.starter is not None else ()
    return GuardrailPolicy(
        id=policy_id,
        name=name,
        version=version,
        rules=tuple(_read_rule(rule) for rule in (*starter, *fields.rules)),
        tenant_id=tenant_id,
        mode=fields.mode,
        when=fields.when,
        keeps_text=fields.keeps_text,
        message=fields.message,
        is_managed_by_file=of_file,
    )


def _read_rule(fields: RuleFields) -> RuleUse:
    return RuleUse(
        name=fields.name or fields.rule,
        rule=fields.rule,
        action=fields.action,
        settings=MappingProxyType(dict(fields.settings)),
        directions=fields.directions,
        actions=MappingProxyType(dict(fields.actions)),
        least_score=fields.least_score,
        sample_millionths=round(fields.sample_percent * 10_000),
        on_failure=fields.on_failure,
        deadline_seconds=fields.deadline_seconds,
    )


def names_of_rules(document: Mapping[str, Any]) -> list[str]:
    """Of a stored policy, its starter's rules among them."""
    starter = STARTERS[document["starter"]] if document.get("starter") else ()
    shipped = [rule.name or rule.rule for rule in starter]
    return [*shipped, *(rule.get("name") or rule["rule"] for rule in document.get("rules", ()))]


def path_of_rule(fields: PolicyFields, place: int) -> str:
    """Where in what was written the rule of that place stands; a starter's own rules come first."""
    shipped = 0 if fields.starter is None else len(STARTERS[fields.starter])
    return f"rules[{place - shipped}]" if place >= shipped else "starter"


def read_attachment(policy: GuardrailPolicy, fields: AttachFields) -> Attachment:
    return Attachment(policy, *level_of(fields))


def level_of(fields: AttachFields) -> tuple[Level, UUID | str | None]:
    if fields.everyone:
        return Level.PLATFORM, None
    for level, subject in (
        (Level.TENANT, fields.tenant),
        (Level.TEAM, fields.team),
        (Level.PROJECT, fields.project),
        (Level.KEY, fields.key),
        (Level.MODEL, fields.model),
    ):
        if subject is not None:
            return level, subject
    raise AssertionError("the schema takes exactly one")
