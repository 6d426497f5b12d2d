"""What a provider is: how to reach one vendor with a call, and how to read its refusals."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.routing import Deadlines, Target
from tollkeeper.core.errors import TollkeeperError, UpstreamError
from tollkeeper.gateway.dialect import VendorDialect


class FailureClass(StrEnum):
    """What a failure means for the next step: only some are worth another target (DESIGN section 6)."""

    CREDENTIAL = "credential"  # 401, 402, 403 of the vendor: our credential, never the caller's key
    RATE = "rate"  # 429
    SERVER = "server"  # 5xx, connection errors, garbage
    TIMEOUT = "timeout"
    REQUEST = "request"  # the caller's own mistake: passed on, never retried
    CONTEXT_WINDOW = "context_window"
    CONTENT_POLICY = "content_policy"


@dataclass(frozen=True, slots=True)
class Failure:
    """A vendor's refusal: its class for routing, and the error the caller gets if no other target helps."""

    kind: FailureClass
    error: TollkeeperError
    retry_after_seconds: float | None = None
    # Of CREDENTIAL: what it may not use may be this model alone.
    is_of_model: bool = False


class NotSent(UpstreamError):
    """Nothing left for the vendor: the attempt cannot have cost anything."""

    code = "upstream_unreachable"


class CredentialUnavailable(UpstreamError):
    """What a credential stands for (a token, a role) could not be had: the provider itself was not asked."""

    status = 503
    code = "upstream_identity_unavailable"


class CredentialRefused(CredentialUnavailable):
    """It will not be had: whoever gives it says no, or the credential cannot work as it is configured."""

    status = 502
    code = "upstream_authentication"


class Pending(Protocol):
    """A request that has been sent, and its wait for an answer was cancelled, or ran out."""

    async def resume(self, deadline: float) -> "UpstreamResponse":
        """Go on waiting. Cancelled again, or too late again, it is closed."""
        ...

    def abort(self) -> None: ...


@dataclass(slots=True)  # not frozen: made for every attempt, and freezing doubles its price
class UpstreamRequest:
    """One HTTP request to a vendor. `secret_headers` are attached by the channel, to the credential's origins only.

    `signed_headers` are secret too and other ones each time (a signature, a token that is renewed): the channel keeps
    nothing of them.
    With `outlives_cancel` a `send` that is cancelled, or whose `deadline` passes, leaves the request in `pending`, where
    the channel can: whoever asked for that resumes or aborts it. `is_unsent`: nothing has left yet.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    config: ProviderConfig
    deadline: float  # monotonic seconds; the call's own, whatever the provider's timeouts say
    is_stream: bool
    credential: Credential | None = None
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    signed_headers: Mapping[str, str] | None = field(default=None, repr=False)
    outlives_cancel: bool = False
    pending: Pending | None = None
    is_unsent: bool = False
    # Of the route's policy, where it has a word on them: over the provider's and the process's.
    deadlines: Deadlines | None = None


class UpstreamResponse(Protocol):
    """A vendor's answer. Whoever holds it closes it; closing before the end cancels the vendor's work."""

    status: int
    headers: Mapping[str, str]  # lower-case names

    @property
    def received(self) -> int:
        """Bytes of the body that have arrived."""
        ...

    def bound(self, deadline: float, least_bytes_per_second: int) -> None:
        """Other bounds from here on: its end by then, and no ten seconds with less than that a second (0: at any pace)."""
        ...

    async def read(self) -> bytes:
        """The whole body, bounded in size and time. Cancelled or too late it may be called again and goes on."""
        ...

    def reads(self) -> AsyncIterator[bytes]:
        """The body as it arrives, split anywhere; raises `UpstreamTimeout` on silence, `UpstreamError` on a cut."""
        ...

    async def finish(self) -> None:
        """Close after the answer's own end was seen: waits a moment for the end of the body so as to keep the line."""
        ...

    async def aclose(self) -> None: ...


class Channel(Protocol):
    """How requests reach a vendor: `upstream.py` over sockets, or in process for `simulated`."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Returns once the status line and headers are there."""
        ...


@dataclass(frozen=True, slots=True)
class Billing:
    """How a vendor bills an answer that is not read to its end, and whether it can be counted as it comes."""

    # Closing the connection ends the work and the bill; unknown counts as no.
    stops_at_cancel: bool = False
    # Everything that is billed as output appears in the answer: no hidden reasoning.
    shows_output: bool = False
    reports_stream_usage: bool = True


@runtime_checkable
class CountsTokens(Protocol):
    """A provider whose vendor counts a call's input before it is made, for nothing."""

    def count_request(self, config: ProviderConfig, call: Call, target: Target) -> tuple[str, bytes]:
        """Where to ask, and with what body: of the call as `prepare` has made it."""
        ...

    def read_count(self, body: bytes) -> int | None: ...


class Provider(Protocol):
    """One entry of the registry in `providers/__init__`. Stateless; everything that varies comes in `config`."""

    @property
    def kind(self) -> str: ...

    @property
    def channel(self) -> Channel | None:
        """None: over HTTP. `simulated` answers in process through a channel of its own."""
        ...

    @property
    def caller_headers(self) -> tuple[str, ...]:
        """Headers of the caller's own, lower-case, that go to this vendor as they came. Never a credential."""
        ...

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:
        """The one in which this vendor takes the call; its own where it has what the caller speaks.

        Raises `BadRequest` (`unsupported_operation`) when this vendor has no such operation.
        """
        ...

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:
        """What the vendor wants in its headers beside the credential: its version, its switches."""
        ...

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str: ...

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        """What carries the credential; the channel sends it nowhere but to the credential's origins."""
        ...

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:
        """The call as this vendor takes it: its model name, its departures from the dialect."""
        ...

    def billing(self, config: ProviderConfig, model: str) -> Billing:
        """`model` is the vendor's name for it. An operator may know better: `cancel_stops_billing`, `visible_output`
        among the provider's options.
        """
        ...

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure: ...


@runtime_checkable
class TunesModels(Protocol):
    """A provider whose vendor has fine-tuning jobs and files in OpenAI's form."""

    def tuning_url(self, config: ProviderConfig, below: str) -> str | None:
        """The address of `/fine_tuning/jobs`, `/files` and what lies below them; None where this vendor has none."""
        ...


@runtime_checkable
class ListsElsewhere(Protocol):
    """A provider whose list of models is not at `base_url` + `/models`, where a probe asks for it."""

    def models_url(self, config: ProviderConfig) -> str | None:
        """None: nowhere that its credential may go; then only the credential is tried."""
        ...
