"""Word against word: every word that carries meaning must have its counterpart, in an order that means the same.

The last guard and the strictest: a replaced word ("Paris" for "Rome", "expired" for "stolen") or an added one ("in
Germany") has no counterpart. Phrases that a preposition governs may trade places ("from A to B", "to B from A"); the
words outside them may not ("does A cause B", "does B cause A").
"""

from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import differ


def check_alignment(mine: Reading, theirs: Reading) -> str:
    if mine.sequence == theirs.sequence:
        # Two questions without a word that means anything have nothing in common.
        return "" if mine.sequence else "nothing to compare"
    if reason := differ("words without a counterpart", mine.sequence, theirs.sequence):
        return reason
    if mine.phrases == theirs.phrases and _alone(mine) == _alone(theirs):
        return ""
    return "order: the same words in another order"


def _alone(reading: Reading) -> tuple[str, ...]:
    """The words outside phrases; one lone `not` may stand anywhere in a question of one clause."""
    if reading.negations == 1 and not reading.relations:
        return tuple(key for key in reading.spine if key != "!not")
    return reading.spine
