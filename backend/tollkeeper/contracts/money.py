"""The rules that calls and money follow, as the data plane sees them: what may be done how often, and for how much.

A rule counts in one place (`RuleScope` with a subject), or apart for each value it meets (`subject` None). Amounts are
integer nano-dollars. The rules of a key travel with its `Principal`: whoever knows the key knows them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

# Stands for the tenant where a rule counts over all tenants.
PLATFORM: Final = UUID(int=0)
_LONGEST_SUBJECT: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:@/+=|*-]*")


class ScopeKind(StrEnum):
    TENANT = "tenant"
    TEAM = "team"
    PROJECT = "project"
    USER = "user"
    KEY = "key"
    TAG = "tag"
    END_USER = "end_user"
    MODEL = "model"
    ENDPOINT = "endpoint"
    PROVIDER = "provider"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class RuleScope:
    """Which calls a rule is about.

    `subject` is the hex of an id (tenant, team, project, user, key), `name=value` (tag; `name=*` is each value apart),
    the caller's text (end user), the model's name as called (`gpt-*` covers all that begin so, counted together), a path
    as `key_bounds.endpoint_of` writes it, a provider's name, a run's id. None: each value apart.
    """

    kind: ScopeKind
    subject: str | None = None


class Unit(StrEnum):
    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOTAL_TOKENS = "total_tokens"
    PARALLEL = "parallel"


class Period(StrEnum):
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def us(self) -> int:
        return {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}[self.value] * 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` units a `period`, of which `burst` may come at once; for parallel calls both are None.

    `burst` None: a sixth of the amount for seconds and minutes, all of it for hours and days (RULING 12).
    `models`: only calls of these (names may end in `*`); `is_per_model`: each model counted apart.
    """

    id: UUID
    scope: RuleScope
    unit: Unit
    amount: int
    period: Period | None = None
    burst: int | None = None
    models: frozenset[str] | None = None
    is_per_model: bool = False
    # Counted, never refused.
    is_shadow: bool = False
    # Stands in for `amount` until then (seconds since 1970).
    override_amount: int | None = None
    override_until: float | None = None
    is_platform: bool = False


class WindowKind(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    TOTAL = "total"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Window:
    """A calendar window in a time zone. `contracts.windows.bounds` says when it begins and ends.

    `anchor`: seconds since 1970 of the moment one window begins, the others following from it; None: where the calendar
    begins (weeks on Monday). `seconds`: the length of a custom window.
    """

    kind: WindowKind
    time_zone: str = "UTC"
    anchor: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `amount_nano` a window, in charges (a platform's: in costs). A soft one is counted and never refuses."""

    id: UUID
    scope: RuleScope
    amount_nano: int
    window: Window
    # Seconds since 1970; what was spent before does not count.
    counts_from: int
    is_hard: bool = True
    models: frozenset[str] | None = None
    is_per_model: bool = False
    increase_nano: int = 0
    increase_until: float | None = None
    # What is left of a window is added to the next, at most one window's amount.
    rolls_over: bool = False
    # The status of the refusal: 429 (`insufficient_quota`) or 402.
    refusal_status: int = 429
    is_platform: bool = False


@dataclass(frozen=True, slots=True)
class Spend:
    """What the ledger holds of one counter. Of two the one with the higher version is the later one, wherever read."""

    tenant_id: UUID
    ref: str
    spent_nano: int
    version: int


def counter_ref(budget_id: UUID, window_start: int, subject: str = "") -> str:
    """Names one counter: a budget, a window (its first second since 1970, 0 for all time), and what is counted apart.

    The same text is in the journal, in the ledger's rows, in `budget_spend` and in the counter's key in Redis.
    """
    return f"{budget_id.hex}:{window_start}:{subject}"


def read_counter_ref(ref: str) -> tuple[UUID, int, str]:
    budget_id, start, subject = ref.split(":", 2)
    return UUID(hex=budget_id), int(start), subject


def shorten_subject(subject: str) -> str:
    """What a caller named, fit for a key and a list: short and of plain characters as it is, everything else as a digest."""
    if len(subject) <= _LONGEST_SUBJECT and _PLAIN.fullmatch(subject):
        return subject
    return "~" + sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:32]
