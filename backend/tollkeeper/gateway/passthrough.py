"""Metered pass-through: paths of a provider that an operator has opened, at a flat price per request.

The caller is proven, admitted, paid for and recorded as for every call, and guardrails look at what is sent and answered;
beside that nothing is touched: method, query, body, status and answer stay as they are. What is replaced is what belongs to a connection or to a credential.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid5

from tollkeeper.contracts.catalog import Credential, ModelRoute, Price, ProviderConfig
from tollkeeper.contracts.chat import Amounts, Call, Operation, Reply
from tollkeeper.contracts.passthrough import USUAL_HEADERS, Passthrough
from tollkeeper.contracts.principal import Environment, Principal, name_allowed
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, Forbidden, NotFound
from tollkeeper.gateway.carrier import Carrier, Line
from tollkeeper.gateway.passed import FindWatch
from tollkeeper.gateway.passthrough_paths import PassedPath, operation_path, read_passed_path
from tollkeeper.gateway.provider import Provider, UpstreamRequest
from tollkeeper.gateway.stage import Exchange, Next
from tollkeeper.gateway.stages.read import timeout_seconds

_ONCE: Final = "idempotency-key"
_SINGLE: Final = frozenset({_ONCE, "content-type", "range"})

_HOW: Final = "An operator opens paths of a provider with 'passthrough' in its configuration."


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """As the caller sent it, its body apart."""

    method: str
    raw_path: bytes
    query: bytes
    # All of them, also those that came several times.
    headers: Sequence[tuple[bytes, bytes]]


def model_of(provider: str) -> str:
    """The name that a provider's pass-through has among models: in keys' lists, limits and the ledger."""
    return f"passthrough:{provider}"


class PassThrough:
    """One request. Its two stages: `find`, which admits the path and reads the body, and `send`, which answers."""

    def __init__(self, line: Line, request: PassedRequest, find_watch: FindWatch) -> None:
        self._line = line
        self._find_watch = find_watch
        self._request = request
        self._carrier = Carrier(line)
        self._path = PassedPath("", (), "")
        # Here and not in the call, which is looked at for text.
        self._body = b""

    async def find(self, exchange: Exchange, next_stage: Next) -> Reply:
        """Which provider, which of its open paths, and whether this key may go there."""
        method = self._request.method
        path = self._path = read_passed_path(self._request.raw_path, self._request.query)
        config = exchange.snapshot.providers.get(path.provider)
        opened = None if config is None else config.passthrough
        # Whoever may not use a provider learns as little of it as of one that is not there.
        if config is None or opened is None or not name_allowed(config.name, exchange.principal.allowed_providers):
            raise _not_opened(f"The provider '{path.provider}' has nothing open for pass-through. {_HOW}")
        _check_key(exchange.principal, config)
        if (own := operation_path(path.parts)) is not None:
            raise _not_opened(f"Calls of this kind are not passed through: send them to '{own}'.")
        rule = opened.find(method, path.parts)
        provider = self._line.providers.get(config.kind)
        if rule is None or provider is None or provider.channel is not None or config.base_url is None:
            shown = "/".join(path.parts)[:200]
            raise _not_opened(f"'{method} /{shown}' is not open at the provider '{config.name}'. {_HOW}")
        target = Target(config.name, str(rule))
        exchange.route = _route(config, opened, target)
        exchange.plan = (target,)
        seconds = timeout_seconds(exchange.headers, is_stream=True)
        if seconds is not None:
            exchange.deadline = min(exchange.deadline, exchange.started + seconds)
        self._body = await exchange.body()
        exchange.call = Call(Operation.PASSTHROUGH, exchange.route.name, is_stream=False, body={}, asked=Amounts())
        return await next_stage(exchange)

    async def send(self, exchange: Exchange, _next_stage: Next) -> Reply:
        """Once, with one credential: nobody knows whether such a request may be made twice."""
        config = exchange.snapshot.providers[self._path.provider]
        provider = self._line.providers[config.kind]
        credential = config.credentials[0] if config.credentials else None
        watch = self._find_watch(exchange)
        if watch is not None:
            query = parse_qsl(self._request.query.decode("ascii"), keep_blank_values=True)
            await watch.look_at_words([*self._path.parts, *(word for pair in query for word in pair)])
            self._body = await watch.look_at_bytes(self._body)
        request = self._write(exchange, config, provider, credential)
        passed = await self._carrier.carry(exchange, provider, request)
        return passed if watch is None else await watch.look_at_passed(passed)

    def _write(
        self, exchange: Exchange, config: ProviderConfig, provider: Provider, credential: Credential | None
    ) -> UpstreamRequest:
        return UpstreamRequest(
            method=self._request.method,
            url=(config.base_url or "").rstrip("/") + self._path.url_path,
            headers={
                **provider.fixed_headers(config, exchange.call),
                **_of_caller(exchange, config, self._request.headers),
            },
            body=self._body,
            config=config,
            deadline=exchange.deadline,
            is_stream=False,
            credential=credential,
            secret_headers=provider.headers(credential),
        )


def _not_opened(message: str) -> NotFound:
    return NotFound(message, code="not_opened", should_retry=False)


def _check_key(principal: Principal, config: ProviderConfig) -> None:
    model = model_of(config.name)
    if not name_allowed(model, principal.allowed_models):
        raise Forbidden(
            f"This key is for certain models, and '{model}' is none of them.", code="model_not_allowed", param="model"
        )
    if principal.environment is Environment.TEST:
        raise Forbidden(f"A test key reaches simulated models only, and '{config.name}' is a real provider.")


def _route(config: ProviderConfig, opened: Passthrough, target: Target) -> ModelRoute:
    version = uuid5(config.id, f"passthrough {opened.request_pico}")
    price = Price(version, input=0, output=0, request=opened.request_pico)
    return ModelRoute(id=config.id, name=model_of(config.name), targets=(target,), price=price)


def _of_caller(exchange: Exchange, config: ProviderConfig, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """What the vendor may see of the caller's headers: a list, so that no credential can be forgotten.

    One that came several times is the list of its values (RFC 9110, 5.3), where it is no single value by its nature.
    """
    assert config.passthrough is not None
    found = {}
    for name in sorted(USUAL_HEADERS | config.passthrough.headers):
        values = [value for own, value in headers if own == name.encode("ascii")]
        if not values:
            continue
        if name in _SINGLE and len(set(values)) > 1:
            raise BadRequest(
                f"The header '{name}' came twice with different values; send one.", code="duplicate_header"
            )
        if name == _ONCE:
            found[name] = _of_key(exchange.principal, values[0])
        else:
            found[name] = (values[0] if name in _SINGLE else b", ".join(values)).decode("latin-1")
    return found


def _of_key(principal: Principal, value: bytes) -> str:
    """Callers share the vendor's account, and each has such keys to itself: else one would be given another's answer."""
    return sha256(b"%b %b %b" % (principal.key_id.bytes, (principal.run_id or "").encode(), value)).hexdigest()
