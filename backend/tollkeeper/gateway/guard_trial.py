"""Tries a text as the guard would look at it, for whoever asks what a rule makes of it. Nobody is called."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

from pydantic import ValidationError

from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.guardrails import (
    STRICTEST,
    Direction,
    GuardrailPolicy,
    RuleKind,
    Tried,
    TriedFinding,
    TriedText,
)
from tollkeeper.contracts.principal import Environment, Principal
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.guardrail import Part, PartKind
from tollkeeper.gateway.guardrails import OPERATORS, RULES
from tollkeeper.gateway.guardrails.regex import size_of
from tollkeeper.gateway.placeholders import Placeholders, apply
from tollkeeper.gateway.screen import Hit, Screen
from tollkeeper.gateway.screens import policies_for

_NOBODY = UUID(int=0)
# Of one policy: what patterns come to together nobody can say before, and every call waits for all of them.
_MOST_PATTERNS = 200
# And of their automata, in RE2's instructions: a pattern of words has some dozens, `.{1,1000}` thousands of them.
_MOST_INSTRUCTIONS = 10_000


class GuardTrial:
    def rules(self) -> Sequence[RuleKind]:
        return [
            RuleKind(kind.NAME, kind.TITLE, kind.Settings.model_json_schema())
            for kind in sorted(RULES.values(), key=lambda kind: kind.NAME)
        ]

    def faults(self, policy: GuardrailPolicy) -> list[tuple[int, str]]:
        """What is wrong with its rules: the rule's place and why."""
        found: list[tuple[int, str]] = []
        names: set[str] = set()
        patterns = instructions = 0
        for place, use in enumerate(policy.rules):
            if use.rule not in RULES:
                found.append((place, f"there is no rule '{use.rule}': known are {', '.join(sorted(RULES))}"))
                continue
            if use.name in names:
                found.append((place, f"two rules are called '{use.name}': give one a name of its own"))
            names.add(use.name)
            if not policy.is_managed_by_file:
                given = [name for name in OPERATORS if use.settings.get(name)]
                found += [(place, f"settings.{name}: only the operator's file may say this") for name in given]
            own = use.settings.get("patterns")
            patterns += len(own) if isinstance(own, dict) else 0
            if patterns > _MOST_PATTERNS:
                found.append((place, f"the policy has more than {_MOST_PATTERNS} patterns of its own"))
                break
            try:
                Screen([GuardrailPolicy(_NOBODY, policy.name, 0, (use,))], RULES)
            except ValidationError as error:
                found += [(place, _sentence(fault["loc"], fault["msg"])) for fault in error.errors(include_url=False)]
            except ValueError as error:
                found.append((place, str(error)))
            else:
                instructions += size_of(own)
                if instructions > _MOST_INSTRUCTIONS:
                    reason = (
                        f"the policy's patterns come to {instructions} steps, of {_MOST_INSTRUCTIONS} at most: "
                        "every call would wait for them; write shorter repeats, as {1,50} instead of {1,1000}"
                    )
                    found.append((place, reason))
                    break
        return found

    async def test(
        self,
        text: TriedText,
        policies: Sequence[GuardrailPolicy] | None,
        snapshot: Snapshot,
        tenant_id: UUID,
        model: str,
    ) -> Tried:
        if policies is None:
            somebody = Principal(tenant_id, _NOBODY, None, Environment.LIVE, frozenset())
            policies = tuple(policies_for(snapshot, somebody, model))
        for policy in policies:
            for place, fault in self.faults(policy):
                raise BadRequest(f"rules[{place}]: {fault}", code="guardrail_invalid", param=f"rules[{place}]")
        return await _try(Screen(policies, RULES), text, policies)

    async def try_policy(self, policy: GuardrailPolicy, texts: Sequence[TriedText]) -> list[Tried]:
        screen = await asyncio.to_thread(Screen, [policy], RULES)
        return [await _try(screen, text, [policy]) for text in texts]


async def _try(screen: Screen, text: TriedText, policies: Sequence[GuardrailPolicy]) -> Tried:
    lane = screen.input if text.direction is Direction.INPUT else screen.output
    began = time.perf_counter()
    kind = PartKind(text.kind)
    if kind is PartKind.TEXT and text.direction is Direction.OUTPUT:
        kind = PartKind.ANSWER
    hits = await lane.look_long(Part(text.text, kind, text.role, text.direction))
    hits += lane.not_asked(len(text.text))
    seconds = time.perf_counter() - began
    acting = [hit for hit in hits if not hit.is_monitored]
    action = min((hit.action for hit in acting), key=STRICTEST.index, default=None)
    is_blocked = any(hit.is_blocking for hit in hits)
    return Tried(
        findings=tuple(_finding(hit) for hit in hits),
        action=action,
        text=None if is_blocked else apply(text.text, Placeholders().edits(text.text, hits)),
        policies=tuple(policy.name for policy in policies),
        seconds=seconds,
    )


def _finding(hit: Hit) -> TriedFinding:
    found = hit.finding
    return TriedFinding(
        hit.policy.name,
        hit.use.name,
        found.label,
        found.start,
        found.end,
        found.score,
        hit.action,
        hit.is_monitored,
        found.because,
    )


def _sentence(place: tuple[int | str, ...], message: str) -> str:
    return f"settings.{'.'.join(map(str, place))}: {message}" if place else f"settings: {message}"
