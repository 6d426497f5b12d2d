"""`/api/v1/guardrail-policies`: what may be said, for whom. A tenant's are its own; the platform's are the platform's alone."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Query, Request, Response

from tollkeeper.core.ids import GuardrailAttachmentId, GuardrailExemptionId, GuardrailPolicyId, TenantId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.guardrail_policies.holding import GuardrailHolding
from tollkeeper.domains.guardrail_policies.schemas import (
    AttachFields,
    AttachmentOut,
    DryRunIn,
    DryRunOut,
    ExemptionCreate,
    ExemptionOut,
    GuardrailPolicyCreate,
    GuardrailPolicyOut,
    GuardrailPolicyRollback,
    GuardrailPolicyUpdate,
    GuardrailPolicyVersionOut,
)
from tollkeeper.domains.guardrail_policies.service import GuardrailPolicies
from tollkeeper.domains.guardrail_policies.trying import GuardrailTrials
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Work, control_router, requires
from tollkeeper.web.etag import IfMatch
from tollkeeper.web.pagination import Page, Paging, cut

router = control_router("guardrail-policies")

_VIEW = [requires(Permission.GUARDRAILS_VIEW)]
_UPDATE = [requires(Permission.GUARDRAILS_UPDATE)]
_FIRST = ("", UUID(int=0))
_LIST = "guardrail-policies"
_VERSIONS = "guardrail-policies.versions"
_ATTACHMENTS = "guardrail-policies.attachments"
_EXEMPTIONS = "guardrail-policies.exemptions"


def _policies(request: Request) -> GuardrailPolicies:
    found: GuardrailPolicies = request.app.state.services.guardrails.policies
    return found


def _holding(request: Request) -> GuardrailHolding:
    found: GuardrailHolding = request.app.state.services.guardrails.holding
    return found


def _trials(request: Request) -> GuardrailTrials:
    found: GuardrailTrials = request.app.state.services.guardrails.trials
    return found


Policies = Annotated[GuardrailPolicies, Depends(_policies)]
Holding = Annotated[GuardrailHolding, Depends(_holding)]
Trials = Annotated[GuardrailTrials, Depends(_trials)]


def _tag(response: Response, version: int | None) -> None:
    """Those of the file have no version: they cannot be changed here."""
    if version is not None:
        response.headers["etag"] = f'"{version}"'


@router.get("", dependencies=_VIEW)
async def list_guardrail_policies(
    policies: Policies,
    caller: CurrentCaller,
    session: ObjectSession,
    paging: Paging,
    tenant_id: Annotated[TenantId | None, Query(description="One tenant's; for platform administrators.")] = None,
) -> Page[GuardrailPolicyOut]:
    """By name. Platform administrators see everybody's, the platform's and those of the configuration file."""
    after = cast(tuple[str, UUID], paging.position(_LIST, str, UUID) or _FIRST)
    is_all = caller.is_platform and tenant_id is None
    wanted = None if is_all else caller.tenant_for(tenant_id)
    found = await policies.list_page(session, caller, wanted, after, paging.limit + 1)
    rows, next_cursor = cut(found, paging, _LIST, lambda policy: (policy.name, policy.id))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("", status_code=201, dependencies=_UPDATE)
async def create_guardrail_policy(
    policies: Policies, caller: CurrentCaller, work: Work, body: GuardrailPolicyCreate, response: Response
) -> GuardrailPolicyOut:
    """A draft, or with `publish` a policy that holds as soon as it is attached. Every fault is told with its path."""
    if body.is_platform:
        shown = await policies.create(await work.platform(), caller, None, body)
    else:
        tenant_id = caller.tenant_for(body.tenant_id)
        shown = await policies.create(await work.tenant(tenant_id), caller, tenant_id, body)
    _tag(response, shown.version)
    return shown


@router.get("/{policy_id}", dependencies=_VIEW)
async def get_guardrail_policy(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, policy_id: GuardrailPolicyId, response: Response
) -> GuardrailPolicyOut:
    shown = await policies.get(session, caller, policy_id)
    _tag(response, shown.version)
    return shown


@router.patch("/{policy_id}", dependencies=_UPDATE)
async def update_guardrail_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    body: GuardrailPolicyUpdate,
    if_match: IfMatch,
    response: Response,
) -> GuardrailPolicyOut:
    """Change the draft; calls are held against what is published until `publish`."""
    shown = await policies.update(session, caller, policy_id, body, if_match)
    _tag(response, shown.version)
    return shown


@router.delete("/{policy_id}", status_code=204, dependencies=_UPDATE)
async def delete_guardrail_policy(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, policy_id: GuardrailPolicyId, if_match: IfMatch
) -> None:
    """With its versions, attachments and exemptions: it holds nowhere any more."""
    await policies.delete(session, caller, policy_id, if_match)


@router.post("/{policy_id}/publish", dependencies=_UPDATE)
async def publish_guardrail_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    if_match: IfMatch,
    response: Response,
) -> GuardrailPolicyOut:
    """Hold calls against the draft, on every worker within a second."""
    shown = await policies.publish(session, caller, policy_id, if_match)
    _tag(response, shown.version)
    return shown


@router.post("/{policy_id}/rollback", dependencies=_UPDATE)
async def roll_back_guardrail_policy(
    policies: Policies,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    body: GuardrailPolicyRollback,
    if_match: IfMatch,
    response: Response,
) -> GuardrailPolicyOut:
    """Hold calls against a version that was published before."""
    shown = await policies.rollback(session, caller, policy_id, body.version, if_match)
    _tag(response, shown.version)
    return shown


@router.get("/{policy_id}/versions", dependencies=_VIEW)
async def list_guardrail_policy_versions(
    policies: Policies, caller: CurrentCaller, session: ObjectSession, paging: Paging, policy_id: GuardrailPolicyId
) -> Page[GuardrailPolicyVersionOut]:
    """What the policy has said, the latest first."""
    (before,) = paging.position(_VERSIONS, int) or (None,)
    found = await policies.list_versions(session, caller, policy_id, cast(int | None, before), paging.limit + 1)
    rows, next_cursor = cut(found, paging, _VERSIONS, lambda version: (version.number,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/{policy_id}/dry-run", dependencies=[requires(Permission.GUARDRAILS_TEST)])
async def dry_run_guardrail_policy(
    trials: Trials, session: ObjectSession, policy_id: GuardrailPolicyId, body: DryRunIn
) -> DryRunOut:
    """What the draft makes of texts, beside what the published version makes of them. Nothing is kept of them."""
    return await trials.dry_run(session, policy_id, body)


@router.get("/{policy_id}/attachments", dependencies=_VIEW)
async def list_guardrail_attachments(
    holding: Holding, session: ObjectSession, paging: Paging, policy_id: GuardrailPolicyId
) -> Page[AttachmentOut]:
    """Where the policy holds."""
    found = await holding.list_attachments(session, policy_id, paging.after_id(_ATTACHMENTS), paging.limit + 1)
    rows, next_cursor = cut(found, paging, _ATTACHMENTS, lambda one: (one.id,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/{policy_id}/attachments", status_code=201, dependencies=_UPDATE)
async def attach_guardrail_policy(
    holding: Holding,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    body: AttachFields,
) -> AttachmentOut:
    """Let it hold for everybody (the platform's alone), a tenant, team, project, key or model. It adds to what holds."""
    return await holding.attach(session, caller, policy_id, body)


@router.delete("/{policy_id}/attachments/{attachment_id}", status_code=204, dependencies=_UPDATE)
async def detach_guardrail_policy(
    holding: Holding,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    attachment_id: GuardrailAttachmentId,
) -> None:
    """It holds there no more, on every worker within a second."""
    await holding.detach(session, caller, policy_id, attachment_id)


@router.get("/{policy_id}/exemptions", dependencies=_VIEW)
async def list_guardrail_exemptions(
    holding: Holding, session: ObjectSession, paging: Paging, policy_id: GuardrailPolicyId
) -> Page[ExemptionOut]:
    """Who is exempt from what, why, by whom and until when; those that have ended among them."""
    found = await holding.list_exemptions(session, policy_id, paging.after_id(_EXEMPTIONS), paging.limit + 1)
    rows, next_cursor = cut(found, paging, _EXEMPTIONS, lambda one: (one.id,))
    return Page(data=list(rows), next_cursor=next_cursor)


@router.post("/{policy_id}/exemptions", status_code=201, dependencies=_UPDATE)
async def exempt_from_guardrail_policy(
    holding: Holding,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    body: ExemptionCreate,
) -> ExemptionOut:
    """A rule of the policy does not hold for a key, until then and for that reason."""
    return await holding.exempt(session, caller, policy_id, body)


@router.delete("/{policy_id}/exemptions/{exemption_id}", status_code=204, dependencies=_UPDATE)
async def end_guardrail_exemption(
    holding: Holding,
    caller: CurrentCaller,
    session: ObjectSession,
    policy_id: GuardrailPolicyId,
    exemption_id: GuardrailExemptionId,
) -> None:
    """Before its time."""
    await holding.end_exemption(session, caller, policy_id, exemption_id)
