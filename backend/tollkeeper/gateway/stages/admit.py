"""Asks whether this call may be made now: the rates of its key and tenant, decided together."""

from collections.abc import Mapping
from typing import Protocol

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.principal import Principal
from tollkeeper.gateway.stage import Exchange, Next


class Admits(Protocol):
    async def admit(self, principal: Principal) -> Mapping[str, str]:
        """The rate-limit headers for the answer. Raises `RateLimited`."""
        ...


class Admit:
    def __init__(self, admission: Admits) -> None:
        self._admission = admission

    async def __call__(self, exchange: Exchange, next_stage: Next) -> Reply:
        headers = await self._admission.admit(exchange.principal)
        if headers:
            exchange.response_headers.update(headers)
        return await next_stage(exchange)
