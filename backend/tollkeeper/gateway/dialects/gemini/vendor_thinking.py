"""How much a model may think, in the words that its generation takes: a budget of tokens, a level, or none at all."""

from collections.abc import Mapping
from typing import Any, Final

# Google's own OpenAI layer has these equivalents ("OpenAI compatibility", Gemini API documentation, 2026-08).
_BUDGETS: Final[Mapping[str, int]] = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
_LEVELS: Final[Mapping[str, str]] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
# The least that 2.5 Pro can think; it cannot leave it.
_LEAST_OF_PRO: Final = 128
_DYNAMIC: Final = -1
_OLD: Final = ("gemini-1", "gemini-2.0", "gemini-pro-vision")
_OF_GOOGLE: Final[Mapping[str, str]] = {
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "include_thoughts": "includeThoughts",
}


def thinks(model: str) -> bool:
    """Whether a model of this name takes a `thinkingConfig`."""
    name = _bare(model)
    return name.startswith("gemini-") and not name.startswith(_OLD)


def needs_signatures(model: str) -> bool:
    """Gemini 3 and later refuse a history of calls without them."""
    return thinks(model) and not _bare(model).startswith("gemini-2.5")


def write_thinking(body: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """`thinkingConfig`; None where the call says nothing of it, or the model does not think."""
    if not thinks(model):
        return None
    if (told := _of_google(body)) is not None:
        return told
    by_budget = _bare(model).startswith("gemini-2.5")
    thinking = body.get("thinking")
    if isinstance(thinking, dict):
        return _as_anthropic(thinking, model, by_budget=by_budget)
    effort = body.get("reasoning_effort")
    if not isinstance(effort, str):
        return None
    return _by_effort(effort, model, by_budget=by_budget)


def _by_effort(effort: str, model: str, *, by_budget: bool) -> dict[str, Any] | None:
    is_pro = "-pro" in _bare(model)
    if by_budget:
        if effort not in _BUDGETS:
            return None
        budget = _BUDGETS[effort]
        if budget == 0:
            return {"thinkingBudget": _LEAST_OF_PRO if is_pro else 0}
        return {"thinkingBudget": budget, "includeThoughts": True}
    if effort == "none":
        # As little as there is: these models cannot leave it.
        return {"thinkingLevel": "LOW" if is_pro else "MINIMAL"}
    level = _LEVELS.get(effort)
    if level is None:
        return None
    return {"thinkingLevel": "LOW" if level == "MINIMAL" and is_pro else level, "includeThoughts": True}


def _as_anthropic(thinking: Mapping[str, Any], model: str, *, by_budget: bool) -> dict[str, Any] | None:
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind == "disabled":
        return _by_effort("none", model, by_budget=by_budget)
    if type(budget) is not int or budget < 1:
        return {"includeThoughts": True, **({"thinkingBudget": _DYNAMIC} if by_budget else {})}
    if by_budget:
        return {"thinkingBudget": min(budget, _BUDGETS["high"]), "includeThoughts": True}
    return _by_effort(effort_of(budget), model, by_budget=False)


def effort_of(budget: int) -> str:
    """The least effort whose budget this is."""
    return next((effort for effort in ("low", "medium") if budget <= _BUDGETS[effort]), "high")


def _of_google(body: Mapping[str, Any]) -> dict[str, Any] | None:
    extra = body.get("extra_body")
    google = extra.get("google") if isinstance(extra, dict) else None
    config = google.get("thinking_config") if isinstance(google, dict) else None
    if not isinstance(config, dict):
        return None
    return {_OF_GOOGLE.get(name, name): value for name, value in config.items()}


def _bare(model: str) -> str:
    """Without the folders before it."""
    return model.rpartition("/")[2].lower()
