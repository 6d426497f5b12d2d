"""What of a canonical call Gemini has a place for: everything else is dropped where that is harmless, and told, or refused."""

from typing import Any, Final
from urllib.parse import quote

from tollkeeper.contracts.chat import ABSENT, Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.gemini.name import is_native
from tollkeeper.gateway.dialects.gemini.vendor_thinking import thinks

# The canonical fields that `vendor_request` writes.
EXPRESSED: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "n",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "thinking",
        "modalities",
        "audio",
        "web_search_options",
        "service_tier",
        "cached_content",
        "extra_body",
    }
)
EXPRESSED_OF_EMBEDDINGS: Final = frozenset(
    {"model", "input", "dimensions", "encoding_format", "task_type", "title", "auto_truncate"}
)
# Without them another call would be made than was asked for.
_REFUSED: Final = ("functions", "function_call")
_TIERS: Final = frozenset({"auto", "default", "standard", "flex", "priority"})


def prepare(call: Call, model: str) -> Call:
    """The call for the vendor's model. What came in this dialect goes as it is."""
    changes: dict[str, Any] = {} if model in {"*", call.model} else {"model": model}
    if not is_native(call):
        body = call.body
        known = EXPRESSED_OF_EMBEDDINGS if call.operation is Operation.EMBEDDINGS else EXPRESSED
        if known is EXPRESSED:
            _check(call)
            if body.get("parallel_tool_calls") is False:
                changes["parallel_tool_calls"] = ABSENT
            if (tier := body.get("service_tier")) is not None and not (isinstance(tier, str) and tier in _TIERS):
                changes["service_tier"] = ABSENT
            if not thinks(changes.get("model", call.model)):
                changes |= dict.fromkeys({"reasoning_effort", "thinking"} & body.keys(), ABSENT)
        if not body.keys() <= known:
            # A field that is there and null asks for nothing.
            changes |= {name: ABSENT for name, value in body.items() if name not in known and value is not None}
    return call.replace(**changes) if changes else call


def method_of(call: Call) -> str:
    """The method of a model that takes the call, with its query: what follows the model's name in an address."""
    if call.operation is Operation.EMBEDDINGS:
        is_one = "content" in call.native if call.native is not None else isinstance(call.body.get("input"), str)
        return "embedContent" if is_one else "batchEmbedContents"
    return "streamGenerateContent?alt=sse" if call.is_stream else "generateContent"


def model_path(model: str) -> str:
    """A model's name as a part of an address: `models/…`, or what stands in that place already."""
    folder, slash, name = model.partition("/")
    if slash and folder in {"models", "tunedModels"}:
        return f"{folder}/{quote(name, safe='')}"
    return f"models/{quote(model, safe='')}"


def _check(call: Call) -> None:
    for name in _REFUSED:
        if call.body.get(name) is not None:
            raise BadRequest(
                f"The deprecated '{name}' cannot be sent to Gemini; use 'tools' and 'tool_choice'.",
                code="unsupported_parameter",
                param=name,
            )
