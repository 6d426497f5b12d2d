"""Sends the call to the targets of its plan, one after the other, until one answers.

Only failures that another target may not have are worth a next one, and only before the first content: after that the
stream ends with an error event. `course` knows the order, `attempt` makes each of them.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.routing import Place, RetryRule
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.attempt import Attempts, EnterProvider
from tollkeeper.gateway.course import Course, Way
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.hedging import Hedging
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.hold import Holds
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.provider import Channel, Failure, FailureClass, NotSent, Provider
from tollkeeper.gateway.routing.health import Gate, Ticket
from tollkeeper.gateway.routing.open_gate import OpenGate
from tollkeeper.gateway.stage import Exchange, Next

_FIRST_BYTE_SECONDS: Final = 60.0


class Dispatch:
    def __init__(
        self,
        providers: Mapping[str, Provider],
        channel: Channel,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        holds: Holds | None = None,
        *,
        gate: Gate | None = None,
        drains: Drains | None = None,
        enter_provider: EnterProvider | None = None,
        first_byte_seconds: float = _FIRST_BYTE_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`gate` None: every target is thought to be well. `first_byte_seconds`: of the process."""
        self._gate = gate or OpenGate()
        self._chance = chance
        self._clock = clock.monotonic
        self._metrics = metrics
        self._attempts = Attempts(
            providers, channel, journal, clock, metrics, holds, drains, enter_provider, first_byte_seconds
        )

        self._hedging = Hedging(self._attempts, self._gate, clock, metrics, self._enter)

    async def __call__(self, exchange: Exchange, _next_stage: Next) -> Reply:
        policy = exchange.route.policy
        hedge = None
        if policy is not None:
            hedge = policy.hedge
            if policy.deadlines.total is not None:
                exchange.deadline = min(exchange.deadline, exchange.started + policy.deadlines.total)
        course = Course(exchange)
        way = course.next()
        while way is not None:
            ticket = self._enter(exchange, course, way)
            if ticket is not None:
                if hedge is None or not course.has_more_targets or not _is_paid(exchange):
                    tried = await self._attempts.make(exchange, way, ticket, is_last=not course.has_more_targets)
                else:
                    way, tried = await self._hedging.race(exchange, course, way, ticket, hedge)
                if isinstance(tried, Reply):
                    return tried
                course.failed(way, tried)
            way = await self._next(exchange, course)
        raise course.conclude()

    async def _next(self, exchange: Exchange, course: Course) -> Way | None:
        """The next target, or the last one again: where the policy wants that first, or where nothing else is left."""
        if course.failures and self._clock() >= exchange.deadline:
            # Nobody waits for another one.
            raise course.failures[-1][1].error
        is_repeated_first = course.retry.before_next
        if is_repeated_first and (way := await self._repeat(exchange, course)) is not None:
            return way
        way = course.next()
        if way is None:
            way = course.restart()
        if way is None and not is_repeated_first:
            way = await self._repeat(exchange, course)
        return way

    async def _repeat(self, exchange: Exchange, course: Course) -> Way | None:
        """The way that failed last, after a pause, if it may do better and its provider's traffic pays for a repeat."""
        if not course.failures:
            return None
        way, failure = course.failures[-1]
        if way.sends >= course.retry.most_attempts or not _may_do_better(way, failure):
            return None
        seconds = _pause(course.retry, way, failure, self._chance())
        now = self._clock()
        if seconds is None or now + seconds >= exchange.deadline:
            return None
        if not self._gate.retry_budget(way.target.provider, now).may_repeat(now):
            return None
        await asyncio.sleep(seconds)
        exchange.upstream_seconds += self._clock() - now
        return way

    def _enter(self, exchange: Exchange, course: Course, way: Way) -> Ticket | None:
        """None: not now; the course knows why."""
        slot = exchange.slot
        if slot is not None and not slot.enter(way.config):
            course.leave_target()
            self._skip(course, way, "full", 0.0)
            return None
        now = self._clock()
        target, credential = way.target, way.credential
        # Each name that a `*` lets through is a place of its own: one caller's bad model closes nobody else's.
        model = exchange.call.model if target.model == "*" else target.model
        place = Place(target.provider, model, None if credential is None else credential.id)
        ticket = self._gate.enter(place, course.breaker, now, last_resort=course.is_last_resort)
        if ticket is None:
            self._skip(course, way, *self._gate.blocked(place, now))
            return None
        if not way.sends:
            self._gate.retry_budget(way.target.provider, now).sent(course.retry.budget_millionths)
        return ticket

    def _skip(self, course: Course, way: Way, reason: str, seconds: float) -> None:
        course.skip(way, reason, seconds)
        self._metrics.attempt(way.target.provider, "skipped")


def _is_paid(exchange: Exchange) -> bool:
    """Near a limit a call has less than its worst case, and no other may take what it will need."""
    hold = exchange.hold
    return hold is None or not hold.refs or hold.is_full


def _may_do_better(way: Way, failure: Failure) -> bool:
    """A passing trouble, and nothing to pay for what went before: a repeat never makes a call dearer."""
    if way.attempt is None or way.attempt.may_cost or failure.error.should_retry is False:
        return False
    return failure.kind in {FailureClass.SERVER, FailureClass.RATE} or isinstance(failure.error, NotSent)


def _pause(rule: RetryRule, way: Way, failure: Failure, chance: float) -> float | None:
    """Full jitter, above the wait that was asked for; None: that is longer than this policy waits."""
    asked = failure.retry_after_seconds or 0.0
    if asked > rule.most_seconds:
        return None
    backoff: float = rule.base_seconds * 2.0 ** (way.sends - 1)
    return asked + chance * min(rule.most_seconds, backoff)
