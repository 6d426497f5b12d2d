"""Hard guards of the semantic cache: each may say that an answer to one question must not serve another.

No embedding tells "from Rome to Oslo" from "from Oslo to Rome", so similarity alone never serves. `read` a question
once, `judge` it against each candidate: every guard must agree. They know lists and rules, no model; what they do not
know, they refuse. `GUARDS` is the list; one guard is a function of two readings that returns a reason or nothing.
"""

from collections.abc import Callable
from hashlib import blake2b

from tollkeeper.gateway.cache.guards import alignment, asked, details, language, turns
from tollkeeper.gateway.cache.guards.reader import read
from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import Verdict

__all__ = ["GUARDS", "Reading", "Verdict", "find_refusal", "judge", "read", "signature"]

GUARDS: tuple[tuple[str, Callable[[Reading, Reading], str]], ...] = (
    ("size", language.check_size),
    ("language", language.check_language),
    ("question", asked.check_question),
    ("negation", turns.check_negation),
    ("numbers", details.check_numbers),
    ("dates", details.check_dates),
    ("names", details.check_names),
    ("quotes", details.check_quotes),
    ("code", details.check_code),
    ("opposites", turns.check_opposites),
    ("relations", turns.check_relations),
    ("quantities", turns.check_quantities),
    ("plurals", turns.check_plurals),
    ("persons", asked.check_persons),
    ("tense", asked.check_tense),
    ("force", asked.check_force),
    ("alignment", alignment.check_alignment),
)


def judge(mine: Reading, theirs: Reading) -> tuple[Verdict, ...]:
    """What each guard says, all of them: for who asks why a candidate was not served."""
    return tuple(Verdict(name, check(mine, theirs)) for name, check in GUARDS)


def find_refusal(mine: Reading, theirs: Reading) -> Verdict | None:
    """The first guard that refuses, or None when all agree: the hot path."""
    for name, check in GUARDS:
        if reason := check(mine, theirs):
            return Verdict(name, reason)
    return None


def signature(reading: Reading) -> bytes | None:
    """What two questions must have in common for all guards to agree: a look-up instead of a comparison with each.

    None where no guard would ever let it pass.
    """
    if reading.is_too_long or reading.is_deictic or not reading.sequence:
        return None
    words = (reading.language, reading.script, *reading.asks, "", *sorted(reading.sequence))
    return blake2b("\x1f".join(words).encode("utf-8", "surrogatepass"), digest_size=16).digest()
