"""Guardrail policies as they stand in the file and in requests, and what trying a text answers."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from tollkeeper.contracts.guardrails import Action, Direction, Mode, OnFailure, When
from tollkeeper.core.ids import KeyId, ProjectId, TeamId, TenantId
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
