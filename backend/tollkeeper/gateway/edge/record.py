"""What a finished call leaves for operators: one observation for the metrics, one line for the access log."""

import functools
from collections.abc import Callable, Mapping
from uuid import UUID

from tollkeeper.core.ids import format_id
from tollkeeper.core.money import format_usd
from tollkeeper.gateway.edge.request_id import format_request_id
from tollkeeper.gateway.metrics import Metrics, Observation
from tollkeeper.gateway.stage import Exchange, Outcome

AccessLog = Callable[[Mapping[str, object]], None]


@functools.lru_cache(maxsize=4096)
def _tenant(tenant_id: UUID) -> str:
    return format_id("ten", tenant_id)


@functools.lru_cache(maxsize=4096)
def _key(key_id: UUID) -> str:
    return format_id("key", key_id)


class Record:
    def __init__(self, metrics: Metrics, access_log: AccessLog | None) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def begin(self) -> None:
        self._metrics.begin()

    def end(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        """Ids and figures only: never a key, a prompt or a name the caller made up."""
        seconds = now - exchange.started
        overhead = max(seconds - exchange.upstream_seconds, 0.0)
        route = getattr(exchange, "route", None)
        usage = exchange.tries[-1].usage if exchange.tries else None
        first = None if exchange.first_token is None else exchange.first_token - exchange.started
        self._metrics.end(
            Observation(
                operation=exchange.operation,
                model="" if route is None else route.name,
                provider="" if exchange.target is None else exchange.target.provider,
                http_status=outcome.http_status,
                seconds=seconds,
                overhead_seconds=overhead,
                first_token_seconds=first,
                prompt_tokens=0 if usage is None else usage.prompt_tokens,
                completion_tokens=0 if usage is None else usage.completion_tokens,
                cost_nano=exchange.cost_nano or 0,
            )
        )
        if self._access_log is None:
            return
        principal = getattr(exchange, "principal", None)
        call = getattr(exchange, "call", None)
        self._access_log(
            {
                "event": "call",
                "request_id": format_request_id(exchange.request_id),
                "client_request_id": exchange.client_request_id,
                "tenant_id": None if principal is None else _tenant(principal.tenant_id),
                "key_id": None if principal is None else _key(principal.key_id),
                "operation": exchange.operation,
                "model": None if route is None else route.name,
                "provider": None if exchange.target is None else exchange.target.provider,
                "upstream_model": exchange.tries[-1].intent.upstream_model if exchange.tries else None,
                "is_stream": None if call is None else call.is_stream,
                "status": outcome.http_status,
                "ending": outcome.ending,
                "error": None if outcome.error is None else outcome.error.code,
                "attempts": exchange.attempts,
                "prompt_tokens": None if usage is None else usage.prompt_tokens,
                "completion_tokens": None if usage is None else usage.completion_tokens,
                "cost_usd": None if exchange.cost_nano is None else format_usd(exchange.cost_nano),
                "latency_ms": round(seconds * 1000, 1),
                "overhead_ms": round(overhead * 1000, 3),
                "first_token_ms": None if first is None else round(first * 1000, 1),
            }
        )
