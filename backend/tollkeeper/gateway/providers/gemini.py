"""Google's Gemini API with an API key. Vertex speaks the same dialect under other addresses and credentials."""

from collections.abc import Mapping
from typing import Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig, ProviderKind
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.gemini import (
    GeminiEmbeddingsVendor,
    GeminiVendor,
    method_of,
    model_path,
    prepare,
    read_count,
    read_failure,
    write_count,
)
from tollkeeper.gateway.provider import Billing, Channel, Failure

_BASE_URL: Final = "https://generativelanguage.googleapis.com"
_VERSION: Final = "/v1beta"
_DIALECTS: Final[Mapping[Operation, VendorDialect]] = {
    Operation.CHAT: GeminiVendor(),
    Operation.EMBEDDINGS: GeminiEmbeddingsVendor(),
}
_NO_HEADERS: Final[Mapping[str, str]] = {}

KIND: Final = ProviderKind("gemini", "Google Gemini", base_url=_BASE_URL, env_var="GEMINI_API_KEY")


class Gemini:
    @property
    def kind(self) -> str:
        return KIND.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ()

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:  # noqa: ARG002 - the interface
        dialect = _DIALECTS.get(call.operation)
        if dialect is None:
            raise BadRequest(
                f"{KIND.title} does not offer {call.operation}.", code="unsupported_operation", param="model"
            )
        return dialect

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _NO_HEADERS

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:  # noqa: ARG002 - the interface
        return f"{_base(config)}/{model_path(call.model)}:{method_of(call)}"

    def models_url(self, config: ProviderConfig) -> str | None:
        return f"{_base(config)}/models"

    def count_request(self, config: ProviderConfig, call: Call, target: Target) -> tuple[str, bytes]:  # noqa: ARG002 - the interface
        return f"{_base(config)}/{model_path(call.model)}:countTokens", write_count(call)

    def read_count(self, body: bytes) -> int | None:
        return read_count(body)

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        return {} if credential is None else {"x-goog-api-key": credential.secret}

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:  # noqa: ARG002 - the interface
        return prepare(call, target.model)

    def billing(self, config: ProviderConfig, model: str) -> Billing:  # noqa: ARG002 - the interface
        """Thoughts are billed and shown in summary only; that closing a stream ends the bill is not known."""
        stops, shows = config.options.get("cancel_stops_billing"), config.options.get("visible_output")
        return Billing(stops_at_cancel=stops is True, shows_output=shows is True)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return read_failure(status, headers, body)


def _base(config: ProviderConfig) -> str:
    """With the version of the API, which an operator may name."""
    base = (config.base_url or _BASE_URL).rstrip("/")
    return base if base.endswith(("/v1beta", "/v1", "/v1alpha")) else base + _VERSION
