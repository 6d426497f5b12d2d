"""Prose and code with nothing in it: made from a grammar in several languages, and read from what every machine has:
this project's own sources, Python's library and its licence. Nobody else's text is kept here.
"""

import random
import re
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench.guardrails.items import Item

_ROOT: Final = Path(__file__).resolve().parents[2]
_PROSE: Final[Mapping[str, Mapping[str, Sequence[str]]]] = MappingProxyType({
    "en": {
        "": ("{who} {did} {what} {when}.", "{when2} {who} {did} {what}.", "Could you {task}?", "{task2}."),
        "who": ("the team", "our supplier", "the new manager", "a customer from Oslo", "my sister", "the museum"),
        "did": ("finished", "postponed", "asked about", "reviewed", "paid for", "forgot"),
        "what": ("the annual report", "three boxes of tiles", "the second draft", "the repair of the roof", "a trip to the coast"),
        "when": ("on Monday", "in the spring of 2019", "at 9:30", "after lunch", "last week"),
        "when2": ("In 2021", "Before the holidays", "At first", "Two days later"),
        "task": ("summarise this text in two sentences", "write a friendly reply to the landlord", "suggest five names for a cat", "compare both offers"),
        "task2": ("Explain photosynthesis to a child of ten", "List the pros and cons of working from home", "Plan a dinner for 12 people under 150 euros"),
    },
    "de": {
        "": ("{wer} {tat} {was} {wann}.", "Kannst du {bitte}?"),
        "wer": ("Das Team", "Der neue Leiter", "Eine Kundin aus Graz", "Meine Schwester"),
        "tat": ("beendete", "verschob", "prüfte", "bezahlte"),
        "was": ("den Jahresbericht", "drei Kisten Fliesen", "den zweiten Entwurf", "die Reparatur des Dachs"),
        "wann": ("am Montag", "im Frühjahr 2019", "um 9.30 Uhr", "nach dem Essen"),
        "bitte": ("diesen Text zusammenfassen", "fünf Namen für eine Katze nennen", "beide Angebote vergleichen"),
    },
    "fr": {
        "": ("{qui} {fait} {quoi} {quand}.", "Peux-tu {tache} ?"),
        "qui": ("L'équipe", "Le nouveau directeur", "Une cliente de Lyon"),
        "fait": ("a terminé", "a reporté", "a relu", "a payé"),
        "quoi": ("le rapport annuel", "trois caisses de carreaux", "la réparation du toit"),
        "quand": ("lundi", "au printemps 2019", "à 9 h 30", "après le repas"),
        "tache": ("résumer ce texte", "proposer cinq noms pour un chat", "comparer les deux offres"),
    },
    "es": {
        "": ("{quien} {hizo} {que} {cuando}.",),
        "quien": ("El equipo", "La nueva directora", "Un cliente de Sevilla"),
        "hizo": ("terminó", "aplazó", "revisó", "pagó"),
        "que": ("el informe anual", "tres cajas de azulejos", "la reparación del tejado"),
        "cuando": ("el lunes", "en la primavera de 2019", "a las 9:30", "después de comer"),
    },
    "zh": {"": ("{a}{b}了{c}。",), "a": ("团队", "新经理", "一位客户"), "b": ("完成", "推迟", "检查"), "c": ("年度报告", "第二稿", "屋顶的修理")},
    "ja": {"": ("{a}は{b}を{c}。",), "a": ("チーム", "新しい部長", "お客様"), "b": ("年次報告書", "第二稿", "屋根の修理"), "c": ("終えました", "延期しました", "確認しました")},
    "ru": {"": ("{a} {b} {c}.",), "a": ("Команда", "Новый директор"), "b": ("завершила", "проверила"), "c": ("годовой отчёт", "второй черновик")},
})  # fmt: skip
# Long enough for all kinds of code, and without addresses of people.
_MODULES: Final = (
    "argparse.py", "ast.py", "bisect.py", "calendar.py", "colorsys.py", "copy.py", "csv.py", "dataclasses.py", "datetime.py", "decimal.py",
    "difflib.py", "enum.py", "fractions.py", "functools.py", "heapq.py", "json/decoder.py", "json/encoder.py", "logging/__init__.py",
    "random.py", "shutil.py", "statistics.py", "string.py", "subprocess.py", "tempfile.py", "textwrap.py", "threading.py", "typing.py", "zipfile.py",
)  # fmt: skip
_PIECE: Final = 40
# Authors' own addresses are what they look like.
_MAIL: Final = re.compile(r"[\w.]+@[\w-]+\.[a-z]{2,3}\b")


def _say(r: random.Random, grammar: Mapping[str, Sequence[str]]) -> str:
    text = r.choice(grammar[""])
    for key in grammar:
        while key and f"{{{key}}}" in text:
            text = text.replace(f"{{{key}}}", r.choice(grammar[key]), 1)
    return text[:1].upper() + text[1:]


def clean_prose(r: random.Random, count: int) -> list[Item]:
    items = []
    for _ in range(count):
        language = r.choice(sorted(_PROSE))
        text = " ".join(_say(r, _PROSE[language]) for _ in range(r.randint(1, 12)))
        items.append(Item(text, family=f"clean/prose-{language}"))
    return items


def _sources() -> list[tuple[str, Path]]:
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [("clean/python-library", library / name) for name in _MODULES]
    found += [("clean/own-code", path) for path in sorted((_ROOT / "backend" / "tollkeeper" / "core").glob("*.py"))]
    found += [("clean/own-docs", path) for path in sorted((_ROOT / "backend" / "decisions").glob("*.md"))]
    found += [("clean/licence", path) for path in (_ROOT / "LICENSE",)]
    return [(family, path) for family, path in found if path.exists()]


def clean_code(r: random.Random, count: int) -> list[Item]:
    """Pieces of forty lines. Which there are depends on the machine's Python, not on the seed alone."""
    pieces = []
    for family, path in _sources():
        lines = path.read_text("utf-8", "replace").splitlines()
        pieces += [
            Item(piece, family=family)
            for at in range(0, len(lines), _PIECE)
            if (piece := "\n".join(lines[at : at + _PIECE])).strip() and _MAIL.search(piece) is None
        ]
    r.shuffle(pieces)
    return pieces[:count]
