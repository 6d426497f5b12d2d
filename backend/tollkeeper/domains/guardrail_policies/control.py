"""The guardrails' part of the process's services, put together from what wiring hands over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.ports import GuardrailTrial
from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.domains.guardrail_policies.desk import Desk
from tollkeeper.domains.guardrail_policies.holding import GuardrailHolding
from tollkeeper.domains.guardrail_policies.schemas import DeclaredGuardrail
from tollkeeper.domains.guardrail_policies.secret_settings import SecretSettings
from tollkeeper.domains.guardrail_policies.service import GuardrailPolicies
from tollkeeper.domains.guardrail_policies.trying import GuardrailTrials


@dataclass(frozen=True, slots=True)
class GuardrailControl:
    policies: GuardrailPolicies
    holding: GuardrailHolding
    trials: GuardrailTrials


def build_guardrails(
    *,
    trial: GuardrailTrial,
    declared: Callable[[], Sequence[DeclaredGuardrail]],
    snapshot: Callable[[], Snapshot],
    box: SecretBox,
    clock: Clock,
) -> GuardrailControl:
    """`declared`: the policies of the configuration file, as it was last read."""
    desk = Desk(declared)
    return GuardrailControl(
        policies=GuardrailPolicies(desk, trial, SecretSettings(trial.rules(), box)),
        holding=GuardrailHolding(desk, clock),
        trials=GuardrailTrials(trial, snapshot, box),
    )
