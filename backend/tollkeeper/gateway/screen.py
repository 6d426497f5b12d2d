"""Every rule that holds for a call, ready to look: the policies of all levels, compiled once and kept.

Rules that are lists of shapes are looked for together. What a rule finds becomes a `Hit` by its policy's word; a rule
that cannot say is a hit as well, because silence would be a pass.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import structlog
from pydantic import BaseModel

from tollkeeper.contracts.guardrails import (
    STRICTEST,
    Action,
    Direction,
    GuardrailPolicy,
    Mode,
    OnFailure,
    RuleUse,
    When,
)
from tollkeeper.gateway.guardrail import WHOLE, Finding, Guardrail, HoldsBack, Part, Shaped
from tollkeeper.gateway.shapes import Shapes

log = structlog.get_logger(__name__)

FAILED: Final = "scanner_failed"
# A longer text is looked at in windows, and others have their turn in between.
_WINDOW: Final = 64 * 1024
# What two windows share: longer than any match that has an end.
_OVERLAP: Final = 2 * 1024


class RuleClass(Protocol):
    NAME: str
    TITLE: str
    Settings: type[BaseModel]

    def __call__(self, settings: Any, /) -> Guardrail | Shaped: ...


@dataclass(frozen=True, slots=True)
class Hit:
    finding: Finding
    use: RuleUse
    policy: GuardrailPolicy
    action: Action
    is_monitored: bool

    @property
    def is_blocking(self) -> bool:
        return self.action is Action.BLOCK and not self.is_monitored

    @property
    def is_changing(self) -> bool:
        return self.action in {Action.REDACT, Action.REVERSIBLE} and not self.is_monitored


@dataclass(frozen=True, slots=True)
class _Own:
    """A rule that is asked by itself."""

    rule: Guardrail
    use: RuleUse
    policy: GuardrailPolicy


class Lane:
    """All rules of one direction."""

    def __init__(self, uses: Sequence[tuple[GuardrailPolicy, RuleUse]], rules: Mapping[str, RuleClass]) -> None:
        shaped: list[tuple[str, Sequence[Any]]] = []
        self._uses: dict[str, tuple[GuardrailPolicy, RuleUse]] = {}
        self._own: list[_Own] = []
        self._of_whole: list[_Own] = []
        for number, (policy, use) in enumerate(uses):
            kind = rules[use.rule]
            rule = kind(kind.Settings.model_validate(dict(use.settings)))
            if hasattr(rule, "shapes"):
                key = str(number)
                self._uses[key] = policy, use
                shaped.append((key, cast(Shaped, rule).shapes()))
            else:
                own = _Own(rule, use, policy)
                (self._of_whole if own.rule.WINDOW == WHOLE else self._own).append(own)
        self._shapes = Shapes(shaped)
        self.is_empty = not uses
        # The answer has to be there from end to end before any of it leaves.
        self.needs_whole = any(not _only_flags(own) for own in self._of_whole)
        # A match that is not there to its last letter begins less than this before the end.
        self._window = max((own.rule.WINDOW - 1 for own in self._own), default=0)
        self._holding = [own.rule.held_from for own in self._own if isinstance(own.rule, HoldsBack)]

    def look(self, part: Part) -> list[Hit]:
        """What there is in a text of ordinary length."""
        hits = self._look_in_passing(part)
        if part.is_final and self._of_whole:
            hits += self._ask(self._of_whole, part)
        return [hit for hit in hits if hit.finding.score >= hit.use.least_score]

    async def look_long(self, part: Part) -> list[Hit]:
        """The same for a text of any length."""
        text = part.text
        if len(text) <= _WINDOW:
            return self.look(part)
        hits: dict[tuple[str, str, int, int], Hit] = {}
        for begin in range(0, len(text), _WINDOW - _OVERLAP):
            window = Part(text[begin : begin + _WINDOW], part.kind, part.role, part.direction, part.is_final)
            for hit in self._look_in_passing(window):
                found = hit.finding
                # At an edge it may be a piece of something: the neighbour has it whole.
                if begin and found.start == 0 and found.label != FAILED:
                    continue
                moved = Finding(
                    found.rule, found.label, begin + found.start, begin + found.end, found.score, found.because
                )
                hits[found.rule, found.label, moved.start, moved.end] = _replaced(hit, moved)
            await asyncio.sleep(0)
        together = [*hits.values(), *(self._ask(self._of_whole, part) if part.is_final else ())]
        together.sort(key=lambda hit: hit.finding.start)
        return [hit for hit in together if hit.finding.score >= hit.use.least_score]

    async def look_at_pieces(self, part: Part, lengths: Sequence[int]) -> list[Hit]:
        """A text that stands there in pieces: as one, and each alone, as what stands beside a piece hides where a word ends."""
        hits = await self.look_long(part)
        if len(lengths) < 2:
            return hits
        seen = {(id(hit.use), hit.finding.label, hit.finding.start, hit.finding.end) for hit in hits}
        begin = 0
        for length in lengths:
            piece = Part(part.text[begin : begin + length], part.kind, part.role, part.direction, is_final=False)
            for hit in await self.look_long(piece):
                found = hit.finding
                start, end = begin + found.start, begin + found.end
                if (id(hit.use), found.label, start, end) not in seen:
                    moved = Finding(found.rule, found.label, start, end, found.score, found.because)
                    hits.append(_replaced(hit, moved))
            begin += length
        return sorted(hits, key=lambda hit: hit.finding.start)

    def held_from(self, text: str) -> int:
        held = self._shapes.held_from(text)
        for holds in self._holding:
            held = min(held, holds(text))
        return max(0, min(held, len(text) - self._window)) if self._window else held

    def _look_in_passing(self, part: Part) -> list[Hit]:
        hits = [self._hit(finding, *self._uses[finding.rule]) for finding in self._shapes.find(part.text)]
        return hits + self._ask(self._own, part) if self._own else hits

    def _ask(self, rules: Sequence[_Own], part: Part) -> list[Hit]:
        hits = []
        for own in rules:
            try:
                findings = own.rule.check(part)
            except Exception:
                # Whatever it was, it is not a pass.
                log.exception("guardrail_failed", rule=own.use.rule, policy=own.policy.name)
                hits.append(_failure(own.policy, own.use, len(part.text)))
                continue
            hits += [self._hit(finding, own.policy, own.use) for finding in findings]
        return hits

    @staticmethod
    def _hit(finding: Finding, policy: GuardrailPolicy, use: RuleUse) -> Hit:
        if finding.rule != use.name:
            finding = Finding(use.name, finding.label, finding.start, finding.end, finding.score, finding.because)
        return Hit(finding, use, policy, use.action_for(finding.label), policy.mode is Mode.MONITOR)


class Screen:
    """`Screen(policies, rules)`: raises `ValueError` for settings that a rule does not take, with the reason."""

    def __init__(self, policies: Sequence[GuardrailPolicy], rules: Mapping[str, RuleClass]) -> None:
        uses = [(policy, use) for policy in policies for use in policy.rules]
        self.input = Lane([one for one in uses if Direction.INPUT in one[1].directions], rules)
        self.output = Lane([one for one in uses if Direction.OUTPUT in one[1].directions], rules)
        # Beside the call only where every policy that can stop it allows that, and none changes what is sent.
        self.is_beside = all(
            policy.when is When.DURING for policy, use in uses if Direction.INPUT in use.directions
        ) and not any(
            policy.mode is Mode.ENFORCE and {use.action, *use.actions.values()} & {Action.REDACT, Action.REVERSIBLE}
            for policy, use in uses
            if Direction.INPUT in use.directions
        )
        self.samples = any(use.sample_millionths < 1_000_000 for _, use in uses)
        self.exemptions = tuple(exemption for policy in policies for exemption in policy.exemptions)
        # Names what an answer has passed; empty where not every answer passes the same.
        self.digest = b"" if self.samples or self.exemptions else _digest(policies)


def _digest(policies: Sequence[GuardrailPolicy]) -> bytes:
    digest = hashlib.sha256()
    for policy in policies:
        digest.update(policy.id.bytes + policy.version.to_bytes(8, "big"))
    return digest.digest()


def strictest(hits: Sequence[Hit]) -> Hit | None:
    return min(hits, key=lambda hit: STRICTEST.index(hit.action), default=None)


def _failure(policy: GuardrailPolicy, use: RuleUse, length: int) -> Hit:
    action = Action.BLOCK if use.on_failure is OnFailure.BLOCK else Action.FLAG
    finding = Finding(use.name, FAILED, 0, length, 1.0, "the rule could not say")
    return Hit(finding, use, policy, action, policy.mode is Mode.MONITOR)


def _replaced(hit: Hit, finding: Finding) -> Hit:
    return Hit(finding, hit.use, hit.policy, hit.action, hit.is_monitored)


def _only_flags(own: _Own) -> bool:
    return own.policy.mode is Mode.MONITOR or {own.use.action, *own.use.actions.values()} == {Action.FLAG}
