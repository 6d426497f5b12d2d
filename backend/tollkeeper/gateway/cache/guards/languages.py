"""Which language and script a question is written in, by the small words that only one language has."""

from collections.abc import Sequence
from functools import cache

from tollkeeper.gateway.cache.guards.lexicon import LANGUAGES, load
from tollkeeper.gateway.cache.guards.tokens import Token

_SMALL = frozenset({"filler", "weak", "aux", "modal", "person", "relation", "not", "ask", "quantifier"})
# Small words of languages without lists: such a question is read word by word.
_OTHERS = {
    "it": "il lo gli di che è per non una come sono del della nel alla più ho mio mia posso cosa perché quando dove quanto",
    "pt": "o os um uma não do da dos das em no na para com como meu minha posso que você são está quando onde quanto por",
    "nl": "het een van ik mijn niet en op te dat wat hoe kan zijn met voor naar waar wanneer waarom is de er aan",
    "pl": "jak nie się na w do czy mój moje jest są co gdzie kiedy dlaczego mogę z i po",
    "sv": "jag min mitt inte en ett att och är hur kan vad var när varför på för till med det som",
    "tr": "nasıl bir ve ne mi mı mu için değil nerede neden kaç benim olarak ile var bu",
}


@cache
def _owners() -> dict[str, tuple[str, ...]]:
    """The languages that have a small word."""
    found: dict[str, set[str]] = {}
    for language in LANGUAGES:
        lexicon = load(language)
        for word, sense in lexicon.senses.items():
            if sense.kind in _SMALL:
                found.setdefault(word, set()).add(language)
    for language, words in _OTHERS.items():
        for word in words.split():
            found.setdefault(word, set()).add(language)
    return {word: tuple(sorted(languages)) for word, languages in found.items()}


def language_of(tokens: Sequence[Token], script: str) -> str:
    """The language most of the small words belong to; empty where they do not say."""
    if script != "latin":
        return script
    owners = _owners()
    votes: dict[str, float] = {}
    for token in tokens:
        if token.kind != "word":
            continue
        of = owners.get(token.folded)
        if of is None and "'" in token.folded:
            head, _, rest = token.folded.partition("'")
            of = ("fr",) if head in {"l", "d", "j", "qu", "n", "m", "c", "s"} and len(rest) > 1 else ("en",)
        for language in of or ():
            votes[language] = votes.get(language, 0.0) + 1.0 / len(of or ())
    if not votes:
        return ""
    best = max(votes, key=lambda language: (votes[language], language == "en"))
    rivals = [language for language in votes if language != best and votes[language] == votes[best]]
    return "" if rivals else best


def script_of(text: str) -> str:
    """`latin`, or the script of the first letter that is none; several scripts in one text are `mixed`."""
    if text.isascii():
        return "latin"
    found = {_script(ord(letter)) for letter in text if letter.isalpha()}
    if not found or found == {"latin"}:
        return "latin"
    found.discard("latin")
    return (
        found.pop()
        if len(found) == 1 and not any(letter.isascii() and letter.isalpha() for letter in text)
        else "mixed"
    )


def _script(point: int) -> str:
    for last, name in _SCRIPTS:
        if point <= last:
            return name
    return "other"


_SCRIPTS = (
    (0x036F, "latin"),
    (0x03FF, "greek"),
    (0x052F, "cyrillic"),
    (0x05FF, "hebrew"),
    (0x07FF, "arabic"),
    (0x0DFF, "indic"),
    (0x0EFF, "thai"),
    (0x10FF, "georgian"),
    (0x11FF, "hangul"),
    (0x1DFF, "other"),
    (0x1EFF, "latin"),
    (0x1FFF, "greek"),
    (0x30FF, "japanese"),
    (0xABFF, "han"),
    (0xD7FF, "hangul"),
)
