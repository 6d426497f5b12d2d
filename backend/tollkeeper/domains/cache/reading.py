"""Cache policies as written turned into those that calls are held against. Pure."""

from uuid import UUID

from tollkeeper.contracts.cache import CacheAttachment, CachePolicy, CoalesceRule, ExactRule, SemanticRule
from tollkeeper.contracts.chat import Operation
from tollkeeper.contracts.guardrails import Level
from tollkeeper.domains.cache.schemas import CacheFields, ExactFields, SemanticFields
from tollkeeper.domains.guardrail_policies.schemas import AttachFields


def read_policy(
    fields: CacheFields,
    name: str,
    policy_id: UUID,
    version: int,
    *,
    tenant_id: UUID | None = None,
    of_file: bool = False,
) -> CachePolicy:
    coalesce = fields.coalesce
    return CachePolicy(
        id=policy_id,
        name=name,
        version=version,
        exact=None if fields.exact is None else _exact(fields.exact),
        coalesce=None if coalesce is None else CoalesceRule(coalesce.settle, coalesce.sharing),
        semantic=None if fields.semantic is None else _semantic(fields.semantic),
        marks=fields.prompt_cache_marks,
        tenant_id=tenant_id,
        is_managed_by_file=of_file,
    )


def read_attachment(policy: CachePolicy, fields: AttachFields) -> CacheAttachment:
    if fields.everyone:
        return CacheAttachment(policy, Level.PLATFORM)
    for level, subject in (
        (Level.TENANT, fields.tenant),
        (Level.TEAM, fields.team),
        (Level.PROJECT, fields.project),
        (Level.KEY, fields.key),
        (Level.MODEL, fields.model),
    ):
        if subject is not None:
            return CacheAttachment(policy, level, subject)
    raise AssertionError("the schema takes exactly one")


def _exact(fields: ExactFields) -> ExactRule:
    return ExactRule(
        ttl_seconds=fields.ttl_seconds,
        sharing=fields.sharing,
        operations=frozenset(Operation(operation) for operation in fields.operations),
        only_deterministic=fields.only_deterministic,
        most_entry_bytes=fields.most_entry_bytes,
    )


def _semantic(fields: SemanticFields) -> SemanticRule:
    return SemanticRule(
        ttl_seconds=fields.ttl_seconds,
        sharing=fields.sharing,
        delta_millionths=round(fields.delta * 1_000_000),
        most_temperature=fields.most_temperature,
        embedder=fields.embedder or "",
        is_opt_in=fields.opt_in,
        domain=fields.domain,
    )
