"""A gate that is always open and remembers nothing: for a data plane whose targets nobody watches."""

from typing import Final

from tollkeeper.contracts.routing import BreakerRule, Fork, Place
from tollkeeper.gateway.provider import Failure
from tollkeeper.gateway.routing.health import UNKNOWN, Standing
from tollkeeper.gateway.routing.retry_budget import RetryBudget


class _NoTicket:
    def answered(self, now: float, first_token_seconds: float, cache_read_share: float | None = None) -> None:
        pass

    def failed(self, now: float, failure: Failure) -> None:
        pass

    def left(self, now: float) -> None:
        pass

    def speaks(self, now: float, first_token_seconds: float) -> None:
        pass


_NO_TICKET: Final = _NoTicket()


class OpenGate:
    """Retries are budgeted all the same, for all providers together."""

    def __init__(self) -> None:
        self._budget = RetryBudget(0.0)

    def standing(self, provider: str, model: str, now: float) -> Standing:  # noqa: ARG002 - the interface
        return UNKNOWN

    def is_rolled_back(self, fork: Fork, now: float) -> bool:  # noqa: ARG002 - the interface
        return False

    def enter(
        self,
        place: Place,  # noqa: ARG002 - the interface
        rule: BreakerRule,  # noqa: ARG002 - the interface
        now: float,  # noqa: ARG002 - the interface
        *,
        last_resort: bool = False,  # noqa: ARG002 - the interface
    ) -> _NoTicket:
        return _NO_TICKET

    def blocked(self, place: Place, now: float) -> tuple[str, float]:  # noqa: ARG002 - the interface
        return "", 0.0

    def retry_budget(self, provider: str, now: float) -> RetryBudget:  # noqa: ARG002 - the interface
        return self._budget
