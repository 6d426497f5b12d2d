"""Every rule that holds for a call, ready to look: the policies of all levels, compiled once and kept.

Rules that are lists of shapes are looked for together. What a rule finds becomes a `Hit` by its policy's word; a rule
that cannot say is a hit as well, because silence would be a pass.
"""

import asyncio
import hashlib
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from tollkeeper.gateway.guardrail import WHOLE, Asks, Finding, Guardrail, HoldsBack, Outside, Part, Shaped
from tollkeeper.gateway.shapes import Shapes
from tollkeeper.gateway.unescaping import readings

log = structlog.get_logger(__name__)

FAILED: Final = "scanner_failed"
NOT_ASKED: Final = "not_asked"
# Tokens instead of a text: a model reads them, and no rule does.
UNREADABLE: Final = "unreadable_tokens"
# They look at something else than words.
_WORDLESS: Final = frozenset({"tools", "json_schema"})
# A longer text is looked at in windows, and others have their turn in between.
_WINDOW: Final = 64 * 1024
# What two windows share: longer than any match that has an end.
_OVERLAP: Final = 2 * 1024
# A letter that only a reader of JSON sees.
_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}")


class RuleClass(Protocol):
    NAME: str
    TITLE: str
    Settings: type[BaseModel]

    def __call__(self, settings: Any, /) -> Guardrail | Shaped | Asks: ...


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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A rule that asks somebody else."""

    rule: Asks
    use: RuleUse
    policy: GuardrailPolicy


class Nonsense(ValueError):
    """What a rule said cannot be."""


class Lane:
    """All rules of one direction."""

    def __init__(self, uses: Sequence[tuple[GuardrailPolicy, RuleUse]], rules: Mapping[str, RuleClass]) -> None:
        shaped: list[tuple[str, Sequence[Any]]] = []
        self._uses: dict[str, tuple[GuardrailPolicy, RuleUse]] = {}
        self._own: list[_Own] = []
        self._of_whole: list[_Own] = []
        self._asked: list[_Asked] = []
        for number, (policy, use) in enumerate(uses):
            kind = rules[use.rule]
            rule = kind(kind.Settings.model_validate(dict(use.settings)))
            if isinstance(rule, Asks):
                self._asked.append(_Asked(rule, use, policy))
            elif hasattr(rule, "shapes"):
                key = str(number)
                self._uses[key] = policy, use
                shaped.append((key, cast(Shaped, rule).shapes()))
            else:
                own = _Own(rule, use, policy)
                (self._of_whole if own.rule.WINDOW == WHOLE else self._own).append(own)
        self._reading = [(policy, use) for policy, use in uses if use.rule not in _WORDLESS]
        self._shapes = Shapes(shaped)
        self.is_empty = not uses
        self.may_change = any(_may_change(policy, use) for policy, use in uses) or any(
            _may_change(asked.policy, asked.use, by_verdict=asked.rule.MAY_CHANGE) for asked in self._asked
        )
        self.is_asking = bool(self._asked)
        holding = [asked for asked in self._asked if not _only_flags(asked)]
        # Nothing leaves before those were asked about it, in pieces of so many characters.
        self.holds_for_asked = bool(holding)
        windows = [asked.rule.WINDOW for asked in holding or self._asked]
        self.asks_each = WHOLE if WHOLE in windows else min(windows, default=WHOLE)
        # The answer has to be there from end to end before any of it leaves.
        self.needs_whole = any(not _only_flags(own) for own in self._of_whole) or (
            self.holds_for_asked and self.asks_each == WHOLE
        )
        # It leaves, and is looked at once more when it is there.
        self.keeps_whole = bool(self._of_whole) and not self.needs_whole
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
                moved = replace(found, start=begin + found.start, end=begin + found.end)
                hits[found.rule, found.label, moved.start, moved.end] = _replaced(hit, moved)
            await asyncio.sleep(0)
        together = [*hits.values(), *(self._ask(self._of_whole, part) if part.is_final else ())]
        together.sort(key=lambda hit: hit.finding.start)
        return [hit for hit in together if hit.finding.score >= hit.use.least_score]

    async def look_at_pieces(self, part: Part, lengths: Sequence[int]) -> list[Hit]:
        """A text that stands there in pieces: as one, and each alone, as what stands beside a piece hides where a word ends.

        One with escapes of JSON is read without them as well: whatever it is, a model may do so.
        """
        hits = await self.look_long(part)
        is_escaped = _ESCAPE.search(part.text) is not None
        if len(lengths) < 2 and not is_escaped:
            return hits
        seen = {(id(hit.use), hit.finding.label, hit.finding.start, hit.finding.end) for hit in hits}

        async def look_again(text: str, places: Sequence[int]) -> None:
            for hit in await self.look_long(Part(text, part.kind, part.role, part.direction, is_final=False)):
                found = hit.finding
                start, end = places[found.start], places[found.end]
                if (id(hit.use), found.label, start, end) not in seen:
                    seen.add((id(hit.use), found.label, start, end))
                    hits.append(_replaced(hit, replace(found, start=start, end=end)))

        if len(lengths) > 1:
            begin = 0
            for length in lengths:
                await look_again(part.text[begin : begin + length], range(begin, begin + length + 1))
                begin += length
        if is_escaped:
            for text, places in readings(part.text):
                await look_again(text, places)
        return sorted(hits, key=lambda hit: hit.finding.start)

    def look_at_whole(self, part: Part) -> list[Hit]:
        """With the rules alone that can only judge what is there from end to end."""
        return [hit for hit in self._ask(self._of_whole, part) if hit.finding.score >= hit.use.least_score]

    async def ask(
        self, parts: Sequence[Part], outside: Callable[[GuardrailPolicy], Outside], is_asked: Callable[[Hit], bool]
    ) -> list[list[Hit]]:
        """What those say of each part that are asked: all at once, each within its own time.

        `is_asked` says of a rule's failure whether it would count: if not, the rule is not asked at all.
        """
        asked = [one for one in self._asked if is_asked(_failure(one.policy, one.use, 0))]
        answers = await asyncio.gather(*(self._ask_one(one, parts, outside(one.policy)) for one in asked))
        return [
            [hit for answer in answers for hit in answer[place] if hit.finding.score >= hit.use.least_score]
            for place in range(len(parts))
        ]

    def unreadable(self) -> list[Hit]:
        """Of what no rule can read: none that may stop a call can say anything."""
        hits = []
        for policy, use in self._reading:
            is_stopping = use.on_failure is OnFailure.BLOCK and {use.action, *use.actions.values()} != {Action.FLAG}
            finding = Finding(use.name, UNREADABLE, 0, 0, 1.0, "tokens were sent instead of a text")
            action = Action.BLOCK if is_stopping else Action.FLAG
            hits.append(Hit(finding, use, policy, action, policy.mode is Mode.MONITOR))
        return hits

    def not_asked(self, length: int) -> list[Hit]:
        """Of a text that is only tried: a rule that asks others would have had its say, and nobody knows which."""
        return [
            Hit(
                Finding(one.use.name, NOT_ASKED, 0, length, 1.0, "nobody is asked about a trial"),
                one.use,
                one.policy,
                Action.FLAG,
                True,
            )
            for one in self._asked
        ]

    async def _ask_one(self, asked: _Asked, parts: Sequence[Part], outside: Outside) -> list[list[Hit]]:
        policy, use = asked.policy, asked.use
        try:
            async with asyncio.timeout(use.deadline_seconds):
                found = await asked.rule.ask(parts, outside)
            return [
                [self._hit(finding, policy, use) for finding in _checked(findings, part)]
                for part, findings in zip(parts, found, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - whatever it was, it is not a pass
            _log_failure(use, policy, error)
            failed = _failure(policy, use, len(parts[0].text))
            return [[failed], *([] for _ in parts[1:])]

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
                findings = _checked(own.rule.check(part), part)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is not a pass
                _log_failure(own.use, own.policy, error)
                hits.append(_failure(own.policy, own.use, len(part.text)))
                continue
            hits += [self._hit(finding, own.policy, own.use) for finding in findings]
        return hits

    @staticmethod
    def _hit(finding: Finding, policy: GuardrailPolicy, use: RuleUse) -> Hit:
        if finding.rule != use.name:
            finding = replace(finding, rule=use.name)
        action = use.action_for(finding.label)
        if finding.action is not None and finding.label not in use.actions:
            action = max(action, finding.action, key=STRICTEST.index)
        return Hit(finding, use, policy, action, policy.mode is Mode.MONITOR)


class Screen:
    """`Screen(policies, rules)`: raises `ValueError` for settings that a rule does not take, with the reason."""

    def __init__(self, policies: Sequence[GuardrailPolicy], rules: Mapping[str, RuleClass]) -> None:
        uses = [(policy, use) for policy in policies for use in policy.rules]
        self.input = Lane([one for one in uses if Direction.INPUT in one[1].directions], rules)
        self.output = Lane([one for one in uses if Direction.OUTPUT in one[1].directions], rules)
        # Beside the call only where every policy that can stop it allows that, and none changes what is sent.
        self.is_beside = not self.input.may_change and all(
            policy.when is When.DURING for policy, use in uses if Direction.INPUT in use.directions
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


def _may_change(policy: GuardrailPolicy, use: RuleUse, *, by_verdict: bool = False) -> bool:
    actions = {use.action, *use.actions.values()}
    changes = not actions.isdisjoint({Action.REDACT, Action.REVERSIBLE}) or (by_verdict and actions != {Action.FLAG})
    return changes and policy.mode is Mode.ENFORCE


def _checked(findings: Iterable[Finding], part: Part) -> list[Finding]:
    """Raises `Nonsense` for what cannot be found in the part."""
    found: list[Any] = list(findings)
    length = len(part.text)
    for finding in found:
        if not (
            isinstance(finding, Finding)
            and type(finding.start) is int
            and type(finding.end) is int
            and 0 <= finding.start <= finding.end <= length
            and 0.0 <= finding.score <= 1.0
            and isinstance(finding.label, str)
        ):
            raise Nonsense
    return found


def _log_failure(use: RuleUse, policy: GuardrailPolicy, error: Exception) -> None:
    """Its kind and where it came from: its message may quote the text."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{last[0].name}:{last[0].lineno}" if last else ""
    log.error("guardrail_failed", rule=use.rule, policy=policy.name, error=type(error).__name__, where=where)


def _only_flags(own: "_Own | _Asked") -> bool:
    return own.policy.mode is Mode.MONITOR or {own.use.action, *own.use.actions.values()} == {Action.FLAG}
