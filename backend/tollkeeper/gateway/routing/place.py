"""What a worker knows of one place it calls, and the ticket of a call there: the part of `targets` that is pure.

A spot is a provider's model; each credential used there is a cell of it, with a breaker, a pause and a quarantine. What
a credential is refused for again and again without a success between holds for all its spots.
"""

from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.routing import BreakerRule, Place
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.breaker import Breaker, Pass, State
from tollkeeper.gateway.routing.latency import Latency
from tollkeeper.gateway.routing.pause import Pause, Quarantine
from tollkeeper.gateway.routing.tally import Tally

# Refusals of a credential, with no success between, until all models are spared it: one may be refused a single model.
_REFUSALS: Final = 3
# How much one answer moves the share that was read from the prompt cache.
_CACHE_WEIGHT: Final = 0.05
# For the judgement of canaries, in seconds.
LONGEST_TALLY: Final = 900.0
_TALLY_WIDTH: Final = 5.0
_P95_SECONDS: Final = 1.0
# A caller that gives up says something of a place only when it waited longer than this: where nothing is known of its
# usual time to the first token, and otherwise so many times its 95th percentile.
_SILENT_SECONDS: Final = 5.0
_LEAST_SILENT_SECONDS: Final = 1.0
_SILENT_TIMES: Final = 3.0
_NOT_FOUND: Final = 404


class Watcher(Protocol):
    """Who is told of what changes; `Targets` is the one."""

    def chance(self) -> float: ...

    def turned(self, cell: "Cell", before: State, now: float) -> None:
        """The breaker of a cell is not in the same state any more."""
        ...

    def paused(self, cell: "Cell", now: float) -> None: ...

    def quarantined(self, cell: "Cell", now: float) -> None: ...


class Spot:
    __slots__ = (
        "_p95",
        "_p95_at",
        "cache_share",
        "cells",
        "in_flight",
        "latency",
        "model",
        "provider",
        "tally",
        "used",
    )

    def __init__(self, provider: str, model: str, now: float) -> None:
        self.provider = provider
        self.model = model
        self.latency = Latency()
        self.in_flight = 0
        self.cache_share = 0.0
        self.tally = Tally(_TALLY_WIDTH, LONGEST_TALLY)
        self.cells: dict[UUID | None, Cell] = {}
        self.used = now
        self._p95: float | None = None
        self._p95_at = now

    def p95(self, now: float) -> float | None:
        """A second old at most: it is asked for each target of each call."""
        if now >= self._p95_at:
            self._p95_at = now + _P95_SECONDS
            self._p95 = self.latency.quantile(0.95)
        return self._p95

    def is_silent(self, seconds: float) -> bool:
        """Whether a wait that long without a word is more than a caller's haste."""
        if seconds < _LEAST_SILENT_SECONDS:
            return False
        usual = self.latency.quantile(0.95)
        if usual is not None:
            return seconds >= usual * _SILENT_TIMES
        longest = self.latency.longest()
        return seconds >= max(_SILENT_SECONDS, 0.0 if longest is None else longest * _SILENT_TIMES)


class Refusals:
    """Of one credential of a provider, over all models."""

    __slots__ = ("in_a_row", "quarantine")

    def __init__(self) -> None:
        self.in_a_row = 0
        self.quarantine = Quarantine()

    def refused(self, now: float, began: float, code: str) -> None:
        self.in_a_row += 1
        if self.in_a_row >= _REFUSALS:
            self.quarantine.refused(now, began, code)

    def answered(self, began: float) -> None:
        self.in_a_row = 0
        self.quarantine.answered(began)

    def reset(self) -> None:
        self.in_a_row = 0
        self.quarantine.reset()


class Cell:
    __slots__ = ("breaker", "is_staged", "pause", "place", "quarantine", "refusals", "spot")

    def __init__(self, place: Place, spot: Spot, refusals: Refusals, now: float, *, is_staged: bool = False) -> None:
        """`is_staged`: its faults are what callers asked it to play, and close nothing."""
        self.place = place
        self.spot = spot
        self.is_staged = is_staged
        self.refusals = refusals
        self.breaker = Breaker(now)
        self.pause = Pause()
        self.quarantine = Quarantine()

    def held_until(self) -> float:
        """By a pause or a quarantine, whatever the breaker says."""
        return max(self.pause.until, self.quarantine.until, self.refusals.quarantine.until)

    def blocked_until(self, now: float) -> float:
        """0 when a call, if only as a trial, may be let through now."""
        until = self.held_until()
        until = max(until, self.breaker.until)
        return until if until > now else 0.0

    def why(self, now: float) -> tuple[str, float] | None:
        """What keeps calls out, and for how many seconds."""
        quarantined = max(self.quarantine.until, self.refusals.quarantine.until)
        if quarantined > now:
            return "quarantined", quarantined - now
        if self.pause.until > now:
            return "paused", self.pause.until - now
        if self.breaker.state is not State.CLOSED:
            return "breaker_open", max(0.0, self.breaker.retry_at(now) - now)
        return None

    def refused_with(self) -> str | None:
        """The code of the refusal that its quarantine is for."""
        own, shared = self.quarantine, self.refusals.quarantine
        return own.code if own.until >= shared.until else shared.code

    @property
    def needs_trial(self) -> bool:
        """Before everything is as usual again, a call has to go well."""
        is_refused = self.quarantine.is_on or self.refusals.quarantine.is_on
        return is_refused or self.breaker.state is not State.CLOSED

    def hearten(self, now: float) -> None:
        """Another worker was answered by the provider: one call may find out whether we are as well."""
        self.breaker.hearten(now)
        self.quarantine.hearten(now)
        self.refusals.quarantine.hearten(now)

    def reset(self, now: float) -> None:
        self.breaker.reset(now)
        self.pause.reset()
        self.quarantine.reset()
        self.refusals.reset()
        self.spot.tally.clear()


class Visit:
    """Implements `health.Ticket`."""

    __slots__ = ("_began", "_cell", "_generation", "_has_spoken", "_how", "_is_over", "_rule", "_watcher")

    def __init__(self, cell: Cell, rule: BreakerRule, how: Pass, now: float, watcher: Watcher) -> None:
        self._cell = cell
        self._rule = rule
        self._how = how
        self._generation = cell.breaker.generation
        self._began = now
        self._watcher = watcher
        self._has_spoken = False
        self._is_over = False

    def speaks(self, now: float, first_token_seconds: float) -> None:
        if self._has_spoken or self._is_over:
            return
        self._has_spoken = True
        self._cell.breaker.silences = 0
        self._cell.spot.latency.observe(first_token_seconds, now)
        if self._how is Pass.TRIAL:
            self._succeed(now)
            # The rest of its answer is that of any call.
            self._how, self._generation = Pass.CALL, self._cell.breaker.generation

    def answered(self, now: float, first_token_seconds: float | None, cache_read_share: float | None = None) -> None:
        if self._is_over:
            return
        self._end()
        spot = self._cell.spot
        if not self._has_spoken and first_token_seconds is not None:
            spot.latency.observe(first_token_seconds, now)
        if cache_read_share is not None:
            spot.cache_share += (cache_read_share - spot.cache_share) * _CACHE_WEIGHT
        spot.tally.add(now)
        self._succeed(now)

    def failed(self, now: float, failure: Failure) -> None:
        if self._is_over:
            return
        self._end()
        cell, kind = self._cell, failure.kind
        if cell.is_staged:
            cell.spot.tally.add(now, 1)
            return
        # A name that the vendor does not know may be the caller's own: one caller's 404 keeps nobody else away.
        is_unknown = failure.error.status == _NOT_FOUND
        if not is_unknown and (kind is FailureClass.SERVER or kind is FailureClass.TIMEOUT):
            self._fail(now, is_timeout=kind is FailureClass.TIMEOUT)
            return
        cell.breaker.left(self._how, self._generation)
        if kind is FailureClass.RATE:
            cell.spot.tally.add(now, 1)
            self._spare(now)
            cell.pause.asked(now, self._began, failure.retry_after_seconds)
            self._watcher.paused(cell, now)
        elif kind is FailureClass.CREDENTIAL:
            cell.spot.tally.add(now, 1)
            self._refuse(now, failure)
        else:
            # The caller's own mistake, or what the vendor will not talk of: says nothing about the target.
            self._spare(now)

    def left(self, now: float) -> None:
        if self._is_over:
            return
        self._end()
        cell = self._cell
        waited = now - self._began
        if not self._has_spoken:
            cell.spot.latency.at_least(waited, now)
        if self._has_spoken or cell.is_staged or not cell.spot.is_silent(waited):
            cell.breaker.left(self._how, self._generation)
        else:
            before = cell.breaker.state
            cell.breaker.silent(self._rule, self._how, self._generation, now, self._watcher.chance())
            if cell.breaker.state is not before:
                self._watcher.turned(cell, before, now)
        self._spare(now)

    def _end(self) -> None:
        self._is_over = True
        self._cell.spot.in_flight -= 1

    def _succeed(self, now: float) -> None:
        cell = self._cell
        breaker = cell.breaker
        before = breaker.state
        breaker.succeeded(self._rule, self._how, self._generation, now)
        if breaker.state is not before:
            self._watcher.turned(cell, before, now)
        if cell.pause.until:
            cell.pause.answered(self._began)
        if cell.quarantine.is_on:
            cell.quarantine.answered(self._began)
        if cell.refusals.in_a_row:
            cell.refusals.answered(self._began)

    def _fail(self, now: float, *, is_timeout: bool) -> None:
        cell = self._cell
        breaker, before = cell.breaker, cell.breaker.state
        cell.spot.tally.add(now, 1)
        if is_timeout and not self._has_spoken:
            cell.spot.latency.at_least(now - self._began, now)
        self._spare(now)
        breaker.failed(self._rule, self._how, self._generation, now, self._watcher.chance())
        if breaker.state is not before:
            self._watcher.turned(cell, before, now)

    def _refuse(self, now: float, failure: Failure) -> None:
        cell, code = self._cell, failure.error.code
        cell.quarantine.refused(now, self._began, code)
        if not failure.is_of_model:
            cell.refusals.refused(now, self._began, code)
        self._watcher.quarantined(cell, now)

    def _spare(self, now: float) -> None:
        """If this call was to find out about a credential, another one has to."""
        cell = self._cell
        if cell.quarantine.is_on:
            cell.quarantine.left(self._began, now)
        if cell.refusals.quarantine.is_on:
            cell.refusals.quarantine.left(self._began, now)
