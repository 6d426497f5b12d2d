"""Every target a worker has called: implements `health.Gate` for its calls, and the report for its operators.

Decisions are made here, by what this worker's own calls met. An opening is told to the others as a hint, and theirs
make a place here suspect for a while; without Redis there are none. Nothing here waits for anything.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.contracts.catalog import ProviderConfig, Snapshot
from tollkeeper.contracts.routing import BreakerRule, Fork, Place
from tollkeeper.contracts.target_health import TargetHealth, reset_subject
from tollkeeper.core.errors import UpstreamError
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.provider import Failure
from tollkeeper.gateway.routing.breaker import Pass, State
from tollkeeper.gateway.routing.canary import branch_places, canary_name, canary_places, is_failing
from tollkeeper.gateway.routing.catalogue import Names, named_places
from tollkeeper.gateway.routing.health import QUARANTINED, UNKNOWN, Standing
from tollkeeper.gateway.routing.hints import MOST_SECONDS, Hint, HintKind, read_hint, write_hint
from tollkeeper.gateway.routing.place import Cell, Refusals, Spot, Visit
from tollkeeper.gateway.routing.retry_budget import RetryBudget

log = structlog.get_logger(__name__)

MOST_SPOTS: Final = 4_096
# A model asked for by a `prefix*` has the caller's own name: there may be any number of them.
_DROPPED_AT_ONCE: Final = 512
_MOST_CANARIES: Final = 1_000
_JUDGED_EVERY: Final = 1.0
# A hint is worth this much more than the open time it tells of: the others' first call may come later.
_SUSPECT_LONGER: Final = 5.0
# What a refused credential is refused for, as a rule: says no more than that.
_AS_USUAL: Final = frozenset({None, "upstream_authentication", UpstreamError.code})


@dataclass(slots=True)
class _Canary:
    fork: Fork
    name: str
    canary: frozenset[tuple[str, str]]
    first: frozenset[tuple[str, str]]
    judge_at: float


@dataclass(slots=True)
class Notes:
    """What happened since the last look, by provider and model; of breakers also by their new state."""

    transitions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    pauses: Counter[Names] = field(default_factory=Counter)
    quarantines: Counter[Names] = field(default_factory=Counter)
    rollbacks: int = 0


class Line(Protocol):
    """To the other workers. Nothing waits or raises; what is lost is a hint less."""

    def tell(self, message: bytes) -> None: ...

    def tell_open(self, message: bytes, name: bytes, seconds: float) -> None:
        """Tell of an open breaker, also those who start before its time is over."""
        ...

    def forget_open(self, name: bytes) -> None: ...

    def recall_open(self) -> None:
        """What others told so comes to `Targets.hear_open` soon."""
        ...

    def keep(self, canary: str, message: bytes) -> None:
        """Tell of a roll-back, also those who start later."""
        ...

    def recall(self, canary: str) -> None:
        """If it was rolled back before our time, that comes as a hint soon."""
        ...

    def forget(self, canary: str) -> None: ...


class Targets:
    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        worker_id: UUID | None = None,
        chance: Callable[[], float] = random.random,
        line: "Line | None" = None,
        staged_kinds: Collection[str] = (),
    ) -> None:
        """`staged_kinds`: kinds of providers whose faults are what their callers asked them to play."""
        self.chance = chance
        self.worker_id = worker_id or uuid7()
        self.line = line
        self._notes = Notes()
        self._staged_kinds = frozenset(staged_kinds)
        self._snapshot = snapshot
        self._seen = snapshot()
        self._spots: dict[tuple[str, str], Spot] = {}
        self._refusals: dict[tuple[str, UUID | None], Refusals] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._canaries: dict[int, _Canary] = {}
        self._rolled_back: dict[str, None] = {}
        # Until others have told what they know.
        self._is_new = True

    def standing(self, provider: str, model: str, now: float) -> Standing:
        spot = self._spots.get((provider, model))
        if spot is None:
            return UNKNOWN
        return Standing(
            spot.latency.estimate(now), spot.p95(now), spot.in_flight, self._blocked_until(spot, now), spot.cache_share
        )

    def enter(self, place: Place, rule: BreakerRule, now: float, *, last_resort: bool = False) -> Visit | None:
        spot = self._spots.get((place.provider, place.model))
        cell = None if spot is None else spot.cells.get(place.credential_id)
        if cell is None:
            cell = self._add(place, now)
        spot = cell.spot
        breaker = cell.breaker
        if cell.quarantine.until > now or cell.refusals.quarantine.until > now:
            return None
        if cell.pause.until > now and (cell.pause.is_asked or not last_resort):
            return None
        if breaker.state is State.CLOSED:
            how = Pass.CALL
        else:
            before = breaker.state
            how = breaker.admit(rule, now, self.chance(), last_resort=last_resort)
            if breaker.state is not before:
                self.turned(cell, before, now)
            if how is Pass.REFUSED:
                return None
        if cell.quarantine.is_on:
            cell.quarantine.admit(now)
        if cell.refusals.quarantine.is_on:
            cell.refusals.quarantine.admit(now)
        spot.in_flight += 1
        spot.used = now
        return Visit(cell, rule, how, now, self)

    def blocked(self, place: Place, now: float) -> tuple[str, float]:
        cell = self._find(place)
        why = None if cell is None else cell.why(now)
        if cell is None or why is None:
            return "breaker_open", 0.0
        code = cell.refused_with()
        if why[0] == QUARANTINED and code not in _AS_USUAL:
            return f"{QUARANTINED}: {code}", why[1]
        return why

    def probed(self, place: Place, rule: BreakerRule, now: float, failure: Failure | None) -> None:
        """What a probe met. That it answers takes nothing from failures of calls; a failure is one like theirs."""
        cell = self._find(place) or self._add(place, now)
        if failure is None and not cell.needs_trial:
            return
        visit = self.enter(place, rule, now)
        if visit is None:
            return
        if failure is None:
            visit.answered(now, None)
        else:
            visit.failed(now, failure)

    def retry_budget(self, provider: str, now: float) -> RetryBudget:
        budget = self._budgets.get(provider)
        if budget is None:
            budget = self._budgets[provider] = RetryBudget(now)
        return budget

    def budgets(self) -> Iterable[tuple[str, RetryBudget]]:
        return self._budgets.items()

    def is_rolled_back(self, fork: Fork, now: float) -> bool:
        """Judged once a second at most. Rolled back it stays, for every worker, until it is reset or another one."""
        known = self._canaries.get(id(fork))
        if known is None or known.fork is not fork:
            known = self._meet(fork, now)
        if known.name in self._rolled_back:
            return True
        if now < known.judge_at or fork.canary is None:
            return False
        known.judge_at = now + _JUDGED_EVERY
        seconds = fork.canary.window_seconds
        canary, first = self._sums(known.canary, seconds, now), self._sums(known.first, seconds, now)
        if not is_failing(fork.canary, canary, first):
            return False
        self._roll_back(known.name)
        self._notes.rollbacks += 1
        log.warning("canary_rolled_back", policy=fork.name, calls=canary[0], failures=canary[1], others=first)
        if self.line is not None:
            self.line.keep(known.name, write_hint(Hint(HintKind.ROLLED_BACK, self.worker_id, canary=known.name)))
        return True

    def hear(self, message: bytes, now: float) -> None:
        """A hint of another worker. Whatever it says, only calls made here open a breaker here."""
        hint = read_hint(message)
        if hint is None:
            log.debug("hint_not_understood")
            return
        if hint.sender == self.worker_id:
            return
        if hint.canary is not None:
            self._roll_back(hint.canary)
        elif hint.kind is HintKind.PROBED:
            self._hear_probe(hint, now)
        elif hint.place is not None and hint.place.provider in self._snapshot().providers:
            cell = self._find(hint.place) or self._add(hint.place, now)
            cell.breaker.suspect(now + hint.seconds + _SUSPECT_LONGER)

    def recall(self) -> None:
        """Ask what others know: at the start, and when hints may have been missed."""
        if self.line is not None:
            self.line.recall_open()

    def hear_open(self, found: Sequence[tuple[bytes, float]], now: float) -> None:
        """Breakers of other workers, and for how many seconds they are open: at the start ours as well, where no call of
        ours has said anything yet; later they only make us more careful.
        """
        is_new, self._is_new = self._is_new, False
        for name, seconds in found:
            self._hear_open(name, min(seconds, MOST_SECONDS), now, is_new=is_new)

    def tell_probe(self, place: Place, seconds: float, *, is_well: bool) -> None:
        """To those who leave the asking to this worker; `seconds`: until the next one asks."""
        if self.line is not None:
            self.line.tell(write_hint(Hint(HintKind.PROBED, self.worker_id, place, seconds, is_well=is_well)))

    def reset(self, provider: str, now: float, *, model: str | None = None, credential_id: UUID | None = None) -> int:
        """Forget the troubles of a provider, or of one model or credential there; how many places had some."""
        count = 0
        for cell in self._cells():
            place = cell.place
            if place.provider != provider or (model is not None and place.model != model):
                continue
            if credential_id is not None and place.credential_id != credential_id:
                continue
            count += cell.why(now) is not None or cell.needs_trial
            before = cell.breaker.state
            cell.reset(now)
            if before is not State.CLOSED:
                self.turned(cell, before, now)
        for name in list(self._rolled_back):
            if any(its == provider and model in {None, other} for its, other in canary_places(name)):
                del self._rolled_back[name]
                if self.line is not None:
                    self.line.forget(name)
        return count

    def hear_reset(self, subject: UUID, now: float) -> None:
        """Somebody asked any worker for a reset; `subject` as `reset_subject` makes it."""
        for names in self._resettable():
            if reset_subject(*names) == subject:
                provider, model, credential_id = names
                count = self.reset(provider, now, model=model, credential_id=credential_id)
                log.info("targets_reset", provider=provider, model=model, count=count)
                return

    def report(self, now: float, tenant_id: UUID | None = None) -> list[TargetHealth]:
        cells = self._cells()
        if tenant_id is not None:
            named = named_places(self._snapshot(), tenant_id)
            cells = [cell for cell in cells if (cell.place.provider, cell.place.model) in named]
        return [_health(cell, now) for cell in cells]

    def models(self, provider: str) -> list[str]:
        """Those that were called there."""
        return [model for name, model in self._spots if name == provider]

    def states(self, now: float) -> Iterator[tuple[str, str, str]]:
        """Provider, model and state of each credential there."""
        for cell in self._cells():
            yield cell.place.provider, cell.place.model, _state(cell, now)

    def down(self, now: float) -> Mapping[str, str]:
        """Providers of which nothing that was called may be called as usual, and what keeps it."""
        kept: dict[str, set[str]] = {}
        well: set[str] = set()
        for cell in self._cells():
            why = cell.why(now)
            if why is None:
                well.add(cell.place.provider)
            else:
                kept.setdefault(cell.place.provider, set()).add(why[0])
        return {name: ", ".join(sorted(reasons)) for name, reasons in kept.items() if name not in well}

    def take_notes(self) -> Notes:
        notes, self._notes = self._notes, Notes()
        return notes

    def look(self, now: float) -> None:
        """Once in a while: forget providers that are gone, and the troubles of those that are configured anew."""
        snapshot, seen = self._snapshot(), self._seen
        if snapshot is seen:
            return
        self._seen = snapshot
        providers = snapshot.providers
        credentials = {name: _credential_ids(config) for name, config in providers.items()}
        self._refusals = {
            names: one for names, one in self._refusals.items() if names[1] in credentials.get(names[0], ())
        }
        self._spots = {names: spot for names, spot in self._spots.items() if names[0] in providers}
        for spot in self._spots.values():
            spot.cells = {key: cell for key, cell in spot.cells.items() if key in credentials[spot.provider]}
        self._budgets = {name: budget for name, budget in self._budgets.items() if name in providers}
        self._canaries.clear()
        for cell in self._cells():
            name, credential_id = cell.place.provider, cell.place.credential_id
            if not _is_same(seen.providers.get(name), providers[name], credential_id):
                before = cell.breaker.state
                cell.reset(now)
                if before is not State.CLOSED:
                    self.turned(cell, before, now)

    def turned(self, cell: Cell, before: State, now: float) -> None:
        breaker, place = cell.breaker, cell.place
        self._notes.transitions[place.provider, place.model, breaker.state] += 1
        if breaker.state is State.OPEN:
            seconds = breaker.until - now
            if before is State.CLOSED:
                log.warning(
                    "breaker_opened",
                    provider=place.provider,
                    model=place.model,
                    credential=place.credential_id,
                    why=breaker.why,
                )
            if self.line is not None and not breaker.is_hearsay:
                message = write_hint(Hint(HintKind.OPENED, self.worker_id, place, seconds))
                self.line.tell_open(message, self._name(place), seconds)
        elif breaker.state is State.CLOSED:
            if self.line is not None and not breaker.is_hearsay:
                self.line.forget_open(self._name(place))
            log.info("breaker_closed", provider=place.provider, model=place.model, credential=place.credential_id)

    def paused(self, cell: Cell, now: float) -> None:
        self._notes.pauses[cell.place.provider, cell.place.model] += 1
        log.info(
            "target_paused",
            provider=cell.place.provider,
            model=cell.place.model,
            seconds=round(cell.pause.until - now, 1),
        )

    def quarantined(self, cell: Cell, now: float) -> None:
        self._notes.quarantines[cell.place.provider, cell.place.model] += 1
        log.warning(
            "credential_quarantined",
            provider=cell.place.provider,
            model=cell.place.model,
            credential=cell.place.credential_id,
            seconds=round(cell.held_until() - now, 1),
        )

    def _blocked_until(self, spot: Spot, now: float) -> float:
        earliest = 0.0
        for cell in spot.cells.values():
            until = cell.blocked_until(now)
            if until == 0.0:
                return 0.0
            earliest = until if earliest == 0.0 else min(earliest, until)
        config = self._snapshot().providers.get(spot.provider)
        if config is not None and any(credential.id not in spot.cells for credential in config.credentials):
            return 0.0
        return earliest

    def _name(self, place: Place) -> bytes:
        return write_hint(Hint(HintKind.OPENED, self.worker_id, place))

    def _hear_open(self, name: bytes, seconds: float, now: float, *, is_new: bool) -> None:
        hint = read_hint(name)
        if hint is None or hint.sender == self.worker_id or hint.place is None:
            return
        place = hint.place
        config = self._snapshot().providers.get(place.provider)
        if config is None or place.credential_id not in _credential_ids(config) or config.kind in self._staged_kinds:
            return
        cell = self._find(place) or self._add(place, now)
        if is_new and cell.breaker.take_over(now + seconds, now):
            self.turned(cell, State.CLOSED, now)
        else:
            cell.breaker.suspect(now + seconds + _SUSPECT_LONGER)

    def _hear_probe(self, hint: Hint, now: float) -> None:
        """Closes and opens nothing: whatever is wrong here may be tried, and what fails next counts the more."""
        assert hint.place is not None
        for cell in self._cells():
            if (cell.place.provider, cell.place.credential_id) != (hint.place.provider, hint.place.credential_id):
                continue
            if hint.is_well:
                cell.hearten(now)
            else:
                cell.breaker.suspect(now + hint.seconds + _SUSPECT_LONGER)

    def _find(self, place: Place) -> Cell | None:
        spot = self._spots.get((place.provider, place.model))
        return None if spot is None else spot.cells.get(place.credential_id)

    def _add(self, place: Place, now: float) -> Cell:
        names = (place.provider, place.model)
        spot = self._spots.get(names)
        if spot is None:
            if len(self._spots) >= MOST_SPOTS:
                self._drop()
            spot = self._spots[names] = Spot(place.provider, place.model, now)
        refusals = self._refusals.setdefault((place.provider, place.credential_id), Refusals())
        config = self._snapshot().providers.get(place.provider)
        is_staged = config is not None and config.kind in self._staged_kinds
        cell = spot.cells[place.credential_id] = Cell(place, spot, refusals, now, is_staged=is_staged)
        return cell

    def _resettable(self) -> set[tuple[str, str | None, UUID | None]]:
        """Everything a reset here could be about."""
        known: set[tuple[str, str | None, UUID | None]] = {(name, None, None) for name in self._snapshot().providers}
        for cell in self._cells():
            place = cell.place
            for model in (None, place.model):
                known |= {(place.provider, model, None), (place.provider, model, place.credential_id)}
        return known | {
            (provider, model, None) for name in self._rolled_back for provider, model in canary_places(name)
        }

    def _drop(self) -> None:
        """Those unused for longest; calls that are still under way there end all the same."""
        oldest = sorted(self._spots.items(), key=lambda item: item[1].used)
        for names, _ in oldest[:_DROPPED_AT_ONCE]:
            del self._spots[names]

    def _cells(self) -> list[Cell]:
        return [cell for spot in self._spots.values() for cell in spot.cells.values()]

    def _meet(self, fork: Fork, now: float) -> _Canary:
        if len(self._canaries) >= _MOST_CANARIES:
            self._canaries.clear()
        first, canary = branch_places(fork, 0), branch_places(fork, 1)
        # A place that both branches lead to tells nothing of either.
        known = _Canary(fork, canary_name(fork), canary - first, first - canary, now + _JUDGED_EVERY)
        self._canaries[id(fork)] = known
        if self.line is not None:
            self.line.recall(known.name)
        return known

    def _roll_back(self, name: str) -> None:
        if len(self._rolled_back) >= _MOST_CANARIES:
            del self._rolled_back[next(iter(self._rolled_back))]
        self._rolled_back[name] = None

    def _sums(self, places: Collection[tuple[str, str]], seconds: float, now: float) -> tuple[int, int]:
        spots = [spot for names in places if (spot := self._spots.get(names)) is not None]
        sums = [spot.tally.sums(seconds, now) for spot in spots]
        return sum(calls for calls, _ in sums), sum(failures for _, failures in sums)


def _is_same(before: ProviderConfig | None, after: ProviderConfig, credential_id: UUID | None) -> bool:
    """Whether what the place was troubled with may still hold: the same address and options, the same secret."""
    if before is after:
        return True
    if before is None or before.base_url != after.base_url or before.options != after.options:
        return False
    if before.kind != after.kind or before.headers != after.headers or before.proxy_url != after.proxy_url:
        return False
    return _secret(before, credential_id) == _secret(after, credential_id)


def _credential_ids(config: ProviderConfig) -> frozenset[UUID | None]:
    return frozenset(credential.id for credential in config.credentials) or frozenset((None,))


def _secret(config: ProviderConfig, credential_id: UUID | None) -> str | None:
    return next((credential.secret for credential in config.credentials if credential.id == credential_id), None)


def _state(cell: Cell, now: float) -> str:
    why = cell.why(now)
    return cell.breaker.state.value if why is None or why[0] == "breaker_open" else why[0]


def _health(cell: Cell, now: float) -> TargetHealth:
    place, breaker, spot = cell.place, cell.breaker, cell.spot
    why = cell.why(now)
    calls, failures = breaker.window(60.0, now)
    return TargetHealth(
        provider=place.provider,
        model=place.model,
        credential_id=place.credential_id,
        state=_state(cell, now),
        why=breaker.why,
        since_seconds=max(0.0, now - breaker.since),
        until_seconds=None if why is None else why[1],
        latency_seconds=spot.latency.estimate(now),
        p50_seconds=spot.latency.quantile(0.5),
        p95_seconds=spot.p95(now),
        in_flight=spot.in_flight,
        calls=calls,
        failures=failures,
        is_suspect=breaker.is_suspect(now),
    )
