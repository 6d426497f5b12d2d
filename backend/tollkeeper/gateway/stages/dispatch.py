"""Sends the call to the targets of its plan, one after the other, until one answers.

Only failures that another target may not have are worth a next one, and only before the first content: after that the
stream ends with an error event. `course` knows the order, `attempt` makes each of them.
"""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.routing import Place
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.attempt import Attempts, EnterProvider
from tollkeeper.gateway.course import Course, Way
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.hold import Holds
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.provider import Channel, Provider
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
    ) -> None:
        """`gate` None: every target is thought to be well. `first_byte_seconds`: of the process."""
        self._gate = gate or OpenGate()
        self._clock = clock.monotonic
        self._metrics = metrics
        self._attempts = Attempts(
            providers, channel, journal, clock, metrics, holds, drains, enter_provider, first_byte_seconds
        )

    async def __call__(self, exchange: Exchange, _next_stage: Next) -> Reply:
        course = Course(exchange)
        while True:
            way = course.next()
            if way is None:
                if course.restart():
                    continue
                raise course.conclude()
            ticket = self._enter(course, way)
            if ticket is None:
                continue
            tried = await self._attempts.make(exchange, way, ticket, is_last=not course.has_more_targets)
            if isinstance(tried, Reply):
                return tried
            course.failed(way, tried)

    def _enter(self, course: Course, way: Way) -> Ticket | None:
        """None: not now; the course knows why."""
        now = self._clock()
        place = Place(way.target.provider, way.target.model, None if way.credential is None else way.credential.id)
        ticket = self._gate.enter(place, course.breaker, now, last_resort=course.is_last_resort)
        if ticket is None:
            reason, seconds = self._gate.blocked(place, now)
            course.skip(way.target, reason, seconds)
            self._metrics.attempt(way.target.provider, "skipped")
        else:
            self._gate.retry_budget(way.target.provider, now).sent(course.retry.budget_millionths)
        return ticket
