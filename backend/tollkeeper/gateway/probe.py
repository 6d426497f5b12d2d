"""Asks a provider for its models with each of our credentials: does it answer, how fast, and if not, why in words."""

import math
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import orjson

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.ports import ProbeResult
from tollkeeper.contracts.routing import Target
from tollkeeper.core.clock import Clock
from tollkeeper.core.errors import TollkeeperError, UpstreamError
from tollkeeper.gateway.cloud_tokens import Authorizing, Tokens
from tollkeeper.gateway.provider import (
    Channel,
    CredentialUnavailable,
    FailureClass,
    ListsElsewhere,
    Provider,
    UpstreamRequest,
)

DEADLINE_SECONDS: Final = 15.0
_NOT_ASKED: Final = (
    "The credential can be used; the provider itself was not asked, as it lists no models at its address."
)

_TROUBLES: Final = {
    FailureClass.CREDENTIAL: "credential",
    FailureClass.RATE: "rate",
    FailureClass.SERVER: "server",
    FailureClass.TIMEOUT: "server",
}


class Probe:
    """Implements `contracts.ports.ProviderProbe`."""

    def __init__(self, providers: Mapping[str, Provider], channel: Channel, clock: Clock) -> None:
        self._providers = providers
        self._channel = channel
        self._clock = clock
        self._tokens = Tokens(channel, clock)

    async def probe(self, config: ProviderConfig) -> list[ProbeResult]:
        """One result for each credential; one without when there is none."""
        provider = self._providers.get(config.kind)
        if provider is None:
            return [ProbeResult(ok=False, message=f"The kind '{config.kind}' is not known to this gateway.")]
        if provider.channel is not None:
            return [ProbeResult(ok=True, message="Answers inside the gateway; nothing leaves it.", latency_ms=0)]
        return [await self._ask(provider, config, credential) for credential in config.credentials or (None,)]

    async def _ask(self, provider: Provider, config: ProviderConfig, credential: Credential | None) -> ProbeResult:
        credential_id = None if credential is None else credential.id
        if config.base_url is None:
            return ProbeResult(ok=False, message="It has no base_url.", credential_id=credential_id)
        began = self._clock.monotonic()
        url = _models_url(provider, config)
        request = UpstreamRequest(
            method="GET",
            url=url or config.base_url,
            headers={"accept": "application/json", **config.headers},
            body=b"",
            config=config,
            deadline=began + DEADLINE_SECONDS,
            is_stream=False,
            credential=credential,
            secret_headers=provider.headers(credential),
        )
        try:
            _check_options(provider, config)
            if isinstance(provider, Authorizing):
                request.signed_headers = await provider.authorize(request, self._tokens)
            if url is None:
                return ProbeResult(ok=True, message=_NOT_ASKED, credential_id=credential_id)
            response = await self._channel.send(request)
            try:
                body = await response.read()
            finally:
                await response.aclose()
        except TollkeeperError as error:
            return ProbeResult(
                ok=False,
                message=_words(error, config.base_url),
                credential_id=credential_id,
                trouble=_trouble_of(error),
            )
        latency_ms = math.ceil((self._clock.monotonic() - began) * 1000)
        if response.status != 200:
            failure = provider.failure(response.status, response.headers, body)
            return ProbeResult(
                ok=False,
                message=f"Status {response.status}: {failure.error.message}",
                latency_ms=latency_ms,
                credential_id=credential_id,
                trouble=_TROUBLES.get(failure.kind),
            )
        count = _count_models(body)
        if count is None:
            return ProbeResult(
                ok=False,
                message="It answers, but not with a list of models: is base_url right (it usually ends in /v1)?",
                latency_ms=latency_ms,
                credential_id=credential_id,
            )
        return ProbeResult(
            ok=True, message=f"{count} models.", latency_ms=latency_ms, models=count, credential_id=credential_id
        )


def _check_options(provider: Provider, config: ProviderConfig) -> None:
    """Raises what every call would meet: options that say nothing this kind of provider knows."""
    call = Call(Operation.CHAT, "model", is_stream=False, body={"model": "model", "messages": []})
    target = Target(config.name, "model")
    provider.dialect(config, call, target)
    provider.url(config, call, target)


def _models_url(provider: Provider, config: ProviderConfig) -> str | None:
    if isinstance(provider, ListsElsewhere):
        return provider.models_url(config)
    return f"{(config.base_url or '').rstrip('/')}/models"


def _trouble_of(error: TollkeeperError) -> str | None:
    if isinstance(error, CredentialUnavailable):
        return "credential"
    return "server" if isinstance(error, UpstreamError) else None


def _words(error: TollkeeperError, base_url: str) -> str:
    """What callers are told, and for the operator the host and what the network said of it."""
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return error.message
    # asyncio's own text names the address a second time.
    reason = os.strerror(cause.errno) if isinstance(cause, ConnectionError) and cause.errno else cause.strerror
    return f"{error.message} {urlsplit(base_url).hostname}: {reason}" if reason else error.message


def _count_models(body: bytes) -> int | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    models = document.get("data", document.get("models")) if isinstance(document, dict) else document
    return len(models) if isinstance(models, list) else None
