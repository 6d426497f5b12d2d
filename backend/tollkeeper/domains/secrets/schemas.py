"""What a look at the stored secrets tells, and what a rotation did. Names places and keys, never a value."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Wrapped:
    """How many envelopes of one column are wrapped by one key."""

    place: str
    kek_id: str
    count: int


@dataclass(frozen=True, slots=True)
class Peppered:
    """How many usable API keys are digested under one pepper."""

    pepper_id: str
    count: int


@dataclass(frozen=True, slots=True)
class Status:
    fingerprint: str | None
    envelopes: tuple[Wrapped, ...]
    keys: tuple[Peppered, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An envelope that was changed, or that a key wraps which we were not given. It is left as it is."""

    place: str
    id: UUID
    problem: str


@dataclass(slots=True)
class Rotated:
    """What one run did; `is_complete` says that nothing is left under another key."""

    rewrapped: dict[str, int] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    former_fingerprint: str | None = None
    is_complete: bool = False
    keys_to_upgrade: int = 0
    heads_renewed: int = 0

    @property
    def count(self) -> int:
        return sum(self.rewrapped.values())

    def document(self) -> dict[str, Any]:
        return {
            "is_complete": self.is_complete,
            "rewrapped": self.rewrapped,
            "unreadable": [{"place": row.place, "id": str(row.id), "problem": row.problem} for row in self.unreadable],
            "keys_to_upgrade": self.keys_to_upgrade,
            "heads_renewed": self.heads_renewed,
        }
