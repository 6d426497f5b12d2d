"""Small words that turn an answer round: not, opposites, from and to, with and without, only, all, most, the best."""

from tollkeeper.gateway.cache.guards.lexicon import LANGUAGES, load
from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.verdict import differ

_COUNTS = frozenset({"which", "who", "list"})


def check_negation(mine: Reading, theirs: Reading) -> str:
    if mine.negations == theirs.negations:
        return ""
    return f"negation: {mine.negations} against {theirs.negations}"


def check_opposites(mine: Reading, theirs: Reading) -> str:
    language = mine.language if mine.language in LANGUAGES else "en"
    opposites = load(language).opposites
    only_mine = [word for word in mine.content if word not in theirs.content]
    only_theirs = [word for word in theirs.content if word not in mine.content]
    for word in only_mine:
        for other in only_theirs:
            if (word, other) in opposites:
                return f"opposites: {word} against {other}"
    return ""


def check_relations(mine: Reading, theirs: Reading) -> str:
    """`From Rome to Oslo` is not `from Oslo to Rome`: each with the word that follows it."""
    if reason := _cases(mine, theirs):
        return reason
    if mine.relations == theirs.relations:
        return ""
    return differ("relations", _said(mine), _said(theirs))


def _cases(mine: Reading, theirs: Reading) -> str:
    """`Der Hund beißt die Katze`, `den Hund beißt die Katze`."""
    articles = dict(mine.cases)
    for noun, article in theirs.cases:
        if articles.get(noun, article) != article:
            return f"case: {articles[noun]} {noun} against {article} {noun}"
    return ""


def _said(reading: Reading) -> list[str]:
    return [f"{relation[1:]} {word}".strip() for relation, word in reading.relations]


def check_quantities(mine: Reading, theirs: Reading) -> str:
    reason = differ("all, some, only, most", mine.quantifiers, theirs.quantifiers)
    return reason or differ("superlatives", mine.superlatives, theirs.superlatives)


def check_plurals(mine: Reading, theirs: Reading) -> str:
    """The best hotel is one, the best hotels are a list: where a question picks, its number decides."""
    if not (mine.superlatives or {*mine.asks} & _COUNTS):
        return ""
    return differ("singular and plural", mine.plurals, theirs.plurals)
