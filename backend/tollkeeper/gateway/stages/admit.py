"""Asks whether this call may be made now: every rate, lease and budget it is under, decided together.

The least that will do is worked out first: a call that is under request rates alone is never appraised, and its text is
counted exactly only for a token rate, near the end of a budget, or where the cheap bound would be refused.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.key_bounds import endpoint_of
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import FallbackKind
from tollkeeper.core.errors import InsufficientQuota, RateLimited
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.applied_cap import caps_to_try, with_cap
from tollkeeper.gateway.money.bounded import can_cut_all, check_bounded
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.money.journal_format import pack_intent
from tollkeeper.gateway.money.terms import FULL_SHARE, Asked, PlaceKind, Terms, refs_of
from tollkeeper.gateway.provider import Provider
from tollkeeper.gateway.stage import NO_FALLBACKS, Exchange, Step

_NOTHING: Final = Appraisal(0, 0, 0, 0)
# Says of an answer that it came from other targets than those of the plan, and why.
FALLBACK: Final = "x-tollkeeper-fallback"
# Paths come again and again; those that name a model are many.
endpoint: Final = lru_cache(maxsize=1_024)(endpoint_of)


# The answer that is kept for a call, past every guardrail; None: there is none.
GiveKept = Callable[[Exchange], Awaitable[Reply | None]]


class Admits(Protocol):
    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        """Where a call counts; [] when nothing limits it."""
        ...

    async def admit(
        self,
        terms: Sequence[Terms],
        request_id: UUID,
        appraisal: Appraisal,
        *,
        is_cuttable: bool,
        payload: bytes,
    ) -> Admitted:
        """Raises `RateLimited`, `InsufficientQuota` or `DependencyUnavailable`; such a call uses up nothing."""
        ...


class Appraise(Protocol):
    def __call__(self, exchange: Exchange) -> Appraisal:
        """What the call may come to at the dearest target of its plan, its text bounded and not counted."""
        ...

    async def exactly(self, exchange: Exchange) -> Appraisal:
        """The same, the text counted: dearer, and never more."""
        ...


class Admit(Step):
    def __init__(
        self,
        admission: Admits,
        appraise: Appraise,
        providers: Mapping[str, Provider],
        *,
        first_cap: int | None = None,
        give_kept: GiveKept | None = None,
    ) -> None:
        """`first_cap`: the longest answer given to a call without an end under a hard budget; None: it is refused.

        `give_kept`: asked for an answer that costs nothing where only money refused (RULING 15); None: there is none.
        """
        self._admission = admission
        self._appraise = appraise
        self._providers = providers
        self._first_cap = first_cap
        self._give_kept = give_kept

    def enter(self, exchange: Exchange) -> Awaitable[Reply | None] | None:
        terms = self._terms(exchange)
        if terms:
            return self._enter_or_tier_down(exchange, terms)
        exchange.entered = exchange.plan[0].provider
        return None

    async def _enter_or_tier_down(self, exchange: Exchange, terms: Sequence[Terms]) -> Reply | None:
        try:
            await self._admit(exchange, terms)
        except (RateLimited, InsufficientQuota) as error:
            try:
                await self._pass_by(exchange, error)
            except InsufficientQuota as refusal:
                if self._give_kept is not None and (kept := await self._give_kept(exchange)) is not None:
                    return kept
                if FallbackKind.BUDGET not in exchange.fallbacks:
                    raise
                await self._tier_down(exchange, refusal)
        return None

    async def _tier_down(self, exchange: Exchange, refusal: InsufficientQuota) -> None:
        """Once, to the targets that the route's policy keeps for it; the first refusal stands where they are too dear."""
        plan, fallbacks = exchange.plan, exchange.fallbacks
        # Whatever else it might move on to was part of what no budget has room for.
        exchange.plan, exchange.fallbacks = fallbacks[FallbackKind.BUDGET], NO_FALLBACKS
        exchange.first_intent = exchange.first_line = None
        try:
            await self._enter_any(exchange)
        except InsufficientQuota:
            exchange.plan, exchange.fallbacks = plan, fallbacks
            raise refusal from None
        exchange.response_headers[FALLBACK] = FallbackKind.BUDGET.value

    async def _enter_any(self, exchange: Exchange) -> None:
        try:
            await self._enter(exchange)
        except (RateLimited, InsufficientQuota) as error:
            await self._pass_by(exchange, error)

    async def _pass_by(self, exchange: Exchange, error: RateLimited | InsufficientQuota) -> None:
        """What one provider's rules refuse, others may take."""
        if not error.is_of_provider:
            raise error
        await self._enter_others(exchange, error)

    def _terms(self, exchange: Exchange) -> Sequence[Terms]:
        """At the first target's provider; dispatch asks those of the others when it comes to them."""
        call = exchange.call
        asked = Asked(call.model, endpoint(exchange.path), exchange.plan[0].provider, call.end_user)
        return self._admission.terms(exchange.principal, asked)

    async def _enter(self, exchange: Exchange) -> None:
        await self._admit(exchange, self._terms(exchange))

    async def _enter_others(self, exchange: Exchange, refusal: RateLimited | InsufficientQuota) -> None:
        """A rule about the first provider has no room: the targets of others come first, its own are tried last."""
        plan = exchange.plan
        refused = {plan[0].provider}
        while any(target.provider not in refused for target in plan):
            # Made for the target that comes first no more.
            exchange.first_intent = exchange.first_line = None
            exchange.plan = tuple(sorted(plan, key=lambda target: target.provider in refused))
            try:
                await self._enter(exchange)
            except (RateLimited, InsufficientQuota) as error:
                if not error.is_of_provider:
                    raise
                refused.add(exchange.plan[0].provider)
                if isinstance(error, RateLimited) and not isinstance(refusal, RateLimited):
                    # The one that is worth waiting for.
                    refusal = error
            else:
                return
        exchange.plan = plan
        raise refusal

    async def _admit(self, exchange: Exchange, terms: Sequence[Terms]) -> None:
        is_exact = has_budgets = False
        for one in terms:
            is_exact = is_exact or one.counts_tokens or one.near_until > exchange.started
            has_budgets = has_budgets or bool(one.budgets)
        if not (is_exact or has_budgets):
            admitted = await self._admission.admit(terms, exchange.request_id, _NOTHING, is_cuttable=False, payload=b"")
        else:
            exchange.appraisal = await self._appraise.exactly(exchange) if is_exact else self._appraise(exchange)
            if not is_exact and _is_large(exchange.appraisal, terms):
                is_exact, exchange.appraisal = True, await self._appraise.exactly(exchange)
            admitted = await self._pay(exchange, terms, is_exact=is_exact, has_budgets=has_budgets)
        exchange.hold = admitted.hold
        exchange.entered = exchange.plan[0].provider
        if admitted.headers:
            exchange.response_headers.update(admitted.headers)

    async def _pay(self, exchange: Exchange, terms: Sequence[Terms], *, is_exact: bool, has_budgets: bool) -> Admitted:
        """As little as will do: the cheap bound, then the count, then an answer that is given an end."""
        appraisal = exchange.appraisal
        assert appraisal is not None
        is_cuttable = has_budgets and can_cut_all(exchange, self._providers)
        ask = partial(self._ask, exchange, terms, is_cuttable=is_cuttable, has_budgets=has_budgets)
        if appraisal.needs_cap and not is_cuttable and (caps := self._caps(exchange, terms, appraisal)):
            return await self._pay_capped(exchange, caps, ask, is_exact=is_exact)
        try:
            return await ask()
        except InsufficientQuota:
            # Hardly ever needed, so not made before it is.
            caps = () if is_cuttable else self._caps(exchange, terms, appraisal)
            if is_exact and not caps:
                raise
            if not is_exact:
                exchange.appraisal = await self._appraise.exactly(exchange)
                if exchange.appraisal.forecast_nano < appraisal.forecast_nano:
                    with suppress(InsufficientQuota):
                        return await ask()
            if not caps:
                raise
        return await self._pay_capped(exchange, caps, ask, is_exact=True)

    def _caps(self, exchange: Exchange, terms: Sequence[Terms], appraisal: Appraisal) -> Sequence[int]:
        if self._first_cap is None or not any(one.is_hard for one in terms):
            return ()
        return caps_to_try(appraisal, exchange.route, self._first_cap)

    async def _pay_capped(
        self, exchange: Exchange, caps: Sequence[int], ask: Callable[[], Awaitable[Admitted]], *, is_exact: bool
    ) -> Admitted:
        uncapped, refusal = exchange.call, None
        for cap in caps:
            exchange.call = with_cap(uncapped, cap)
            exchange.appraisal = await self._appraise.exactly(exchange) if is_exact else self._appraise(exchange)
            try:
                admitted = await ask()
            except InsufficientQuota as error:
                is_exact, refusal = True, error
            else:
                exchange.response_headers["x-tollkeeper-applied-cap"] = str(cap)
                return admitted
        assert refusal is not None
        # Another provider may be asked for all of it.
        exchange.call = uncapped
        raise refusal

    def _ask(
        self, exchange: Exchange, terms: Sequence[Terms], *, is_cuttable: bool, has_budgets: bool
    ) -> Awaitable[Admitted]:
        appraisal = exchange.appraisal
        assert appraisal is not None
        if appraisal.full_nano is None and any(one.is_hard for one in terms):
            check_bounded(appraisal, is_cuttable=is_cuttable)
        return self._admission.admit(
            terms,
            exchange.request_id,
            appraisal,
            is_cuttable=is_cuttable,
            payload=_first_intent(exchange, terms) if has_budgets else b"",
        )


def _is_large(appraisal: Appraisal, terms: Sequence[Terms]) -> bool:
    """Of a size with a budget, so that the script will hold the forecast: then a bound in it would keep others out."""
    most = appraisal.full_nano
    if most is None and not appraisal.needs_cap:
        return False
    for one in terms:
        for place in one.budgets:
            if place.kind == PlaceKind.HARD and (most is None or most * FULL_SHARE > place.one):
                return True
    return False


def _first_intent(exchange: Exchange, terms: Sequence[Terms]) -> bytes:
    """Kept with the hold, so that the ledger's row can be written when this worker and its disk are gone."""
    intent = make_intent(exchange, exchange.plan[0], 1, None)
    intent.budgets = refs_of(exchange.principal.tenant_id, terms)
    line = pack_intent(intent)
    exchange.first_intent, exchange.first_line = intent, line
    return line
