"""Calls served without a price: each is counted, and the log says once an hour which models have none.

Whoever would rather refuse them sets `unpriced: block` (`stages/resolve.py`). Budgets cannot count such calls.
"""

from typing import Final

import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.gateway.metrics import Metrics

log = structlog.get_logger(__name__)

REMIND_SECONDS: Final = 3_600.0
# Names under a wildcard are the callers'; beyond so many the counter alone tells.
_MOST: Final = 1_000


class UnpricedCalls:
    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        # When to say it again, and how often it happened since it was said.
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, route: str, model: str, provider: str) -> None:
        """`route` is the catalog's name, of which there are few; `model` the provider's, which wants a price."""
        self._metrics.unpriced_call(route, provider)
        now = self._clock.monotonic()
        again, since = self._told.get((model, provider), (now, 0))
        if now < again:
            self._told[model, provider] = (again, since + 1)
            return
        if len(self._told) >= _MOST:
            self._told = {key: value for key, value in self._told.items() if now < value[0]}
            if len(self._told) >= _MOST:
                return
        self._told[model, provider] = (now + REMIND_SECONDS, 0)
        log.warning("unpriced_calls", model=model, provider=provider, calls=since + 1, remedy="prices update")
