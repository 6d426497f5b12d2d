"""How a worker's targets are, for the control plane: plain figures, and the port they are read through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """A provider's model with one credential, as one worker's own calls met it. Times are seconds from now.

    `state`: `closed`, `open`, `half_open`, `paused` or `quarantined`; `calls` and `failures` of the last minute.
    """

    provider: str
    model: str
    credential_id: UUID | None
    state: str
    why: str | None
    since_seconds: float
    until_seconds: float | None
    latency_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    in_flight: int
    calls: int
    failures: int
    is_suspect: bool


class TargetsView(Protocol):
    """The breakers of this worker, for the control plane."""

    @property
    def worker_id(self) -> UUID: ...

    def report(self, now: float) -> Sequence[TargetHealth]: ...
