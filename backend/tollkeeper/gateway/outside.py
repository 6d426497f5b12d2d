"""The way out of rules that ask somebody else: the channel of all calls to vendors, under its list of addresses.

What a moderation endpoint costs its provider's account is in no ledger; vendors' own are free.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.chat import Amounts, Call, Operation
from tollkeeper.contracts.guardrails import GuardrailPolicy
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.provider import Channel, Provider, UpstreamRequest
from tollkeeper.gateway.stage import Exchange

# The rule's own deadline ends it long before.
_LONGEST_SECONDS: Final = 60.0
_MOST_BYTES: Final = 4 * 1024 * 1024


class WaysOut:
    """Of one worker: makes the way out of each call."""

    def __init__(self, channel: Channel, providers: Mapping[str, Provider], clock: Clock, tokens: Tokens) -> None:
        self.channel = channel
        self.providers = providers
        self.clock = clock
        self.tokens = tokens

    def of(self, exchange: Exchange, policy: GuardrailPolicy) -> "WayOut":
        return WayOut(self, exchange, policy)


class WayOut:
    """`contracts`: `guardrail.Outside`."""

    def __init__(self, ways: WaysOut, exchange: Exchange, policy: GuardrailPolicy) -> None:
        self._ways = ways
        self._exchange = exchange
        self.request_id = exchange.shown_id
        self.is_operators = policy.is_managed_by_file

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, allow_private: bool, most_bytes: int
    ) -> tuple[int, bytes]:
        request = UpstreamRequest(
            method="POST",
            url=url,
            headers={},
            body=body,
            config=_config(url, allow_private=allow_private and self.is_operators),
            deadline=self._deadline(),
            is_stream=False,
            signed_headers=headers,
        )
        return await self._send(self._ways.channel, request, most_bytes)

    async def moderate(self, model: str, provider: str | None, texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        config, target = self._find(model, provider)
        kind = self._ways.providers[config.kind]
        body = {"model": target.model, "input": list(texts)}
        call = Call(Operation.MODERATIONS, target.model, is_stream=False, body=body, asked=Amounts())
        dialect = kind.dialect(config, call, target)
        prepared = kind.prepare(config, call, target)
        credential = config.credentials[0] if config.credentials else None
        request = UpstreamRequest(
            method="POST",
            url=kind.url(config, prepared, target),
            headers=kind.fixed_headers(config, prepared),
            body=dialect.write_call(prepared),
            config=config,
            deadline=self._deadline(),
            is_stream=False,
            credential=credential,
            secret_headers=kind.headers(credential),
        )
        if credential is not None and isinstance(kind, Authorizing):
            request.signed_headers = await kind.authorize(request, self._ways.tokens)
        status, answer = await self._send(kind.channel or self._ways.channel, request, _MOST_BYTES)
        if status != 200:
            raise UpstreamError("The moderation endpoint refused.", code="upstream_refused")
        results: list[Mapping[str, Any]] = dialect.read_whole(answer, call).data["results"]
        return results

    def _find(self, model: str, provider: str | None) -> tuple[ProviderConfig, Target]:
        """Where a model of ours leads first; or the vendor's own name for one, at a provider that the operator names."""
        snapshot = self._exchange.snapshot
        if provider is not None:
            if not self.is_operators:
                raise UpstreamError("Only the operator names providers.")
            return snapshot.providers[provider], Target(provider, model)
        route = snapshot.find_model(self._exchange.principal.tenant_id, model)
        if route is None or not route.targets:
            raise UpstreamError("There is no such model.")
        target = route.targets[0]
        return snapshot.providers[target.provider], Target(target.provider, model) if target.model == "*" else target

    async def _send(self, channel: Channel, request: UpstreamRequest, most_bytes: int) -> tuple[int, bytes]:
        response = await channel.send(request)
        is_whole = False
        try:
            parts: list[bytes] = []
            size = 0
            async for part in response.reads():
                size += len(part)
                if size > most_bytes:
                    raise UpstreamError("The answer is too large.", code="upstream_too_large")
                parts.append(part)
            is_whole = True
        finally:
            await (response.finish() if is_whole else response.aclose())
        return response.status, b"".join(parts)

    def _deadline(self) -> float:
        return self._ways.clock.monotonic() + _LONGEST_SECONDS


@lru_cache(maxsize=256)
def _config(url: str, *, allow_private: bool) -> ProviderConfig:
    """One for each address, as connections are kept by it."""
    return ProviderConfig(
        id=uuid5(NAMESPACE_URL, url),
        name="guardrail",
        kind="guardrail",
        base_url=url,
        allow_private_address=allow_private,
    )
