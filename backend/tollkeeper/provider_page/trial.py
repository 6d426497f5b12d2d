"""What a provider makes of a call, found out by giving it one. Nothing is sent."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.openai_fields import dropped_fields
from tollkeeper.gateway.provider import Provider
from tollkeeper.provider_page.samples import BASE, Sample

# The dialects that callers may speak, by what they are called.
CALLERS: Final[Mapping[str, str]] = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "gemini": "Gemini",
}
# Vendors treat generations of models differently: these stand for them.
_MODELS: Final[Mapping[str, str]] = {
    "anthropic": "claude-opus-4-6",
    "bedrock": "anthropic.claude-opus-4-6-v1",
    "gemini": "gemini-3-flash-preview",
    "vertex": "gemini-3-flash-preview",
}
_OTHERS: Final = "gpt-4o-mini"
# Where other models embed than those that write.
_EMBED: Final[Mapping[str, str]] = {"bedrock": "amazon.titan-embed-text-v2:0", "vertex": "text-embedding-005"}


class Outcome(StrEnum):
    """The words of the page."""

    AS_IS = "as it is"
    TRANSLATED = "translated"
    DROPPED = "dropped"
    REFUSED = "refused"
    NOTHING = "no effect"


class Trial:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.model = _MODELS.get(provider.kind, _OTHERS)
        self._config = ProviderConfig(uuid7(), provider.kind, provider.kind, "https://vendor.example")
        self._target = Target(provider.kind, self.model)

    def speaks(self, caller: str = "") -> str:
        """The dialect in which the vendor takes a chat call that came in this one."""
        call = self._call(BASE)
        call.dialect = caller
        call.native = {} if caller not in {"", "openai_chat"} else None
        return self._provider.dialect(self._config, call, self._target).NAME

    def has(self, operation: Operation) -> bool:
        call, target = self._call(BASE), self._target
        call.operation = operation
        if operation is Operation.EMBEDDINGS and (model := _EMBED.get(self._provider.kind)) is not None:
            target = Target(target.provider, model)
        try:
            self._provider.dialect(self._config, call, target)
        except BadRequest:
            return False
        return True

    def outcome(self, sample: Sample) -> Outcome:
        try:
            before, _ = self._write({**BASE, **sample.beside})
            after, dropped = self._write({**BASE, **sample.beside, **sample.fields})
        except BadRequest:
            return Outcome.REFUSED
        if dropped & sample.fields.keys():
            return Outcome.DROPPED
        if after == before:
            return Outcome.NOTHING
        is_same = after == {**before, **sample.fields}
        return Outcome.AS_IS if is_same else Outcome.TRANSLATED

    def _write(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        call = self._call(body)
        dialect = self._provider.dialect(self._config, call, self._target)
        prepared = self._provider.prepare(self._config, call, self._target)
        return orjson.loads(dialect.write_call(prepared)), set(dropped_fields(call, prepared))

    def _call(self, body: Mapping[str, Any]) -> Call:
        return Call(Operation.CHAT, self.model, is_stream=False, body={"model": self.model, **body})
