"""How people write the same question: greetings, small letters, no question mark, a slip of the finger."""

import random

_BEFORE = {
    "en": ("Hi, ", "Hello! ", "Hey, ", "Please: ", "Quick question: ", "Thanks in advance. "),
    "de": ("Hallo, ", "Guten Tag, ", "Kurze Frage: "),
    "fr": ("Bonjour, ", "Salut, "),
    "es": ("Hola, ", "Buenos días, "),
}
_AFTER = {
    "en": (" Thanks!", " Thank you.", " thx"),
    "de": (" Danke!", " Vielen Dank."),
    "fr": (" Merci !",),
    "es": (" Gracias.",),
}


def dress(text: str, language: str, chance: random.Random) -> str:
    """The text as somebody may type it; what it means stays."""
    draw = chance.random()
    if draw < 0.10 and language in _BEFORE:
        text = chance.choice(_BEFORE[language]) + text
    elif draw < 0.17 and language in _AFTER:
        text += chance.choice(_AFTER[language])
    elif draw < 0.24 and text.endswith("?"):
        text = text[:-1].rstrip()
    elif draw < 0.27:
        text = _slipped(text, chance)
    elif draw < 0.29:
        text = "  " + text.replace(" ", "  ", 1)
    return text


def _slipped(text: str, chance: random.Random) -> str:
    """Two letters of one long word of small letters in the wrong order."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 5 and word.isalpha() and word.islower()]
    if not long:
        return text
    place = chance.choice(long)
    word = words[place]
    at = chance.randrange(1, len(word) - 2)
    words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
