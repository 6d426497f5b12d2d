"""Counts the input of a call that nobody makes: free, and under the rates of requests like any other.

Never fewer tokens than a target of its model would count: clients make room by this figure.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from tollkeeper.contracts.chat import Chunk, Reply
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.hold import Appraisal, Hold, Holds
from tollkeeper.gateway.money.terms import Asked, PlaceKind, Terms
from tollkeeper.gateway.money.token_count import count_input
from tollkeeper.gateway.stage import Exchange, Next, Outcome

ENDPOINT: Final = "messages/count_tokens"
_NOTHING: Final = Appraisal(0, 0, 0, 0)


class Admits(Protocol):
    """As `admit` has it."""

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]: ...

    async def admit(
        self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, *, is_cuttable: bool, payload: bytes
    ) -> Admitted: ...


class CountTokens:
    def __init__(self, admission: Admits, holds: Holds | None = None) -> None:
        self._admission = admission
        self._holds = holds

    async def __call__(self, exchange: Exchange, _next_stage: Next) -> Reply:
        await self._admit(exchange)
        tokens = await count_input(exchange.call, exchange.plan)
        return Reply(is_stream=False, primed=(Chunk({"input_tokens": tokens}, is_content=True, is_final=True),))

    async def _admit(self, exchange: Exchange) -> None:
        call = exchange.call
        asked = Asked(call.model, ENDPOINT, exchange.plan[0].provider, call.end_user)
        terms = _of_requests(self._admission.terms(exchange.principal, asked))
        if not terms:
            return
        admitted = await self._admission.admit(terms, exchange.request_id, _NOTHING, is_cuttable=False, payload=b"")
        exchange.response_headers.update(admitted.headers)
        if admitted.hold is not None:
            exchange.on_finish(partial(self._settle, admitted.hold))

    def _settle(self, hold: Hold, _outcome: Outcome) -> None:
        if self._holds is not None:
            self._holds.settle(hold, 0, rows=0, input_tokens=0, output_tokens=0)


def _of_requests(terms: Sequence[Terms]) -> list[Terms]:
    """Nothing is made, so neither tokens nor money nor a slot are used."""
    found = []
    for one in terms:
        rates = tuple(place for place in one.rates if place.kind == PlaceKind.REQUESTS)
        if rates:
            found.append(Terms(one.space, rates))
    return found
