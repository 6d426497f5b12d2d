"""`/api/v1/guardrails`: which rules there are, and a box to try a text in."""

from typing import Annotated

from fastapi import Depends, Request

from tollkeeper.core.permissions import Permission
from tollkeeper.domains.guardrail_policies.schemas import (
    GuardrailFinding,
    GuardrailRuleOut,
    GuardrailRules,
    GuardrailTest,
    GuardrailTestOut,
)
from tollkeeper.domains.guardrail_policies.trying import GuardrailTrials
from tollkeeper.web.deps import CurrentCaller, control_router, requires

router = control_router("guardrails")


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
