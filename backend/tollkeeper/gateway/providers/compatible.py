"""Every vendor that speaks OpenAI's format: one class, one row of `vendors` each."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.contracts.chat import ABSENT, Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest, UpstreamError
from tollkeeper.gateway.canonical import effort_of
from tollkeeper.gateway.dialect import VendorDialect
from tollkeeper.gateway.dialects.openai_chat import OpenAIChat
from tollkeeper.gateway.dialects.openai_completions import OpenAICompletions
from tollkeeper.gateway.dialects.openai_embeddings import OpenAIEmbeddings, has_tokens
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_moderations import OpenAIModerations
from tollkeeper.gateway.dialects.openai_rerank import OpenAIRerank
from tollkeeper.gateway.dialects.openai_responses import OpenAIResponsesVendor, unexpressed_fields
from tollkeeper.gateway.dialects.openai_speech import OpenAISpeech
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.openai_failures import read_failure
from tollkeeper.gateway.plain_chat import plain_changes
from tollkeeper.gateway.provider import Billing, Channel, Failure
from tollkeeper.gateway.providers.vendors import Vendor

_PATHS: Final[Mapping[Operation, str]] = {
    Operation.CHAT: "/chat/completions",
    Operation.COMPLETIONS: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
    Operation.MODERATIONS: "/moderations",
    Operation.IMAGE_GENERATIONS: "/images/generations",
    Operation.IMAGE_EDITS: "/images/edits",
    Operation.IMAGE_VARIATIONS: "/images/variations",
    Operation.SPEECH: "/audio/speech",
    Operation.TRANSCRIPTIONS: "/audio/transcriptions",
    Operation.TRANSLATIONS: "/audio/translations",
    Operation.RERANK: "/rerank",
}
_DIALECTS: Final[Mapping[Operation, VendorDialect]] = {
    Operation.CHAT: OpenAIChat(),
    Operation.COMPLETIONS: OpenAICompletions(),
    Operation.EMBEDDINGS: OpenAIEmbeddings(),
    Operation.MODERATIONS: OpenAIModerations(),
    Operation.IMAGE_GENERATIONS: OpenAIImages(Operation.IMAGE_GENERATIONS),
    Operation.IMAGE_EDITS: OpenAIImages(Operation.IMAGE_EDITS),
    Operation.IMAGE_VARIATIONS: OpenAIImages(Operation.IMAGE_VARIATIONS),
    Operation.SPEECH: OpenAISpeech(),
    Operation.TRANSCRIPTIONS: OpenAITranscriptions(Operation.TRANSCRIPTIONS),
    Operation.TRANSLATIONS: OpenAITranscriptions(Operation.TRANSLATIONS),
    Operation.RERANK: OpenAIRerank(),
}
_OWN_DIALECTS: Final = frozenset({"", OpenAIChat.NAME})
_WITH_STREAM_OPTIONS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_NO_HEADERS: Final[Mapping[str, str]] = {}
_CAPS: Final = ("max_tokens", "max_completion_tokens")
_REASONING: Final = ("reasoning_content", "reasoning")
_RESPONSES_PATH: Final = "/responses"
# Of the provider's option `api`: which calls go out over the Responses API, all of them or those that came in it.
_APIS: Final = frozenset({"chat", "responses", "both"})


class Compatible:
    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self._responses = OpenAIResponsesVendor(
            vendor.hands_out_reasoning, takes_reasoning_text="reasoning_content" in vendor.keeps
        )

    @property
    def kind(self) -> str:
        return self.vendor.kind

    @property
    def channel(self) -> Channel | None:
        return None

    @property
    def caller_headers(self) -> tuple[str, ...]:
        return ()

    def dialect(self, config: ProviderConfig, call: Call, target: Target) -> VendorDialect:
        vendor, operation = self.vendor, call.operation
        if not vendor.has(operation):
            raise BadRequest(f"{vendor.title} does not offer {operation}.", code="unsupported_operation", param="model")
        return self._responses if self._speaks_responses(config, call, target) else _DIALECTS[operation]

    def fixed_headers(self, config: ProviderConfig, call: Call) -> Mapping[str, str]:  # noqa: ARG002 - the interface
        return _NO_HEADERS if call.form is None else {"content-type": call.form.content_type}

    def url(self, config: ProviderConfig, call: Call, target: Target) -> str:
        base = config.base_url or self.vendor.base_url
        if base is None:
            raise UpstreamError(
                f"The provider '{config.name}' has no base_url. Tell the operator.",
                code="upstream_configuration",
                should_retry=False,
            )
        path = _RESPONSES_PATH if self._speaks_responses(config, call, target) else _PATHS[call.operation]
        if (own := self.vendor.root_paths.get(call.operation)) is not None:
            scheme, _, rest = base.partition("://")
            return f"{scheme}://{rest.partition('/')[0]}{own}"
        return base.rstrip("/") + path

    def tuning_url(self, config: ProviderConfig, below: str) -> str | None:
        base = config.base_url or self.vendor.base_url
        return None if base is None or not self.vendor.has_fine_tuning else base.rstrip("/") + below

    def headers(self, credential: Credential | None) -> Mapping[str, str]:
        if credential is None:
            return {}
        return {self.vendor.auth_header: self.vendor.auth_scheme + credential.secret}

    def prepare(self, config: ProviderConfig, call: Call, target: Target) -> Call:
        """The call itself when nothing has to change, so that its bytes go out as they came in."""
        vendor, body = self.vendor, call.body
        changes: dict[str, Any] = {}
        if target.model not in {"*", call.model}:
            changes["model"] = target.model
        if self._speaks_responses(config, call, target):
            if call.native is None or call.dialect != OpenAIResponsesVendor.NAME:
                changes |= dict.fromkeys(unexpressed_fields(body) | (vendor.drops & body.keys()), ABSENT)
                if "thinking" in body and (effort := effort_of(body)) is not None:
                    changes["reasoning_effort"] = effort
            return call.replace(**changes) if changes else call
        if call.dialect not in _OWN_DIALECTS and call.operation is Operation.CHAT:
            # Translated from another dialect.
            changes |= plain_changes(body, vendor.keeps)
        if call.operation is Operation.EMBEDDINGS:
            self._prepare_embeddings(call, changes)
        elif call.is_stream and call.operation in _WITH_STREAM_OPTIONS:
            self._prepare_stream(call, changes)
        if call.operation is Operation.CHAT:
            self._prepare_chat(call, changes)
        if not vendor.drops.isdisjoint(body):
            changes |= dict.fromkeys(vendor.drops & body.keys(), ABSENT)
        return call.replace(**changes) if changes else call

    def salts(self, config: ProviderConfig, call: Call) -> bool:
        """Whether calls say whose they are, so that what the server keeps of prompts is kept apart."""
        says = config.options.get("cache_salt", self.vendor.takes_salt)
        return says is True and call.operation in _WITH_STREAM_OPTIONS

    def billing(self, config: ProviderConfig, model: str) -> Billing:
        vendor, options = self.vendor, config.options
        stops, shows = options.get("cancel_stops_billing"), options.get("visible_output")
        return _billing(
            stops if isinstance(stops, bool) else vendor.cancel_stops_billing,
            shows if isinstance(shows, bool) else vendor.shows(model),
            vendor.supports_stream_usage,
        )

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return read_failure(status, headers, body)

    def _prepare_chat(self, call: Call, changes: dict[str, Any]) -> None:
        # A cap of ours has to be understood: the older name is known wherever both are not.
        wanted = self.vendor.max_tokens_field or (call.applied_cap and "max_tokens")
        if not wanted and call.dialect not in _OWN_DIALECTS:
            wanted = self.vendor.foreign_cap
        if wanted:
            _rename_cap(call.body, wanted, changes)
        if "parallel_tool_calls" in call.body and not call.body.get("tools"):
            changes["parallel_tool_calls"] = ABSENT
        if self.vendor.reasoning_fields:
            messages = _renamed_reasoning(
                changes.get("messages") or call.body.get("messages") or (), self.vendor.reasoning_fields
            )
            if messages is not None:
                changes["messages"] = messages

    def _speaks_responses(self, config: ProviderConfig, call: Call, target: Target) -> bool:
        """The same before and after `prepare`."""
        if call.operation is not Operation.CHAT:
            return False
        vendor, api = self.vendor, config.options.get("api")
        if api is not None and api not in _APIS:
            raise UpstreamError(
                f"The option 'api' of the provider '{config.name}' is none of chat, responses, both. Tell the operator.",
                code="upstream_configuration",
                should_retry=False,
            )
        if api == "chat":
            return False
        if api == "responses":
            return True
        model = call.model if target.model == "*" else target.model
        if vendor.responses_only and model.startswith(vendor.responses_only):
            return True
        if call.dialect != OpenAIResponsesVendor.NAME or not (vendor.has_responses or api == "both"):
            return False
        return not any(part in model for part in vendor.chat_only)

    def _prepare_stream(self, call: Call, changes: dict[str, Any]) -> None:
        """Ask for usage whatever the caller wants to see of it: without it a stream cannot be billed rightly."""
        options = call.body.get("stream_options")
        if not self.vendor.supports_stream_usage:
            if "stream_options" in call.body:
                changes["stream_options"] = ABSENT
        elif not (options and options.get("include_usage")):
            changes["stream_options"] = {**(options or {}), "include_usage": True}

    def _prepare_embeddings(self, call: Call, changes: dict[str, Any]) -> None:
        if not self.vendor.takes_tokens and has_tokens(call):
            raise BadRequest(
                f"{self.vendor.title} reads text, not token ids. Send strings "
                "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)).",
                code="unsupported_input",
                param="input",
            )
        if not self.vendor.embeds_base64 and "encoding_format" in call.body:
            # Not reported as dropped: the caller still gets the encoding it asked for.
            changes["encoding_format"] = "float"


@functools.cache
def _billing(stops_at_cancel: bool, shows_output: bool, reports_stream_usage: bool) -> Billing:
    """One of eight, asked for with every call."""
    return Billing(stops_at_cancel, shows_output, reports_stream_usage)


def _renamed_reasoning(messages: Sequence[Any], fields: tuple[str, ...]) -> list[Any] | None:
    """The messages with what models thought under the names of this vendor; None where they have them already."""
    renamed: list[Any] | None = None
    for position, message in enumerate(messages):
        thought = message.get("reasoning_content") or message.get("reasoning")
        if not isinstance(thought, str) or all((name in message) == (name in fields) for name in _REASONING):
            continue
        renamed = list(messages) if renamed is None else renamed
        others = {name: value for name, value in message.items() if name not in _REASONING}
        renamed[position] = {**others, **dict.fromkeys(fields, thought)}
    return renamed


def _rename_cap(body: Mapping[str, Any], wanted: str, changes: dict[str, Any]) -> None:
    """One name, one value: vendors refuse both at once, and ignore the one they do not know."""
    other = _CAPS[0] if wanted == _CAPS[1] else _CAPS[1]
    if other in body:
        changes[other] = ABSENT
        if body.get(wanted) is None:
            changes[wanted] = body[other]
