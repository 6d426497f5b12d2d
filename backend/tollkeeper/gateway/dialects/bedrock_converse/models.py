"""What the families of models on Bedrock take beyond what Converse makes the same for all.

By the name of the model, whatever stands around it (`us.anthropic.claude-…-v1:0`, the ARN of a profile). An ARN that
tells no name is taken for a model that takes everything: its vendor says what it does not.
"""

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final


class Reasoning(Enum):
    """How a model is told to think."""

    NONE = auto()  # not at all, or as it likes
    CLAUDE_BUDGET = auto()  # `thinking` with a number of tokens
    CLAUDE_ADAPTIVE = auto()  # `thinking: adaptive`, and a word for the effort
    EFFORT = auto()  # Converse's own word for the effort
    NOVA = auto()  # `reasoningConfig`
    FIELD = auto()  # `reasoning_effort`, as OpenAI's open models have it


@dataclass(frozen=True, slots=True)
class Traits:
    reasoning: Reasoning = Reasoning.NONE
    # Takes its own thinking back, with its signature.
    takes_thoughts: bool = False
    # `cachePoint` blocks.
    caches: bool = False
    # `outputConfig.textFormat` and strict tools; the others are made to answer by a tool.
    has_schemas: bool = True
    # temperature and top_p; then both at once.
    samples: bool = True
    takes_both: bool = True
    # The name of top_k among the model's own fields, where it has it.
    top_k: str | None = None


_CLAUDE_OLD: Final = Traits(caches=True, has_schemas=False, top_k="top_k")
_CLAUDE_BUDGET: Final = Traits(
    Reasoning.CLAUDE_BUDGET, takes_thoughts=True, caches=True, has_schemas=False, takes_both=False, top_k="top_k"
)
_CLAUDE_4_5: Final = Traits(Reasoning.CLAUDE_BUDGET, takes_thoughts=True, caches=True, takes_both=False, top_k="top_k")
_CLAUDE_4_6: Final = Traits(
    Reasoning.CLAUDE_ADAPTIVE, takes_thoughts=True, caches=True, takes_both=False, top_k="top_k"
)
_CLAUDE_ADAPTIVE: Final = Traits(Reasoning.CLAUDE_ADAPTIVE, takes_thoughts=True, caches=True, samples=False)
_CLAUDE_NEW: Final = Traits(Reasoning.EFFORT, takes_thoughts=True, caches=True, samples=False)
_UNKNOWN: Final = Traits(takes_thoughts=True, caches=True)

# "Supported models", "Prompt caching", "Structured outputs" and "Inference request parameters" of the Bedrock user guide
# and Anthropic's model overview, 2026-11. The first of these that the name holds decides.
_TRAITS: Final[tuple[tuple[str, Traits], ...]] = (
    ("claude-3-7", _CLAUDE_BUDGET),
    ("claude-3", _CLAUDE_OLD),
    ("claude-v2", _CLAUDE_OLD),
    ("claude-instant", _CLAUDE_OLD),
    ("claude-opus-4-5", _CLAUDE_4_5),
    ("claude-sonnet-4-5", _CLAUDE_4_5),
    ("claude-haiku-4-5", _CLAUDE_4_5),
    ("claude-opus-4-6", _CLAUDE_4_6),
    ("claude-sonnet-4-6", _CLAUDE_4_6),
    ("claude-opus-4-7", _CLAUDE_ADAPTIVE),
    ("claude-opus-4-8", _CLAUDE_ADAPTIVE),
    ("claude-opus-4-", _CLAUDE_BUDGET),
    ("claude-sonnet-4-", _CLAUDE_BUDGET),
    ("claude", _CLAUDE_NEW),
    ("amazon.nova-2", Traits(Reasoning.NOVA, caches=True, has_schemas=False)),
    ("amazon.nova", Traits(caches=True, has_schemas=False)),
    ("amazon.titan", Traits(has_schemas=False)),
    ("openai.gpt-oss", Traits(Reasoning.FIELD)),
    ("openai.", Traits(Reasoning.FIELD)),
    ("deepseek.", Traits()),
    ("meta.", Traits(has_schemas=False)),
    ("cohere.", Traits(has_schemas=False, top_k="k")),
    ("ai21.", Traits(has_schemas=False)),
    ("arn:", _UNKNOWN),
)
_OTHERS: Final = Traits()
# Tokens of thinking for models that want a number; bounded by the call's own cap.
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
_LEAST_BUDGET: Final = 1_024


@lru_cache(maxsize=1_024)
def traits_of(model: str) -> Traits:
    """`model`: the vendor's name for it."""
    return next((traits for part, traits in _TRAITS if part in model), _OTHERS)


def budget_for(effort: str, max_tokens: int | None) -> int | None:
    """Below the answer's cap, with room for an answer; None where the cap leaves no room for thinking."""
    wanted = _BUDGETS.get(effort)
    if wanted is None or max_tokens is None:
        return wanted
    return max(_LEAST_BUDGET, min(wanted, max_tokens * 3 // 4)) if max_tokens > _LEAST_BUDGET else None
