"""Which places a call counts in: the rules of its principal held against what it asks for. Pure.

`Terms` are made once for calls that look alike and serve until a window ends or a temporary amount runs out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from operator import attrgetter
from typing import Final
from uuid import UUID

from tollkeeper.contracts.key_bounds import covers_endpoint
from tollkeeper.contracts.money import (
    PLATFORM,
    Budget,
    Limit,
    Period,
    RuleScope,
    ScopeKind,
    Unit,
    counter_ref,
    shorten_subject,
)
from tollkeeper.contracts.principal import Principal, name_allowed
from tollkeeper.contracts.windows import FOREVER, bounds, previous

LEASE_MS: Final = 30_000
_LATE_SECONDS: Final = 7 * 86_400
# A run key lives for a day at the longest.
_RUN_SECONDS: Final = 2 * 86_400
# Platform counters in an intent's list; they take the cost.
OF_PLATFORM: Final = "@"
_FOREVER: Final = float("inf")


class PlaceKind:
    """What the script makes of a place; a shadow is `SHADOW` more. Plain numbers, because they go to it as they are."""

    REQUESTS: Final = 1
    TOKENS: Final = 2
    PARALLEL: Final = 3
    HARD: Final = 4
    SOFT: Final = 5
    BEFORE: Final = 6


SHADOW: Final = 10
# The worst case of a call is held while that is no more than this part of what is left (RULING 1; also in the script).
FULL_SHARE: Final = 64


class Measured(IntEnum):
    """Which figure of a call a place counts."""

    ONE = 0
    INPUT = 1
    OUTPUT = 2
    TOTAL = 3


_MEASURED: Final = {
    Unit.INPUT_TOKENS: Measured.INPUT,
    Unit.OUTPUT_TOKENS: Measured.OUTPUT,
    Unit.TOTAL_TOKENS: Measured.TOTAL,
}


@dataclass(slots=True, eq=False)
class Place:
    """One counter in Redis with what the script has to know of it (`admission.lua` says what the numbers are)."""

    key: bytes
    kind: int
    one: int
    two: int
    three: int = 0
    rule: Limit | Budget | None = None
    # From then on nobody asks for a budget's counter any more; 0: never.
    until_ms: int = 0
    measured: Measured = Measured.ONE
    # The window whose rest this one may use too.
    before: "Place | None" = None
    ref: str = ""


Pairs = Sequence[tuple[Place, int]]


@dataclass(slots=True, eq=False)
class Terms:
    """The places of one space, which share a slot. `until`: seconds since 1970, then they are to be made again."""

    space: UUID
    rates: tuple[Place, ...] = ()
    slots: tuple[Place, ...] = ()
    budgets: tuple[Place, ...] = ()
    until: float = _FOREVER
    # A budget was near its end lately: until then (monotonic seconds) it pays to count a call exactly before it is asked for.
    near_until: float = 0.0
    refs: tuple[str, ...] = field(init=False)
    hard_refs: tuple[str, ...] = field(init=False)
    is_hard: bool = field(init=False)
    counts_tokens: bool = field(init=False)
    # Something of a call is to be told afterwards.
    settles: bool = field(init=False)
    # What the admission says of every call: its counters in words, its places at the start, at the end and when it is in
    # the ledger. The first without those that count tokens is None where there are any.
    said_refs: bytes = field(init=False)
    taken: "Pairs | None" = field(init=False)
    held: "Pairs" = field(init=False)
    kept: "Pairs" = field(init=False)
    gone: "Pairs" = field(init=False)
    gen_key: bytes = field(init=False)
    holds_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.refs = tuple(place.ref for place in self.budgets)
        self.hard_refs = tuple(place.ref for place in self.budgets if place.kind == PlaceKind.HARD)
        self.is_hard = bool(self.hard_refs)
        self.counts_tokens = any(place.measured is not Measured.ONE for place in self.rates)
        self.gen_key, self.holds_key = gen_key(self.space), holds_key(self.space)
        self.settles = bool(self.budgets or self.slots or self.counts_tokens)
        self.said_refs = ",".join(self.refs).encode() or b"-"
        self.taken = None
        if not self.counts_tokens:
            self.taken = tuple((place, 1) for place in (*self.rates, *self.slots, *self.budgets))
        self.held = tuple((place, 1) for place in self.budgets)
        self.kept = (*((place, 0) for place in self.slots), *self.held)
        self.gone = tuple((place, 0) for place in self.budgets)

    @property
    def is_empty(self) -> bool:
        return not (self.rates or self.slots or self.budgets)


@dataclass(slots=True)  # not frozen: made for every call, and freezing triples its price
class Asked:
    """What of a call decides where it counts."""

    model: str
    endpoint: str
    provider: str
    end_user: str | None = None


def refs_of(tenant_id: UUID, terms: Iterable[Terms]) -> tuple[str, ...]:
    """The counters of budgets, as an intent names them."""
    found: tuple[str, ...] = ()
    for one in terms:
        found += one.refs if one.space == tenant_id else tuple(OF_PLATFORM + ref for ref in one.refs)
    return found


def of_provider(terms: Sequence[Terms]) -> list[Terms]:
    """The same for a call that was admitted elsewhere before: rates and leases of its provider alone, and all budgets."""
    found = []
    for one in terms:
        rates = tuple(place for place in one.rates if is_of_provider(place))
        slots = tuple(place for place in one.slots if is_of_provider(place))
        kept = Terms(one.space, rates, slots, one.budgets, one.until, one.near_until)
        if not kept.is_empty:
            found.append(kept)
    return found


def is_of_provider(place: Place) -> bool:
    return place.rule is not None and place.rule.scope.kind is ScopeKind.PROVIDER


def gen_key(space: UUID) -> bytes:
    return b"tk:{%b}:gen" % space.hex.encode()


def holds_key(space: UUID) -> bytes:
    return b"tk:{%b}:holds" % space.hex.encode()


def counter_key(space: UUID, ref: str) -> bytes:
    return b"tk:{%b}:b:%b" % (space.hex.encode(), ref.encode())


def terms_of(principal: Principal, asked: Asked, unix: float) -> list[Terms]:
    """The tenant's terms, then the platform's; those without a place are left out."""
    found = []
    for space, is_platform in ((principal.tenant_id, False), (PLATFORM, True)):
        limits = [limit for limit in principal.limits if limit.is_platform is is_platform]
        budgets = [budget for budget in principal.budgets if budget.is_platform is is_platform]
        if limits or budgets:
            terms = _terms(space, limits, budgets, principal, asked, unix)
            if not terms.is_empty:
                found.append(terms)
    return found


def _terms(
    space: UUID, limits: list[Limit], budgets: list[Budget], principal: Principal, asked: Asked, unix: float
) -> Terms:
    rates: list[Place] = []
    slots: list[Place] = []
    money: list[Place] = []
    until = _FOREVER
    for limit in limits:
        subject = _subject(limit.scope, limit.models, principal, asked, is_per_model=limit.is_per_model)
        if subject is not None:
            place = limit_place(space, limit, subject, unix)
            (slots if limit.unit is Unit.PARALLEL else rates).append(place)
            if limit.override_until is not None and limit.override_until > unix:
                until = min(until, limit.override_until)
    for budget in budgets:
        subject = _subject(budget.scope, budget.models, principal, asked, is_per_model=budget.is_per_model)
        if subject is not None:
            start, end = bounds(budget.window, unix)
            money.append(budget_place(space, budget, subject, unix, start, end))
            until = min(until, end)
            if budget.increase_until is not None and budget.increase_until > unix:
                until = min(until, budget.increase_until)
    return Terms(space, tuple(rates), tuple(slots), tuple(money), until)


def limit_place(space: UUID, limit: Limit, subject: str, unix: float) -> Place:
    is_overridden = limit.override_amount is not None and (limit.override_until or _FOREVER) > unix
    amount = limit.override_amount if is_overridden and limit.override_amount is not None else limit.amount
    shadow = SHADOW if limit.is_shadow else 0
    name = b"tk:{%b}:%%b:%b:%b" % (space.hex.encode(), limit.id.hex.encode(), subject.encode())
    if limit.unit is Unit.PARALLEL:
        return Place(name % b"p", PlaceKind.PARALLEL + shadow, amount, LEASE_MS, rule=limit)
    assert limit.period is not None
    measured = _MEASURED.get(limit.unit, Measured.ONE)
    kind = PlaceKind.REQUESTS if measured is Measured.ONE else PlaceKind.TOKENS
    burst = default_burst(amount, limit.period) if limit.burst is None else max(1, min(limit.burst, amount))
    return Place(name % b"r", kind + shadow, limit.period.us, amount, burst, rule=limit, measured=measured)


def default_burst(amount: int, period: Period) -> int:
    return amount if period in {Period.HOUR, Period.DAY} else max(1, amount // 6)


def budget_place(space: UUID, budget: Budget, subject: str, unix: float, start: int, end: int) -> Place:
    before = None
    if budget.rolls_over and (earlier := previous(budget.window, start)) is not None and start > budget.counts_from:
        before = _counter(space, budget, subject, earlier, budget.amount_nano, PlaceKind.BEFORE)
    amount = budget.amount_nano
    if budget.increase_nano and (budget.increase_until is None or budget.increase_until > unix):
        amount += budget.increase_nano
    place = _counter(space, budget, subject, (start, end), amount, PlaceKind.HARD if budget.is_hard else PlaceKind.SOFT)
    if budget.scope.kind is ScopeKind.RUN:
        place.until_ms = int(unix + _RUN_SECONDS) * 1000
    place.before = before
    return place


def _counter(space: UUID, budget: Budget, subject: str, window: tuple[int, int], amount: int, kind: int) -> Place:
    start, end = window
    ref = counter_ref(budget.id, start, subject)
    # What counts from the beginning of the window it was made in holds what was spent before: never taken for 0.
    begins_ms = 0 if budget.counts_from == start else max(start, budget.counts_from) * 1000
    # As long again for the window after it, which may use its rest, and a week for late settlements.
    until_ms = 0 if end >= FOREVER else (end + (end - start) + _LATE_SECONDS) * 1000
    return Place(counter_key(space, ref), kind, amount, begins_ms, until_ms=until_ms, rule=budget, ref=ref)


def _subject(
    scope: RuleScope, models: frozenset[str] | None, principal: Principal, asked: Asked, *, is_per_model: bool
) -> str | None:
    """What a call is counted as under a rule: "" together with all others; None where the rule is not about it."""
    if models is not None and not name_allowed(asked.model, models):
        return None
    subject = _counted_as(scope, principal, asked)
    if subject is None:
        return None
    if is_per_model:
        subject = f"{subject}|{asked.model}"
    return shorten_subject(subject)


def _counted_as(scope: RuleScope, principal: Principal, asked: Asked) -> str | None:
    if scope.kind is ScopeKind.TAG:
        return _tag(scope.subject or "", principal)
    found = _found(scope.kind, principal, asked)
    if found is None:
        return None
    if scope.subject is None:
        return found
    if scope.kind is ScopeKind.MODEL:
        is_meant = name_allowed(found, frozenset((scope.subject,)))
    elif scope.kind is ScopeKind.ENDPOINT:
        is_meant = covers_endpoint(scope.subject, found)
    else:
        is_meant = scope.subject == found
    return "" if is_meant else None


def _tag(subject: str, principal: Principal) -> str | None:
    name, _, wanted = subject.partition("=")
    value = principal.tags.get(name)
    if value is None:
        return None
    if wanted == "*":
        return value
    return "" if value == wanted else None


def _found(kind: ScopeKind, principal: Principal, asked: Asked) -> str | None:
    own = _OF_PRINCIPAL.get(kind)
    if own is None:
        return _OF_CALL[kind](asked) if kind in _OF_CALL else principal.run_id
    found: UUID | None = own(principal)
    return None if found is None else found.hex


_OF_PRINCIPAL: Final = {
    ScopeKind.TENANT: attrgetter("tenant_id"),
    ScopeKind.TEAM: attrgetter("team_id"),
    ScopeKind.PROJECT: attrgetter("project_id"),
    ScopeKind.USER: attrgetter("user_id"),
    ScopeKind.KEY: attrgetter("key_id"),
}
_OF_CALL: Final[Mapping[ScopeKind, Callable[[Asked], str | None]]] = {
    ScopeKind.END_USER: attrgetter("end_user"),
    ScopeKind.MODEL: attrgetter("model"),
    ScopeKind.ENDPOINT: attrgetter("endpoint"),
    ScopeKind.PROVIDER: attrgetter("provider"),
}
