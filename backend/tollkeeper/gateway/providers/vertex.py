"""Google Vertex AI: Gemini in Gemini's own dialect, Claude in Anthropic's, embeddings by `:predict`, with tokens of Google Cloud or an API key.

The address names project and location (`https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1`),
or the options `project` and `location` do. Claude's models are known by their name, or by `anthropic/` before it.
"""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit

import orjson

from tollkeeper.contracts.catalog import Credential, ProviderConfig, ProviderKind
from tollkeeper.contracts.chat import ABSENT, Batch, Call, Chunk, Operation
from tollkeeper.contracts.cloud import DocumentFamily, is_document
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.cloud_google import google_token
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.anthropic_messages import AnthropicVendor, prepare_chat
from tollkeeper.gateway.dialects.anthropic_messages import read_failure as read_anthropic_failure
from tollkeeper.gateway.dialects.anthropic_messages import shows_output as claude_shows_output
from tollkeeper.gateway.dialects.anthropic_messages.vendor_request import request_of
from tollkeeper.gateway.dialects.gemini import GeminiVendor, method_of, prepare, read_failure
from tollkeeper.gateway.dialects.vertex_embeddings import VertexEmbeddings, prepare_embeddings
from tollkeeper.gateway.provider import Billing, Channel, Failure, UpstreamRequest

KIND: Final = ProviderKind("vertex", "Google Vertex AI", needs_base_url=True, document=DocumentFamily.GOOGLE)
# In the body, where Anthropic has a header ("Claude on Vertex AI", Claude docs, 2026-11).
_ANTHROPIC_VERSION: Final = "vertex-2023-10-16"
_GOOGLE: Final = "google"
_ANTHROPIC: Final = "anthropic"
_HOST_SUFFIX: Final = "aiplatform.googleapis.com"
_NO_HEADERS: Final[Mapping[str, str]] = {}


class VertexClaude:
    """Anthropic's Messages, where the model stands in the address and the version in the body."""

    NAME: ClassVar[str] = AnthropicVendor.NAME

    def __init__(self) -> None:
        self._anthropic = AnthropicVendor()

    def write_call(self, call: Call) -> bytes:
        document = request_of(call)
        document.pop("model", None)
        return orjson.dumps({"anthropic_version": _ANTHROPIC_VERSION, **document})

    def read_whole(self, body: bytes, call: Call) -> Chunk:
        return self._anthropic.read_whole(body, call)

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return self._anthropic.read_stream(reads, call)


# Vertex' own documents have no ids for calls of functions: their order tells.
_GEMINI: Final = GeminiVendor(sends_ids=False)
_CLAUDE: Final = VertexClaude()
_EMBEDDINGS: Final = VertexEmbeddings()


class Vertex:
    @property
    def kind(self) -> str:
        return KIND.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ("anthropic-beta",)

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:  # noqa: ARG002 - the interface
        publisher, _ = _split(call.model if target.model == "*" else target.model)
        if call.operation is Operation.EMBEDDINGS and publisher == _GOOGLE:
            return _EMBEDDINGS
        if call.operation is not Operation.CHAT:
            raise BadRequest(
                f"{KIND.title} does not offer {call.operation} with this model.",
                code="unsupported_operation",
                param="model",
            )
        return _CLAUDE if publisher == _ANTHROPIC else _GEMINI

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _NO_HEADERS

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:  # noqa: ARG002 - the interface
        publisher, model = _split(call.model)
        if publisher == _ANTHROPIC:
            method = "streamRawPredict" if call.is_stream else "rawPredict"
        elif call.operation is Operation.EMBEDDINGS:
            method = "predict"
        else:
            method = method_of(call)
        return f"{_place(config)}/publishers/{publisher}/models/{quote(model, safe='@')}:{method}"

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        if credential is None or is_document(credential.secret):
            return _NO_HEADERS
        return {"x-goog-api-key": credential.secret}

    async def authorize(self, request: UpstreamRequest, tokens: Tokens) -> Mapping[str, str]:
        credential = request.credential
        if credential is None or not is_document(credential.secret):
            return _NO_HEADERS
        return {"authorization": f"Bearer {await google_token(tokens, request.config, credential)}"}

    def models_url(self, config: ProviderConfig) -> str | None:  # noqa: ARG002 - the interface
        return None

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:  # noqa: ARG002 - the interface
        model = call.model if target.model == "*" else target.model
        publisher, _ = _split(model)
        if call.operation is Operation.EMBEDDINGS:
            return prepare_embeddings(call, model)
        if publisher == _ANTHROPIC:
            return prepare_chat(call, model, target.max_output_tokens)
        prepared = prepare(call, model)
        # Vertex is told of tiers in other ways than Gemini's own API, and refuses the field.
        is_native = prepared.native is not None and prepared.dialect == _GEMINI.NAME
        if is_native or prepared.body.get("service_tier") is None:
            return prepared
        return prepared.replace(service_tier=ABSENT)

    def billing(self, config: ProviderConfig, model: str) -> Billing:
        """Thoughts are billed and shown in summary only; that closing a stream ends the bill is not known."""
        stops, shows = config.options.get("cancel_stops_billing"), config.options.get("visible_output")
        is_shown = _split(model)[0] == _ANTHROPIC and claude_shows_output(model)
        return Billing(stops_at_cancel=stops is True, shows_output=shows if isinstance(shows, bool) else is_shown)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return (read_anthropic_failure if _is_anthropics(body) else read_failure)(status, headers, body)


def _split(model: str) -> tuple[str, str]:
    """Publisher and name."""
    publisher, slash, name = model.partition("/")
    if slash and publisher in {_GOOGLE, _ANTHROPIC}:
        return publisher, name
    return (_ANTHROPIC if model.startswith("claude") else _GOOGLE), model


def _place(config: ProviderConfig) -> str:
    """The address of project and location. An API key's own (`…/v1`, express mode) has neither."""
    base = (config.base_url or "").rstrip("/")
    project = config.options.get("project")
    if "/projects/" in base or project is None:
        return base
    location = config.options.get("location")
    if location is None:
        host = urlsplit(base).hostname or ""
        location = host.removesuffix(_HOST_SUFFIX).removesuffix("-") if host.endswith(_HOST_SUFFIX) else None
        location = location if location != "" else "global"
    if not isinstance(project, str) or not isinstance(location, str):
        raise UpstreamError(
            f"The options of the provider '{config.name}' name no project and location. Tell the operator.",
            code="upstream_configuration",
            should_retry=False,
        )
    base = base if base.endswith(("/v1", "/v1beta1")) else f"{base}/v1"
    return f"{base}/projects/{quote(project, safe=':')}/locations/{quote(location, safe='')}"


def _is_anthropics(body: bytes) -> bool:
    """Whether a refusal is in Anthropic's words: Vertex relays those of Claude, and has its own for all else."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("type") == "error"
