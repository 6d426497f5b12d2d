"""How much Claude is to think: OpenAI's one word → `thinking` and `output_config.effort`, as each generation knows them."""

from collections.abc import Mapping
from typing import Any

from tollkeeper.gateway.dialects.anthropic_messages.vendor_models import (
    Kind,
    Thinking,
    budget_for,
    effort_for,
)


def thinking_of(
    body: Mapping[str, Any], kind: Kind, max_tokens: int, *, may_think: bool
) -> tuple[Mapping[str, Any] | None, str | None]:
    """`thinking` and the word for the effort, None where the call has none.

    A caller's own `thinking` goes out as it is. `may_think` is False where a tool is forced or a turn lacks its thinking:
    there Anthropic refuses what has to be asked for.
    """
    asked = body.get("reasoning_effort")
    effort = asked if isinstance(asked, str) else None
    own = body.get("thinking")
    if isinstance(own, dict):
        return own, None if effort in {None, "none"} else effort_for(kind, effort or "")
    if effort is None:
        return None, None
    if effort == "none":
        return _without(kind)
    thinking: Mapping[str, Any] | None = None
    if kind.thinking is Thinking.BUDGET and may_think and (budget := budget_for(effort, max_tokens)) is not None:
        thinking = {"type": "enabled", "budget_tokens": budget}
    elif kind.thinking is Thinking.ASKED and may_think and effort != "minimal":
        thinking = {"type": "adaptive"}
    return thinking, effort_for(kind, effort)


def _without(kind: Kind) -> tuple[Mapping[str, Any] | None, str | None]:
    """The nearest to not thinking at all."""
    if kind.thinking is Thinking.USUAL:
        return {"type": "disabled"}, None
    return None, "low" if kind.thinking is Thinking.ALWAYS else None


def may_be_asked(kind: Kind, effort: str, max_tokens: int) -> bool:
    """Whether this word changes anything at this model."""
    if effort == "none" or kind.efforts:
        return True
    return kind.thinking is Thinking.BUDGET and budget_for(effort, max_tokens) is not None


def thinks(body: Mapping[str, Any], kind: Kind, max_tokens: int) -> bool:
    """Whether the call turns on what excludes sampling and forced tools."""
    thinking, _ = thinking_of(body, kind, max_tokens, may_think=True)
    return thinking is not None and thinking.get("type") in ("enabled", "adaptive")
