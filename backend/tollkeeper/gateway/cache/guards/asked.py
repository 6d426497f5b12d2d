"""What is asked, by whom, about when, and with which force: how is not why, did is not will, may is not must."""

from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import differ

_GENERIC = frozenset({"how", "whatdo"})
_AT_WILL = frozenset({"1"})
_SOFT = frozenset({"would", "want"})


def check_question(mine: Reading, theirs: Reading) -> str:
    if mine.asks == theirs.asks:
        return ""
    return f"question: {' '.join(mine.asks) or 'none'} against {' '.join(theirs.asks) or 'none'}"


def check_persons(mine: Reading, theirs: Reading) -> str:
    """`Can I see yours` is not `can you see mine`; in "how do I" and "how to", who does it does not matter."""
    ours, others = _steps(mine.persons), _steps(theirs.persons)
    if ours == others:
        return ""
    is_generic = mine.asks[:1] == theirs.asks[:1] and bool(mine.asks) and mine.asks[0] in _GENERIC
    if is_generic and len(ours) <= 1 and len(others) <= 1 and {*ours, *others} <= _AT_WILL:
        return ""
    return f"persons: {' '.join(ours) or 'none'} against {' '.join(others) or 'none'}"


def _steps(persons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(person for place, person in enumerate(persons) if not place or persons[place - 1] != person)


def check_tense(mine: Reading, theirs: Reading) -> str:
    reason = differ("tense", mine.tenses - {"present"}, theirs.tenses - {"present"})
    if reason or "past" in mine.tenses:
        return reason
    return differ("tense of", mine.pasts, theirs.pasts)


def check_force(mine: Reading, theirs: Reading) -> str:
    """Can, may, should and must: decisive where the question is whether, and harmless after how."""
    return differ("can, may, should or must", mine.modals - _SOFT, theirs.modals - _SOFT)
