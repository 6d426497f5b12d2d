"""What one is: the view a decision has of its targets, and the say a breaker has in each attempt.

`Health` is kept per worker, by what its own calls met; others' troubles reach it as hints. Times are seconds of the
monotonic clock, given by whoever asks.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from tollkeeper.contracts.routing import BreakerRule, Fork, Place
from tollkeeper.gateway.provider import Failure
from tollkeeper.gateway.routing.retry_budget import RetryBudget


@dataclass(slots=True)  # not frozen: made for each target of every call, and freezing doubles its price
class Standing:
    """Of a provider's model, over all its credentials."""

    # Peak EWMA of the time to the first token (whole answers: to the answer); None: nothing known.
    latency_seconds: float | None = None
    # 95th percentile of the same; None: too few calls to say.
    p95_seconds: float | None = None
    in_flight: int = 0
    # No credential may be used before this time; 0: at least one may, if only as a trial.
    blocked_until: float = 0.0
    # Share of the input that the vendor read from its prompt cache, 0 to 1.
    cache_read_share: float = 0.0


UNKNOWN: Final = Standing()
QUARANTINED: Final = "quarantined"


class HealthView(Protocol):
    def standing(self, provider: str, model: str, now: float) -> Standing: ...

    def is_rolled_back(self, fork: Fork, now: float) -> bool:
        """Whether the second branch of a `canary` fork failed too often to get its share."""
        ...


class Ticket(Protocol):
    """One attempt that was let through. Exactly one of its ends is told, once; a second one is ignored."""

    def speaks(self, now: float, first_token_seconds: float) -> None:
        """A stream's first content is there; its end is told later. A trial need not wait for the end of a long one."""
        ...

    def answered(self, now: float, first_token_seconds: float, cache_read_share: float | None = None) -> None: ...

    def failed(self, now: float, failure: Failure) -> None: ...

    def left(self, now: float) -> None:
        """Nobody waited for its end (caller gone, hedge lost, deadline of the caller): says nothing about the target."""
        ...


class Gate(HealthView, Protocol):
    def enter(self, place: Place, rule: BreakerRule, now: float, *, last_resort: bool = False) -> Ticket | None:
        """None: its breaker is open, its credential in quarantine, or it asked for a pause (`Retry-After`).

        `last_resort`: nothing else is left to call. A breaker that is open lets the call through then, unless the place
        seems dead: without an alternative some failures are better than no answer at all.
        """
        ...

    def blocked(self, place: Place, now: float) -> tuple[str, float]:
        """Why `enter` said None (`breaker_open`, `quarantined`, `paused`), and the seconds until it may be asked again.

        Where the credential was refused for another reason than itself, that follows: `quarantined: upstream_quota`.
        """
        ...

    def retry_budget(self, provider: str, now: float) -> RetryBudget: ...
