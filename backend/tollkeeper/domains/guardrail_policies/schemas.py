"""Guardrail policies as they stand in the file and in requests, and what trying a text answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints, model_validator

from tollkeeper.contracts.guardrails import Action, Direction, Level, Mode, OnFailure, When
from tollkeeper.core.ids import (
    GuardrailAttachmentId,
    GuardrailEventId,
    GuardrailExemptionId,
    GuardrailPolicyId,
    KeyId,
    ProjectId,
    RequestId,
    TeamId,
    TenantId,
    UserId,
)
from tollkeeper.web.schemas import Name, Pattern, Schema

RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
StarterName = Literal["baseline", "strict-pii", "finance", "health", "developer"]
LABEL_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
Labels = dict[Annotated[str, StringConstraints(pattern=LABEL_PATTERN)], Action]


class RuleFields(Schema):
    """One rule of a policy."""

    rule: RuleName = Field(description="Its kind, as `tollkeeper guardrails rules` lists them.")
    name: RuleName | None = Field(None, description="Its own name in the policy; left out: that of its kind.")
    action: Action = Field(
        Action.BLOCK, description="What becomes of what it finds: block, redact, redact_reversibly or flag."
    )
    actions: Labels = Field(default_factory=dict, max_length=100, description="Other actions for labels.")
    directions: frozenset[Direction] = Field(
        default_factory=lambda: frozenset(Direction),
        min_length=1,
        description="What it looks at: input, output; left out: both.",
    )
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Those of its kind.")
    least_score: float = Field(0.5, ge=0, le=1, description="What it finds with less certainty is nothing.")
    sample_percent: float = Field(100, ge=0, le=100, description="Of how many calls it looks at.")
    on_failure: OnFailure = Field(OnFailure.BLOCK, description="What it stands for when it cannot say: block or flag.")
    deadline_seconds: float = Field(2.0, gt=0, le=60, description="Of rules that ask somebody else.")


class PolicyFields(Schema):
    """What a policy says, wherever it is attached."""

    starter: StarterName | None = Field(
        None, description="Take these rules too, shipped and maintained with the product."
    )
    rules: tuple[RuleFields, ...] = Field(
        (), max_length=50, description="What looks, and what becomes of what it finds."
    )
    mode: Mode = Field(Mode.ENFORCE, description="monitor tells and changes nothing.")
    when: When = Field(When.BEFORE, description="during looks at the input beside the call and holds the answer.")
    keeps_text: bool = Field(default=False, description="Whether events may hold the text that was found.")
    message: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Told to the caller instead of our own sentence."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.starter is None and not self.rules:
            raise ValueError("name a starter, rules, or both")
        return self


class AttachFields(Schema):
    """Where it holds: exactly one of these. Lower levels add to what lies above them."""

    everyone: Literal[True] | None = Field(None, description="Every call.")
    tenant: TenantId | None = None
    team: TeamId | None = None
    project: ProjectId | None = None
    key: KeyId | None = None
    model: Pattern | None = Field(None, description="As callers name it; * may end it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len([value for value in self.model_dump().values() if value is not None]) != 1:
            raise ValueError("name exactly one of everyone, tenant, team, project, key, model")
        return self


class GuardrailTest(Schema):
    """A text to try. Nobody is called, nothing is kept of it."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
    direction: Direction = Direction.INPUT
    role: Literal["system", "user", "assistant", "tool"] = "user"
    kind: Literal["text", "tool_arguments", "tool_result", "document", "transcript"] = "text"
    model: Pattern | None = Field(None, description="As if it were said to this model.")
    starter: StarterName | None = Field(None, description="With these rules, instead of those that hold.")
    rules: tuple[RuleFields, ...] = Field(
        (), max_length=50, description="With these rules, instead of those that hold."
    )


class GuardrailFinding(Schema):
    policy: Name
    rule: str
    label: str
    start: int = Field(description="In characters of the text.")
    end: int
    score: float
    action: Action
    is_monitored: bool = Field(description="Found and told, and nothing done about it.")
    because: str


class GuardrailTestOut(Schema):
    findings: list[GuardrailFinding]
    action: Action | Literal["allow"] = Field(description="The strictest that is not only monitored.")
    text: Annotated[str, StringConstraints(max_length=10_000_000)] | None = Field(
        description="What would go on; null where nothing would."
    )
    policies: list[str] = Field(description="Those that were asked.")
    milliseconds: float


class GuardrailRuleOut(Schema):
    name: str
    title: str
    settings_schema: dict[str, Any]


class GuardrailRules(Schema):
    data: list[GuardrailRuleOut]
    next_cursor: None = None


# ── Policies that are stored ──

# All versions of them together are read by every worker.
MOST_DOCUMENT_BYTES: Final = 512 << 10
MOST_TRIED: Final = 50
LONGEST_TRIED: Final = 200_000
_Description = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,500}$")]
_Number = Annotated[int, Field(ge=1, le=2_147_483_647, strict=True)]
PolicyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
ManagedBy = Literal["api", "file"]
# Of an update and of an answer, what is the policy itself.
DOCUMENT: Final = frozenset(PolicyFields.model_fields)


class GuardrailPolicyCreate(PolicyFields):
    """The first version: a draft, unless it is published at once. It holds nowhere until it is attached."""

    name: PolicyName
    description: _Description = ""
    is_platform: bool = Field(default=False, strict=True, description="The platform's; for platform administrators.")
    tenant_id: TenantId | None = Field(None, description="Another tenant's; for platform administrators.")
    publish: bool = Field(default=False, strict=True, description="Let it hold at once, wherever it is attached.")

    @model_validator(mode="after")
    def _one_owner(self) -> Self:
        if self.is_platform and self.tenant_id is not None:
            raise ValueError("name is_platform or tenant_id, not both")
        return self


class GuardrailPolicyUpdate(Schema):
    """Changes the draft, or begins one from the version that is published. The name stays."""

    description: _Description = ""
    starter: StarterName | None = None
    rules: tuple[RuleFields, ...] = Field((), max_length=50)
    mode: Mode = Mode.ENFORCE
    when: When = When.BEFORE
    keeps_text: bool = False
    message: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self

    def document(self) -> dict[str, Any]:
        """What of the policy is changed, as it is stored."""
        return self.model_dump(mode="json", include=set(self.model_fields_set & DOCUMENT))


class GuardrailPolicyRollback(Schema):
    version: _Number | None = Field(
        None, description="One that was published before; left out: the latest before the present one."
    )


class GuardrailPolicyOut(PolicyFields):
    """A policy as its draft says where there is one, else as it is published."""

    id: GuardrailPolicyId
    name: str
    description: str
    tenant_id: TenantId | None
    is_platform: bool
    published_version: int | None = Field(description="The version that holds; null: none yet.")
    draft_version: int | None = Field(description="The version that the next publication puts in force.")
    managed_by: ManagedBy
    declared_at: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int | None = Field(None, description="Of this object, for If-Match.")


class GuardrailPolicyVersionOut(PolicyFields):
    number: int
    is_published: bool
    created_at: datetime
    published_at: datetime | None = Field(description="The first time; null: a draft.")


class AttachmentOut(Schema):
    id: GuardrailAttachmentId
    policy_id: GuardrailPolicyId
    level: Level
    tenant: TenantId | None
    team: TeamId | None
    project: ProjectId | None
    key: KeyId | None
    model: str | None
    created_at: datetime


class ExemptionCreate(Schema):
    """A rule of the policy does not hold for a key, for a while and for a reason."""

    rule: RuleName = Field(description="The rule's own name in the policy.")
    label: Annotated[str, StringConstraints(pattern=LABEL_PATTERN)] | None = Field(
        None, description="Only for what it finds by this label; left out: for all that it finds."
    )
    key: KeyId
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
    expires_at: AwareDatetime = Field(description="At most a year ahead. It ends by the clock, without anybody.")


class ExemptionOut(Schema):
    id: GuardrailExemptionId
    policy_id: GuardrailPolicyId
    rule: str
    label: str | None
    key: KeyId
    reason: str
    created_by: UserId
    expires_at: datetime
    is_expired: bool
    created_at: datetime


class DryRunText(Schema):
    text: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TRIED)]
    direction: Direction = Direction.INPUT
    role: Literal["system", "user", "assistant", "tool"] = "user"
    kind: Literal["text", "tool_arguments", "tool_result", "document", "transcript"] = "text"


class DryRunIn(Schema):
    """Texts to hold against a version that does not hold yet, and against the one that does."""

    texts: tuple[DryRunText, ...] = Field(min_length=1, max_length=MOST_TRIED)
    version: _Number | None = Field(None, description="Left out: the draft, else what is published.")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if sum(len(one.text) for one in self.texts) > LONGEST_TRIED:
            raise ValueError(f"the texts have more than {LONGEST_TRIED} characters together")
        return self


class DryRunVerdict(Schema):
    findings: list[GuardrailFinding]
    action: Action | Literal["allow"] = Field(description="The strictest that is not only monitored.")
    text: Annotated[str, StringConstraints(max_length=10_000_000)] | None = Field(
        description="What would go on; null where nothing would."
    )
    milliseconds: float


class DryRunResult(Schema):
    tried: DryRunVerdict
    published: DryRunVerdict | None = Field(description="What the published version makes of it; null: none is.")
    is_changed: bool = Field(description="Whether action, text or what was found differ from the published version's.")


class DryRunOut(Schema):
    version: int
    published_version: int | None
    changed: int = Field(description="How many of the texts would be treated otherwise than now.")
    results: list[DryRunResult]


# ── What was found ──


@dataclass(frozen=True, slots=True)
class EventFilters:
    """`owner_id`: of the calls of this person's keys alone."""

    since: datetime
    until: datetime
    tenant_id: UUID | None = None
    owner_id: UUID | None = None
    policy_id: UUID | None = None
    rule: str | None = None
    label: str | None = None
    action: Action | None = None
    direction: Direction | None = None
    key_id: UUID | None = None
    request_id: UUID | None = None


class GuardrailEventOut(Schema):
    """What one rule found in one text of a call."""

    id: GuardrailEventId
    created_at: datetime
    tenant_id: TenantId
    request_id: RequestId
    api_key_id: KeyId
    user_id: UserId | None
    model: str | None
    policy_id: GuardrailPolicyId
    policy: str
    policy_version: int
    is_platform: bool
    rule: str
    label: str = Field(description="What kind of thing was found.")
    action: Action
    is_monitored: bool = Field(description="Found and told, and nothing done about it.")
    direction: Direction
    place: str = Field(description="text, tool_arguments, tool_result, document or transcript.")
    role: str
    count: int
    text: Annotated[str, StringConstraints(max_length=10_000)] | None = Field(
        description="Where the policy keeps it, for who may read the audit trail."
    )


@dataclass(frozen=True, slots=True)
class DeclaredGuardrail:
    """A policy of the configuration file."""

    id: UUID
    name: str
    fields: PolicyFields
    attach: tuple[AttachFields, ...]
    place: str
