"""Details that decide an answer by themselves: numbers with units, dates and times, names, quoted strings, code."""

from tollkeeper.gateway.cache.guards.lexicon import LANGUAGES, load
from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import differ


def check_numbers(mine: Reading, theirs: Reading) -> str:
    return differ("numbers", mine.numbers, theirs.numbers)


def check_dates(mine: Reading, theirs: Reading) -> str:
    if mine.is_deictic or theirs.is_deictic:
        # "Today" is another day tomorrow: the words agree and the answers do not.
        return "the answer depends on when it is asked"
    return differ("dates and times", mine.dates, theirs.dates)


def check_names(mine: Reading, theirs: Reading) -> str:
    """A name of one question must stand in the other, spelt the same; small letters will do."""
    missing = sorted((mine.names - theirs.words) | (theirs.names - mine.words))
    missing = [name for name in missing if not _has_other_names(name, mine.language)]
    return f"names: only one has {', '.join(missing)[:120]}" if missing else ""


def _has_other_names(name: str, language: str) -> bool:
    """`USA` and `United States`: the alignment looks whether the other one stands there."""
    lexicon = load(language if language in LANGUAGES else "en")
    return lexicon.stem(name) in lexicon.stems


def check_quotes(mine: Reading, theirs: Reading) -> str:
    return differ("quoted", mine.quotes, theirs.quotes)


def check_code(mine: Reading, theirs: Reading) -> str:
    return differ("code, paths and identifiers", mine.codes, theirs.codes)
