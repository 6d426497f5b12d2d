"""A second attempt at the next target while the first is silent: whoever brings content first is relayed.

The other one is given up and settled with a row of its own. Only calls whose whole worst case is held are hedged, and
the second attempt is paid for before it is sent: no room in the hold, no hedge.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.routing import HedgeRule
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.attempt import Attempts
from tollkeeper.gateway.course import MOVES_ON, Course, Way
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.provider import Failure
from tollkeeper.gateway.routing.health import Gate, Ticket
from tollkeeper.gateway.routing.hedge import HedgeAccount
from tollkeeper.gateway.stage import Attempt, Exchange, Outcome

Enter = Callable[[Exchange, Course, Way], Ticket | None]


@dataclass(slots=True, eq=False)
class _Run:
    """`mark`: where the course stood before the second one; None of the first."""

    way: Way
    task: "asyncio.Task[Reply | Failure]"
    mark: tuple[int, int] | None = None


class Hedging:
    def __init__(self, attempts: Attempts, gate: Gate, clock: Clock, metrics: Metrics, enter: Enter) -> None:
        """`enter` asks whether a target may be tried now."""
        self._attempts = attempts
        self._gate = gate
        self._clock = clock.monotonic
        self._metrics = metrics
        self._enter = enter
        # By model: as many as the catalogue has.
        self._accounts: dict[str, HedgeAccount] = {}

    async def race(
        self, exchange: Exchange, course: Course, way: Way, ticket: Ticket, rule: HedgeRule
    ) -> tuple[Way, Reply | Failure]:
        """The winner's answer; of two failures the one that tells where to go on."""
        account = self._accounts.get(exchange.route.name)
        if account is None:
            account = self._accounts[exchange.route.name] = HedgeAccount()
        seconds = rule.after_seconds
        if seconds is None:
            model = exchange.call.model if way.target.model == "*" else way.target.model
            seconds = self._gate.standing(way.target.provider, model, self._clock()).p95_seconds
        begun, before = self._clock(), exchange.upstream_seconds
        runs = [self._run(exchange, way, ticket, is_last=False)]
        try:
            await asyncio.wait((runs[0].task,), timeout=seconds)
            expected = _expected(way.attempt)
            account.called(rule, expected)
            is_hedged = False
            if not runs[0].task.done() and way.attempt is not None and account.take(expected):
                second = self._second(exchange, course)
                if second is None:
                    account.give_back(expected)
                else:
                    is_hedged = True
                    runs.append(second)
            exchange.on_finish(partial(_correct, exchange, account, rule, expected, is_hedged))
            return await self._first_good(exchange, course, runs)
        except BaseException:
            await self._stop(runs)
            raise
        finally:
            # Both waited at the same time.
            exchange.upstream_seconds = before + self._clock() - begun

    def _run(
        self, exchange: Exchange, way: Way, ticket: Ticket, *, is_last: bool, mark: tuple[int, int] | None = None
    ) -> _Run:
        made = self._attempts.make(exchange, way, ticket, is_last=is_last)
        return _Run(way, asyncio.get_running_loop().create_task(made), mark)

    def _second(self, exchange: Exchange, course: Course) -> _Run | None:
        mark = course.mark()
        course.leave_target()
        while (way := course.next()) is not None:
            ticket = self._enter(exchange, course, way)
            if ticket is not None:
                return self._run(exchange, way, ticket, is_last=not course.has_more_targets, mark=mark)
        course.back(mark)
        return None

    async def _first_good(self, exchange: Exchange, course: Course, runs: list[_Run]) -> tuple[Way, Reply | Failure]:
        failed: list[tuple[Way, Failure]] = []
        left = list(runs)
        while left:
            await asyncio.wait([run.task for run in left], return_when=asyncio.FIRST_COMPLETED)
            for run in [run for run in left if run.task.done()]:
                left.remove(run)
                tried = self._result(course, run)
                if tried is None:
                    continue
                # A call that its vendor does not take ends here: the other one would only say the same.
                if isinstance(tried, Failure) and (run.mark is not None or tried.kind in MOVES_ON):
                    failed.append((run.way, tried))
                    continue
                if len(runs) > 1:
                    await self._decided(exchange, run, next(other for other in runs if other is not run))
                for way, failure in failed:
                    course.note(way, failure)
                return run.way, tried
        *earlier, last = failed
        for way, failure in earlier:
            course.note(way, failure)
        return last

    def _result(self, course: Course, run: _Run) -> Reply | Failure | None:
        """None: there was no second one, because nothing paid for it or no time was left."""
        try:
            return run.task.result()
        except TollkeeperError:
            if run.mark is None:
                raise
            if run.way.attempt is None:
                course.back(run.mark)
            self._metrics.hedge(run.way.target.provider, "not_made")
            return None

    async def _decided(self, exchange: Exchange, winner: _Run, loser: _Run) -> None:
        await _end(loser)
        lost, won = loser.way.attempt, winner.way.attempt
        if lost is not None and lost.error is None:
            lost.is_lost = True
            await self._attempts.give_up(exchange, lost)
        assert won is not None
        # The last one is the one whose answer the caller gets.
        exchange.tries.remove(won)
        exchange.tries.append(won)
        exchange.target = winner.way.target
        if exchange.call.is_stream:
            exchange.first_token = won.first_token
        second, result = (loser, "lost") if winner.mark is None else (winner, "won")
        if second.way.attempt is not None:
            self._metrics.hedge(second.way.target.provider, result)

    async def _stop(self, runs: list[_Run]) -> None:
        """Nobody waits for any of them. What is billed all the same is read to its end once the call is settled."""
        for run in runs:
            await _end(run)
            attempt = run.way.attempt
            if attempt is None:
                continue
            attempt.is_lost = attempt.error is None
            leftover = attempt.leftover
            if leftover is not None and not leftover.is_over and not leftover.is_still_billed():
                await leftover.aclose()


async def _end(run: _Run) -> None:
    """Cancelled, and over; what came of it is in its attempt."""
    run.task.cancel()
    await asyncio.wait((run.task,))
    if not run.task.cancelled():
        # Looked at, so that the loop does not complain of an error that nobody wants to know.
        run.task.exception()


def _expected(attempt: Attempt | None) -> int:
    return 0 if attempt is None else attempt.intent.estimated_cost_nano or 0


def _correct(
    exchange: Exchange, account: HedgeAccount, rule: HedgeRule, expected: int, is_hedged: bool, _outcome: Outcome
) -> None:
    total = lost = 0
    for attempt in exchange.tries:
        bill = attempt.bill
        cost = _expected(attempt) if bill is None else bill.cost_nano or 0
        total += cost
        lost += cost if attempt.is_lost else 0
    account.correct(rule, total - expected, lost - expected if is_hedged else 0)
