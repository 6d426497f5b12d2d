"""Takes note of every finished call, and hands the notes on in batches beside the calls' way.

It never makes a call wait: what finds the queue full is dropped and counted, for the ledger is what bills rest on. Failure
policy: PostgreSQL away: what the queue holds waits, further notes are dropped and counted.
"""

import asyncio
from collections import deque
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from tollkeeper.contracts.ports import RequestLogSink
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway.stage import Ending, Exchange, Outcome

log = structlog.get_logger(__name__)

# At 1,000 calls a second PostgreSQL may be away for 20 s before anything is lost.
MAX_WAITING: Final = 20_000
# A transaction costs as much as four hundred of its rows, and making them may not hold up calls for long.
BATCH: Final = 500
PAUSE_SECONDS: Final = 0.5
_KEEPS_NOTHING: Final = "none"
# The random end of a UUIDv7.
_DICE_BITS: Final = 30
_CACHE: Final = "x-tollkeeper-cache"


class RequestLog:
    """`run` is its task; `finish` writes what is left."""

    def __init__(self, sink: RequestLogSink, registry: CollectorRegistry, *, share: float = 1.0) -> None:
        """`share` of the calls that went well; those that did not are noted all."""
        self._sink = sink
        self._queue: deque[CallRecord] = deque()
        # By the id, so that all who look at a call decide alike.
        self._below = round(share * (1 << _DICE_BITS))
        self._dropped = Counter(
            "tollkeeper_request_logs_dropped", "Calls of which no request log was kept.", registry=registry
        )

    def note(
        self,
        exchange: Exchange,
        principal: Principal,
        outcome: Outcome,
        seconds: float,
        overhead_seconds: float,
        first_token_seconds: float | None,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """Never waits, never raises."""
        if principal.logging_policy == _KEEPS_NOTHING:
            return
        request_id, ending, error = exchange.request_id, outcome.ending, outcome.error
        if ending is Ending.DONE and (request_id.int & ((1 << _DICE_BITS) - 1)) >= self._below:
            return
        queue = self._queue
        if len(queue) >= MAX_WAITING:
            self._dropped.inc()
            return
        call = getattr(exchange, "call", None)
        last = exchange.tries[-1].intent if exchange.tries else None
        queue.append(
            CallRecord(
                request_id,
                principal,
                exchange.operation.value,
                exchange.dialect.NAME,
                None if call is None else call.model,
                call is not None and call.is_stream,
                None if call is None else call.end_user,
                None if last is None else last.provider,
                None if last is None else last.upstream_model,
                exchange.attempts,
                ending.value,
                outcome.http_status,
                None if error is None else error.code,
                seconds,
                overhead_seconds,
                first_token_seconds,
                prompt_tokens,
                completion_tokens,
                exchange.cost_nano,
                exchange.response_headers.get(_CACHE),
                "blocked" if exchange.is_blocked else None,
                exchange.client_request_id,
            )
        )

    async def run(self) -> None:
        """Never returns; cancel it, then `finish`."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.flush()
            except DependencyUnavailable:
                log.debug("request_log_waits", calls=len(self._queue))
            except Exception:
                # The task's boundary.
                log.exception("request_log_failed")

    async def flush(self) -> None:
        """Write what waits by now. Raises `DependencyUnavailable`; it waits on then."""
        queue = self._queue
        # What comes meanwhile gathers for the next turn: written at once, it would go in small batches.
        due = len(queue)
        while due:
            batch = [queue.popleft() for _ in range(min(BATCH, due))]
            due -= len(batch)
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
            log.warning("request_log_lost", calls=len(self._queue))
