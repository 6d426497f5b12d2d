"""Takes note of what guardrails found: how often, by which rule, with what outcome. Never of the text."""

from collections import Counter
from collections.abc import Sequence

import structlog

from tollkeeper.gateway.guard_events import GuardEvents
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.screen import Hit
from tollkeeper.gateway.stage import Exchange

log = structlog.get_logger(__name__)


class GuardNotes:
    def __init__(self, metrics: Metrics, events: GuardEvents | None = None) -> None:
        """Without `events` they are counted and logged alone."""
        self._metrics = metrics
        self._events = events

    def __call__(self, exchange: Exchange, hits: Sequence[Hit], part: Part) -> None:
        if self._events is not None:
            self._events.note(exchange, hits, part)
        counts = Counter(
            (hit.policy.name, hit.use.rule, hit.use.name, hit.finding.label, _outcome(hit)) for hit in hits
        )
        for (policy, kind, rule, label, outcome), count in counts.items():
            # By the kind: what tenants call their rules would be series without an end.
            self._metrics.guardrail_hit(kind, part.direction.value, outcome, count)
            log.info(
                "guardrail_hit",
                request_id=exchange.shown_id,
                policy=policy,
                rule=rule,
                label=label,
                outcome=outcome,
                direction=part.direction.value,
                place=part.kind.value,
                role=part.role,
                count=count,
            )


def _outcome(hit: Hit) -> str:
    return "monitored" if hit.is_monitored else hit.action.value
