"""What guardrails found, on its way to whoever looks it up later and to subscribers: in batches, beside the calls' way.

It never makes a call wait: what finds the queue full is dropped and counted. Failure policy: PostgreSQL away: what the
queue holds waits, further events are dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from tollkeeper.contracts.guardrails import Action, GuardrailEvent
from tollkeeper.contracts.ports import GuardrailEventSink
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.guardrail import Part
from tollkeeper.gateway.screen import Hit
from tollkeeper.gateway.stage import Exchange

log = structlog.get_logger(__name__)

MAX_WAITING: Final = 10_000
BATCH: Final = 250
PAUSE_SECONDS: Final = 0.5
_KEEPS_NOTHING: Final = "none"
_KEEPS_ALL: Final = "full"
_LONGEST_TEXT: Final = 500


class GuardEvents:
    """`run` is its task; `finish` writes what is left."""

    def __init__(self, sink: GuardrailEventSink, registry: CollectorRegistry) -> None:
        self._sink = sink
        self._queue: deque[GuardrailEvent] = deque()
        self._dropped = Counter(
            "tollkeeper_guardrail_events_dropped", "Finds of guardrails of which no event was kept.", registry=registry
        )

    def note(self, exchange: Exchange, hits: Sequence[Hit], part: Part) -> None:
        """One event for all finds of one rule by one label. Never waits, never raises."""
        principal = exchange.principal
        if principal.logging_policy == _KEEPS_NOTHING:
            return
        groups: dict[tuple[int, str, Action], list[Hit]] = {}
        for hit in hits:
            groups.setdefault((id(hit.use), hit.finding.label, hit.action), []).append(hit)
        for (_, label, action), found in groups.items():
            if len(self._queue) >= MAX_WAITING:
                self._dropped.inc()
                continue
            first = found[0]
            policy, finding = first.policy, first.finding
            keeps_text = policy.keeps_text and principal.logging_policy == _KEEPS_ALL
            self._queue.append(
                GuardrailEvent(
                    uuid7(),
                    principal.tenant_id,
                    exchange.request_id,
                    principal.key_id,
                    principal.user_id,
                    exchange.call.model,
                    policy.id,
                    policy.name,
                    policy.version,
                    policy.tenant_id is None,
                    first.use.name,
                    label,
                    action,
                    first.is_monitored,
                    part.direction,
                    part.kind.value,
                    part.role,
                    len(found),
                    part.text[finding.start : finding.end][:_LONGEST_TEXT] if keeps_text else None,
                )
            )

    async def run(self) -> None:
        """Never returns; cancel it, then `finish`."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.flush()
            except DependencyUnavailable:
                log.debug("guardrail_events_wait", events=len(self._queue))
            except Exception:
                # The task's boundary.
                log.exception("guardrail_events_failed")

    async def flush(self) -> None:
        """Write what waits. Raises `DependencyUnavailable`; it waits on then."""
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            try:
                await self._sink.write(batch)
            except (DependencyUnavailable, asyncio.CancelledError):
                queue.extendleft(reversed(batch))
                raise
            except Exception:
                # It would come back for ever.
                self._dropped.inc(len(batch))
                raise

    async def finish(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.flush()
        except (TimeoutError, DependencyUnavailable):
            log.warning("guardrail_events_lost", events=len(self._queue))
