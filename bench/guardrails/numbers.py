"""Numbers of people and accounts that nobody has, with check digits that fit. Written from the rules of those who issue
them, apart from the code that is measured: each tries last digits until its own sum comes out.
"""

import random
import string
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Make = Callable[[random.Random], str]
_LETTERS: Final = string.ascii_uppercase


def digits(r: random.Random, count: int, first: str = string.digits) -> str:
    return r.choice(first) + "".join(r.choices(string.digits, k=count - 1)) if count else ""


def letters(r: random.Random, count: int, alphabet: str = _LETTERS) -> str:
    return "".join(r.choices(alphabet, k=count))


def until(make: Callable[[], str], fits: Callable[[str], bool]) -> str:
    while True:
        value = make()
        if fits(value):
            return value


def date(r: random.Random, order: str) -> str:
    """`order` of `YMD` as two digits each, `C` for the century before."""
    year, month, day = r.randint(1940, 2005), r.randint(1, 12), r.randint(1, 28)
    parts = {"C": f"{year // 100}", "Y": f"{year % 100:02}", "M": f"{month:02}", "D": f"{day:02}"}
    return "".join(parts[letter] for letter in order)


def luhn_sum(value: str) -> int:
    total = 0
    for index, character in enumerate(value[::-1]):
        number = int(character) * (1 + index % 2)
        total += number // 10 + number % 10
    return total


def with_luhn(body: str) -> str:
    return body + str(-luhn_sum(body + "0") % 10)


def dot(value: str, *weights: int) -> int:
    return sum(int(character) * weight for character, weight in zip(value, weights, strict=False))


def grouped(value: str, pattern: str) -> str:
    """`"### ###"`: each `#` is the next character."""
    source = iter(value)
    return "".join(next(source) if mark == "#" else mark for mark in pattern)


def spaced(r: random.Random, value: str, *patterns: str) -> str:
    return grouped(value, r.choice(patterns)) if r.random() < 0.6 else value


_CARD_KINDS: Final = (
    ("4", 16, "#### #### #### ####"), ("51", 16, "#### #### #### ####"), ("55", 16, "####-####-####-####"),
    ("2221", 16, "#### #### #### ####"), ("34", 15, "#### ###### #####"), ("37", 15, "####-######-#####"),
    ("36", 14, "#### ###### ####"), ("3530", 16, "#### #### #### ####"), ("6011", 16, "#### #### #### ####"),
    ("62", 16, "#### #### #### ####"), ("65", 16, "#### #### #### ####"), ("6304", 16, "#### #### #### ####"),
)  # fmt: skip


def card(r: random.Random) -> str:
    prefix, length, pattern = r.choice(_CARD_KINDS)
    value = with_luhn(prefix + digits(r, length - len(prefix) - 1))
    return grouped(value, pattern) if r.random() < 0.6 else value


# Country and what its accounts are made of: n digits, a capitals, c either.
_ACCOUNTS: Final = {
    "DE": "n18", "FR": "n10c11n2", "GB": "a4n14", "ES": "n20", "IT": "a1n10c12", "NL": "a4n10", "BE": "n12", "CH": "n5c12",
    "AT": "n16", "PL": "n24", "SE": "n20", "NO": "n11", "DK": "n14", "FI": "n14", "PT": "n21", "IE": "a4n14", "CZ": "n20",
    "HU": "n24", "RO": "a4c16", "GR": "n7c16", "LU": "n3c13", "TR": "n5n1c16", "AE": "n19", "SA": "n2c18", "BR": "n23a1c1",
    "MT": "a4n5c18", "EE": "n16", "LV": "a4c13", "LT": "n16", "SI": "n15", "SK": "n20", "HR": "n17", "BG": "a4n6c8", "UA": "n6c19",
}  # fmt: skip


def iban(r: random.Random) -> str:
    country = r.choice(sorted(_ACCOUNTS))
    body, kind, count = "", "", ""
    for mark in _ACCOUNTS[country] + "x":
        if mark.isdigit():
            count += mark
            continue
        if kind:
            alphabet = {"n": string.digits, "a": _LETTERS, "c": string.digits + _LETTERS}[kind]
            body += letters(r, int(count), alphabet)
        kind, count = mark, ""
    rest = 0
    for character in body + country + "00":
        rest = int(f"{rest}{int(character, 36)}") % 97
    value = f"{country}{98 - rest:02}{body}"
    style = r.random()
    if style < 0.5:
        return " ".join(value[at : at + 4] for at in range(0, len(value), 4))
    return value.lower() if style > 0.97 else value


def us_ssn(r: random.Random) -> str:
    return f"{r.choice([*range(1, 666), *range(667, 900)]):03}-{r.randint(1, 99):02}-{r.randint(1, 9999):04}"


def fr_nir(r: random.Random) -> str:
    body = r.choice("12") + date(r, "YM") + f"{r.randint(1, 95):02}" + f"{r.randint(1, 989):03}{r.randint(1, 999):03}"
    return spaced(r, body + f"{97 - int(body) % 97:02}", "# ## ## ## ### ### ##")


_CODICE_ODD: Final = dict(zip("BAKPLCQDREVOSFTGUHMINJWZYX", range(26), strict=True))


def it_codice(r: random.Random) -> str:
    # Of letters the odd places count by a table of their own, of digits by that of the first ten letters.
    consonants = "BCDFGLMNPRSTVZ"
    body = letters(r, 6, consonants) + f"{r.randint(30, 99)}" + r.choice("ABCDEHLMPRST") + f"{r.randint(1, 31):02}"
    body += r.choice("ABCDEFGHIL") + digits(r, 3)
    total = 0
    for place, character in enumerate(body, 1):
        index = int(character) if character.isdigit() else ord(character) - 65
        total += _CODICE_ODD[chr(65 + index)] if place % 2 else index
    return body + chr(65 + total % 26)


def de_tax(r: random.Random) -> str:
    def make() -> str:
        chosen = r.sample(string.digits, 9)
        chosen.insert(r.randrange(10), r.choice(chosen))
        return "".join(chosen)

    body = until(make, lambda value: value[0] != "0" and max(map(value.count, value)) == 2)
    rest = 10
    for character in body:
        rest = (rest + int(character)) % 10 or 10
        rest = rest * 2 % 11
    return spaced(r, body + str((11 - rest) % 10), "## ### ### ###")


def be_number(r: random.Random) -> str:
    body = date(r, "YMD") + f"{r.randint(1, 997):03}"
    # Of those born in this century a 2 stands before, which nobody writes.
    return spaced(r, body + f"{97 - int(body) % 97:02}", "##.##.##-###.##")


def pl_pesel(r: random.Random) -> str:
    body = date(r, "YMD") + digits(r, 4)
    return body + str(-dot(body, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3) % 10)


def se_number(r: random.Random) -> str:
    value = with_luhn(date(r, "YMD") + digits(r, 3))
    return r.choice(("", "19")) + grouped(value, "######-####")


def fi_hetu(r: random.Random) -> str:
    day, serial = date(r, "DMY"), f"{r.randint(2, 899):03}"
    return f"{day}{r.choice('-A')}{serial}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(day + serial) % 31]


def no_number(r: random.Random) -> str:
    def make() -> str:
        body = date(r, "DMY") + digits(r, 3)
        first = -dot(body, 3, 7, 6, 1, 8, 9, 4, 5, 2) % 11
        second = -dot(body + str(first % 10), 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
        return "" if 10 in {first, second} else f"{body}{first}{second}"

    return spaced(r, until(make, bool), "###### #####")


def nl_bsn(r: random.Random) -> str:
    value = until(lambda: digits(r, 9, "123456789"), lambda v: dot(v, 9, 8, 7, 6, 5, 4, 3, 2, -1) % 11 == 0)
    return spaced(r, value, "### ### ###", "####.##.###")


def pt_nif(r: random.Random) -> str:
    body = digits(r, 8, "12")
    rest = dot(body, 9, 8, 7, 6, 5, 4, 3, 2) % 11
    return spaced(r, body + str(0 if rest < 2 else 11 - rest), "### ### ###")


def br_cpf(r: random.Random) -> str:
    value = digits(r, 9)
    for _ in range(2):
        rest = dot(value, *range(len(value) + 1, 1, -1)) % 11
        value += str(0 if rest < 2 else 11 - rest)
    return grouped(value, "###.###.###-##")


def br_cnpj(r: random.Random) -> str:
    value = digits(r, 8) + "0001"
    for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)):
        rest = dot(value, *weights) % 11
        value += str(0 if rest < 2 else 11 - rest)
    return grouped(value, "##.###.###/####-##")


def cl_rut(r: random.Random) -> str:
    body = str(r.randint(5_000_000, 25_999_999))
    rest = 11 - sum(int(c) * (2, 3, 4, 5, 6, 7)[at % 6] for at, c in enumerate(body[::-1])) % 11
    check = {11: "0", 10: "K"}.get(rest, str(rest))
    return f"{int(body):,}".replace(",", ".") + "-" + check


def ar_cuit(r: random.Random) -> str:
    def make() -> str:
        body = r.choice(("20", "23", "27", "30")) + digits(r, 8)
        rest = 11 - dot(body, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
        return "" if rest == 10 else body + str(rest % 11)

    return grouped(until(make, bool), "##-########-#")


def cn_id(r: random.Random) -> str:
    body = r.choice(("110105", "310101", "440106", "510104")) + date(r, "CYMD") + digits(r, 3)
    total = sum(int(c) * pow(2, 17 - at, 11) for at, c in enumerate(body))
    return body + "10X98765432"[total % 11]


_TURNS: Final = ((1, 5, 7, 6, 2, 8, 3, 0, 9, 4),)


def in_aadhaar(r: random.Random) -> str:
    body = digits(r, 11, "23456789")
    return spaced(r, body + _verhoeff_digit(body), "#### #### ####")


def _verhoeff_digit(body: str) -> str:
    """The dihedral group of ten, by its rules instead of its table."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5

    turn, check = _TURNS[0], 0
    for place, character in enumerate(body[::-1], 1):
        value = int(character)
        for _ in range(place % 8):
            value = turn[value]
        check = times(check, value)
    return str(check if check >= 5 else -check % 5)


def kr_rrn(r: random.Random) -> str:
    body = date(r, "YMD") + r.choice("12") + digits(r, 5)
    return grouped(body + str((11 - dot(body, *range(2, 10), *range(2, 6)) % 11) % 10), "######-#######")


def tr_id(r: random.Random) -> str:
    body = digits(r, 9, "123456789")
    tenth = (7 * sum(map(int, body[::2])) - sum(map(int, body[1::2]))) % 10
    return f"{body}{tenth}{(sum(map(int, body)) + tenth) % 10}"


def za_id(r: random.Random) -> str:
    return with_luhn(date(r, "YMD") + digits(r, 4) + r.choice("01") + "8")


def uk_nhs(r: random.Random) -> str:
    def make() -> str:
        body = digits(r, 9, "4679")
        rest = 11 - dot(body, *range(10, 1, -1)) % 11
        return "" if rest == 10 else body + str(rest % 11)

    return spaced(r, until(make, bool), "### ### ####")


def uk_nino(r: random.Random) -> str:
    value = r.choice("ABCEHJLMPRSW") + r.choice("ABCEHJLMPRSX") + digits(r, 6) + r.choice("ABCD")
    return spaced(r, value, "## ## ## ## #")


def ca_sin(r: random.Random) -> str:
    return spaced(r, with_luhn(digits(r, 8, "1245679")), "### ### ###", "###-###-###")


def au_tfn(r: random.Random) -> str:
    value = until(lambda: digits(r, 9, "123456789"), lambda v: dot(v, 1, 4, 3, 7, 5, 8, 6, 9, 10) % 11 == 0)
    return spaced(r, value, "### ### ###")


def au_medicare(r: random.Random) -> str:
    body = digits(r, 8, "23456")
    return spaced(r, body + str(dot(body, 1, 3, 7, 9, 1, 3, 7, 9) % 10) + r.choice("12345"), "#### ##### #")


def ch_ahv(r: random.Random) -> str:
    body = "756" + digits(r, 9)
    check = -sum(int(c) * (3 if at % 2 else 1) for at, c in enumerate(body)) % 10
    return grouped(f"{body}{check}", "###.####.####.##")


def at_svnr(r: random.Random) -> str:
    def make() -> str:
        serial, born = digits(r, 3, "123456789"), date(r, "DMY")
        check = (dot(serial, 3, 7, 9) + dot(born, 5, 8, 4, 2, 1, 6)) % 11
        return "" if check == 10 else f"{serial}{check}{born}"

    return spaced(r, until(make, bool), "#### ######")


def ie_pps(r: random.Random) -> str:
    body, second = digits(r, 7), r.choice(("", "A"))
    total = dot(body, *range(8, 1, -1)) + (9 if second else 0)
    return body + "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] + second


def sg_nric(r: random.Random) -> str:
    kind, body = r.choice("STFG"), digits(r, 7)
    total = dot(body, 2, 7, 6, 5, 4, 3, 2) + (4 if kind in "TG" else 0)
    return kind + body + ("JZIHGFEDCBA" if kind in "ST" else "XWUTRQPNMLK")[total % 11]


def ro_cnp(r: random.Random) -> str:
    body = r.choice("12") + date(r, "YMD") + f"{r.randint(1, 46):02}{r.randint(1, 999):03}"
    check = dot(body, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9) % 11
    return body + str(1 if check == 10 else check)


def bg_egn(r: random.Random) -> str:
    body = date(r, "YMD") + digits(r, 3)
    return body + str(dot(body, 2, 4, 8, 5, 10, 9, 7, 3, 6) % 11 % 10)


def hr_oib(r: random.Random) -> str:
    body, rest = digits(r, 10), 10
    for character in body:
        rest = ((rest + int(character)) % 10 or 10) * 2 % 11
    return body + str((11 - rest) % 10)


def cz_number(r: random.Random) -> str:
    value = until(lambda: date(r, "YMD") + digits(r, 4), lambda v: int(v) % 11 == 0)
    return grouped(value, "######/####")


def il_id(r: random.Random) -> str:
    return with_luhn(digits(r, 8, "0123"))


def tw_id(r: random.Random) -> str:
    order = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
    letter, body = r.choice(order), r.choice("12") + digits(r, 7)
    code = 10 + order.index(letter)
    total = code // 10 + code % 10 * 9 + dot(body, 8, 7, 6, 5, 4, 3, 2, 1)
    return letter + body + str(-total % 10)


def th_id(r: random.Random) -> str:
    body = digits(r, 12, "12345678")
    return grouped(body + str((11 - dot(body, *range(13, 1, -1)) % 11) % 10), "#-####-#####-##-#")


def mx_curp(r: random.Random) -> str:
    order = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    body = letters(r, 1) + r.choice("AEIOU") + letters(r, 2) + date(r, "YMD") + r.choice("HM")
    body += r.choice(("DF", "JC", "NL", "VZ")) + letters(r, 3, "BCDFGLMNPRSTVZ") + digits(r, 1)
    return body + str(-sum(order.index(c) * (18 - at) for at, c in enumerate(body)) % 10)


def es_dni(r: random.Random) -> str:
    number = digits(r, 8)
    kind = r.choice(("", "", "X", "Y"))
    body = number[1:] if kind else number
    full = int(str("XYZ".index(kind)) + body) if kind else int(body)
    return kind + body + "TRWAGMYFPDXBNJZSQVHLCKE"[full % 23]


def es_nss(r: random.Random) -> str:
    body = f"{r.randint(1, 53):02}" + digits(r, 8, "123456789")
    return spaced(r, body + f"{int(body) % 97:02}", "## ######## ##", "##/########/##")


def gr_afm(r: random.Random) -> str:
    body = digits(r, 8, "0123")
    return body + str(dot(body, *(2**power for power in range(8, 0, -1))) % 11 % 10)


def us_routing(r: random.Random) -> str:
    body = f"{r.randint(1, 12):02}" + digits(r, 6)
    return body + str(-dot(body, 3, 7, 1, 3, 7, 1, 3, 7) % 10)


# Label: how one is made, and by what names people call it before they write it.
CHECKED: Final[Mapping[str, tuple[Make, tuple[str, ...]]]] = MappingProxyType({
    "card": (card, ("card number", "credit card", "Kreditkarte", "tarjeta", "carte bancaire", "carta di credito", "cartão", "卡号")),
    "iban": (iban, ("IBAN", "bank account", "Konto", "cuenta", "compte", "conto")),
    "us_routing_number": (us_routing, ("routing number", "ABA")),
    "es_dni": (es_dni, ("DNI", "NIF", "NIE")),
    "es_nss": (es_nss, ("número de la Seguridad Social", "NSS")),
    "fr_nir": (fr_nir, ("numéro de sécurité sociale", "NIR")),
    "it_codice_fiscale": (it_codice, ("codice fiscale", "CF")),
    "de_tax_id": (de_tax, ("Steuer-ID", "Steueridentifikationsnummer", "IdNr")),
    "nl_bsn": (nl_bsn, ("BSN", "burgerservicenummer")),
    "be_national_number": (be_number, ("rijksregisternummer", "registre national")),
    "pl_pesel": (pl_pesel, ("PESEL", "numer PESEL")),
    "se_personnummer": (se_number, ("personnummer",)),
    "fi_hetu": (fi_hetu, ("henkilötunnus", "HETU")),
    "no_fodselsnummer": (no_number, ("fødselsnummer", "personnummer")),
    "pt_nif": (pt_nif, ("NIF", "número de contribuinte")),
    "br_cpf": (br_cpf, ("CPF",)),
    "br_cnpj": (br_cnpj, ("CNPJ",)),
    "cl_rut": (cl_rut, ("RUT",)),
    "ar_cuit": (ar_cuit, ("CUIT", "CUIL")),
    "cn_resident_id": (cn_id, ("身份证号", "resident ID")),
    "in_aadhaar": (in_aadhaar, ("Aadhaar", "आधार")),
    "kr_rrn": (kr_rrn, ("주민등록번호", "resident registration number")),
    "tr_kimlik": (tr_id, ("T.C. kimlik no", "TCKN")),
    "za_id": (za_id, ("South African ID number", "ID number")),
    "uk_nhs_number": (uk_nhs, ("NHS number",)),
    "ca_sin": (ca_sin, ("SIN", "social insurance number", "numéro d'assurance sociale")),
    "au_tfn": (au_tfn, ("TFN", "tax file number")),
    "au_medicare": (au_medicare, ("Medicare number", "Medicare card")),
    "ch_ahv": (ch_ahv, ("AHV-Nummer", "numéro AVS")),
    "at_svnr": (at_svnr, ("SVNR", "Sozialversicherungsnummer")),
    "ie_pps": (ie_pps, ("PPS number", "PPSN")),
    "sg_nric": (sg_nric, ("NRIC", "FIN")),
    "ro_cnp": (ro_cnp, ("CNP", "cod numeric personal")),
    "bg_egn": (bg_egn, ("ЕГН", "EGN")),
    "hr_oib": (hr_oib, ("OIB",)),
    "cz_rodne_cislo": (cz_number, ("rodné číslo", "r.č.")),
    "il_id": (il_id, ("תעודת זהות", "teudat zehut")),
    "tw_id": (tw_id, ("身分證字號", "national ID")),
    "th_id": (th_id, ("Thai ID", "เลขบัตรประชาชน")),
    "mx_curp": (mx_curp, ("CURP",)),
    "gr_afm": (gr_afm, ("ΑΦΜ", "AFM")),
})  # fmt: skip
