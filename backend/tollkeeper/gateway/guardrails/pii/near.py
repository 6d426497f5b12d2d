"""What stands before a value says what it is: `IBAN:`, `order no.`, `born on`. Looked up in the few characters before."""

from collections.abc import Callable, Collection

from tollkeeper.gateway.guardrail import Accept

# Far enough for "my social security number, which I got in 1999, is".
_REACH = 60


def before(text: str, start: int, reach: int = _REACH) -> str:
    """Lower case, of the same line or the one before."""
    return text[max(0, start - reach) : start].lower()


def says(text: str, start: int, words: Collection[str]) -> bool:
    said = before(text, start)
    return any(word in said for word in words)


def says_last(text: str, start: int, words: Collection[str], others: Collection[str]) -> bool:
    """Whether one of `words` stands nearer than any of `others`."""
    said = before(text, start)
    return max((said.rfind(word) for word in words), default=-1) > max(
        (said.rfind(word) for word in others), default=-1
    )


def checked(check: Callable[[str], bool], words: Collection[str], *, alone: float) -> Accept:
    """Of a number with check digits: certain where its name is near, else `alone` (0: then it is none)."""

    def accept(text: str, start: int, end: int) -> float:
        compact = "".join(filter(str.isalnum, text[start:end])).upper()
        if not check(compact):
            return 0.0
        return 1.0 if says(text, start, words) else alone

    return accept
