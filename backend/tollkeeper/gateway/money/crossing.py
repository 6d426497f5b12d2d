"""A call that goes on to another provider is first admitted under that provider's own rules: rates, leases, budgets, pools.

What it is paid from there is a hold of its own, which names all budgets the attempts at that provider are charged to; the
hold it comes from shrinks to what was spent from it. So each row of the ledger charges the budgets of the provider that
served it and no other's, and each hold is settled with its own rows. Calls without such rules never notice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.money import ScopeKind
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.contracts.usage import hold_id
from tollkeeper.core.errors import InsufficientQuota
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.bounded import can_cut_all, check_bounded
from tollkeeper.gateway.money.hold import Appraisal, Entries, Hold, Holds
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal_format import pack_intent
from tollkeeper.gateway.money.terms import Asked, Terms, is_of_provider, of_provider, refs_of
from tollkeeper.gateway.provider import Provider
from tollkeeper.gateway.stage import Attempt, Exchange

EnterProvider = Callable[[Exchange, Target], Awaitable[Hold | None]]
_NOTHING: Final = Appraisal(0, 0, 0, 0)


class Admits(Protocol):
    """The part of the admission that takes a call on (`admission.py`)."""

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]: ...

    async def admit(
        self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, *, is_cuttable: bool, payload: bytes
    ) -> Admitted: ...


class Appraise(Protocol):
    def __call__(self, exchange: Exchange) -> Appraisal: ...

    async def exactly(self, exchange: Exchange) -> Appraisal: ...


class Crossing:
    def __init__(
        self,
        admission: Admits,
        holds: Holds,
        appraise: Appraise,
        providers: Mapping[str, Provider],
        endpoint: Callable[[str], str],
    ) -> None:
        """`endpoint` names a path as rules do."""
        self._admission = admission
        self._holds = holds
        self._appraise = appraise
        self._providers = providers
        self._endpoint = endpoint

    async def enter(self, exchange: Exchange, target: Target) -> Hold | None:
        """The hold that the next attempt, at this target, is paid from; `exchange.hold` is that one then.

        Raises what an admission raises, or `BadRequest` where nothing bounds the call's cost: nothing was taken then, and
        another target may do.
        """
        provider = target.provider
        if provider == exchange.entered or not _knows_providers(exchange.principal):
            return exchange.hold
        entries = exchange.entries
        if entries is None:
            first = self._name(self._terms(exchange, exchange.entered), exchange.entered)
            entries = exchange.entries = Entries({first: exchange.hold})
        terms = self._terms(exchange, provider)
        name = self._name(terms, provider)
        self._leave(exchange, entries, name)
        if name in entries.by_provider:
            hold = entries.by_provider[name]
            if hold is not None:
                await self._refill(exchange, hold)
        else:
            entries.count += 1
            hold = await self._admit(exchange, target, of_provider(terms), entries.count)
            entries.by_provider[name] = hold
        exchange.entered, exchange.hold = provider, hold
        return hold

    def _terms(self, exchange: Exchange, provider: str) -> Sequence[Terms]:
        call = exchange.call
        asked = Asked(call.model, self._endpoint(exchange.path), provider, call.end_user)
        return self._admission.terms(exchange.principal, asked)

    def _name(self, terms: Sequence[Terms], provider: str) -> str:
        """Of its entry: providers without rules of their own share one."""
        for one in terms:
            if any(is_of_provider(place) for places in (one.rates, one.slots, one.budgets) for place in places):
                return provider
        return ""

    def _leave(self, exchange: Exchange, entries: Entries, name: str) -> None:
        """What no attempt under way needs is there for others, this call among them."""
        for other, hold in entries.by_provider.items():
            if other != name and hold is not None:
                exchange.entered = ""
                tries = _tries_of(exchange, hold)
                if all(attempt.ended is not None for attempt in tries):
                    self._holds.shrink(hold, spent_of(exchange, hold))

    async def _refill(self, exchange: Exchange, hold: Hold) -> None:
        """Room for one attempt more."""
        appraisal = hold.appraisal
        hold.spent_nano = spent_of(exchange, hold)
        if not hold.refs or any(attempt.ended is None for attempt in _tries_of(exchange, hold)):
            return
        is_whole = appraisal.full_nano is not None and not can_cut_all(exchange, self._providers)
        needed = appraisal.full_nano if is_whole and appraisal.full_nano is not None else appraisal.forecast_nano
        missing = needed - (hold.held_nano - hold.spent_nano)
        if missing > 0 and not await self._holds.extend(hold, missing):
            raise InsufficientQuota("No budget has room for another attempt at this provider.")
        hold.is_full = needed == appraisal.full_nano

    async def _admit(self, exchange: Exchange, target: Target, terms: Sequence[Terms], number: int) -> Hold | None:
        if not terms:
            return None
        has_budgets = any(one.budgets for one in terms)
        counts_tokens = any(one.counts_tokens for one in terms)
        appraisal = exchange.appraisal
        if not (has_budgets or counts_tokens):
            appraisal = _NOTHING
        elif appraisal is None:
            appraisal = await self._appraise.exactly(exchange) if counts_tokens else self._appraise(exchange)
            exchange.appraisal = appraisal
        try:
            return await self._ask(exchange, target, terms, number, appraisal)
        except InsufficientQuota:
            exact = await self._appraise.exactly(exchange)
            if exact.forecast_nano >= appraisal.forecast_nano:
                raise
            exchange.appraisal = exact
            with suppress(InsufficientQuota):
                return await self._ask(exchange, target, terms, number, exact)
            raise

    async def _ask(
        self, exchange: Exchange, target: Target, terms: Sequence[Terms], number: int, appraisal: Appraisal
    ) -> Hold | None:
        has_budgets = any(one.budgets for one in terms)
        is_cuttable = has_budgets and can_cut_all(exchange, self._providers)
        if appraisal.full_nano is None and any(one.is_hard for one in terms):
            check_bounded(appraisal, is_cuttable=is_cuttable)
        payload = b""
        if has_budgets:
            intent = make_intent(exchange, target, exchange.attempts + 1, None)
            intent.budgets, intent.hold = refs_of(exchange.principal.tenant_id, terms), number
            payload = pack_intent(intent)
        admitted = await self._admission.admit(
            terms, hold_id(exchange.request_id, number), appraisal, is_cuttable=is_cuttable, payload=payload
        )
        if admitted.hold is not None:
            admitted.hold.number = number
        return admitted.hold


def spent_of(exchange: Exchange, hold: Hold) -> int:
    """What the attempts that are over have taken from a hold."""
    return sum(
        attempt.bill.charge_nano or 0
        for attempt in _tries_of(exchange, hold)
        if attempt.ended is not None and attempt.may_cost and attempt.bill is not None
    )


@dataclass(frozen=True, slots=True)
class Share:
    """One hold's part of a call that is over: its own rows, what they are charged, and their tokens."""

    hold: Hold
    charge_nano: int
    rows: int
    tokens: tuple[int, int]


def shares_of(exchange: Exchange, entries: Entries) -> list[Share]:
    """Every hold with the rows of its own attempts, when all of these have their bills."""
    shares = []
    for hold in entries.by_provider.values():
        if hold is not None:
            rows = [one for one in _tries_of(exchange, hold) if one.may_cost or one is exchange.tries[-1]]
            bills = [one.bill for one in rows if one.bill is not None]
            tokens = (
                sum(bill.usage.prompt_tokens for bill in bills),
                sum(bill.usage.completion_tokens for bill in bills),
            )
            shares.append(Share(hold, sum(bill.charge_nano or 0 for bill in bills), len(rows), tokens))
    return shares


def _tries_of(exchange: Exchange, hold: Hold) -> list[Attempt]:
    return [attempt for attempt in exchange.tries if attempt.intent.hold == hold.number]


def _knows_providers(principal: Principal) -> bool:
    return any(limit.scope.kind is ScopeKind.PROVIDER for limit in principal.limits) or any(
        budget.scope.kind is ScopeKind.PROVIDER for budget in principal.budgets
    )
