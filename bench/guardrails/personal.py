"""Personal data without check digits, and the texts in which any of it stands: prose, records, code and logs."""

import random
import string
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from bench.guardrails.items import Item, Span
from bench.guardrails.numbers import CHECKED, Make, date, digits, letters, uk_nino, us_ssn

_GIVEN: Final = (
    "anna",
    "bob",
    "li.wei",
    "jose",
    "fatima",
    "olga",
    "kenji",
    "priya",
    "tom",
    "zoë",
    "jürgen",
    "mia",
    "noah",
)
_FAMILY: Final = (
    "smith",
    "garcia",
    "müller",
    "rossi",
    "dubois",
    "novak",
    "tanaka",
    "silva",
    "okafor",
    "larsen",
    "kaya",
)
_DOMAINS: Final = (
    "example.com",
    "mail.example.org",
    "firma.example",
    "example.co.uk",
    "post.example.de",
    "uni.example.edu",
)
_MONTHS: Final = ("January", "March", "May", "June", "August", "October", "December")


def email(r: random.Random) -> str:
    local = r.choice((".", "_", "", "-")).join((r.choice(_GIVEN), r.choice(_FAMILY)))
    return local + r.choice(("", "", "+news", str(r.randint(1, 99)))) + "@" + r.choice(_DOMAINS)


def phone(r: random.Random) -> str:
    local = digits(r, 3, "2345678") + "-" + digits(r, 3, "23456789") + "-" + digits(r, 4)
    mobile = "+49 15" + digits(r, 1, "127") + " " + digits(r, 8, "23456789")
    kinds = (
        "+1 " + local, local.replace("-", "."), f"({local[:3]}) {local[4:]}", mobile, mobile.replace(" ", ""), local,
        f"+44 20 {digits(r, 4, '37')} {digits(r, 4)}", f"+33 6 {digits(r, 2)} {digits(r, 2)} {digits(r, 2)} {digits(r, 2)}",
        f"+34 6{digits(r, 2)} {digits(r, 3)} {digits(r, 3)}", f"+91 9{digits(r, 4)} {digits(r, 5)}",
        f"+81 90-{digits(r, 4, '123456789')}-{digits(r, 4)}", f"0044 7{digits(r, 3)} {digits(r, 6)}", f"+55 11 9{digits(r, 4)}-{digits(r, 4)}",
    )  # fmt: skip
    return r.choice(kinds)


def ip_address(r: random.Random) -> str:
    if r.random() < 0.25:
        return "2001:db8:" + ":".join(f"{r.randint(1, 65535):x}" for _ in range(6))
    return f"{r.choice((10, 172, 192, 203, 84))}.{r.randint(1, 254)}.{r.randint(0, 254)}.{r.randint(1, 254)}"


def mac_address(r: random.Random) -> str:
    return r.choice(":-").join(letters(r, 2, "0123456789ABCDEF") for _ in range(6))


def date_of_birth(r: random.Random) -> str:
    day = date(r, "CYMD")
    year, month, of_month = day[:4], day[4:6], day[6:]
    return r.choice((f"{of_month}/{month}/{year}", f"{year}-{month}-{of_month}", f"{of_month}.{month}.{year}",
                     f"{r.choice(_MONTHS)} {int(of_month)}, {year}", f"{int(of_month)} {r.choice(_MONTHS)} {year}"))  # fmt: skip


def address(r: random.Random) -> str:
    number = r.randint(1, 240)
    return r.choice((
        f"{number} {r.choice(('Maple', 'Cedar Hill', 'Lincoln', 'Station'))} {r.choice(('Street', 'Avenue', 'Road', 'Lane'))}",
        f"{r.choice(('Goethe', 'Schiller', 'Bahnhof', 'Linden'))}{r.choice(('straße', 'str.', 'weg', 'platz'))} {number}",
        f"{number} rue {r.choice(('de la République', 'du Marché', 'Victor Hugo', 'des Lilas'))}",
        f"Calle {r.choice(('Mayor', 'del Prado', 'Serrano'))}, {number}",
    ))  # fmt: skip


def passport(r: random.Random) -> str:
    return r.choice(
        (letters(r, 1) + digits(r, 8), digits(r, 9), "C" + letters(r, 8, "CFGHJKLMNPRTVWXYZ0123456789") + "2")
    )[:9]


UNCHECKED: Final[Mapping[str, tuple[Make, tuple[str, ...]]]] = MappingProxyType({
    "email": (email, ("e-mail", "E-Mail-Adresse", "correo", "adresse mail", "邮箱", "почта")),
    "phone": (phone, ("phone", "Telefon", "mobile", "téléphone", "teléfono", "cellulare", "电话", "telefon")),
    "ip_address": (ip_address, ("IP", "client address", "host", "adresse IP")),
    "mac_address": (mac_address, ("MAC", "device")),
    "date_of_birth": (date_of_birth, ("date of birth", "DOB", "Geburtsdatum", "date de naissance", "fecha de nacimiento", "生年月日")),
    "address": (address, ("address", "Anschrift", "adresse", "dirección")),
    "passport": (passport, ("passport", "Reisepass", "passeport", "pasaporte", "passaporto")),
    "us_ssn": (us_ssn, ("SSN", "social security number")),
    "uk_nino": (uk_nino, ("National Insurance number", "NINO")),
})  # fmt: skip

_PROSE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({
    "en": ("Hi, my {n} is {v}, could you update the file?", "For the records: {n} {v}. Let me know when it is done.",
           "She wrote that her {n} ({v}) had changed last week.", "Please check {n}: {v} and get back to us by Friday.",
           "I have lost the letter, but I still know the {n}, which is {v}."),
    "de": ("Guten Tag, {n}: {v}. Bitte ändern Sie das in meiner Akte.", "Meine {n} lautet {v}, danke im Voraus!",
           "Der Kunde hat als {n} {v} angegeben."),
    "fr": ("Bonjour, voici mon {n} : {v}. Merci de mettre à jour le dossier.", "Le client indique comme {n} {v}."),
    "es": ("Hola, mi {n} es {v}, ¿puede comprobarlo?", "El cliente nos dio {n} {v} por la mañana."),
    "it": ("Buongiorno, il mio {n} è {v}. Grazie!",),
    "pt": ("Olá, o meu {n} é {v}, pode confirmar?",),
    "nl": ("Hallo, mijn {n} is {v}; kunt u dat nakijken?",),
    "pl": ("Dzień dobry, mój {n} to {v}.",),
    "tr": ("Merhaba, {n}: {v}, kontrol eder misiniz?",),
    "ru": ("Здравствуйте, {n}: {v}. Спасибо!",),
    "zh": ("你好,我的{n}是{v},请帮我查一下。",),
    "ja": ("お世話になります。{n}は{v}です。",),
    "ar": ("مرحبا، {n}: {v} شكرا",),
})  # fmt: skip
_RECORDS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({
    "json": ('{{"name": "A. Doe", "{n}": "{v}", "active": true}}', '{{"user":{{"{n}":"{v}"}},"rows":3}}'),
    "csv": ("no;{n};city\n1;{v};Lyon\n", "{n},status\n{v},open\n"),
    "yaml": ("customer:\n  {n}: {v}\n  since: 2019\n",),
    "code": ('record = {{"{n}": "{v}"}}  # from the import', 'INSERT INTO people ("{n}") VALUES (\'{v}\');',
             'assertEquals("{v}", person.get("{n}"));'),
    "log": ("2026-11-02T10:31:07Z WARN import: bad row, {n}={v}, retry 2", "[10:31:07] form.submit {n}: {v} took 31 ms"),
    "markdown": ("| {n} | state |\n|---|---|\n| {v} | new |\n",),
    "chat": ("A: what is your {n}?\nB: {v}\nA: thanks",),
    "xml": ('<field name="{n}">{v}</field>',),
    "html": ("<tr><td>{n}</td><td><b>{v}</b></td></tr>",),
})  # fmt: skip
# How people, and those who want to get past a rule, write digits.
_DISGUISES: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType({
    "fullwidth": lambda value: value.translate({ord(d): 0xFEE0 + ord(d) for d in string.digits}),
    "nbsp": lambda value: value.replace(" ", "\u00a0"),
    "zero-width": lambda value: "\u200b".join((value[:3], value[3:])),
    "dash": lambda value: value.replace("-", "\u2011"),
})  # fmt: skip


def _item(family: str, frame: str, label: str, name: str, value: str) -> Item:
    before, _, after = frame.format(n=name, v="\0").partition("\0")
    start = len(before)
    return Item(before + value + after, (label,), (Span(start, start + len(value), label),), family)


def personal(r: random.Random, count: int) -> list[Item]:
    kinds = {**CHECKED, **UNCHECKED}
    items = []
    for number in range(count):
        label = sorted(kinds)[number % len(kinds)]
        make, names = kinds[label]
        value, name = make(r), r.choice(names)
        style = r.random()
        if style < 0.5:
            language = r.choice(sorted(_PROSE))
            items.append(_item(f"pii/prose-{language}", r.choice(_PROSE[language]), label, name, value))
        elif style < 0.92:
            kind = r.choice(sorted(_RECORDS))
            items.append(_item(f"pii/{kind}", r.choice(_RECORDS[kind]), label, name, value))
        else:
            how = r.choice(sorted(_DISGUISES))
            items.append(_item(f"pii/disguised-{how}", r.choice(_PROSE["en"]), label, name, _DISGUISES[how](value)))
    return items
