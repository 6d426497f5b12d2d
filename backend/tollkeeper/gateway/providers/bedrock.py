"""Amazon Bedrock: Converse for every model that writes, InvokeModel for Titan's and Cohere's embeddings; signed with keys of AWS, of assumed roles or of a workload, or by API key.

The region is in the address (`https://bedrock-runtime.eu-west-1.amazonaws.com`), or the option `region` where the address
is one of the operator's own. The option `guardrail` (`{id, version}`) holds for every call; `api: anthropic` reaches
Claude in Anthropic's dialect instead.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from tollkeeper.contracts.catalog import Credential, ProviderConfig, ProviderKind
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.cloud import DocumentFamily, is_document
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.cloud_aws import sign_request
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.anthropic_messages import prepare_chat as prepare_claude
from tollkeeper.gateway.dialects.bedrock_converse import ConverseVendor, prepare_chat, read_failure
from tollkeeper.gateway.dialects.bedrock_embeddings import find_embeddings, prepare_embeddings
from tollkeeper.gateway.provider import Billing, Channel, CredentialRefused, Failure, UpstreamRequest
from tollkeeper.gateway.providers.bedrock_claude import BedrockClaude

_CONVERSE: Final = ConverseVendor()
_CLAUDE: Final = BedrockClaude()
_VERBS: Final = ("converse", "converse-stream")
_INVOKE: Final = ("invoke", "invoke-with-response-stream")
_SERVICE: Final = "bedrock"
_STREAM_HEADERS: Final[Mapping[str, str]] = {"accept": "application/vnd.amazon.eventstream"}
_WHOLE_HEADERS: Final[Mapping[str, str]] = {"accept": "application/json"}
_NO_HEADERS: Final[Mapping[str, str]] = {}

KIND: Final = ProviderKind(
    "bedrock",
    "Amazon Bedrock",
    needs_base_url=True,
    env_var="AWS_BEARER_TOKEN_BEDROCK",
    document=DocumentFamily.AWS,
)


class Bedrock:
    @property
    def kind(self) -> str:
        return KIND.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ()

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:
        model = call.model if target.model == "*" else target.model
        if call.operation is Operation.EMBEDDINGS and (dialect := find_embeddings(model)) is not None:
            return dialect
        if call.operation is not Operation.CHAT:
            raise BadRequest(
                f"{KIND.title} does not offer {call.operation} with this model.",
                code="unsupported_operation",
                param="model",
            )
        return _CLAUDE if _speaks_anthropic(config, model) else _CONVERSE

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:
        headers = _STREAM_HEADERS if call.is_stream else _WHOLE_HEADERS
        guardrail = _guardrail(config) if _speaks_anthropic(config, call.model) else None
        if guardrail is None:
            return headers
        return {
            **headers,
            "x-amzn-bedrock-guardrailidentifier": guardrail["guardrailIdentifier"],
            "x-amzn-bedrock-guardrailversion": guardrail["guardrailVersion"],
        }

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:  # noqa: ARG002 - the interface
        base = (config.base_url or "").rstrip("/")
        is_invoked = call.operation is Operation.EMBEDDINGS or _speaks_anthropic(config, call.model)
        whole, streamed = _INVOKE if is_invoked else _VERBS
        return f"{base}/model/{quote(call.model, safe='')}/{streamed if call.is_stream else whole}"

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        if credential is None or is_document(credential.secret):
            return _NO_HEADERS
        return {"authorization": f"Bearer {credential.secret}"}

    async def authorize(self, request: UpstreamRequest, tokens: Tokens) -> Mapping[str, str]:
        credential = request.credential
        if credential is None or not is_document(credential.secret):
            return _NO_HEADERS
        return await sign_request(
            tokens,
            request.config,
            credential,
            region=region_of(request.config),
            service=_SERVICE,
            method=request.method,
            url=request.url,
            body=request.body,
        )

    def models_url(self, config: ProviderConfig) -> str | None:  # noqa: ARG002 - the interface
        return None

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:
        model = call.model if target.model == "*" else target.model
        if call.operation is Operation.EMBEDDINGS:
            return prepare_embeddings(call, model)
        if _speaks_anthropic(config, model):
            return prepare_claude(call, model, target.max_output_tokens)
        call = prepare_chat(call, model)
        guardrail = _guardrail(config)
        return call if guardrail is None else call.replace(guardrailConfig=guardrail)

    def billing(self, config: ProviderConfig, model: str) -> Billing:  # noqa: ARG002 - the interface
        """Bedrock goes on and bills when a stream is closed."""
        stops, shows = config.options.get("cancel_stops_billing"), config.options.get("visible_output")
        return Billing(stops_at_cancel=stops is True, shows_output=shows is True)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return read_failure(status, headers, body)


def _speaks_anthropic(config: ProviderConfig, model: str) -> bool:
    """By the option `api`: `converse` (which is usual) or `anthropic`, for the models that are Anthropic's."""
    return config.options.get("api") == "anthropic" and "claude" in model


def region_of(config: ProviderConfig) -> str:
    """What signatures are made for."""
    region = config.options.get("region")
    if region is None:
        # bedrock-runtime.eu-west-1.amazonaws.com, bedrock-runtime-fips.us-gov-west-1.…, vpce-….bedrock-runtime.us-east-1.vpce.…
        labels = (urlsplit(config.base_url or "").hostname or "").split(".")
        place = next((n for n, label in enumerate(labels) if label.startswith("bedrock-runtime")), -1)
        region = labels[place + 1] if 0 <= place < len(labels) - 1 else None
    if not isinstance(region, str) or not region.replace("-", "").isalnum() or not region.isascii():
        raise CredentialRefused(
            f"The provider '{config.name}' has no region: neither its base_url nor its options say one. Tell the operator.",
            code="upstream_configuration",
            should_retry=False,
        )
    return region


def _guardrail(config: ProviderConfig) -> dict[str, str] | None:
    told = config.options.get("guardrail")
    if told is None:
        return None
    identifier, version = (told.get("id"), told.get("version")) if isinstance(told, dict) else (None, None)
    if not isinstance(identifier, str) or not isinstance(version, str | int):
        raise UpstreamError(
            f"The option guardrail of the provider '{config.name}' needs an id and a version. Tell the operator.",
            code="upstream_configuration",
            should_retry=False,
        )
    # Never without it: an operator's guardrail that is not in force is worse than a refusal.
    return {"guardrailIdentifier": identifier, "guardrailVersion": str(version)}
