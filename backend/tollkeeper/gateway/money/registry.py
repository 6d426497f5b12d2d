"""What this worker holds: every call that is open or not in the ledger yet, so that Redis can be told again.

Redis forgets when it is flushed or restarted, and misses what happens while it is away. Whatever is said here may be
said twice: a put tells the amount, not a difference, and a sequence tells old from new.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from tollkeeper.contracts.money import PLATFORM, ScopeKind, Spend
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.money.admission_batch import Group, Operation, Tell, named_counter
from tollkeeper.gateway.money.hold import Hold, Part
from tollkeeper.gateway.money.terms import OF_PLATFORM, Measured, Place, counter_key

RENEW_SECONDS: Final = 10.0
# A call of another worker whose rows we shipped: its other rows come within this time, then its record may go.
LATER_SECONDS: Final = 15.0
MAX_UNTOLD: Final = 100_000
Post = Callable[[Operation], None]


class Registry:
    def __init__(self, post: Post, clock: Clock) -> None:
        self._post_once = post
        self._clock = clock
        self._holds: dict[UUID, Hold] = {}
        # Calls with leases, while they are open.
        self._leased: dict[UUID, Hold] = {}
        self._untold: deque[Operation] = deque(maxlen=MAX_UNTOLD)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer = loop.call_later(RENEW_SECONDS, self._renew)

    def close(self) -> None:
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    def __len__(self) -> int:
        return len(self._holds)

    def holds_of(self, space: UUID) -> Iterator[tuple[Hold, Part]]:
        """What this worker has put aside in a space, settled calls that are not in the ledger yet among them."""
        for hold in list(self._holds.values()):
            for part in hold.parts:
                if part.terms.space == space and part.terms.budgets:
                    yield hold, part

    def spaces(self) -> set[UUID]:
        """Where this worker has put something aside."""
        return {part.terms.space for hold in self._holds.values() for part in hold.parts if part.terms.budgets}

    def dropped(self, hold: Hold) -> None:
        """The call is not made after all; say so to Redis afterwards."""
        self._holds.pop(hold.request_id, None)
        self._leased.pop(hold.request_id, None)

    def opened(self, hold: Hold) -> None:
        if any(part.terms.budgets for part in hold.parts):
            self._holds[hold.request_id] = hold
        if any(part.terms.slots for part in hold.parts):
            self._leased[hold.request_id] = hold
        if hold.is_untold:
            for part in hold.parts:
                if part.terms.budgets:
                    self.put(hold, part)

    def put(self, hold: Hold, part: Part) -> None:
        """Say what is held in one space now."""
        pairs = [(place, 1) for place in part.terms.budgets]
        self._tell(Operation(part.terms.space, _put(hold, part), pairs))

    def settle(
        self, hold: Hold, charge_nano: int, rows: int, tokens: tuple[int, int], own_tokens: tuple[int, int] | None
    ) -> None:
        if hold.is_settled:
            return
        hold.is_settled = True
        hold.sequence += 1
        self._leased.pop(hold.request_id, None)
        hold.held_nano = charge_nano
        hold.rows += rows
        if not rows:
            self._holds.pop(hold.request_id, None)
        for part in hold.parts:
            self._settle_part(hold, part, rows, tokens, own_tokens)
        if rows and hold.rows <= 0:
            # Every row is in the ledger already.
            self._forget_own(hold)

    def acknowledge(self, settlements: Sequence[Settlement], spends: Sequence[Spend]) -> None:
        for spend in spends:
            self.set_base(spend)
        others: list[Settlement] = []
        for settlement in settlements:
            if not settlement.intent.budgets:
                continue
            hold = self._holds.get(settlement.intent.hold_id)
            if hold is None:
                others.append(settlement)
                continue
            hold.rows -= 1
            if hold.rows <= 0 and hold.is_settled:
                self._forget_own(hold)
        if others and self._loop is not None:
            self._loop.call_later(LATER_SECONDS, self._forget_others, others)

    def set_base(self, spend: Spend) -> None:
        """Say what the ledger holds of a counter; an older figure than Redis has changes nothing."""
        self._tell(_base(spend))

    async def set_bases(self, spends: Sequence[Spend]) -> bool:
        """As `set_base`; True when Redis took all of them."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[bool]] = []
        for spend in spends:
            answer: asyncio.Future[bool] = loop.create_future()
            answers.append(answer)
            self._post_once(_base(spend, partial(_told, answer)))
        return all(await asyncio.gather(*answers))

    async def push(self, space: UUID) -> bool:
        """Say everything this worker holds in a space; False when Redis did not take all of it."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[bool]] = []
        for hold, part in self.holds_of(space):
            answer: asyncio.Future[bool] = loop.create_future()
            answers.append(answer)
            pairs = [(place, 1) for place in part.terms.budgets]
            self._post_once(Operation(space, _put(hold, part), pairs, tell=partial(_told, answer)))
        return all(await asyncio.gather(*answers))

    def tell_again(self) -> None:
        """Redis is there again."""
        untold, self._untold = self._untold, deque(maxlen=MAX_UNTOLD)
        for operation in untold:
            self._tell(operation)

    def void(self, operation: Operation) -> None:
        """Leave word that a call, of which nobody knows whether it was admitted, is none."""
        self._tell(operation)

    def _settle_part(
        self, hold: Hold, part: Part, rows: int, tokens: tuple[int, int], own_tokens: tuple[int, int] | None
    ) -> None:
        terms = part.terms
        places: list[tuple[Place, int]] = []
        if terms.counts_tokens and (rows or own_tokens is not None):
            places += _corrections(part, tokens, tokens if own_tokens is None else own_tokens)
        if not rows:
            # Other attempts of the call were made elsewhere. What is voided is given back: the other way round.
            places = [(place, -number) for place, number in places]
            places += [(place, 0) for place in terms.slots]
            places += [(place, 1) for place in terms.budgets]
            if places:
                self._tell(Operation(terms.space, (b"v", hold.request_id.hex, 1), places))
            return
        places += [(place, 0) for place in terms.slots]
        places += [(place, 1) for place in terms.budgets]
        if places:
            self._tell(Operation(terms.space, _put(hold, part, with_payload=False), places))

    def _forget_own(self, hold: Hold) -> None:
        self._holds.pop(hold.request_id, None)
        for part in hold.parts:
            if part.terms.budgets:
                self._forget(part.terms.space, hold.request_id, [(place, 0) for place in part.terms.budgets])

    def _forget(self, space: UUID, request_id: UUID, pairs: Sequence[tuple[Place, int]]) -> None:
        self._tell(Operation(space, (b"f", request_id.hex), pairs))

    def _forget_others(self, settlements: Sequence[Settlement]) -> None:
        """Calls of workers that died, whose rows came to the ledger through us."""
        for settlement in settlements:
            intent = settlement.intent
            spaces: dict[UUID, list[tuple[Place, int]]] = {}
            for ref in intent.budgets:
                space = PLATFORM if ref.startswith(OF_PLATFORM) else intent.tenant_id
                place = named_counter(counter_key(space, ref.removeprefix(OF_PLATFORM)))
                spaces.setdefault(space, []).append((place, 0))
            for space, pairs in spaces.items():
                self._forget(space, intent.hold_id, pairs)

    def _renew(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)
        now_ms = int(self._clock.unix() * 1000)
        for hold in self._leased.values():
            if now_ms - hold.opened_ms >= RENEW_SECONDS * 1000:
                for part in hold.parts:
                    if part.terms.slots:
                        pairs = [(place, 0) for place in part.terms.slots]
                        self._post_once(Operation(part.terms.space, (b"n", hold.request_id.hex), pairs))

    def _tell(self, operation: Operation) -> None:
        operation.tell = partial(self._told, operation)
        self._post_once(operation)

    def _told(self, operation: Operation, _entry: Group | None, reply: list[int] | None) -> None:
        if reply is not None:
            return
        # It may have been done: what is said again must not move a rate again.
        operation.pairs = [pair for pair in operation.pairs if pair[0].ref or pair[0].rule is None]
        if operation.pairs:
            self._untold.append(operation)


def _corrections(part: Part, tokens: tuple[int, int], own_tokens: tuple[int, int]) -> list[tuple[Place, int]]:
    """By how much each token rate was counted too low; a provider's own counts what that provider got."""
    found = []
    for place, taken in part.pairs:
        if place.measured is not Measured.ONE:
            is_own = place.rule is not None and place.rule.scope.kind is ScopeKind.PROVIDER
            of_input, of_output = own_tokens if is_own else tokens
            actual = (1, of_input, of_output, of_input + of_output)[place.measured]
            if actual != taken:
                found.append((place, actual - taken))
    return found


def _put(hold: Hold, part: Part, *, with_payload: bool = True) -> tuple[bytes | str | int, ...]:
    refs = ",".join(part.terms.refs) or "-"
    state = b"s" if hold.is_settled else b"h"
    payload = hold.payload if with_payload else b""
    return (b"p", hold.request_id.hex, hold.sequence, state, hold.held_nano, hold.opened_ms, refs, payload)


def _base(spend: Spend, tell: Tell | None = None) -> Operation:
    place = named_counter(counter_key(spend.tenant_id, spend.ref))
    return Operation(spend.tenant_id, (b"i", spend.spent_nano, spend.version), [(place, 0)], tell=tell)


def _told(answer: "asyncio.Future[bool]", _entry: Group | None, reply: list[int] | None) -> None:
    if not answer.done():
        answer.set_result(reply is not None)
