"""Azure OpenAI: OpenAI's format at deployments of one's own, by the resource's key or with a token of Entra ID.

With the option `api_version` calls go to the classic addresses, where the deployment stands in the path; without, to the
v1 API, where it is the model's name. A target's model is the deployment; the option `deployments` (model → deployment)
lets targets name the model instead, which is what the public prices are found by.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from tollkeeper.contracts.catalog import Credential, ProviderConfig, ProviderKind
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.cloud import DocumentFamily, is_document
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.cloud_entra import entra_token
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.openai_failures import read_failure
from tollkeeper.gateway.provider import Billing, Channel, Failure, FailureClass, UpstreamRequest
from tollkeeper.gateway.providers.compatible import Compatible
from tollkeeper.gateway.providers.vendors import Vendor

# Deployments have names of their own, so nothing tells whether a reasoning model is behind one: `visible_output` says so.
_HIDES_OUTPUT: Final = ()
_V1: Final = Vendor(
    "azure",
    "Azure OpenAI",
    env_var="AZURE_OPENAI_API_KEY",
    max_tokens_field="max_completion_tokens",
    drops=frozenset(),
    takes_tokens=True,
    embeds_base64=True,
    auth_header="api-key",
    auth_scheme="",
    cancel_stops_billing=True,
    shows_output=_HIDES_OUTPUT,
    has_responses=True,
    # "Azure OpenAI REST API reference", Microsoft, 2026-10: as deployments, like all else.
    offers=frozenset(
        {
            Operation.IMAGE_GENERATIONS,
            Operation.IMAGE_EDITS,
            Operation.SPEECH,
            Operation.TRANSCRIPTIONS,
            Operation.TRANSLATIONS,
        }
    ),
)
KIND: Final = ProviderKind(_V1.kind, _V1.title, needs_base_url=True, env_var=_V1.env_var, document=DocumentFamily.ENTRA)
_CLASSIC: Final = replace(_V1, has_responses=False)
# The first version that knows max_completion_tokens and stream_options ("API version lifecycle", Microsoft, 2024-09).
_FIRST_MODERN: Final = "2024-09-01"
_EARLY: Final = replace(_CLASSIC, max_tokens_field="max_tokens", supports_stream_usage=False)
_RESPONSES_PATH: Final = "/responses"
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Azure:
    def __init__(self) -> None:
        self._v1 = Compatible(_V1)
        self._classic = Compatible(_CLASSIC)
        self._early = Compatible(_EARLY)

    @property
    def kind(self) -> str:
        return _V1.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ()

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:
        return self._of(config).dialect(config, call, _deployed(config, call, target))

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:
        return self._of(config).fixed_headers(config, call)

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:
        target = _deployed(config, call, target)
        base = (config.base_url or "").rstrip("/")
        path = self._of(config).url(config, call, target).removeprefix(base)
        base = base.removesuffix("/v1").removesuffix("/openai")
        version = _api_version(config)
        if version is None:
            return f"{base}/openai/v1{path}"
        if path.startswith(_RESPONSES_PATH):
            return f"{base}/openai{path}?api-version={version}"
        model = call.model if target.model == "*" else target.model
        return f"{base}/openai/deployments/{quote(model, safe='')}{path}?api-version={version}"

    def tuning_url(self, config: ProviderConfig, below: str) -> str | None:
        """Under both forms of addresses ("Customize a model with fine-tuning", Microsoft, 2026-10)."""
        base = (config.base_url or "").rstrip("/").removesuffix("/v1").removesuffix("/openai")
        version = _api_version(config)
        return f"{base}/openai/v1{below}" if version is None else f"{base}/openai{below}?api-version={version}"

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        if credential is None or is_document(credential.secret):
            return _NO_HEADERS
        return {_V1.auth_header: credential.secret}

    async def authorize(self, request: UpstreamRequest, tokens: Tokens) -> Mapping[str, str]:
        credential = request.credential
        if credential is None or not is_document(credential.secret):
            return _NO_HEADERS
        return {"authorization": f"Bearer {await entra_token(tokens, request.config, credential)}"}

    def models_url(self, config: ProviderConfig) -> str | None:
        base = (config.base_url or "").rstrip("/").removesuffix("/v1").removesuffix("/openai")
        version = _api_version(config)
        return f"{base}/openai/v1/models" if version is None else f"{base}/openai/models?api-version={version}"

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:
        return self._of(config).prepare(config, call, _deployed(config, call, target))

    def billing(self, config: ProviderConfig, model: str) -> Billing:
        return self._of(config).billing(config, model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        failure = read_failure(status, headers, body)
        inner = _inner_error(body) if status == 400 else None
        if inner is None:
            return failure
        # What was found, by category and severity: Azure's own clients look for it there.
        failure.error.details = {"innererror": inner}
        failure.error.code = "content_filter"
        return Failure(FailureClass.CONTENT_POLICY, failure.error)

    def _of(self, config: ProviderConfig) -> Compatible:
        version = _api_version(config)
        if version is None:
            return self._v1
        return self._classic if version >= _FIRST_MODERN else self._early


def _api_version(config: ProviderConfig) -> str | None:
    version = config.options.get("api_version")
    if version is None or version in {"v1", "preview", "latest"}:
        return None
    if not isinstance(version, str) or not version.replace("-", "").isalnum() or not version.isascii():
        raise UpstreamError(
            f"The option api_version of the provider '{config.name}' is none, such as \"2024-10-21\". Tell the operator.",
            code="upstream_configuration",
            should_retry=False,
        )
    return version


def _deployed(config: ProviderConfig, call: Call, target: Target) -> Target:
    """The target with its deployment's name."""
    deployments = config.options.get("deployments")
    if not isinstance(deployments, dict):
        return target
    name = deployments.get(call.model if target.model == "*" else target.model)
    return replace(target, model=name) if isinstance(name, str) else target


def _inner_error(body: bytes) -> dict[str, Any] | None:
    """Of a prompt that was filtered ("Content filtering", Azure's documentation): its code and what was found."""
    try:
        error = orjson.loads(body).get("error")
        inner = error.get("innererror")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    is_filtered = error.get("code") == "content_filter" or (
        isinstance(inner, dict) and inner.get("code") == "ResponsibleAIPolicyViolation"
    )
    if not is_filtered or not isinstance(inner, dict):
        return None
    kept = {name: inner[name] for name in ("code", "content_filter_result", "content_filter_results") if name in inner}
    return kept or None
