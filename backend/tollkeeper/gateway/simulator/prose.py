"""The words of a simulated answer: it says what it received, then goes on in plain sentences drawn by the dice."""

from typing import Final

from tollkeeper.gateway.simulator.counting import count, pieces
from tollkeeper.gateway.simulator.dice import Dice

_SUBJECTS: Final = (
    "a careful reader", "the gateway", "each request", "a small model", "the ledger", "every token", "this stream",
    "the morning train", "an old map", "the quiet harbour", "a patient engineer", "the second answer",
)  # fmt: skip
_VERBS: Final = (
    "counts", "follows", "remembers", "carries", "explains", "measures", "repeats", "keeps", "finds", "opens",
)  # fmt: skip
_OBJECTS: Final = (
    "the shortest way", "what was asked", "a clear reason", "every coin", "the first word", "a little time",
    "the same question", "an honest number", "the open door", "a second chance", "the whole story",
)  # fmt: skip
_ENDINGS: Final = (
    "without haste", "before noon", "once and only once", "in plain words", "as agreed", "on both sides",
    "while it rains", "with some care",
)  # fmt: skip
_WORDS: Final = tuple(word for phrase in (*_OBJECTS, *_ENDINGS) for word in phrase.split() if len(word) > 3)
_QUOTED_CHARACTERS = 80
_SENTENCES = 2


def answer(dice: Dice, asked: str, length: int | None = None) -> str:
    """About 40 tokens, or exactly `length`."""
    shown = " ".join(asked.split())
    if len(shown) > _QUOTED_CHARACTERS:
        shown = shown[:_QUOTED_CHARACTERS].rstrip() + "…"
    words = len(asked.split())
    opening = f"This is a simulated answer to “{shown}” ({words} {'word' if words == 1 else 'words'})."
    if length is None:
        return " ".join([opening, *(sentence(dice) for _ in range(_SENTENCES))])
    said = [opening]
    tokens = count(opening)
    while tokens < length:
        said.append(sentence(dice))
        tokens += count(" " + said[-1])
    return "".join(pieces(" ".join(said))[:length])


def thinking(dice: Dice, length: int) -> str:
    """What a reasoning model thinks before it answers: exactly `length` tokens."""
    return answer(dice, "the question behind the question", length) if length else ""


def sentence(dice: Dice) -> str:
    chosen = (words[dice.below(len(words))] for words in (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS))
    text = " ".join(chosen)
    return f"{text[0].upper()}{text[1:]}."


def some_words(dice: Dice, number: int) -> str:
    return " ".join(_WORDS[dice.below(len(_WORDS))] for _ in range(number))
