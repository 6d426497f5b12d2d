"""What a finished call leaves for operators: one observation for the metrics, one line for the access log."""

from collections.abc import Callable, Mapping
from typing import Final

from tollkeeper.contracts.principal import Principal
from tollkeeper.core.ids import format_id
from tollkeeper.core.money import format_usd
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.request_log import RequestLog
from tollkeeper.gateway.stage import Exchange, Outcome

AccessLog = Callable[[Mapping[str, object]], None]

_MOST_SHOWN: Final = 4096


class Record:
    def __init__(self, metrics: Metrics, access_log: AccessLog | None, request_log: RequestLog | None = None) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._request_log = request_log
        # A principal and its tenant's and key's ids as they are shown, by its identity.
        self._shown: dict[int, tuple[Principal, str, str]] = {}

    def begin(self) -> None:
        self._metrics.begin()

    def end(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        """Ids and figures only: never a key, a prompt or a name the caller made up."""
        seconds = now - exchange.started
        overhead = max(seconds - exchange.upstream_seconds, 0.0)
        # The plain string: an enumeration's member takes long to hash.
        operation = exchange.operation.value
        route = getattr(exchange, "route", None)
        target = exchange.target
        usage = exchange.tries[-1].usage if exchange.tries else None
        prompt = completion = 0
        if usage is not None:
            prompt, completion = usage.prompt_tokens, usage.completion_tokens
        first = None if exchange.first_token is None else exchange.first_token - exchange.started
        model = "" if route is None else route.name
        provider = "" if target is None else target.provider
        self._metrics.end(
            (operation, model, provider),
            outcome.http_status,
            seconds,
            overhead,
            first,
            prompt,
            completion,
            exchange.cost_nano or 0,
        )
        principal = getattr(exchange, "principal", None)
        if self._request_log is not None and principal is not None:
            self._request_log.note(exchange, principal, outcome, seconds, overhead, first, prompt, completion)
        if self._access_log is None:
            return
        tenant_id, key_id = (None, None) if principal is None else self._ids(principal)
        call = getattr(exchange, "call", None)
        line: dict[str, object] = {
            "event": "call",
            "request_id": exchange.shown_id,
            "tenant_id": tenant_id,
            "key_id": key_id,
            "operation": operation,
            "model": model or None,
            "provider": provider or None,
            "upstream_model": exchange.tries[-1].intent.upstream_model if exchange.tries else None,
            "is_stream": None if call is None else call.is_stream,
            "status": outcome.http_status,
            "ending": outcome.ending.value,
            "attempts": exchange.attempts,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "latency_ms": int(seconds * 1_000_000) / 1000,
            "overhead_ms": int(overhead * 1_000_000) / 1000,
        }
        # What few calls have is added where it is, which spares the others its removal.
        if exchange.client_request_id is not None:
            line["client_request_id"] = exchange.client_request_id
        if outcome.error is not None:
            line["error"] = outcome.error.code
        if exchange.cost_nano is not None:
            line["cost_usd"] = format_usd(exchange.cost_nano)
        if first is not None:
            line["first_token_ms"] = int(first * 1_000_000) / 1000
        self._access_log(line)

    def _ids(self, principal: Principal) -> tuple[str, str]:
        known = self._shown.get(id(principal))
        if known is None:
            if len(self._shown) >= _MOST_SHOWN:
                self._shown.clear()
            tenant_id, key_id = format_id("ten", principal.tenant_id), format_id("key", principal.key_id)
            known = self._shown[id(principal)] = (principal, tenant_id, key_id)
        return known[1], known[2]
