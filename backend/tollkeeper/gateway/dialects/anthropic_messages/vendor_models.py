"""What each generation of Claude takes: how it thinks, whether it samples, what it writes at most.

By the name of the model, whatever stands around it (`us.anthropic.claude-…-v1:0`, `claude-…@20250514`). A Claude that
nobody knew when this was written is taken for one of the newest kind.
"""

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final


class Thinking(Enum):
    NONE = auto()
    BUDGET = auto()  # asked for, with a number of tokens
    ASKED = auto()  # asked for, adaptive
    USUAL = auto()  # adaptive unless it is switched off
    ALWAYS = auto()  # adaptive, cannot be switched off


@dataclass(frozen=True, slots=True)
class Kind:
    thinking: Thinking = Thinking.ALWAYS
    # The words of `output_config.effort`; empty: refuses it.
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    # temperature, top_p, top_k; the newer ones refuse them.
    samples: bool = False
    # Temperature and top_p at once.
    takes_both: bool = False
    # `output_config.format` and strict tools; the older ones are made to answer by a tool.
    has_schemas: bool = True
    # `role: system` among the messages.
    has_system_turns: bool = True
    # Of one answer, where the catalogue says nothing.
    max_output_tokens: int = 32_000


_OLD: Final = ("low", "medium", "high")
# "Models overview", "Thinking", "Effort", "Structured outputs", "Mid-conversation system messages" and the migration guides
# of platform.claude.com, 2026-11. The first of these that a name begins with decides.
_KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    *(
        (
            name,
            Kind(
                Thinking.NONE,
                (),
                samples=True,
                takes_both=True,
                has_schemas=False,
                has_system_turns=False,
                max_output_tokens=most,
            ),
        )
        for name, most in (
            ("claude-2", 4_096),
            ("claude-instant", 4_096),
            ("claude-3-5", 8_192),
            ("claude-3-haiku", 4_096),
            ("claude-3-opus", 4_096),
            ("claude-3-sonnet", 4_096),
        )
    ),
    *(
        (
            name,
            Kind(Thinking.BUDGET, (), samples=True, has_schemas=False, has_system_turns=False, max_output_tokens=most),
        )
        for name, most in (
            ("claude-3-7", 64_000),
            ("claude-opus-4-0", 32_000),
            ("claude-opus-4-1", 32_000),
            ("claude-opus-4-2025", 32_000),
            ("claude-opus-4@", 32_000),
            ("claude-sonnet-4-0", 64_000),
            ("claude-sonnet-4-2025", 64_000),
            ("claude-sonnet-4@", 64_000),
        )
    ),
    ("claude-opus-4-5", Kind(Thinking.BUDGET, _OLD, samples=True, has_system_turns=False, max_output_tokens=64_000)),
    ("claude-sonnet-4-5", Kind(Thinking.BUDGET, (), samples=True, has_system_turns=False, max_output_tokens=64_000)),
    ("claude-haiku-4-5", Kind(Thinking.BUDGET, (), samples=True, has_system_turns=False, max_output_tokens=64_000)),
    (
        "claude-opus-4-6",
        Kind(Thinking.ASKED, (*_OLD, "max"), samples=True, has_system_turns=False, max_output_tokens=128_000),
    ),
    (
        "claude-sonnet-4-6",
        Kind(Thinking.ASKED, (*_OLD, "max"), samples=True, has_system_turns=False, max_output_tokens=64_000),
    ),
    ("claude-opus-4-7", Kind(Thinking.ASKED, has_system_turns=False, max_output_tokens=128_000)),
    ("claude-opus-4-8", Kind(Thinking.ASKED, max_output_tokens=128_000)),
    ("claude-opus-5-", Kind(max_output_tokens=128_000)),
    ("claude-opus-5", Kind(Thinking.USUAL, max_output_tokens=128_000)),
    ("claude-sonnet-5-", Kind(max_output_tokens=128_000)),
    ("claude-sonnet-5", Kind(Thinking.USUAL, max_output_tokens=128_000)),
    ("claude-haiku-5", Kind(max_output_tokens=128_000)),
    ("claude-fable-5", Kind(max_output_tokens=128_000)),
    ("claude-mythos-5", Kind(max_output_tokens=128_000)),
)
_NEWEST: Final = Kind()
# Served by others in this dialect: nothing is known of it, so little is taken away.
_OTHER: Final = Kind(Thinking.ASKED, samples=True, takes_both=True, has_system_turns=False)


@lru_cache(maxsize=1_024)
def kind_of(model: str) -> Kind:
    """`model`: the vendor's name for it."""
    place = model.find("claude")
    if place < 0:
        return _OTHER
    return next((kind for prefix, kind in _KINDS if model.startswith(prefix, place)), _NEWEST)


def shows_output(model: str) -> bool:
    """Whether all that is billed can be seen, unless the call asks for thinking."""
    return kind_of(model).thinking in {Thinking.NONE, Thinking.BUDGET, Thinking.ASKED}


def effort_for(kind: Kind, asked: str) -> str | None:
    """OpenAI's word for the effort as this model knows it: the nearest below, or the least; None where it knows none."""
    if not kind.efforts:
        return None
    if asked in kind.efforts:
        return asked
    # Of the two that not every model has, xhigh stands below max.
    return "high" if asked in {"xhigh", "max"} else "low"


# Tokens of thinking for models that want a number; bounded by the call's own cap.
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
LEAST_BUDGET: Final = 1_024


def budget_for(asked: str, max_tokens: int) -> int | None:
    """Below the answer's cap, with room for an answer; None where the cap leaves no room for thinking."""
    if max_tokens <= LEAST_BUDGET:
        return None
    wanted = _BUDGETS.get(asked)
    return None if wanted is None else max(LEAST_BUDGET, min(wanted, max_tokens * 3 // 4))
