"""Operations that wait together become commands: one script call per space (one slot), at most 64 operations each. Pure.

What each operation says is in `admission.lua`. Places are numbered from one, as Lua does.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from tollkeeper.gateway.money.terms import Place, PlaceKind, gen_key, holds_key

MAX_OPERATIONS: Final = 64
ADMIT_REPLIES: Final = 11

Argument = bytes | str | int
Pairs = Sequence[tuple[Place, int]]


class Code:
    """What an admission answers beside 0, admitted."""

    RATE: Final = 1
    BUDGET: Final = 2
    UNTRUSTED: Final = -1
    UNKNOWN: Final = -2
    VOIDED: Final = -3


class Verdict(NamedTuple):
    """What the script says to one call. Places are numbers of the batch, 0 for none; times in microseconds.

    `took`: 1 the full amount is held, 2 the forecast, 0 nothing. The two triples tell, for requests and for tokens, the
    place with the least room, what would be admitted there right now, and when it is full again.
    """

    code: int
    place: int
    wait_us: int
    took: int
    requests_place: int
    requests_left: int
    requests_reset_us: int
    tokens_place: int
    tokens_left: int
    tokens_reset_us: int
    shadow_refusals: int


# The group tells what place a number means. Both are None when nothing came back.
Tell = Callable[["Group | None", "list[int] | None"], None]


@dataclass(slots=True, eq=False)
class Operation:
    """One thing to do. `head` comes before the count of pairs; `tell` gets its part of the reply, None when there is none."""

    space: UUID
    head: tuple[Argument, ...]
    pairs: Pairs
    replies: int = 0
    tell: Tell | None = None

    def answer(self, entry: "Group | None", reply: "list[int] | None") -> None:
        # What is told usually knows the operation: a circle that would wait for the collector.
        tell, self.tell = self.tell, None
        if tell is not None:
            tell(entry, reply)


@dataclass(slots=True, eq=False)
class Group:
    """What goes to the script in one call."""

    space: UUID
    numbers: dict[bytes, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)
        arguments = self.arguments
        arguments += operation.head
        pairs = operation.pairs
        arguments.append(len(pairs))
        numbers = self.numbers
        for place, number in pairs:
            arguments.append(numbers.get(place.key) or self._number(place))
            arguments.append(number)
            if place.rule is not None and self.places[numbers[place.key] - 1].rule is None:
                # Known by its name only so far.
                self._replace(place)

    def command(
        self, verb: bytes, script: bytes, run_id: Argument, owner: Argument, now_us: int
    ) -> tuple[Argument, ...]:
        numbers = self.numbers
        command: list[Argument] = [verb, script, len(numbers) + 2, gen_key(self.space), holds_key(self.space), *numbers]
        command += (now_us, run_id, owner, len(numbers))
        for place in self.places:
            three = place.three if place.before is None else numbers[place.before.key]
            command += (place.kind, place.one, place.two, three, place.until_ms)
        command += self.arguments
        return tuple(command)

    def hear(self, reply: list[int]) -> None:
        at = 0
        for operation in self.operations:
            count = operation.replies
            operation.answer(self, reply[at : at + count])
            at += count

    def _number(self, place: Place) -> int:
        if place.before is not None and place.before.key not in self.numbers:
            self._number(place.before)
        self.places.append(place)
        number = self.numbers[place.key] = len(self.places)
        return number

    def _replace(self, place: Place) -> None:
        if place.before is not None and place.before.key not in self.numbers:
            self._number(place.before)
        self.places[self.numbers[place.key] - 1] = place


def named_counter(key: bytes) -> Place:
    """A budget's counter of which only the name is known: enough to settle and to forget, never to admit."""
    # It begins at no time, so that it is not taken for one that begins now.
    return Place(key, PlaceKind.SOFT, 0, 0)


def group(operations: Iterable[Operation]) -> list[Group]:
    """By space, in their order; a space with more than `MAX_OPERATIONS` gets several groups."""
    groups: list[Group] = []
    current: dict[UUID, Group] = {}
    for operation in operations:
        entry = current.get(operation.space)
        if entry is None or len(entry.operations) == MAX_OPERATIONS:
            entry = current[operation.space] = Group(operation.space)
            groups.append(entry)
        entry.add(operation)
    return groups
