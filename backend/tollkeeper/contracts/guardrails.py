"""Guardrail policies: which rules look at a call's texts and at its answer's, and what becomes of what they find."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID


class Direction(StrEnum):
    INPUT = "input"
    OUTPUT = "output"


class Action(StrEnum):
    """From the strictest to the mildest; of several that a text meets the strictest holds."""

    BLOCK = "block"
    REDACT = "redact"
    # A placeholder goes out, and the original comes back in its place in the answer.
    REVERSIBLE = "redact_reversibly"
    FLAG = "flag"


STRICTEST: Final = tuple(Action)


class Mode(StrEnum):
    ENFORCE = "enforce"
    # Everything is found and told, nothing is changed or refused.
    MONITOR = "monitor"


class When(StrEnum):
    """When the input is looked at: before the provider is called, or beside it while the answer is held."""

    BEFORE = "before"
    DURING = "during"


class OnFailure(StrEnum):
    """What a rule that cannot say stands for: it raised, hung, or answered nonsense."""

    BLOCK = "block"
    FLAG = "flag"


class Level(StrEnum):
    """Where a policy is attached. Lower levels add; none takes away."""

    PLATFORM = "platform"
    TENANT = "tenant"
    TEAM = "team"
    PROJECT = "project"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class RuleUse:
    """`name` is its own in the policy; `rule` names the kind. `actions` by label go before `action`.

    `settings` are those of the rule's kind, already checked. Findings below `least_score` are none.
    """

    name: str
    rule: str
    action: Action = Action.BLOCK
    # Some hold secrets.
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    directions: frozenset[Direction] = frozenset(Direction)
    actions: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    least_score: float = 0.5
    # Of the calls that it looks at.
    sample_millionths: int = 1_000_000
    on_failure: OnFailure = OnFailure.BLOCK
    # Of rules that ask somebody else.
    deadline_seconds: float = 2.0

    def action_for(self, label: str) -> Action:
        return self.actions.get(label, self.action)


@dataclass(frozen=True, slots=True)
class Exemption:
    """A rule does not hold for a key until a moment (seconds since 1970). `label` None: for nothing that it finds."""

    rule_name: str
    key_id: UUID
    expires_at: float
    label: str | None = None


@dataclass(frozen=True, slots=True)
class GuardrailPolicy:
    """A published version."""

    id: UUID
    name: str
    version: int
    rules: tuple[RuleUse, ...]
    # None: of the platform, for every tenant it is attached to.
    tenant_id: UUID | None = None
    mode: Mode = Mode.ENFORCE
    when: When = When.BEFORE
    # Whether events may hold the text that was found.
    keeps_text: bool = False
    # For the caller, instead of our own sentence.
    message: str | None = None
    exemptions: tuple[Exemption, ...] = ()
    is_managed_by_file: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """`subject`: the id of the tenant, team, project or key, or the model's name (may end in `*`); None: of the platform."""

    policy: GuardrailPolicy
    level: Level
    subject: UUID | str | None = None


class GuardrailEvent(NamedTuple):
    """What one rule found in one text of a call, by label; `text` only where the policy keeps it."""

    id: UUID
    tenant_id: UUID
    request_id: UUID
    key_id: UUID
    user_id: UUID | None
    model: str | None
    policy_id: UUID
    policy: str
    policy_version: int
    is_platform: bool
    rule: str
    label: str
    action: Action
    is_monitored: bool
    direction: Direction
    # What kind of text it stood in, and who said it.
    place: str
    role: str
    times: int
    text: str | None


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A kind of rule as plain data: what lists, forms and checks need."""

    name: str
    title: str
    settings_schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TriedText:
    text: str
    kind: str
    role: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class TriedFinding:
    policy: str
    rule: str
    label: str
    start: int
    end: int
    score: float
    action: Action
    is_monitored: bool
    because: str


@dataclass(frozen=True, slots=True)
class Tried:
    """`action` None: it passes; `text` None: nothing of it would go on."""

    findings: tuple[TriedFinding, ...]
    action: Action | None
    text: str | None
    policies: tuple[str, ...]
    seconds: float
