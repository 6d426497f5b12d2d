"""Gives calls answers that are there already, or on their way to somebody who asked for the same.

In this order: to the letter, from this worker's memory, then from Redis; together with a call of the same moment; by
meaning. What has to be asked for is watched on its way to the caller, behind the guard, and kept at its end. Failure
policy: whatever the cache cannot say is a miss.
"""

import asyncio
import copy
import hmac
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID, uuid4

from tollkeeper.contracts.cache import HEADER, CachePolicy, CacheResult, Settle
from tollkeeper.contracts.chat import Chunk, Reply, Usage
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, NotFound, RequestTimeout, TollkeeperError, UpstreamError
from tollkeeper.core.money import format_usd
from tollkeeper.gateway.cache.asking import Asking, ask
from tollkeeper.gateway.cache.controls import NONE, Controls, has_field, read_controls, without_field
from tollkeeper.gateway.cache.entry import Entry
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.policies import Policies
from tollkeeper.gateway.cache.question import Looked, SemanticTier
from tollkeeper.gateway.cache.replay import Renaming, replay, shown
from tollkeeper.gateway.cache.shelf import Shelf
from tollkeeper.gateway.cache.single_flight import Cancelled, Reading, Sharing, SingleFlight
from tollkeeper.gateway.cache.store import LEASE_MS
from tollkeeper.gateway.money.intents import make_intent
from tollkeeper.gateway.stage import Attempt, Bill, Ending, Exchange, Next, Outcome

_COST: Final = "x-tollkeeper-cost-usd"
# Of an answer that came from other targets than the call's own.
_FALLBACK: Final = "x-tollkeeper-fallback"
# How often calls that wait begin anew before the failure is theirs.
_MOST_HANDOVERS: Final = 3
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.1
_NO_TOKENS: Final = Usage()


@dataclass(frozen=True, slots=True)
class Recalling:
    """One per worker. `semantic` None: nothing is found by meaning."""

    shelf: Shelf
    flights: SingleFlight
    metrics: CacheMetrics
    semantic: SemanticTier | None = None
    # Makes each tenant's `cache_salt`; empty: calls have none.
    salt_key: bytes = b""


@dataclass(frozen=True, slots=True)
class _Found:
    entry: Entry
    result: CacheResult
    detail: str = ""


@dataclass(slots=True)
class _Told:
    """Of an answer that several read: what it came to, and each one's share."""

    provider: str
    upstream_model: str
    usage: Usage = _NO_TOKENS
    saved_nano: int = 0
    share_nano: int = 0


class Recall:
    def __init__(self, parts: Recalling | None, clock: Clock) -> None:
        """None: nothing is ever given again."""
        self._parts = parts
        self._clock = clock
        self._policies = Policies()

    def __call__(self, exchange: Exchange, next_stage: Next) -> Awaitable[Reply]:
        # No coroutine of its own where nothing holds.
        policy = None
        if self._parts is not None and self._parts.salt_key:
            exchange.salt = partial(_salt, self._parts.salt_key, exchange.principal.tenant_id)
        if self._parts is not None and exchange.snapshot.caches:
            policy = self._policies.find(exchange.snapshot, exchange.principal, exchange.call.model)
        if policy is None or self._parts is None:
            if has_field(exchange.call):
                read_controls(exchange.headers, exchange.call)
                exchange.call = without_field(exchange.call)
            return next_stage(exchange)
        return _Recall(self._parts, self._clock, exchange, next_stage).run(policy)

    def may_have(self, exchange: Exchange) -> bool:
        """Whether anything may be kept for this caller and model."""
        if self._parts is None or not exchange.snapshot.caches:
            return False
        return self._policies.find(exchange.snapshot, exchange.principal, exchange.call.model) is not None

    async def give_kept(self, exchange: Exchange) -> Reply:
        """In place of the stages below, for a call that nothing pays for. Raises `NothingKept`."""
        policy = self._policies.find(exchange.snapshot, exchange.principal, exchange.call.model)
        if policy is None or self._parts is None:
            raise NothingKept
        return await _Recall(self._parts, self._clock, exchange, _nobody).give_kept(policy)


class NothingKept(Exception):
    """No answer is there."""


async def _nobody(_exchange: Exchange) -> Reply:
    raise NothingKept


class _Recall:
    """One call under a policy."""

    __slots__ = (
        "_begun_at",
        "_clock",
        "_exchange",
        "_is_gone",
        "_next",
        "_parts",
        "_renewal",
        "_sharing",
        "_shelf",
        "_token",
    )

    def __init__(self, parts: Recalling, clock: Clock, exchange: Exchange, next_stage: Next) -> None:
        self._parts = parts
        self._shelf = parts.shelf
        self._clock = clock
        self._exchange = exchange
        self._next = next_stage
        self._begun_at = 0.0
        # What it began for others as well, and whether it has left them alone with it.
        self._sharing: Sharing | None = None
        self._is_gone = False
        self._token: bytes | None = None
        self._renewal: asyncio.TimerHandle | None = None

    async def run(self, policy: CachePolicy) -> Reply:
        exchange = self._exchange
        controls = read_controls(exchange.headers, exchange.call)
        if controls is not NONE:
            exchange.call = without_field(exchange.call)
        exchange.wants_marks = policy.marks
        asking = ask(exchange, policy, controls)
        if asking is None:
            return await self._pass_by(controls)
        if asking.looks:
            assert asking.fingerprint is not None
            entry = self._shelf.peek(asking.tenant_id, asking.fingerprint, asking.max_age)
            if entry is not None:
                return self._give(_Found(entry, CacheResult.EXACT))
        if asking.shared_key is not None:
            return await self._together(asking)
        outcome = await self._look(asking)
        if isinstance(outcome, _Found):
            return self._give(outcome)
        return self._watched(asking, outcome)

    async def give_kept(self, policy: CachePolicy) -> Reply:
        exchange = self._exchange
        controls = read_controls(exchange.headers, exchange.call)
        exchange.call = without_field(exchange.call)
        asking = ask(exchange, policy, controls)
        if asking is None or asking.fingerprint is None or not asking.looks:
            raise NothingKept
        entry = await self._shelf.find(asking.tenant_id, asking.fingerprint, asking.max_age)
        if entry is None:
            raise NothingKept
        return self._give(_Found(entry, CacheResult.EXACT))

    async def _pass_by(self, controls: Controls) -> Reply:
        if controls.is_only_cached:
            raise _not_cached()
        self._exchange.response_headers[HEADER] = CacheResult.BYPASS.value
        self._parts.metrics.result(CacheResult.BYPASS)
        return await self._next(self._exchange)

    # Looking, and asking for what is not there

    async def _look(self, asking: Asking) -> Reply | _Found:
        """Behind this worker's memory: Redis, what means the same, the provider."""
        exchange = self._exchange
        looked: Looked | None = None
        if asking.looks:
            if (found := await self._look_in_redis(asking)) is not None:
                return found
            if asking.question is not None and self._parts.semantic is not None:
                looked = await self._parts.semantic.find(asking.question)
                if (found := await self._given_by_meaning(asking, looked)) is not None:
                    self._release(asking)
                    return found
        if asking.controls.is_only_cached:
            raise _not_cached()
        exchange.response_headers[HEADER] = CacheResult.MISS.value
        self._parts.metrics.result(CacheResult.MISS)
        if asking.keeping is not None:
            self._begun_at = self._clock.unix()
            exchange.finishers.append(partial(self._keep, asking, looked))
        reply = await self._next(exchange)
        if self._sharing is not None and exchange.tries:
            intent = exchange.tries[-1].intent
            self._sharing.note = self._sharing.note or _Told(intent.provider, intent.upstream_model)
        return reply

    async def _look_in_redis(self, asking: Asking) -> _Found | None:
        fingerprint = asking.fingerprint
        assert fingerprint is not None
        if asking.shared_key is None or asking.keeping is None:
            entry = await self._shelf.find(asking.tenant_id, fingerprint, asking.max_age)
            return None if entry is None else _Found(entry, CacheResult.EXACT)
        token = uuid4().hex.encode()
        entry, holder = await self._shelf.look(asking.tenant_id, fingerprint, asking.max_age, token)
        if entry is not None:
            return _Found(entry, CacheResult.EXACT)
        if holder is not None and holder != token:
            return await self._await_other(asking, token, holder)
        if holder == token:
            self._lease(asking, token)
        return None

    async def _await_other(self, asking: Asking, token: bytes, holder: bytes) -> _Found | None:
        """Another worker asks for it. None: it is to be asked for here after all."""
        exchange, pause = self._exchange, _FIRST_PAUSE
        assert asking.fingerprint is not None
        begun = self._clock.monotonic()
        if exchange.call.is_stream:
            exchange.on_accepted()
        try:
            while self._clock.monotonic() + pause < exchange.deadline:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 1.5)
                entry, now = await self._shelf.look(asking.tenant_id, asking.fingerprint, asking.max_age, token)
                if entry is not None:
                    return _Found(entry, CacheResult.COALESCED)
                if now == token:
                    self._lease(asking, token)
                if now != holder:
                    # It has ended without an answer that may be kept; whoever asks now is not waited for as well.
                    return None
        finally:
            exchange.upstream_seconds += self._clock.monotonic() - begun
        return None

    async def _given_by_meaning(self, asking: Asking, looked: Looked | None) -> _Found | None:
        served = None if looked is None else looked.served
        semantic = asking.policy.semantic
        if served is None or semantic is None or self._parts.semantic is None:
            return None
        max_age = float(semantic.ttl_seconds)
        if asking.controls.max_age is not None:
            max_age = min(max_age, float(asking.controls.max_age))
        entry = await self._shelf.find(asking.tenant_id, served.fingerprint, max_age)
        if entry is None:
            self._parts.semantic.forget(asking.tenant_id, served.fingerprint)
            return None
        return _Found(entry, CacheResult.SEMANTIC, f"; score={served.score:.3f}")

    # The lease on asking for it, among all workers

    def _lease(self, asking: Asking, token: bytes) -> None:
        self._token = token
        self._renew(asking, token, is_first=True)

    def _renew(self, asking: Asking, token: bytes, *, is_first: bool = False) -> None:
        store = self._shelf.store
        assert store is not None
        assert asking.fingerprint is not None
        if not is_first:
            store.renew(asking.tenant_id, asking.fingerprint, token)
        seconds = LEASE_MS / 3_000
        self._renewal = asyncio.get_running_loop().call_later(seconds, self._renew, asking, token)

    def _release(self, asking: Asking) -> None:
        """Behind what was kept, on the same connection: who waits finds the answer."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        token, self._token = self._token, None
        if token is not None and self._shelf.store is not None and asking.fingerprint is not None:
            self._shelf.store.release(asking.tenant_id, asking.fingerprint, token)

    # Together with others

    async def _together(self, asking: Asking) -> Reply:
        while True:
            sharing = self._parts.flights.find(asking.shared_key)
            if sharing is None:
                return await self._lead(asking)
            reply = await self._follow(asking, sharing)
            if reply is not None:
                return reply
            asking.failures += 1
            self._parts.metrics.handed_over()

    async def _lead(self, asking: Asking) -> Reply:
        exchange = self._exchange
        sharing = self._sharing = self._parts.flights.begin(asking.shared_key, self._look(asking))
        number = sharing.join()
        sharing.on_last = partial(self._divide, asking, sharing)
        # Runs before those that settle it, and behind the one that keeps the answer.
        exchange.finishers.append(partial(self._led, asking, sharing, number))
        await sharing.wait()
        if not sharing.has_outcome:
            raise _theirs(sharing)
        outcome = sharing.outcome
        if isinstance(outcome, _Found):
            return self._give(outcome)
        if not outcome.is_stream:
            return self._watched(asking, Reply(is_stream=False, primed=outcome.primed))
        return self._watched(asking, Reply(is_stream=True, primed=(), rest=Reading(sharing, number, None)))

    def _led(self, asking: Asking, sharing: Sharing, number: int, outcome: Outcome) -> None:
        exchange = self._exchange
        self._is_gone = True
        if not sharing.is_over:
            exchange.goes_on = sharing.when_over
            if outcome.ending is not Ending.DONE:
                # What is under way goes on for others; nothing more is begun for them at this one's expense.
                exchange.deadline = exchange.started
        sharing.when_over(partial(self._release, asking))
        sharing.leave(number)

    def _divide(self, asking: Asking, sharing: Sharing) -> None:
        """The last of the answer is there: what it was, and who pays how much of it."""
        exchange = self._exchange
        if not exchange.tries:
            return
        attempt = exchange.tries[-1]
        intent = attempt.intent
        told = sharing.note = sharing.note or _Told(intent.provider, intent.upstream_model)
        bill = attempt.bill
        if bill is None:
            return
        told.usage = bill.usage
        charge = bill.charge_nano or 0
        told.saved_nano = charge
        followers = sharing.readers - (0 if self._is_gone else 1)
        coalesce = asking.policy.coalesce
        if followers > 0 and charge and coalesce is not None and coalesce.settle is Settle.SHARED:
            told.share_nano = charge // (followers + 1)
            told.saved_nano = charge - told.share_nano
            left = charge - told.share_nano * followers
            attempt.bill = Bill(bill.usage, bill.cost_nano, left)
            exchange.cost_nano = (exchange.cost_nano or 0) - charge + left

    async def _follow(self, asking: Asking, sharing: Sharing) -> Reply | None:
        """None: it failed for a reason of whoever began it, and is to be begun anew."""
        exchange = self._exchange
        number = sharing.join()
        begun = self._clock.monotonic()
        if exchange.call.is_stream:
            exchange.on_accepted()
        try:
            async with asyncio.timeout(max(0.0, exchange.deadline - begun)):
                await sharing.wait()
        except TimeoutError:
            sharing.leave(number)
            raise RequestTimeout(
                "The deadline of this call passed while it waited for the answer to another call like it.",
                should_retry=False,
            ) from None
        except BaseException:
            sharing.leave(number)
            raise
        finally:
            exchange.upstream_seconds += self._clock.monotonic() - begun
        if not sharing.has_outcome:
            sharing.leave(number)
            if asking.failures + 1 >= _MOST_HANDOVERS or _is_for_all(sharing.error):
                raise _theirs(sharing)
            return None
        outcome = sharing.outcome
        if isinstance(outcome, _Found):
            sharing.leave(number)
            return self._give(outcome)
        return self._read_along(sharing, number, outcome)

    def _read_along(self, sharing: Sharing, number: int, outcome: Reply) -> Reply:
        exchange, call = self._exchange, self._exchange.call
        told = sharing.note
        target = exchange.plan[0]
        attempt = self._attempt(CacheResult.COALESCED, target.provider, target.model if told is None else "")
        exchange.response_headers[HEADER] = CacheResult.COALESCED.value
        renaming = Renaming(exchange.request_id)

        def own(chunk: Chunk) -> Chunk:
            if chunk.is_final:
                # Before the end is written, which says what it cost.
                self._tell(sharing, attempt)
            return renaming(shown(chunk, call))

        exchange.finishers.append(partial(self._followed, sharing, number, attempt))
        if not outcome.is_stream:
            self._tell(sharing, attempt)
            sharing.leave(number)
            return Reply(is_stream=False, primed=[own(chunk) for chunk in outcome.primed])
        exchange.first_token = self._clock.monotonic()
        return Reply(is_stream=True, primed=(), rest=Reading(sharing, number, own))

    def _followed(self, sharing: Sharing, number: int, attempt: Attempt, _outcome: Outcome) -> None:
        self._tell(sharing, attempt)
        self._parts.metrics.result(CacheResult.COALESCED, attempt.saved_nano)
        sharing.leave(number)

    def _tell(self, sharing: Sharing, attempt: Attempt) -> None:
        told = sharing.note
        if isinstance(told, _Told):
            attempt.intent.provider, attempt.intent.upstream_model = told.provider, told.upstream_model
            attempt.usage, attempt.saved_nano = told.usage, told.saved_nano
            attempt.bill = Bill(told.usage, 0, told.share_nano)
            self._exchange.cost_nano = told.share_nano
            self._exchange.response_headers[_COST] = format_usd(told.share_nano)

    # Giving and keeping

    def _give(self, found: _Found) -> Reply:
        exchange, entry = self._exchange, found.entry
        attempt = self._attempt(found.result, entry.provider, entry.upstream_model)
        usage = entry.usage or _NO_TOKENS
        attempt.usage, attempt.saved_nano = entry.usage, entry.saved_nano
        attempt.bill = Bill(usage, 0, 0)
        exchange.response_headers[HEADER] = found.result.value + found.detail
        exchange.response_headers[_COST] = format_usd(0)
        exchange.is_screened = bool(entry.guard) and entry.guard == exchange.guard
        self._parts.metrics.result(found.result, entry.saved_nano, entry.seconds)
        return replay(entry, exchange.call, exchange.request_id)

    def _attempt(self, result: CacheResult, provider: str, upstream_model: str) -> Attempt:
        """The row that the ledger gets of it: what it used, and that nobody takes anything for it."""
        exchange = self._exchange
        now = self._clock.monotonic()
        intent = exchange.first_intent
        if intent is None:
            intent = make_intent(exchange, Target(provider, upstream_model), 1, exchange.hold)
        else:
            intent.provider, intent.upstream_model = provider, upstream_model
        attempt = Attempt(intent=intent, started=now, may_cost=False, cache=result, bill=Bill(_NO_TOKENS, 0, 0))
        exchange.tries.append(attempt)
        exchange.cost_nano = 0
        return attempt

    def _watched(self, asking: Asking, reply: Reply) -> Reply:
        if asking.keeping is not None:
            reply.watch(asking.keeping)
        return reply

    def _keep(self, asking: Asking, looked: Looked | None, outcome: Outcome) -> None:
        exchange, keeping = self._exchange, asking.keeping
        if outcome.ending is not Ending.DONE or keeping is None or asking.fingerprint is None or not _is_good(exchange):
            return
        chunks = keeping.answer(exchange.operation)
        if chunks is None:
            return
        last = exchange.tries[-1]
        entry = Entry(
            tenant_id=asking.tenant_id,
            fingerprint=asking.fingerprint,
            chunks=chunks,
            is_stream=exchange.call.is_stream,
            created_at=self._clock.unix(),
            model=exchange.call.model,
            provider=last.intent.provider,
            upstream_model=last.intent.upstream_model,
            usage=last.usage,
            saved_nano=exchange.cost_nano or 0,
            seconds=round(self._clock.monotonic() - exchange.started, 6),
            guard=exchange.guard,
            namespace=asking.controls.namespace,
            key_id=exchange.principal.key_id,
        )
        is_kept = self._shelf.keep(entry, asking.ttl_seconds, self._begun_at)
        if is_kept and asking.question is not None and self._parts.semantic is not None:
            self._parts.semantic.remember(asking.question, entry, looked)


def _salt(key: bytes, tenant_id: UUID) -> str:
    return hmac.digest(key, tenant_id.bytes, "sha256").hex()[:32]


def _is_good(exchange: Exchange) -> bool:
    """Whether the answer is what this call gets from its own targets, and nothing went wrong on the way."""
    if exchange.is_blocked or exchange.is_reversible or _FALLBACK in exchange.response_headers or not exchange.tries:
        return False
    return all(attempt.error is None and attempt.cache is None for attempt in exchange.tries)


def _is_for_all(error: Exception | None) -> bool:
    """What is said of the call itself would be said again; whose time was up is its own affair."""
    if isinstance(error, BadRequest):
        return not isinstance(error, RequestTimeout)
    return isinstance(error, UpstreamError) and error.status < 500


def _theirs(sharing: Sharing) -> Exception:
    """A copy, because each caller's error keeps what led to it."""
    error = sharing.error
    if error is None or isinstance(error, Cancelled):
        return UpstreamError("The call that others waited for was stopped.", code="upstream_cut")
    if not isinstance(error, TollkeeperError):
        return error
    copied = copy.copy(error)
    copied.__traceback__ = None
    return copied


def _not_cached() -> NotFound:
    return NotFound(
        "No answer to this call is kept, and it asked for no other. Leave 'only-if-cached' out.",
        code="not_cached",
        param=HEADER,
        should_retry=False,
    )
