"""Continues a stored conversation, and keeps the answer for the next turn: calls of the Responses API alone.

Failure policy: PostgreSQL gone: a call that names an earlier turn is 503; one that would only be kept is answered, and
told so in `x-tollkeeper-stored`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import structlog

from tollkeeper.contracts.ports import ResponseLookup, ResponseSink
from tollkeeper.contracts.responses import Item, StoredResponse, Turn
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.gateway.dialects.openai_responses import previous_not_found, resumed, stored_response
from tollkeeper.gateway.stage import Exchange, Step

log = structlog.get_logger(__name__)

STORED: Final = "x-tollkeeper-stored"
# Of a tenant, a project or a key that wants nothing written down.
_KEEPS_NOTHING: Final = "none"


class Converse(Step):
    def __init__(self, lookup: ResponseLookup | None, sink: ResponseSink | None) -> None:
        """Without them nothing is kept, and every earlier turn is unknown."""
        self._lookup = lookup
        self._sink = sink

    def enter(self, exchange: Exchange) -> Awaitable[None] | None:
        turn = exchange.call.turn
        if turn is None:
            return None
        if turn.is_stored:
            exchange.before_end = self._keep
        if turn.previous_id is not None or turn.references:
            return self._resume(exchange, turn)
        return None

    async def _resume(self, exchange: Exchange, turn: Turn) -> None:
        lookup, principal = self._lookup, exchange.principal
        history: Sequence[StoredResponse] | None = []
        referenced: Mapping[str, Item] = {}
        if turn.previous_id is not None:
            history = None if lookup is None else await lookup.history(principal, turn.previous_id)
        if history is None:
            raise previous_not_found(turn)
        if turn.references and lookup is not None:
            referenced = await lookup.items(principal, turn.references)
        exchange.call = resumed(exchange.call, history, referenced)

    async def _keep(self, exchange: Exchange) -> str | None:
        turn = exchange.call.turn
        assert turn is not None
        if turn.answer is None or await self._is_kept(exchange, turn):
            return None
        exchange.response_headers[STORED] = "false"
        return f"{STORED} false"

    async def _is_kept(self, exchange: Exchange, turn: Turn) -> bool:
        principal = exchange.principal
        if self._sink is None or turn.answer is None or principal.logging_policy == _KEEPS_NOTHING:
            return False
        try:
            return await self._sink.keep(principal, stored_response(turn))
        except DependencyUnavailable as error:
            log.warning("response_not_stored", request_id=exchange.shown_id, reason=error.message)
            return False
