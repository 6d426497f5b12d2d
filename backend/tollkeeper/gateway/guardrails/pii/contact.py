"""Where a person is found: mail, network addresses, streets; and what stands in a passport."""

import ipaddress
import re
from typing import Final

from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.guardrail import Shape, Start
from tollkeeper.gateway.tails import date, groups, street, word

_VERSION_WORDS: Final = Words(
    "version*", "ver", "ver.", "release*", "build", "firmware*", "v", "v.", "section*", "chapter*", "upgrade*", "driver*", "package*", "==", ">=",
    "<=", "~=", "@", "clause*", "figure*", "§", "kapitel*", "abschnitt*", "versión*", "versione", "oid", "rev", "rev.", "revision", "sdk",
    "assembly", "版本", "バージョン", "downgrade*", "requires", "patch", "schema",
)  # fmt: skip
_PASSPORT_WORDS: Final = Words(
    "passport*", "reisepass*", "passeport*", "pasaporte*", "passaporto*", "passaporte*", "paspoort*", "paszport*", "护照", "パスポート", "паспорт*",
)  # fmt: skip
_BIRTH_WORDS: Final = Words(
    "born", "birth*", "dob", "d.o.b", "geboren*", "geburts*", "geb.", "né le", "née le", "naissance", "nacimiento", "nacid*",
    "nascita", "nato il", "nata il", "nascimento", "geboorte*", "urodz*", "fødselsdato", "født", "född*", "生年月日", "出生", "생년월일", "bday",
    "date of birth", "родил*", "рождения",
)  # fmt: skip
_LICENCE_WORDS: Final = Words(
    "driver's licen*", "drivers licen*", "driving licen*", "driver licen*", "führerschein*", "permis de conduire",
)  # fmt: skip
_PLATE_WORDS: Final = Words(
    "license plate", "licence plate", "number plate", "registration", "kennzeichen", "immatriculation", "matrícula",
)  # fmt: skip
_PREFIX_LENGTH: Final = re.compile(r"/[0-9]{1,3}(?![0-9])")
_MONTHS: Final = (
    "jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|jun[ei]?|jul[iy]?|aug(?:ust)?|sep(?:t(?:ember)?)?|"
    "o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|"
    "noviembre|diciembre|janvier|février|mars|avril|juin|juillet|août|septembre|octobre|novembre|décembre"
)
_STATES: Final = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|"
    "TX|UT|VT|VA|WA|WV|WI|WY|DC"
)


def _email(text: str, start: int, end: int) -> float:
    local, _, domain = text[start:end].rpartition("@")
    top = domain.rsplit(".", 1)[-1]
    if local.startswith(".") or local.endswith(".") or ".." in local or len(local) > 64 or len(domain) > 253:
        return 0.0
    # git@github.com:, scp targets and packages@1.2.3 are no people.
    if not top.isalpha() or not 2 <= len(top) <= 24 or (local == "git" and text[end : end + 1] == ":"):
        return 0.0
    return 1.0


def _ip4(text: str, start: int, end: int) -> float:
    value = text[start:end]
    if any(int(part) > 255 or (len(part) > 1 and part[0] == "0") for part in value.split(".")):
        return 0.0
    if text[end : end + 2].startswith(".") and text[end + 1 : end + 2].isdigit():
        return 0.0
    if (
        _is_network(text, start, end)
        or text[start - 1 : start] in {".", "-", "_"}
        or _VERSION_WORDS.stand_before(text, start, 20)
    ):
        return 0.0
    # Nobody's: of this host, of the link, of everybody.
    return 0.0 if value in {"127.0.0.1", "0.0.0.0", "255.255.255.255"} else 0.9  # noqa: S104 - compared, not bound


def _ip6(text: str, start: int, end: int) -> float:
    value = text[start:end]
    if value.count(":") < 3 and "::" not in value:
        return 0.0
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return 0.0
    is_nobodys = address.is_loopback or address.is_unspecified or len(value) < 6 or _is_network(text, start, end)
    return 0.0 if is_nobodys else 0.95


def _is_network(text: str, start: int, end: int) -> bool:
    """`10.0.0.0/8`: a range, in code and rules for firewalls."""
    length = _PREFIX_LENGTH.match(text, end)
    if length is None:
        return False
    try:
        ipaddress.ip_network(text[start:end] + length.group())
    except ValueError:
        return False
    return True


def _mac(text: str, start: int, end: int) -> float:
    value = text[start:end]
    return 0.0 if len(set(value) - set(":-")) <= 1 else 0.95


def _with_digit(text: str, start: int, end: int) -> float:
    return 0.9 if any(letter.isdigit() for letter in text[start:end]) else 0.0


def _mrz(text: str, start: int, end: int) -> float:
    return 1.0 if text[start:end].count("<") >= 4 else 0.0


def shapes() -> list[Shape]:
    # Quotes and signs that stand around one are no part of it.
    local = r"[A-Za-z0-9_+\p{L}][A-Za-z0-9.!#$%&'*+/=?^_`{|}~\-\p{L}]*"
    return [
        # Lengths are looked at afterwards: repeats that count make automata large.
        Shape("email", rf"{local}@(?:[A-Za-z0-9\p{{L}}\-]+\.)+[A-Za-z\p{{L}}]+", word, _email, is_word=False),
        Shape("ip_address", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", word, _ip4),
        Shape("ip_address", r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}", word, _ip6),
        Shape("mac_address", r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}", word, _mac),
        Shape("passport", "[0-9]{6,9}", groups, _with_digit, needs=_PASSPORT_WORDS, start=Start.NUMBER),
        Shape(
            "passport",
            r"[A-Z]{1,2}[0-9]{6,9}|[A-Z][0-9]{2}[A-Z0-9]{6}|[CFGHJK][CFGHJKLMNPRTVWXYZ0-9]{8}",
            groups,
            _with_digit,
            needs=_PASSPORT_WORDS,
            start=Start.CODE,
        ),
        Shape("passport", r"P[A-Z<][A-Z]{3}[A-Z<]{39}", word, _mrz),
        Shape("driving_licence", r"[A-Z0-9][A-Z0-9\-]{5,17}", groups, _with_digit, needs=_LICENCE_WORDS),
        Shape(
            "licence_plate",
            r"[A-ZÄÖÜ0-9]{1,4}[ -][A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4})?",
            groups,
            _with_digit,
            needs=_PLATE_WORDS,
        ),
        Shape(
            "date_of_birth",
            r"[0-3]?[0-9][./\-][0-3]?[0-9][./\-](?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}[./\-][01]?[0-9][./\-][0-3]?[0-9]|"
            rf"(?i:(?:[0-3]?[0-9](?:st|nd|rd|th|\.)?(?: of| de)? (?:{_MONTHS})\.?,? (?:de )?(?:19|20)[0-9]{{2}}))|"
            rf"(?i:(?:(?:{_MONTHS})\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{{2}}))|(?:19|20)[0-9]{{2}}年[0-9]{{1,2}}月[0-9]{{1,2}}日",
            date,
            _with_digit,
            needs=_BIRTH_WORDS,
        ),
        Shape(
            "address",
            r"[0-9]{1,5}[A-Za-z]? (?:(?:N|S|E|W|North|South|East|West)\.? )?(?:[A-Z][a-z'’]+ |[0-9]+(?:st|nd|rd|th) ){1,3}"
            r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Place|Pl|Square|Sq|Crescent|Parkway|Pkwy|Highway|Hwy)\b\.?"
            rf"(?:,? (?:Apt|Apartment|Suite|Unit|Flat)\.? ?#?[0-9A-Za-z]{{1,5}})?(?:, ?[A-Z][A-Za-z .'\-]{{1,30}})?(?:,? (?:{_STATES}) [0-9]{{5}}(?:-[0-9]{{4}})?)?",
            street,
        ),
        Shape(
            "address",
            r"[A-ZÄÖÜ][a-zäöüß]+(?:[- ][A-ZÄÖÜ][a-zäöüß]+){0,2}[- ]?(?:[sS]traße|[sS]trasse|[sS]tr\.|[wW]eg|[pP]latz|[aA]llee|[gG]asse|[rR]ing|[dD]amm|[uU]fer) [0-9]{1,4} ?[a-z]?"
            r"(?:, ?[0-9]{5} [A-ZÄÖÜ][a-zäöüß]+)?",
            street,
        ),
        Shape(
            "address",
            r"[0-9]{1,4}(?: (?:bis|ter))?,? (?:rue|avenue|boulevard|place|chemin|allée|impasse|quai|cours) (?:(?:de la|de l['’]|des|du|de|d['’]) ?)?"
            r"[A-ZÀ-Ý][\p{L}'’\-]+(?: [A-ZÀ-Ý][\p{L}'’\-]+){0,3}(?:,? [0-9]{5} [A-ZÀ-Ý][\p{L}\-]+)?",
            street,
        ),
        Shape(
            "address",
            r"(?:Calle|C/|Avenida|Avda\.|Av\.|Plaza|Paseo|Via|Viale|Piazza|Rua|Corso) ?(?:(?:de la|de los|de las|del|de|di|da|do) )?"
            r"[A-ZÀ-Ý][\p{L}'’]+(?: (?:(?:de|di|la|del) )?[A-ZÀ-Ý][\p{L}'’]+){0,3},? (?:n[º°.]? ?)?[0-9]{1,4}",
            street,
        ),
        Shape(
            "address",
            r"(?:GIR ?0AA|[A-PR-UWYZ](?:[0-9]{1,2}|[A-HK-Y][0-9]|[A-HK-Y][0-9][0-9]|[0-9][A-HJKPS-UW]|[A-HK-Y][0-9][ABEHMNPRV-Y]) [0-9][ABD-HJLNP-UW-Z]{2})",
            groups,
            start=Start.CODE,
        ),
    ]
