"""What a guard says of two questions: that one's answer may serve the other as far as it can see, or why it may not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Verdict:
    guard: str
    reason: str = ""
    """Empty where the guard agrees. It quotes words of the two questions: show it to who may see them, never log it."""

    @property
    def agrees(self) -> bool:
        return not self.reason


def differ(what: str, mine: Iterable[str], theirs: Iterable[str]) -> str:
    """The reason when two collections differ, with what only one of them has; empty when they are the same."""
    ours, others = Counter(mine), Counter(theirs)
    if ours == others:
        return ""
    only_mine, only_theirs = ours - others, others - ours
    return f"{what}: {_listed(only_mine)} against {_listed(only_theirs)}"


def _listed(counted: Counter[str]) -> str:
    text = ", ".join(sorted(counted.elements())) or "none"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
