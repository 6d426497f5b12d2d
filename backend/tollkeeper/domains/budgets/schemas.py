"""Payloads of the budgets API. Amounts are dollars a window; of a platform's budget, costs instead of charges."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from tollkeeper.contracts.money import Window, WindowKind
from tollkeeper.contracts.windows import LONGEST_CUSTOM_SECONDS, SHORTEST_CUSTOM_SECONDS, window_fault
from tollkeeper.core.ids import BudgetId, KeyId, RequestId
from tollkeeper.core.money import MAX_USD, Usd, nano_from_usd
from tollkeeper.domains.limits.schemas import NewRule, RuleFields, RuleView
from tollkeeper.web.schemas import Schema

WindowName = Literal["hour", "day", "week", "month", "quarter", "year", "total", "custom"]
Mode = Literal["hard", "soft"]
_LARGEST_PERCENT: Final = 1000


def _ascending(percents: list[int]) -> list[int]:
    return sorted(set(percents))


Percent = Annotated[int, Field(strict=True, ge=1, le=_LARGEST_PERCENT)]
Thresholds = Annotated[list[Percent], Field(max_length=20), AfterValidator(_ascending)]


class BudgetFields(RuleFields):
    mode: Mode | None = Field(
        None,
        description="hard: never passed, calls are refused (the default). soft: counted and told, refuses nothing.",
    )
    increase_usd: Usd | None = Field(
        None, description="Added to the amount until `increase_until`; null takes it back."
    )
    increase_until: AwareDatetime | None = None
    rolls_over: bool | None = Field(
        None, strict=True, description="What is left of a window is added to the next, one window's amount at most."
    )
    refusal_status: Literal[429, 402] | None = Field(
        None, description="How calls are refused: 429 as OpenAI does (the default), or 402."
    )
    thresholds: Thresholds | None = Field(
        None, description="Percents of the amount at which an event tells subscribers; 80 and 100 when left out."
    )

    @classmethod
    def never_null(cls) -> frozenset[str]:
        return super().never_null() | {"mode", "rolls_over", "refusal_status", "thresholds", "amount_usd"}

    def changes(self) -> dict[str, Any]:
        """What was sent of what may be changed, by the names of the columns."""
        changeable = BudgetFields.model_fields.keys() | {"amount_usd"}
        values = {name: getattr(self, name) for name in self.model_fields_set & changeable}
        if "mode" in values:
            values["is_hard"] = values.pop("mode") == "hard"
        if "amount_usd" in values:
            values["amount_nano"] = nano_from_usd(values.pop("amount_usd"))
        if "increase_usd" in values:
            values["increase_nano"] = nano_from_usd(values.pop("increase_usd") or Decimal(0))
        return values


class BudgetTerms(BudgetFields):
    """The terms of a whole budget."""

    amount_usd: Usd
    window: WindowName
    time_zone: str = Field("UTC", max_length=64, description="IANA zone in which days, weeks and months begin.")
    anchor: AwareDatetime | None = Field(
        None, description="When one window begins, the others following from it; null: as the calendar has them."
    )
    window_seconds: int | None = Field(
        None,
        strict=True,
        ge=SHORTEST_CUSTOM_SECONDS,
        le=LONGEST_CUSTOM_SECONDS,
        description="The length of a custom window.",
    )
    backfill: bool = Field(
        default=False, strict=True, description="What was spent in the present window before the budget counts as well."
    )

    @model_validator(mode="after")
    def _whole(self) -> "BudgetTerms":
        if (self.window == "custom") != (self.window_seconds is not None):
            raise ValueError("window_seconds belongs to the window 'custom', and to no other")
        fault = window_fault(self.terms)
        if fault is not None:
            raise ValueError(fault)
        if self.window == "total" and self.rolls_over:
            raise ValueError("the window 'total' has none after it to roll over to")
        if bool(self.increase_usd) != (self.increase_until is not None):
            raise ValueError("increase_usd and increase_until belong together")
        if self.amount_usd + (self.increase_usd or 0) > MAX_USD:
            raise ValueError(f"amount and increase are at most ${MAX_USD:,} together")
        return self

    @property
    def terms(self) -> Window:
        anchor = None if self.anchor is None else int(self.anchor.timestamp())
        return Window(WindowKind(self.window), self.time_zone, anchor, self.window_seconds)

    def columns(self) -> dict[str, Any]:
        """The columns of a whole budget's terms."""
        return {
            **self.changes(),
            "window_kind": self.window,
            "time_zone": self.time_zone,
            "anchor": self.terms.anchor,
            "seconds": self.window_seconds,
        }


class BudgetCreate(NewRule, BudgetTerms):
    pass


class BudgetUpdate(BudgetFields):
    """Only the members that are sent are changed; scope and window are for good: make another budget."""

    amount_usd: Usd | None = None


class BudgetView(RuleView):
    id: BudgetId
    amount_usd: Usd
    window: WindowName
    time_zone: str
    anchor: datetime | None
    window_seconds: int | None
    counts_from: datetime = Field(description="What was spent before does not count.")
    mode: Mode
    increase_usd: Usd | None
    increase_until: datetime | None
    rolls_over: bool
    refusal_status: int
    thresholds: list[int]


class Forecast(Schema):
    """If it goes on like this."""

    runs_out_at: datetime | None = Field(
        description="When nothing is left, at the rate of the last hour; null: not in this window."
    )
    window_usd: str | None = Field(
        description="What the window will come to, at its mean rate so far; null where it has no end."
    )


class HoldView(Schema):
    """Money held for a call that is not in the ledger yet."""

    request_id: RequestId
    amount_usd: str
    age_seconds: float
    owner: str = Field(description="The worker that serves the call.")
    key_id: KeyId | None
    model: str | None
    is_settled: bool = Field(description="The call is over and its price is known; only the ledger has not got it yet.")


class SubjectSpend(Schema):
    subject: str | None
    spent_usd: str


class BudgetStatus(Schema):
    """Of one counter. A budget that counts each value apart has one for each: name it, or read the sum of all."""

    id: BudgetId
    subject: str | None
    window_start: datetime | None = Field(description="Null: all time.")
    window_end: datetime | None
    amount_usd: str = Field(description="In force now: with an increase, and what rolled over from the window before.")
    spent_usd: str
    held_usd: str | None = Field(
        description="For calls under way, and calls the ledger has not got yet; null: not known."
    )
    remaining_usd: str | None
    is_live: bool = Field(description="False: the counters could not be read, so this is what the ledger has.")
    burn_rate_usd_per_hour: str = Field(description="Of the last hour.")
    forecast: Forecast
    thresholds_passed: list[int]
    holds: list[HoldView] = Field(description="The oldest; all of them at `/holds`.")
    subjects: list[SubjectSpend] = Field(
        description="Of a budget that counts each value apart: the dearest of this window."
    )
