"""One call that wants to run, and the lane of a provider that takes so many at a time."""

from enum import IntEnum
from typing import Final
from uuid import UUID

from tollkeeper.gateway.pressure.drain_rate import DrainRate


class Priority(IntEnum):
    """Higher ones are served first while calls wait; nobody who runs is interrupted."""

    BATCH = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3


class Place(IntEnum):
    """Where an entry is. It goes from left to right and never back."""

    NEW = 0
    WAITING = 1
    RUNNING = 2
    GONE = 3


# Looked up once: every call passes three of them.
NEW: Final = Place.NEW
WAITING: Final = Place.WAITING
RUNNING: Final = Place.RUNNING
GONE: Final = Place.GONE


class Lane:
    """A provider that runs at most `most` calls at once. `ended`: how many have left it, well or not."""

    __slots__ = ("ended", "most", "name", "rate", "running", "waiting")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.running = 0
        self.waiting = 0
        self.ended = 0
        self.rate = DrainRate()

    @property
    def has_room(self) -> bool:
        return self.running < self.most


class Entry:
    """`lane` None: a provider without a bound of its own. Times are seconds of the monotonic clock."""

    __slots__ = ("give_up_at", "lane", "number", "place", "priority", "since", "tenant_id")

    # Of those that wait: since when, until when, and the order in which they came. Most calls never do.
    since: float
    give_up_at: float
    number: int

    def __init__(self, tenant_id: UUID, lane: Lane | None, priority: Priority) -> None:
        self.tenant_id = tenant_id
        self.lane = lane
        self.priority = priority
        self.place: Place = NEW
