"""Anthropic: its Messages API, with a key of one's own."""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig, ProviderKind
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.anthropic_messages import (
    AnthropicVendor,
    prepare_chat,
    read_count,
    read_failure,
    shows_output,
    write_count,
)
from tollkeeper.gateway.provider import Billing, Channel, Failure

KIND: Final = ProviderKind("anthropic", "Anthropic", "https://api.anthropic.com", env_var="ANTHROPIC_API_KEY")
_PATH: Final = "/v1/messages"
# The later version refuses temperature, top_p and top_k of every model ("Migrating to API version 2026-10-21"); callers
# who speak to Anthropic themselves bring the version they know.
_HEADERS: Final[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
_DIALECT: Final = AnthropicVendor()


class Anthropic:
    @property
    def kind(self) -> str:
        return KIND.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ("anthropic-beta", "anthropic-version")

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:  # noqa: ARG002 - the interface
        if call.operation is not Operation.CHAT:
            raise BadRequest(f"Anthropic does not offer {call.operation}.", code="unsupported_operation", param="model")
        return _DIALECT

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _HEADERS

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:  # noqa: ARG002 - the interface
        """With or without the version that some write behind the address."""
        base = config.base_url or KIND.base_url or ""
        return base.rstrip("/").removesuffix("/v1") + _PATH

    def count_request(self, config: ProviderConfig, call: Call, target: Target) -> tuple[str, bytes]:
        return self.url(config, call, target) + "/count_tokens", write_count(call)

    def read_count(self, body: bytes) -> int | None:
        return read_count(body)

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        return {} if credential is None else {"x-api-key": credential.secret}

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:  # noqa: ARG002 - the interface
        return prepare_chat(call, call.model if target.model == "*" else target.model, target.max_output_tokens)

    def billing(self, config: ProviderConfig, model: str) -> Billing:
        """Closing a stream ends its bill ("Stream cancellation", OpenRouter's list of vendors, 2026-11).

        Thinking is billed whole and shown in summary or not at all ("Thinking", Claude docs, 2026-11).
        """
        stops, shows = config.options.get("cancel_stops_billing"), config.options.get("visible_output")
        return Billing(
            stops_at_cancel=stops if isinstance(stops, bool) else True,
            shows_output=shows if isinstance(shows, bool) else shows_output(model),
        )

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return read_failure(status, headers, body)
