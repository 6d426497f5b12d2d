"""Tries texts against the rules that hold, or against others: what the console's test box and the command ask."""

from collections.abc import Callable, Sequence
from uuid import UUID

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import GuardrailPolicy, RuleKind, Tried, TriedText
from tollkeeper.contracts.ports import GuardrailTrial
from tollkeeper.domains.guardrail_policies.reading import read_policy
from tollkeeper.domains.guardrail_policies.schemas import GuardrailTest, PolicyFields
from tollkeeper.web.caller import Caller

_TRIED = UUID(int=0)


class GuardrailPolicies:
    def __init__(self, trial: GuardrailTrial, snapshot: Callable[[], Snapshot]) -> None:
        self._trial = trial
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
