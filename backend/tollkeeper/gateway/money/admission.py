"""May this call be made? Every rate, lease and budget it is under, all or nothing, in one batched script call (`pump`).

Redis gone: rates by a local share, limit / live workers; hard budgets from the worker's allotment, then 503; never
unlimited, and no outage.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.money import Limit, ScopeKind, Spend
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.admission_batch import (
    ADMIT_REPLIES,
    Code,
    Group,
    Operation,
    Verdict,
)
from tollkeeper.gateway.money.hold import Appraisal, Hold, Part
from tollkeeper.gateway.money.local_share import LocalShare
from tollkeeper.gateway.money.pump import Pump
from tollkeeper.gateway.money.refusals import budget_unavailable, headers_of, refuse
from tollkeeper.gateway.money.registry import Registry
from tollkeeper.gateway.money.terms import Asked, Pairs, Place, Terms, refs_of, terms_of

MAX_REMEMBERED: Final = 20_000
# For so long after it was seen a budget is taken to be near its end.
NEAR_SECONDS: Final = 5.0
# How often counters are looked for again before a call is refused.
_TRIES: Final = 3
_NOTHING: Final = Appraisal(0, 0, 0, 0)
UNLIMITED: Final[Mapping[str, str]] = MappingProxyType({})


class CounterKeeper(Protocol):
    """Who makes counters right again, and what may be admitted while they cannot be asked (`counters.py`)."""

    async def rebuild(self, tenant_id: UUID) -> bool:
        """Make a tenant's counters trusted again; False when that takes longer than a caller should wait."""
        ...

    async def init(self, tenant_id: UUID, refs: Sequence[str]) -> bool:
        """Tell Redis what the ledger holds of these counters; False when the ledger cannot be asked."""
        ...

    def take(self, tenant_id: UUID, refs: Sequence[str], nano: int) -> bool:
        """Take from what this worker has put aside of hard budgets, Redis being away; all of it or nothing."""
        ...

    def note(self, terms: Terms, nano: int) -> None:
        """A call under a hard budget was admitted: what is put aside follows what is used."""
        ...


@dataclass(slots=True)  # not frozen: made for every call, and freezing triples its price
class Admitted:
    """The rate-limit headers for the answer, and the hold where there is something to settle."""

    headers: Mapping[str, str]
    hold: Hold | None = None


FREE: Final = Admitted(UNLIMITED)


class Admission:
    """`start` and `close` frame its life; `admit`, `extend` and `settle` are what calls use."""

    def __init__(
        self,
        redis: RedisLink,
        clock: Clock,
        live_workers: Callable[[], int],
        *,
        worker_id: UUID,
        counters: CounterKeeper | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._clock = clock
        self.pump = Pump(redis, worker_id.hex.encode(), _is_gone)
        self.counters = counters
        self._metrics = metrics
        self._loop: asyncio.AbstractEventLoop | None = None
        # By the identity of the principal, which its entry holds: an id of ours takes ten times as long to hash.
        self._terms: dict[tuple[int, str, str, str, str | None], tuple[Principal, list[Terms], float]] = {}
        self._share = LocalShare(clock, live_workers)
        self.registry = Registry(self.pump.post, clock)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.pump.start(self._loop)
        self.registry.start(self._loop)

    async def close(self) -> None:
        self._loop = None
        self.registry.close()
        self.pump.close()

    def on_connect(self, _run_id: str | None = None) -> None:
        """Redis is there again: tell it what happened meanwhile."""
        self.registry.tell_again()

    def acknowledge(self, settlements: Sequence[Settlement], spends: Sequence[Spend]) -> None:
        """The ledger has these rows, and says what it holds of their counters."""
        self.registry.acknowledge(settlements, spends)

    async def set_bases(self, spends: Sequence[Spend]) -> bool:
        """Tell Redis what the ledger holds of counters; False when it did not take it."""
        return await self.registry.set_bases(spends)

    # What calls use

    def terms(self, principal: Principal, asked: Asked) -> list[Terms]:
        """Where a call counts; [] when nothing limits it."""
        if not (principal.limits or principal.budgets):
            return []
        end_user = asked.end_user if asked.end_user and _counts_end_users(principal) else None
        name = (id(principal), asked.model, asked.endpoint, asked.provider, end_user)
        known = self._terms.get(name)
        unix = self._clock.unix()
        if known is None or known[0] is not principal or known[2] <= unix:
            if len(self._terms) >= MAX_REMEMBERED:
                self._terms.clear()
            made = terms_of(principal, asked, unix)
            known = self._terms[name] = (principal, made, min((terms.until for terms in made), default=unix + 3600))
        return known[1]

    async def admit(
        self,
        terms: Sequence[Terms],
        request_id: UUID,
        appraisal: Appraisal = _NOTHING,
        *,
        is_cuttable: bool = False,
        payload: bytes = b"",
    ) -> Admitted:
        """Raises `RateLimited`, `InsufficientQuota` or `DependencyUnavailable`; such a call uses up nothing.

        `is_cuttable`: its output can be watched and stopped, so a forecast will do where a budget is near its end.
        """
        if not terms:
            return FREE
        hold = Hold(request_id, terms[0].space, (), 0, True, appraisal, payload=payload)
        hold.opened_ms = int(self._clock.unix() * 1000)
        hold.refs = terms[0].refs if len(terms) == 1 else refs_of(hold.tenant_id, terms)
        headers: Mapping[str, str] = UNLIMITED
        settles = False
        try:
            for one in terms:
                part = Part(one, one.taken or _pairs(one, appraisal))
                told = await self._admit_part(hold, part, is_cuttable=is_cuttable)
                headers = {**headers, **told} if headers else told
                settles = settles or one.settles
        except BaseException:
            self._give_back(hold)
            raise
        return Admitted(headers, hold if settles else None)

    async def extend(self, hold: Hold, add_nano: int) -> bool:
        """Put more aside; False when a budget has no room for it (then nothing changed)."""
        done: list[Part] = []
        # Taken over only with the answer: what is pushed meanwhile is older than the extension, and must look it.
        sequence = hold.sequence + 1
        for part in hold.parts:
            if not part.terms.budgets:
                continue
            if not await self._extend_part(hold, part, sequence, add_nano):
                hold.sequence = sequence
                for other in done:
                    # As much less: a put says what the amount is.
                    self.registry.put(hold, other)
                return False
            done.append(part)
        hold.sequence = sequence
        hold.held_nano += add_nano
        return True

    def settle(
        self,
        hold: Hold,
        charge_nano: int,
        *,
        rows: int,
        input_tokens: int,
        output_tokens: int,
        own_tokens: tuple[int, int] | None = None,
    ) -> None:
        if hold.is_untold and not hold.is_settled:
            for part in hold.parts:
                self._share.ended(part)
        self.registry.settle(hold, charge_nano, rows, (input_tokens, output_tokens), own_tokens)

    def shrink(self, hold: Hold, spent_nano: int) -> None:
        """No attempt under way is paid from it: only what was spent stays aside, until `extend` or `settle`."""
        hold.spent_nano = spent_nano
        if hold.held_nano == spent_nano:
            return
        hold.held_nano, hold.is_full = spent_nano, False
        hold.sequence += 1
        for part in hold.parts:
            if part.terms.budgets:
                self.registry.put(hold, part)

    # One space

    async def _admit_part(self, hold: Hold, part: Part, *, is_cuttable: bool) -> Mapping[str, str]:
        terms, appraisal = part.terms, hold.appraisal
        full = -1 if appraisal.full_nano is None else appraisal.full_nano
        forecast = appraisal.forecast_nano if is_cuttable or full < 0 else full
        head = b"a %b %d %d %b" % (hold.name, full, forecast, terms.said_refs)
        for _ in range(_TRIES):
            if not self.pump.redis.is_available or self._loop is None:
                return self._decide_locally(hold, part, forecast)
            answer: asyncio.Future[tuple[Verdict, Sequence[Place]] | None] = self._loop.create_future()
            asking = _Asking(self, answer, hold, part, full, forecast)
            self.pump.post(Operation(terms.space, head, part.pairs, hold.payload, ADMIT_REPLIES, asking))
            # A caller who goes cancels the future: under way, `asking` gives back what it took; decided, `admit` does.
            told = await answer
            if told is None:
                return self._decide_locally(hold, part, forecast)
            verdict, places = told
            if verdict.shadow_refusals and self._metrics is not None:
                self._metrics.shadow_refused(verdict.shadow_refusals)
            if verdict.code == 0:
                return headers_of(verdict, places)
            if verdict.code > 0:
                if verdict.code == Code.BUDGET:
                    self._note_near(terms)
                self._count_refusal(places[verdict.place - 1])
                raise refuse(verdict, places)
            if not await self._mend(terms, verdict):
                break
        raise budget_unavailable()

    def _note_near(self, terms: Terms) -> None:
        terms.near_until = self._clock.monotonic() + NEAR_SECONDS

    def _count_refusal(self, place: Place) -> None:
        rule = place.rule
        if self._metrics is not None and rule is not None:
            self._metrics.call_refused(rule.scope.kind, rule.unit if isinstance(rule, Limit) else "budget")

    def taken(self, hold: Hold, part: Part, full: int, forecast: int, took: int) -> None:
        """At once with the reply: whoever asks for what is held must not miss it."""
        if took and part.terms.budgets:
            _cover(hold, part, full if took == 1 and part.terms.is_hard else forecast)
            hold.is_full = hold.is_full and took == 1
            if took == 2:
                self._note_near(part.terms)
            if self.counters is not None and part.terms.is_hard:
                self.counters.note(part.terms, hold.held_nano)
        hold.parts.append(part)
        self.registry.opened(hold)

    async def _mend(self, terms: Terms, verdict: Verdict) -> bool:
        if self.counters is None:
            return False
        if verdict.code == Code.UNTRUSTED:
            return await self.counters.rebuild(terms.space)
        if verdict.code == Code.UNKNOWN:
            # All at once: where one is not known, the others seldom are.
            refs = [one.ref for place in terms.budgets for one in (place, place.before) if one is not None]
            return await self.counters.init(terms.space, refs)
        return False

    async def _extend_part(self, hold: Hold, part: Part, sequence: int, add_nano: int) -> bool:
        terms = part.terms
        head = b"x %b %d %d" % (hold.name, sequence, add_nano)
        pairs = [(place, 0) for place in terms.budgets]
        for _ in range(_TRIES):
            if not self.pump.redis.is_available or self._loop is None:
                return self._take(terms, add_nano)
            answer: asyncio.Future[int | None] = self._loop.create_future()
            self.pump.post(Operation(terms.space, head, pairs, b"", 1, partial(_tell_extension, answer)))
            code = await answer
            if code is None:
                return self._take(terms, add_nano)
            if code == 0:
                return True
            if code != Code.UNTRUSTED or self.counters is None or not await self.counters.rebuild(terms.space):
                return False
            # Rebuilt counters are known again when somebody asks the ledger for them.
            if not await self.counters.init(terms.space, terms.refs):
                return False
        return False

    def _take(self, terms: Terms, nano: int) -> bool:
        if not terms.is_hard:
            return True
        return self.counters is not None and self.counters.take(terms.space, terms.hard_refs, nano)

    def _decide_locally(self, hold: Hold, part: Part, forecast: int) -> Mapping[str, str]:
        try:
            headers = self._share.admit(part)
            if part.terms.budgets and not self._take(part.terms, forecast):
                self._share.give_back(part)
                raise budget_unavailable()
        except TollkeeperError:
            # Redis may have admitted it before it went silent.
            self._void(hold, part, is_certain=False)
            raise
        if part.terms.budgets:
            _cover(hold, part, forecast)
            hold.is_full = hold.is_full and forecast == hold.appraisal.full_nano
        hold.is_untold = True
        hold.parts.append(part)
        self.registry.opened(hold)
        return headers

    def _give_back(self, hold: Hold) -> None:
        self.registry.dropped(hold)
        for part in hold.parts:
            if hold.is_untold:
                self._share.give_back(part)
            self._void(hold, part, is_certain=True)

    def _void(self, hold: Hold, part: Part, *, is_certain: bool) -> None:
        self.registry.void(_void(part.terms.space, hold.name, part.pairs, is_certain=is_certain))


def _cover(hold: Hold, part: Part, nano: int) -> None:
    """What is held is what every hard budget holds: the least of them, where two spaces took different amounts."""
    if not hold.parts or not any(other.terms.is_hard for other in hold.parts):
        hold.held_nano = nano
    elif part.terms.is_hard:
        hold.held_nano = min(hold.held_nano, nano)


def _counts_end_users(principal: Principal) -> bool:
    scopes = [rule.scope for rule in principal.limits] + [rule.scope for rule in principal.budgets]
    return any(scope.kind is ScopeKind.END_USER for scope in scopes)


class _Asking:
    """The wait of one call for its verdict."""

    __slots__ = ("_admission", "_forecast", "_full", "_hold", "_part", "answer")

    def __init__(
        self,
        admission: Admission,
        answer: "asyncio.Future[tuple[Verdict, Sequence[Place]] | None]",
        hold: Hold,
        part: Part,
        full: int,
        forecast: int,
    ) -> None:
        self._admission = admission
        self.answer = answer
        self._hold = hold
        self._part = part
        self._full = full
        self._forecast = forecast

    def __call__(self, operation: Operation, entry: Group | None, reply: list[int] | None) -> None:
        answer, admission = self.answer, self._admission
        if entry is None or reply is None:
            # Nobody knows whether it was done.
            if answer.done():
                self._void(operation, is_certain=False)
            else:
                answer.set_result(None)
            return
        verdict = Verdict._make(reply)
        if not answer.done():
            if verdict.code == 0:
                admission.taken(self._hold, self._part, self._full, self._forecast, verdict.took)
            answer.set_result((verdict, entry.places))
        elif verdict.code == 0:
            self._void(operation, is_certain=True)

    def _void(self, operation: Operation, *, is_certain: bool) -> None:
        voided = _void(operation.space, self._hold.name, operation.pairs, is_certain=is_certain)
        self._admission.registry.void(voided)


def _is_gone(operation: Operation) -> bool:
    """A call that was cancelled before it was sent."""
    tell = operation.tell
    return type(tell) is _Asking and tell.answer.cancelled()


def _void(space: UUID, name: bytes, pairs: Pairs, *, is_certain: bool) -> Operation:
    return Operation(space, b"v %b %d" % (name, is_certain), pairs)


def _tell_extension(
    answer: "asyncio.Future[int | None]", _operation: Operation, _entry: Group | None, reply: list[int] | None
) -> None:
    if not answer.done():
        answer.set_result(None if reply is None else reply[0])


def _pairs(terms: Terms, appraisal: Appraisal) -> list[tuple[Place, int]]:
    """The places of a call and what it takes there."""
    figures = (
        1,
        appraisal.input_tokens,
        appraisal.output_tokens,
        appraisal.input_tokens + appraisal.output_tokens,
    )
    pairs = [(place, figures[place.measured]) for place in terms.rates]
    pairs += [(place, 1) for place in (*terms.slots, *terms.budgets)]
    return pairs
