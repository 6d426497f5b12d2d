"""What this worker holds: every call that is open or not in the ledger yet, so that Redis can be told again.

Redis forgets when it is flushed or restarted, and misses what happens while it is away. Whatever is said here may be
said twice: a put tells the amount, not a difference, and a sequence tells old from new.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from tollkeeper.contracts.money import PLATFORM, ScopeKind, Spend
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.clock import Clock
from tollkeeper.gateway.money.admission_batch import MAX_OPERATIONS, Group, Operation, Tell, named_counter
from tollkeeper.gateway.money.hold import Hold, Part
from tollkeeper.gateway.money.terms import OF_PLATFORM, Measured, Pairs, Place, Terms, counter_key

RENEW_SECONDS: Final = 10.0
# A call of another worker whose rows we shipped: its other rows come within this time, then its record may go.
LATER_SECONDS: Final = 15.0
MAX_UNTOLD: Final = 100_000
# As many calls as one batch takes of anything.
_FORGOTTEN_AT_ONCE: Final = MAX_OPERATIONS // 4
Post = Callable[[Operation], None]


class Registry:
    def __init__(self, post: Post, clock: Clock) -> None:
        self._post_once = post
        self._clock = clock
        # By the number that is their id, which takes a fraction of the time to hash.
        self._holds: dict[int, Hold] = {}
        # Calls with leases, while they are open.
        self._leased: dict[int, Hold] = {}
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
        self._holds.pop(hold.request_id.int, None)
        self._leased.pop(hold.request_id.int, None)

    def opened(self, hold: Hold) -> None:
        for part in hold.parts:
            if part.terms.budgets:
                self._holds[hold.request_id.int] = hold
            if part.terms.slots:
                self._leased[hold.request_id.int] = hold
        if hold.is_untold:
            for part in hold.parts:
                if part.terms.budgets:
                    self.put(hold, part)

    def put(self, hold: Hold, part: Part) -> None:
        """Say what is held in one space now."""
        self._tell(_put(hold, part, hold.payload))

    def settle(
        self, hold: Hold, charge_nano: int, rows: int, tokens: tuple[int, int], own_tokens: tuple[int, int] | None
    ) -> None:
        if hold.is_settled:
            return
        hold.is_settled = True
        hold.sequence += 1
        number = hold.request_id.int
        if self._leased:
            self._leased.pop(number, None)
        hold.held_nano = charge_nano
        hold.rows += rows
        if not rows:
            self._holds.pop(number, None)
        for part in hold.parts:
            self._settle_part(hold, part, rows, tokens, own_tokens)
        if rows and hold.rows <= 0:
            # Every row is in the ledger already.
            self._forget_own([hold])

    def acknowledge(self, settlements: Sequence[Settlement], spends: Sequence[Spend]) -> None:
        for spend in spends:
            self.set_base(spend)
        others: list[Settlement] = []
        done: list[Hold] = []
        holds = self._holds
        for settlement in settlements:
            intent = settlement.intent
            if not intent.budgets:
                continue
            hold = holds.get(intent.request_id.int if not intent.hold else intent.hold_id.int)
            if hold is None:
                others.append(settlement)
                continue
            hold.rows -= 1
            if hold.rows <= 0 and hold.is_settled:
                done.append(hold)
        self._forget_own(done)
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
            operation = _put(hold, part, hold.payload)
            operation.tell = partial(_told, answer)
            self._post_once(operation)
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
        if rows and not terms.counts_tokens:
            if terms.kept:
                self._tell(_put(hold, part, b"", terms.kept))
            return
        places: list[tuple[Place, int]] = []
        if terms.counts_tokens and (rows or own_tokens is not None):
            places += _corrections(part, tokens, tokens if own_tokens is None else own_tokens)
        if not rows:
            # Other attempts of the call were made elsewhere. What is voided is given back: the other way round.
            places = [(place, -number) for place, number in places]
            places += [(place, 0) for place in terms.slots]
            places += [(place, 1) for place in terms.budgets]
            if places:
                self._tell(Operation(terms.space, b"v %b 1" % hold.name, places))
            return
        places += terms.kept
        if places:
            self._tell(_put(hold, part, b"", places))

    def _forget_own(self, holds: Iterable[Hold]) -> None:
        """Calls under the same terms together: most are."""
        names: dict[Terms, list[bytes]] = {}
        for hold in holds:
            self._holds.pop(hold.request_id.int, None)
            for part in hold.parts:
                if part.terms.budgets:
                    names.setdefault(part.terms, []).append(hold.name)
        for terms, found in names.items():
            for start in range(0, len(found), _FORGOTTEN_AT_ONCE):
                some = found[start : start + _FORGOTTEN_AT_ONCE]
                self._tell(Operation(terms.space, b"f", terms.gone, b" ".join(some), weight=len(some)))

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
                self._tell(Operation(space, b"f", pairs, intent.hold_id.hex.encode()))

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
                        self._post_once(Operation(part.terms.space, b"n " + hold.name, pairs))

    def _tell(self, operation: Operation) -> None:
        operation.tell = self._told
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


def _put(hold: Hold, part: Part, payload: bytes, pairs: Pairs | None = None) -> Operation:
    """What is held in one space now. `pairs` where something else is to be told with it."""
    terms = part.terms
    head = b"p %b %d %b %d %d %b" % (
        hold.name,
        hold.sequence,
        b"s" if hold.is_settled else b"h",
        hold.held_nano,
        hold.opened_ms,
        terms.said_refs,
    )
    return Operation(terms.space, head, terms.held if pairs is None else pairs, payload)


def _base(spend: Spend, tell: Tell | None = None) -> Operation:
    place = named_counter(counter_key(spend.tenant_id, spend.ref))
    return Operation(spend.tenant_id, b"i %d %d" % (spend.spent_nano, spend.version), [(place, 0)], tell=tell)


def _told(answer: "asyncio.Future[bool]", _operation: Operation, _entry: Group | None, reply: list[int] | None) -> None:
    if not answer.done():
        answer.set_result(reply is not None)
