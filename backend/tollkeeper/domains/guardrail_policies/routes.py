"""`/api/v1/guardrails`: which rules there are, a box to try a text in, and what was found in calls."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Query, Request

from tollkeeper.contracts.guardrails import Action, Direction
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import GuardrailPolicyId, KeyId, RequestId, TenantId
from tollkeeper.core.permissions import Permission
from tollkeeper.domains.guardrail_policies.events import list_events
from tollkeeper.domains.guardrail_policies.schemas import (
    EventFilters,
    GuardrailEventOut,
    GuardrailFinding,
    GuardrailRuleOut,
    GuardrailRules,
    GuardrailTest,
    GuardrailTestOut,
)
from tollkeeper.domains.guardrail_policies.trying import GuardrailTrials
from tollkeeper.domains.usage.schemas import period
from tollkeeper.web.deps import CurrentCaller, ObjectSession, Services, control_router, requires
from tollkeeper.web.pagination import Page, Paging, cut
from tollkeeper.web.schemas import Word

router = control_router("guardrails")

_EVENTS: Final = "guardrails.events"
_DEFAULT_DAYS: Final = 7


def _trials(request: Request) -> GuardrailTrials:
    found: GuardrailTrials = request.app.state.services.guardrails.trials
    return found


Trials = Annotated[GuardrailTrials, Depends(_trials)]


@router.get("/rules", dependencies=[requires(Permission.GUARDRAILS_VIEW)])
async def list_guardrail_rules(trials: Trials) -> GuardrailRules:
    """Every kind of rule with the JSON schema of its settings."""
    return GuardrailRules(data=[GuardrailRuleOut.model_validate(kind) for kind in trials.rules()])


@router.post("/test", dependencies=[requires(Permission.GUARDRAILS_TEST)])
async def test_guardrails(trials: Trials, caller: CurrentCaller, body: GuardrailTest) -> GuardrailTestOut:
    """What the rules that hold for the tenant find in a text, or those of a starter, or others. Nothing is kept of it."""
    tried = await trials.test(caller, body)
    return GuardrailTestOut(
        findings=[GuardrailFinding.model_validate(finding) for finding in tried.findings],
        action=tried.action or "allow",
        text=tried.text,
        policies=list(tried.policies),
        milliseconds=round(tried.seconds * 1000, 3),
    )


def _filters(
    caller: CurrentCaller,
    services: Services,
    since: Annotated[
        datetime | None,
        Query(alias="from", description=f"From here on; the last {_DEFAULT_DAYS} days without it."),
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Before.")] = None,
    tenant_id: Annotated[TenantId | None, Query(description="One tenant; for platform administrators.")] = None,
    policy_id: Annotated[GuardrailPolicyId | None, Query()] = None,
    rule: Annotated[Word | None, Query(description="The rule's name in its policy.")] = None,
    label: Annotated[Word | None, Query(description="What kind of thing was found.")] = None,
    action: Annotated[Action | None, Query()] = None,
    direction: Annotated[Direction | None, Query()] = None,
    api_key_id: Annotated[KeyId | None, Query()] = None,
    request_id: Annotated[RequestId | None, Query()] = None,
) -> EventFilters:
    start, end = period(since, until, services.clock.now(), "UTC")
    if since is None:
        start = end - timedelta(days=_DEFAULT_DAYS)
    if start >= end:
        raise BadRequest("'from' lies before 'to'.", code="invalid_period", param="from")
    return EventFilters(
        since=start,
        until=end,
        tenant_id=caller.tenant_for(tenant_id) if tenant_id is not None or not caller.is_platform else None,
        owner_id=None if caller.may(Permission.TENANTS_VIEW) else caller.user_id,
        policy_id=policy_id,
        rule=rule,
        label=label,
        action=action,
        direction=direction,
        key_id=api_key_id,
        request_id=request_id,
    )


def _box(request: Request) -> SecretBox:
    box: SecretBox = request.app.state.services.secret_box
    return box


@router.get("/events", dependencies=[requires(Permission.GUARDRAILS_VIEW)])
async def list_guardrail_events(
    caller: CurrentCaller,
    session: ObjectSession,
    filters: Annotated[EventFilters, Depends(_filters)],
    box: Annotated[SecretBox, Depends(_box)],
    paging: Paging,
) -> Page[GuardrailEventOut]:
    """What guardrails found in calls, newest first; who may not see the tenant sees their own keys' alone."""
    may_read = caller.may(Permission.AUDIT_VIEW)
    after = paging.after_id(_EVENTS)
    found = await list_events(session, box, filters, after, paging.limit + 1, shows_text=may_read)
    rows, next_cursor = cut(found, paging, _EVENTS, lambda event: (event.id,))
    return Page(data=list(rows), next_cursor=next_cursor)
