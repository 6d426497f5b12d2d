"""Counts the input of a call that nobody makes: free, and under the rates of requests like any other.

Never fewer tokens than a target of its model would count: clients make room by this figure. A vendor that counts for
nothing is asked, when it is the first of the plan and has a credential; its silence or refusal costs a little time, and
the count is ours then.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import structlog

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.chat import Call, Chunk, Reply
from tollkeeper.contracts.key_bounds import endpoint_of
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.hold import Appraisal, Hold, Holds
from tollkeeper.gateway.money.terms import Asked, PlaceKind, Terms
from tollkeeper.gateway.money.token_count import count_input
from tollkeeper.gateway.provider import Channel, CountsTokens, Provider, UpstreamRequest, UpstreamResponse
from tollkeeper.gateway.stage import Exchange, Next, Outcome

log = structlog.get_logger(__name__)

# Of a vendor that does not answer: what a caller waits more for our own count.
_PATIENCE_SECONDS: Final = 5.0
_NOTHING: Final = Appraisal(0, 0, 0, 0)


class Admits(Protocol):
    """As `admit` has it."""

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]: ...

    async def admit(
        self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, *, is_cuttable: bool, payload: bytes
    ) -> Admitted: ...


class CountTokens:
    def __init__(
        self,
        admission: Admits,
        providers: Mapping[str, Provider],
        channel: Channel,
        clock: Clock,
        holds: Holds | None = None,
    ) -> None:
        self._admission = admission
        self._counting = {kind: one for kind, one in providers.items() if isinstance(one, CountsTokens)}
        self._providers = providers
        self._channel = channel
        self._clock = clock
        self._holds = holds

    async def __call__(self, exchange: Exchange, _next_stage: Next) -> Reply:
        await self._admit(exchange)
        told = await self._ask(exchange, exchange.plan[0])
        # Ours for the other targets, where the call may go as well.
        rest = exchange.plan if told is None else exchange.plan[1:]
        tokens = max(await count_input(exchange.call, rest) if rest else 0, told or 0)
        return Reply(is_stream=False, primed=(Chunk({"input_tokens": tokens}, is_content=True, is_final=True),))

    async def _ask(self, exchange: Exchange, target: Target) -> int | None:
        """What the vendor of this target counts; None where it cannot be asked, or does not say."""
        config, call = exchange.snapshot.providers[target.provider], exchange.call
        counting = self._counting.get(config.kind)
        if counting is None or not config.credentials:
            return None
        provider, credential = self._providers[config.kind], config.credentials[0]
        begun = self._clock.monotonic()
        try:
            url, body = counting.count_request(config, provider.prepare(config, call, target), target)
            request = UpstreamRequest(
                method="POST",
                url=url,
                headers=_carried(provider, config, call, exchange.headers),
                body=body,
                config=config,
                deadline=min(exchange.deadline, begun + _PATIENCE_SECONDS),
                is_stream=False,
                credential=credential,
                secret_headers=provider.headers(credential),
            )
            response = await (provider.channel or self._channel).send(request)
            answer = await _read(response)
        except (BadRequest, UpstreamError) as error:
            log.info("count_not_told", request_id=exchange.shown_id, provider=target.provider, error=error.code)
            return None
        finally:
            exchange.upstream_seconds += self._clock.monotonic() - begun
        return counting.read_count(answer) if response.status == 200 else None

    async def _admit(self, exchange: Exchange) -> None:
        call = exchange.call
        asked = Asked(call.model, endpoint_of(exchange.path), exchange.plan[0].provider, call.end_user)
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


async def _read(response: UpstreamResponse) -> bytes:
    try:
        answer = await response.read()
    except BaseException:
        await response.aclose()
        raise
    await response.finish()
    return answer


def _carried(
    provider: Provider, config: ProviderConfig, call: Call, headers: Mapping[bytes, bytes]
) -> Mapping[str, str]:
    """As for the call itself: the caller's version counts where its own document goes out."""
    fixed = provider.fixed_headers(config, call)
    carried = {
        name: value.decode("latin-1")
        for name in provider.caller_headers
        if (value := headers.get(name.encode("ascii"))) is not None
    }
    return {**carried, **fixed} if call.native is None else {**fixed, **carried}


def _of_requests(terms: Sequence[Terms]) -> list[Terms]:
    """Nothing is made, so neither tokens nor money nor a slot are used."""
    found = []
    for one in terms:
        rates = tuple(place for place in one.rates if place.kind == PlaceKind.REQUESTS)
        if rates:
            found.append(Terms(one.space, rates))
    return found
