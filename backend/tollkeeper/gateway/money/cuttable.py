"""Whether an answer may be stopped in the middle without costing more than what was seen of it (RULING 1).

Only such a call may go out with less put aside than its worst case.
"""

from collections.abc import Mapping
from typing import Any, Final

from tollkeeper.contracts.catalog import ProviderConfig
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.gateway.money.extent import TEXTS
from tollkeeper.gateway.provider import Provider

_SAID: Final = TEXTS | {Operation.EMBEDDINGS}
_HIDING: Final = frozenset(
    {
        "best_of",
        "echo",
        "prediction",
        "audio",
        "thinking",
        "reasoning_effort",
        "modalities",
        "web_search_options",
        "tools",
    }
)


def can_cut(provider: Provider, config: ProviderConfig, call: Call, target: Target) -> bool:
    """Closing ends the bill, all output is visible as it is made, and streams report their usage."""
    if call.operation not in TEXTS or _hides_output(call.body):
        return False
    billing = provider.billing(config, call.model if target.model == "*" else target.model)
    return billing.stops_at_cancel and billing.shows_output and billing.reports_stream_usage


def stops_at_close(provider: Provider, config: ProviderConfig, operation: Operation, model: str) -> bool:
    """Whether closing the connection ends the bill; what vendors say of that, they say of text."""
    return operation in _SAID and provider.billing(config, model).stops_at_cancel


def _hides_output(body: Mapping[str, Any]) -> bool:
    """What is billed and not shown, or cannot be streamed as it is: candidates thrown away, sound, the vendor's own tools."""
    if _HIDING.isdisjoint(body):
        return False
    if body.get("best_of") or body.get("echo") or body.get("prediction") or body.get("audio"):
        return True
    # Some vendors bill thinking whole and show it in summary.
    if body.get("thinking") is not None or body.get("reasoning_effort") not in (None, "none"):
        return True
    if body.get("modalities") not in (None, ["text"]) or body.get("web_search_options") is not None:
        return True
    tools = body.get("tools")
    return isinstance(tools, list) and any(tool.get("type") not in ("function", "custom") for tool in tools)
