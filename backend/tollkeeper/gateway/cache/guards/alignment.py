"""Word against word: every word that carries meaning must have its counterpart, in an order that means the same.

The last guard and the strictest: a replaced word ("Paris" for "Rome", "expired" for "stolen") or an added one ("in
Germany") has no counterpart. Phrases that a preposition governs may trade places ("from A to B", "to B from A"); the
words outside them may not ("does A cause B", "does B cause A").
"""

from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import differ

_ADVERBIAL = frozenset({"how", "howlong", "when", "where", "why", "cost", "howold", "whatdo"})
_LEFT_OUT = frozenset({"", "of", "to", "for"})
_SORTS = {
    **dict.fromkeys(("in", "at", "inside", "within", "im", "ins", "en"), "in"),
    **dict.fromkeys(("on", "upon"), "on"),
    **dict.fromkeys(("of", "de", "del", "des", "du", "d"), "of"),
    **dict.fromkeys(("to", "into", "onto", "towards", "toward", "zu", "zum", "zur", "a", "à", "au", "aux"), "to"),
    **dict.fromkeys(
        ("about", "regarding", "concerning", "über", "bezüglich", "sobre", "acerca", "concernant"), "about"
    ),
    **dict.fromkeys(("für", "pour", "para", "per"), "for"),
    **dict.fromkeys(("an", "am", "ans"), "an"),
    **dict.fromkeys(("bei", "beim"), "bei"),
    **dict.fromkeys(("via", "through", "using", "vía", "mediante", "mittels"), "via"),
}


def check_alignment(mine: Reading, theirs: Reading) -> str:
    if mine.sequence == theirs.sequence:
        # Two questions without a word that means anything have nothing in common.
        return _governed(mine, theirs) if mine.sequence else "nothing to compare"
    if reason := differ("words without a counterpart", mine.sequence, theirs.sequence):
        return reason
    if mine.language == "de" and (_has_moved_verb(mine, theirs) or _has_moved_verb(theirs, mine)):
        return ""
    end = 0
    while mine.sequence[-1 - end] == theirs.sequence[-1 - end]:
        end += 1
    return "" if _parts(mine, end) == _parts(theirs, end) else "order: the same words in another order"


def _has_moved_verb(mine: Reading, theirs: Reading) -> bool:
    """`Wie lange dauert der Flug`, `wie lange der Flug dauert`: the second place of a question, the end of a clause."""
    is_adverbial = bool(mine.asks) and mine.asks[0] in _ADVERBIAL
    return is_adverbial and mine.sequence[0] == theirs.sequence[-1] and mine.sequence[1:] == theirs.sequence[:-1]


def _parts(reading: Reading, end: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """The words outside phrases in their order, and the phrases; both without the last `end` words.

    One lone `not` may stand anywhere in a question of one clause.
    """
    spine: list[str] = []
    phrases: list[list[str]] = []
    last = ""
    size = len(reading.sequence) - end
    for key, governor in zip(reading.sequence[:size], reading.governors, strict=False):
        if key[0] == "~":
            last = ""
        elif not governor:
            spine.append(key)
            last = ""
        else:
            if governor != last:
                phrases.append([governor])
            phrases[-1].append(key)
            last = governor
    if reading.negations == 1 and not reading.relations:
        spine = [key for key in spine if key != "!not"]
    return spine, sorted(tuple(phrase) for phrase in phrases)


def _governed(mine: Reading, theirs: Reading) -> str:
    """`Pay for delivery` is not `pay on delivery`; of, to and for may be left out ("log in to my account")."""
    for word, ours, others in zip(mine.sequence, mine.governors, theirs.governors, strict=True):
        one, other = _SORTS.get(ours, ours), _SORTS.get(others, others)
        if one != other and not ({one, other} <= _LEFT_OUT and "" in {one, other}):
            return f"prepositions: {ours or 'none'} against {others or 'none'} before {word}"
    return ""
