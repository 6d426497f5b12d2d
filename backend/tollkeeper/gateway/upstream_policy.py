"""What holds for a request to a vendor however it travels: its times, the origin of its secret, its headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.routing import Deadlines
from tollkeeper.core.addresses import Location
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.addresses import address_refused, locate
from tollkeeper.gateway.provider import NotSent, UpstreamRequest

# Their requests seldom have one; who sends one says what it is.
_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_seconds: float
    first_byte_seconds: float
    idle_seconds: float


def timeouts_for(config: ProviderConfig, settings: Settings, *, is_stream: bool) -> Timeouts:
    """A provider's own timeouts, else the process's.

    A whole answer's first byte comes when the model is done, so only a provider's explicit `first_byte_seconds` bounds
    it; streams begin early and are held to the setting.
    """
    first_byte = settings.upstream_first_byte_seconds if is_stream else settings.upstream_total_seconds
    return Timeouts(
        connect_seconds=_given(config.connect_seconds, settings.upstream_connect_seconds),
        first_byte_seconds=_given(config.first_byte_seconds, first_byte),
        idle_seconds=_given(config.idle_seconds, settings.upstream_idle_seconds),
    )


def overridden(timeouts: Timeouts, deadlines: Deadlines) -> Timeouts:
    """A policy's word goes before the provider's."""
    return Timeouts(
        connect_seconds=_given(deadlines.connect, timeouts.connect_seconds),
        first_byte_seconds=_given(deadlines.first_byte, timeouts.first_byte_seconds),
        idle_seconds=_given(deadlines.idle, timeouts.idle_seconds),
    )


def check_origin(request: UpstreamRequest, location: Location) -> None:
    """A secret leaves only for an origin it is bound to; plain http needs the operator's word."""
    config = request.config
    if location.scheme != "https" and not config.allow_private_address and not config.options.get("allow_plain_http"):
        raise address_refused()
    if request.credential is not None:
        allowed = request.credential.origins
        if not allowed and config.base_url is not None:
            allowed = frozenset({locate(config.base_url).origin})
        if allowed and location.origin not in {locate(origin).origin for origin in allowed}:
            raise UpstreamError(
                "The provider's credential is not meant for this address.", code="upstream_origin", should_retry=False
            )


def request_headers(request: UpstreamRequest) -> dict[str, str]:
    """Everything but host and length. A header that could break out of its line is refused."""
    headers = {} if request.method in _WITHOUT_BODY else {"content-type": "application/json"}
    headers["user-agent"] = "tollkeeper"
    headers |= {name.lower(): value for name, value in request.config.headers.items()}
    headers |= {name.lower(): value for name, value in request.headers.items()}
    headers |= {name.lower(): value for name, value in request.secret_headers.items()}
    _check_headers(headers)
    return headers


def signed_lines(request: UpstreamRequest, others: Mapping[str, str]) -> bytes:
    """The lines of the headers that differ from request to request. One that stands among `others` too is refused:
    two parsers could believe two credentials.
    """
    headers = request.signed_headers or {}
    _check_headers(headers)
    if not others.keys().isdisjoint(map(str.lower, headers)):
        raise NotSent(
            "A header of the provider's configuration is one that its credential sets. Tell the operator.",
            code="upstream_configuration",
            should_retry=False,
        )
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not name.isascii() or any(letter in name + value for letter in "\r\n\0") or ":" in name or " " in name:
            raise UpstreamError("A header of the provider's configuration is not valid.", code="upstream_configuration")


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
