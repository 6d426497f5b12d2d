"""Appraises calls for `admit`: what each may come to, by the prices, forecasts and counts of this worker.

It learns from the calls it has appraised, when they have ended: nobody else's output is asked about.
"""

from collections.abc import Sequence
from functools import partial

from tollkeeper.contracts.routing import FallbackKind, Target
from tollkeeper.gateway.money.appraise import appraise, appraise_exactly
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.stage import Exchange, Outcome


class Appraiser:
    def __init__(self, forecasts: Forecasts | None = None) -> None:
        self.forecasts = forecasts or Forecasts()

    def __call__(self, exchange: Exchange) -> Appraisal:
        """By the cheap bound, a token a byte."""
        self._follow(exchange)
        return appraise(
            exchange.call,
            exchange.route,
            exchange.principal,
            reachable(exchange),
            self.forecasts,
            snapshot=exchange.snapshot,
        )

    async def exactly(self, exchange: Exchange) -> Appraisal:
        """By counting the text."""
        self._follow(exchange)
        return await appraise_exactly(
            exchange.call,
            exchange.route,
            exchange.principal,
            reachable(exchange),
            self.forecasts,
            snapshot=exchange.snapshot,
        )

    def _follow(self, exchange: Exchange) -> None:
        if exchange.appraisal is None:
            exchange.on_finish(partial(self._learn, exchange))

    def _learn(self, exchange: Exchange, outcome: Outcome) -> None:  # noqa: ARG002 - the interface
        if not exchange.tries:
            return
        usage = exchange.tries[-1].usage
        # An answer that was broken off says nothing about how long such answers are.
        if usage is not None and usage.completion_tokens:
            self.forecasts.learn(exchange.call.model, exchange.principal.key_id, usage.completion_tokens)


def reachable(exchange: Exchange) -> Sequence[Target]:
    """Wherever this call may go without being asked about again: one hold pays for the dearest of them."""
    if not exchange.fallbacks:
        return exchange.plan
    others = (targets for kind, targets in exchange.fallbacks.items() if kind is not FallbackKind.BUDGET)
    return (*exchange.plan, *(target for targets in others for target in targets))
