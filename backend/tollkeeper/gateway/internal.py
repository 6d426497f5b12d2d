"""Calls made inside, as `contracts.ports.ModelCalls`: the lines of a batch, through every stage that a caller's pass.

The first stage alone is another one: nobody sends a secret here, so the key is looked up by its id. There is no way in
from outside, because nothing that arrives on a socket is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog

from tollkeeper.contracts.batches import Answered
from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import TollkeeperError
from tollkeeper.gateway.edge.answer import Answer
from tollkeeper.gateway.edge.errors import forget_frames, internal_error
from tollkeeper.gateway.edge.record import Record
from tollkeeper.gateway.paths import PREFIXES, Paths
from tollkeeper.gateway.pipeline import Services, compose, make_authenticate, make_stages
from tollkeeper.gateway.stage import Ending, Exchange, Next, Outcome
from tollkeeper.gateway.stages.wait import HEADER as PRIORITY

log = structlog.get_logger(__name__)

_HEADERS: Final = {b"content-type": b"application/json", PRIORITY: b"batch"}
# nginx's word for a caller that closed its connection, as in `app`.
_DROPPED: Final = Outcome(Ending.DROPPED, 499)


class InternalCalls:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings
        self._clock = services.clock.monotonic
        self._paths = Paths(services.settings.max_json_depth)
        self._authenticate = make_authenticate(services)
        self._pipeline = compose(make_stages(services, _known))
        self._record = Record(services.metrics, services.access_log, services.request_log)

    async def principal(self, key_id: UUID, endpoint: str) -> Principal:
        return await self._authenticate.principal_of(key_id, endpoint)

    async def call(
        self,
        principal: Principal,
        endpoint: str,
        body: bytes,
        request_id: UUID,
        keep: Callable[[Answered], Awaitable[None]],
    ) -> None:
        exchange = self._exchange(principal, endpoint, body, request_id)
        sent = _Sent()
        seconds = self._settings.commit_after_seconds, self._settings.keepalive_comment_seconds
        answer = Answer(sent, None, exchange, self._services.clock, *seconds)
        self._record.begin()
        outcome = _DROPPED
        reply: Reply | None = None
        try:
            try:
                reply = await self._pipeline(exchange)
                outcome = await answer.write(reply)
            except TollkeeperError as error:
                outcome = await answer.refuse(error)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("call_failed", request_id=exchange.shown_id)
                outcome = await answer.refuse(internal_error())
            # Before it is settled: what was paid for is never asked for again.
            await keep(Answered(request_id, sent.status, bytes(sent.body), outcome.error, sent.headers))
        finally:
            answer.close()
            exchange.finish(outcome)
            try:
                self._record.end(exchange, outcome, self._clock())
            finally:
                forget_frames(outcome.error)
                for attempt in exchange.tries:
                    forget_frames(attempt.error)
                if reply is not None and reply.rest is not None:
                    await reply.rest.aclose()  # type: ignore[attr-defined]

    def _exchange(self, principal: Principal, endpoint: str, body: bytes, request_id: UUID) -> Exchange:
        way = self._paths.find(PREFIXES[0] + endpoint.removeprefix(PREFIXES[0]))
        assert way is not None, endpoint

        async def read_body() -> bytes:
            return body

        started = self._clock()
        exchange = Exchange(
            request_id=request_id,
            operation=way[0],
            dialect=way[1],
            headers=_HEADERS,
            read_body=read_body,
            started=started,
            deadline=started + self._settings.upstream_total_seconds,
            snapshot=self._services.snapshots.current(),
            path=endpoint,
            is_batch=True,
        )
        exchange.principal = principal
        return exchange


class _Sent:
    """What an answer sends, in memory."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


async def _known(exchange: Exchange, next_stage: Next) -> Reply:
    """In place of `authenticate`: the caller is known already."""
    return await next_stage(exchange)
