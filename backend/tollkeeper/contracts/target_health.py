"""How a worker's targets are, for the control plane: plain figures, and the port they are read through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid5

_RESET = UUID("6f1d2d3c-8f0c-4b0e-9f53-3c2a6d1e7b40")


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
    """The targets of the worker that is asked, for the control plane."""

    @property
    def worker_id(self) -> UUID: ...

    def report(self, now: float, tenant_id: UUID | None = None) -> Sequence[TargetHealth]:
        """Of one tenant: those that its models lead to."""
        ...

    def reset(self, provider: str, now: float, *, model: str | None = None, credential_id: UUID | None = None) -> int:
        """Forget their troubles, in this worker; how many had some."""
        ...


def reset_subject(provider: str, model: str | None, credential_id: UUID | None) -> UUID:
    """What an announcement (`Topic.TARGETS`) of a reset names: its readers compare it with those of what they know."""
    return uuid5(_RESET, "\n".join((provider, model or "", "" if credential_id is None else credential_id.hex)))
