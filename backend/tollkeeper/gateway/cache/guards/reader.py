"""How a `Reading` comes out of a text: one pass over its tokens, pure and linear.

Each method of the reader takes what begins at `at` and moves on; what it puts down is in `reading`.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from tollkeeper.gateway.cache.guards import figures
from tollkeeper.gateway.cache.guards.languages import language_of, script_of
from tollkeeper.gateway.cache.guards.lexicon import LANGUAGES, Lexicon, Sense, load, unlisted
from tollkeeper.gateway.cache.guards.reading import Reading
from tollkeeper.gateway.cache.guards.tokens import MOST_TOKENS, Token, clean, cut

_LISTED = frozenset({*LANGUAGES, ""})
_ELIDED = frozenset({"l", "d", "j", "m", "t", "s", "n", "c", "qu", "jusqu", "lorsqu", "puisqu"})
_CURRENCIES = frozenset("$€£¥")
_ONLY = frozenset({"only", "just", "nur", "seulement", "solo", "sólo"})
_OBJECTS = frozenset({"me", "us", "him", "her", "them", "you"})
# What tells who does it to whom in German.
_ARTICLES = frozenset({"der", "den", "dem"})
_VESSELS = frozenset({"cup", "glass", "bottle", "bag", "box", "piece", "slice", "can", "jar", "set", "pair", "group"})
_ENDS_PHRASE = frozenset({"aux", "modal", "ask", "person", "relation", "not"})
# How a listed word stands in the sequence, and as what.
_SAID_AS = {
    "relation": ("~", "relation"),
    "quantifier": ("%", "quantifier"),
    "weekday": ("@day ", "date"),
    "month": ("@month ", "date"),
    "same": ("", "content"),
}
_TYPE_CODE = frozenset({"code", "path", "url", "flag", "name", "mixed"})


def read(text: str) -> Reading:
    cleaned = clean(text)
    tokens = cut(cleaned)
    script = script_of(cleaned)
    if len(tokens) > MOST_TOKENS or not tokens:
        return Reading("", script, is_too_long=True)
    language = language_of(tokens, script)
    # Where the small words do not say, English lists do no harm; a language without lists is read word by word.
    lexicon = load(language or "en") if language in _LISTED else unlisted(language)
    return _Reader(tokens, lexicon, language, script).read()


@dataclass(slots=True)
class _Reader:
    """One pass over the tokens; each method takes what begins at `at` and moves on."""

    tokens: list[Token]
    lexicon: Lexicon
    language: str
    script: str
    folded: tuple[str, ...] = ()
    at: int = 0
    asks: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    governors: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    governor: str = ""
    insert_at: int = -1
    is_asked: bool = False
    is_deictic: bool = False
    plurals: set[str] = field(default_factory=set)
    pasts: set[str] = field(default_factory=set)
    article: str = ""
    cases: set[tuple[str, str]] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    quotes: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    negations: int = 0
    persons: list[str] = field(default_factory=list)
    tenses: set[str] = field(default_factory=set)
    modals: set[str] = field(default_factory=set)

    def read(self) -> Reading:
        self.tokens = list(self._split_elided()) if self.language == "fr" else self.tokens
        self.folded = tuple(token.folded for token in self.tokens)
        is_shouted = all(token.text.isupper() for token in self.tokens if token.kind == "word")
        size = len(self.tokens)
        is_open = True
        while self.at < size:
            token = self.tokens[self.at]
            if token.is_first:
                is_open, self.is_asked = True, False
            if token.kind == "pause":
                self.governor, self.insert_at = "", -1
                self.at += 1
            elif token.kind == "word":
                is_open = self._word(token, is_open=is_open, is_shouted=is_shouted)
            elif token.kind in _TYPE_CODE:
                self._code(token)
                is_open = False
            else:
                self._literal(token)
                is_open = False
        return self._found()

    def _word(self, token: Token, *, is_open: bool, is_shouted: bool) -> bool:
        """Take a word or phrase; returns whether an auxiliary that follows still opens the sentence."""
        sense, length = self._sense(token, is_shouted=is_shouted)
        if sense is None:
            self._content(token, is_shouted=is_shouted)
            self.at += 1
            return False
        kind, label = sense.kind, sense.label
        if kind in {"number", "ordinal"}:
            self._figure(kind, label, length)
            return False
        self._say(sense, token, is_open=is_open, following=self.at + length)
        if sense.mark:
            self._mark(sense.mark)
        if kind == "weak" or (self.language == "de" and token.folded == "ein" and self._ends_here()):
            self._weak(token)
        if self.language == "de" and token.folded in _ARTICLES:
            self.article = token.folded
        elif kind in _ENDS_PHRASE and not (kind == "person" and self.insert_at >= 0):
            self.governor, self.insert_at = (f"~{label}" if kind == "relation" else ""), -1
        self.at += length
        return is_open and kind in {"filler", "not"}

    def _say(self, sense: Sense, token: Token, *, is_open: bool, following: int) -> None:
        """Note what a listed word says."""
        kind, label = sense.kind, sense.label
        if kind in _SAID_AS:
            prefix, as_kind = _SAID_AS[kind]
            self._put(prefix + label, as_kind)
        elif kind == "ask":
            self._ask(label, following)
        elif kind == "person":
            is_formal = self.language == "de" and token.text[0].isupper() and not token.is_first
            self.persons.append("formal" if is_formal and label == "they" else label)
            if self.keys and self.keys[-1] == "%only" and self.tokens[self.at - 1].folded in _ONLY:
                # "Only I can see it" is not "I can only see it".
                self.keys[-1] = f"%only {label}"
            elif self.kinds and self.kinds[-1] == "relation" and token.folded in _OBJECTS:
                # "Who is older than me" is not "who am I older than".
                self.keys[-1] = f"{self.keys[-1]} {label}"
        elif kind == "superlative":
            self._put(f"^{self.lexicon.canonical(token.folded)}", kind)
        elif kind == "deictic":
            self.is_deictic = True
        elif kind in {"aux", "modal", "not"}:
            if is_open and not self.is_asked and (kind != "not" or "'" in token.folded):
                self.asks.append("whether")
                self.is_asked = True
            self._force(kind, label)

    def _force(self, kind: str, label: str) -> None:
        if kind == "not":
            self.negations += 1
            self._put("!not", kind)
        else:
            (self.tenses if kind == "aux" else self.modals).add(label)

    def _sense(self, token: Token, *, is_shouted: bool) -> tuple[Sense | None, int]:
        known = self.lexicon.phrases.get(token.folded)
        if known is not None:
            for length in known.lengths:
                phrase = known.senses.get(self.folded[self.at : self.at + length])
                if phrase is not None:
                    return phrase, length
        if len(token.text) > 1 and token.text.isupper() and not is_shouted:
            return None, 1  # US and WHO are names, us and who are not.
        if token.text == "A" and not token.is_first and not is_shouted:
            return None, 1  # Hepatitis A.
        sense = self.lexicon.senses.get(token.folded)
        if sense is not None and sense.kind in {"month", "weekday"} and self.language == "en" and token.text.islower():
            return (None, 1) if token.folded in {"march", "may", "sat", "sun"} else (sense, 1)
        return sense, 1

    def _ask(self, label: str, following: int) -> None:
        if label == "whatdo" and self._goes_on(following):
            # "What must I do to …" asks how.
            label = "how"
        if not self.is_asked:
            self.asks.append(label)
            self.is_asked = True
        elif label in {"what", "which", "how"} and following >= len(self.tokens):
            pass
        else:
            # A second question word in a sentence: "who paid and when", "what to do when it rains".
            self._put(f"?{label}", "ask")

    def _goes_on(self, following: int) -> bool:
        while following < len(self.tokens) and self.tokens[following].kind == "pause":
            following += 1
        return following < len(self.tokens) and self.tokens[following].folded in {"to", "um", "pour", "para"}

    def _mark(self, mark: str) -> None:
        if mark in {"past", "future"}:
            self.tenses.add(mark)
        elif mark in {"1", "2", "he", "she", "they"}:
            self.persons.append(mark)
        elif mark == "than":
            self._put("~than", "relation")
        else:
            self.modals.add(mark)

    def _weak(self, token: Token) -> None:
        is_genitive = token.folded == "of" and self.language in {"en", ""}
        if is_genitive and self.kinds and self.kinds[-1] in {"content", "name"} and self.keys[-1] not in _VESSELS:
            # "The password of my account" is "my account password".
            if self.insert_at < 0:
                self.insert_at = len(self.keys) - 1
            return
        self.governor, self.insert_at = token.folded, -1
        if self._ends_here():
            # "Schalte das Licht an", "what is it good for": nothing follows that it could govern.
            self._put(f"~{token.folded}", "relation")

    def _ends_here(self) -> bool:
        return self.at + 1 >= len(self.tokens) or self.tokens[self.at + 1].kind == "pause"

    def _content(self, token: Token, *, is_shouted: bool) -> None:
        folded = token.folded.removesuffix("'s")
        is_name = not is_shouted and not token.is_first and token.text[0].isupper() and self.language != "de"
        if token.text.isupper() and len(token.text) > 1 and not is_shouted:
            is_name = True
        is_english = self.language in {"en", ""} and folded not in self.lexicon.forms
        if is_english and (folded in self.lexicon.past or (folded.endswith("ed") and len(folded) > 4)):
            self.pasts.add(self.lexicon.canonical(folded))
        if self.language == "de" and token.text[0].islower() and folded.endswith(("te", "ten", "test", "tet")):
            self.pasts.add(self.lexicon.canonical(folded))
        key = self.lexicon.stem(folded) if is_name and token.text.isupper() else self.lexicon.canonical(folded)
        if folded.endswith("s") and not key.endswith("s"):
            self.plurals.add(key)
        if is_name:
            self.names.add(folded)
        self._put(key, "name" if is_name else "content")
        if self.article:
            self.cases.add((key, self.article))
            self.article = ""

    def _code(self, token: Token) -> None:
        self.at += 1
        text = token.text.strip("`") if token.kind == "code" else token.text
        if token.kind == "mixed":
            self.codes.append(token.folded)
            self._put(f"`{token.folded}", "code")
            return
        self.codes.append(text)
        self._put(f"`{text}", "code")

    def _literal(self, token: Token) -> None:
        self.at += 1
        if token.kind == "quoted":
            inner = token.text[1:-1].strip()
            self.quotes.append(inner)
            self._put(f'"{inner}', "quoted")
        elif token.kind == "date":
            self._put(figures.date(token.text), "date")
        elif token.kind == "time":
            self._put(figures.clock(token.text), "date")
        elif token.kind == "number":
            self._number(token)
        elif token.text in _CURRENCIES and self.at < len(self.tokens) and self.tokens[self.at].kind == "number":
            following = self.tokens[self.at]
            self.at += 1
            self._number(following, token.text)
        elif token.text == "&":
            self._put("~and", "relation")
        else:
            self._put(f"${token.text}", "symbol")

    def _number(self, token: Token, unit: str = "") -> None:
        digits = token.text[: len(token.text) - len(token.suffix)]
        number = figures.value(digits, self.language or "en")
        if number is None:
            self._put(f"#{token.folded}", "number")
            return
        if token.suffix:
            known = figures.suffixed(number, token.suffix)
            if known is None:
                self.codes.append(token.folded)
                self._put(f"`{token.folded}", "code")
            elif known.endswith(".") and self._dated(number):
                return
            else:
                self._put(known, "number")
            return
        self._amount(number, unit)

    def _amount(self, number: Fraction, unit: str = "") -> None:
        """A number, the word for its thousands if one follows, and its unit."""
        while self.at < len(self.tokens):
            sense = self.lexicon.senses.get(self.tokens[self.at].folded)
            if sense is None or sense.kind != "number" or int(sense.label) < 1_000:
                break
            number *= int(sense.label)
            self.at += 1
        if not unit and self.at < len(self.tokens) and self.tokens[self.at].kind in {"word", "symbol"}:
            unit = self.tokens[self.at].folded
            if figures.amount(number, unit) is None:
                unit = ""
            else:
                self.at += 1
        if not unit and self._dated(number):
            return
        self._put((figures.amount(number, unit) if unit else None) or f"#{figures.written(number)}", "number")

    def _dated(self, number: Fraction) -> bool:
        """Whether a month stands beside the number: `3rd of March`, `March 3`, `March 2027`."""
        month = self._month_at(self.at)
        if month:
            self.at += 1
            self._put(f"@month {month}", "date")
        elif not (self.kinds and self.kinds[-1] == "date" and self.keys[-1].startswith("@month")):
            return False
        self._put(f"@{number}", "date")
        return True

    def _month_at(self, at: int) -> str:
        for ahead in (at, at + 1):
            if ahead < len(self.tokens):
                sense = self.lexicon.senses.get(self.tokens[ahead].folded)
                if sense is not None and sense.kind == "month":
                    if ahead > at:
                        self.at += 1
                    return sense.label
                if self.tokens[ahead].folded not in {"of", "de"}:
                    break
        return ""

    def _figure(self, kind: str, label: str, length: int) -> None:
        """Take a run of number words as one number."""
        total, current, is_ordinal = 0, 0, False
        while True:
            step = int(label)
            if kind == "ordinal":
                current, is_ordinal = current + step, True
            elif step == 100:
                current = max(1, current) * 100
            elif step >= 1_000:
                total, current = total + max(1, current) * step, 0
            else:
                current += step
            self.at += length
            ahead = self._next_number(may_join=step >= 100 or self.language in {"es", "fr"})
            if is_ordinal or ahead is None:
                break
            kind, label, length, skipped = ahead
            self.at += skipped
        if is_ordinal:
            if not self._dated(Fraction(total + current)):
                self._put(f"#{total + current}.", "number")
        else:
            self._amount(Fraction(total + current))

    def _next_number(self, *, may_join: bool) -> tuple[str, str, int, int] | None:
        skipped = 0
        if may_join and self.at < len(self.tokens) and self.tokens[self.at].folded in {"and", "y", "et"}:
            skipped = 1
        if self.at + skipped >= len(self.tokens):
            return None
        sense = self.lexicon.senses.get(self.tokens[self.at + skipped].folded)
        if sense is None or sense.kind not in {"number", "ordinal"}:
            return None
        return sense.kind, sense.label, 1, skipped

    def _put(self, key: str, kind: str) -> None:
        if self.insert_at >= 0:
            self.keys.insert(self.insert_at, key)
            self.kinds.insert(self.insert_at, kind)
            self.governors.insert(self.insert_at, self.governors[self.insert_at])
            # Words after "of" keep their order before the word that they belong to.
            self.insert_at += 1
            return
        self.keys.append(key)
        self.kinds.append(kind)
        self.governors.append(self.governor)

    def _split_elided(self) -> list[Token]:
        found = []
        for token in self.tokens:
            head, apostrophe, rest = token.folded.partition("'")
            if token.kind == "word" and apostrophe and rest and (head in _ELIDED or token.folded == "aujourd'hui"):
                cut_at = len(head)
                found.append(Token("word", token.text[:cut_at], head, "", token.is_first))
                found.append(Token("word", token.text[cut_at + 1 :], rest, "", is_first=False))
            else:
                found.append(token)
        return found

    def _found(self) -> Reading:
        def of(*kinds: str) -> tuple[str, ...]:
            return tuple(key for key, kind in zip(self.keys, self.kinds, strict=True) if kind in kinds)

        relations = tuple(
            (key, self.keys[place + 1] if place + 1 < len(self.keys) else "")
            for place, (key, kind) in enumerate(zip(self.keys, self.kinds, strict=True))
            if kind == "relation"
        )
        return Reading(
            self.language,
            self.script,
            is_deictic=self.is_deictic,
            asks=tuple(self.asks),
            sequence=tuple(self.keys),
            governors=tuple(self.governors),
            content=of("content", "name"),
            plurals=frozenset(self.plurals),
            pasts=frozenset(self.pasts),
            cases=frozenset(self.cases),
            numbers=of("number"),
            dates=of("date"),
            names=frozenset(self.names),
            quotes=tuple(self.quotes),
            codes=tuple(self.codes),
            negations=self.negations,
            relations=relations,
            quantifiers=of("quantifier"),
            superlatives=of("superlative"),
            persons=tuple(self.persons),
            tenses=frozenset(self.tenses),
            modals=frozenset(self.modals),
            words=frozenset(token.folded.removesuffix("'s") for token in self.tokens if token.kind == "word"),
        )
