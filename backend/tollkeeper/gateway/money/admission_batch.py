"""Operations that wait together become commands: one script call per space (one slot), at most 64 operations each. Pure.

What each operation says is in `admission.lua`. Places are numbered from one, as Lua does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from tollkeeper.gateway.money.terms import Pairs, Place, PlaceKind, gen_key, holds_key

MAX_OPERATIONS: Final = 64
ADMIT_REPLIES: Final = 11

Argument = bytes | str | int


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


@dataclass(slots=True, eq=False)
class Operation:
    """One thing to do, in words: `head`, the pairs with their count before them, `tail`.

    `tell` gets its part of the reply, None when there is none. `weight`: how many calls it is about. Calls that look alike
    share their `pairs`, which nobody changes.
    """

    space: UUID
    head: bytes
    pairs: Pairs
    tail: bytes = b""
    replies: int = 0
    tell: "Tell | None" = None
    weight: int = 1

    def answer(self, entry: "Group | None", reply: "list[int] | None") -> None:
        # What is told usually knows the operation: a circle that would wait for the collector.
        tell, self.tell = self.tell, None
        if tell is not None:
            tell(self, entry, reply)


# The group tells what place a number means. It and the reply are None when nothing came back.
Tell = Callable[[Operation, "Group | None", "list[int] | None"], None]
_NO_REPLY: Final[list[int]] = []


@dataclass(slots=True, eq=False)
class Group:
    """What goes to the script in one call."""

    space: UUID
    numbers: dict[bytes, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    arguments: list[bytes] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    weight: int = 0
    # Pairs in words, by their identity: the operations keep them.
    _words: dict[int, bytes] = field(default_factory=dict)

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)
        self.weight += operation.weight
        pairs = operation.pairs
        words = self._words.get(id(pairs))
        if words is None:
            words = self._words[id(pairs)] = self._say(pairs)
        self.arguments.append(b"%b %b %b" % (operation.head, words, operation.tail))

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
            if count:
                operation.answer(self, reply[at : at + count])
                at += count
            else:
                operation.answer(self, _NO_REPLY)

    def _say(self, pairs: Pairs) -> bytes:
        numbers = self.numbers
        words = [b"%d" % len(pairs)]
        for place, number in pairs:
            words.append(b"%d %d" % (numbers.get(place.key) or self._number(place), number))
            if place.rule is not None and self.places[numbers[place.key] - 1].rule is None:
                # Known by its name only so far.
                self._replace(place)
        return b" ".join(words)

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
    entry: Group | None = None
    for operation in operations:
        # Mostly the same object as before, and an id of ours takes long to hash.
        if entry is None or operation.space is not entry.space:
            entry = current.get(operation.space)
        if entry is None or entry.weight + operation.weight > MAX_OPERATIONS:
            entry = current[operation.space] = Group(operation.space)
            groups.append(entry)
        entry.add(operation)
    return groups
