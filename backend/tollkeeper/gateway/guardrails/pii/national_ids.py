"""Numbers that states give to people, by the published rules of their check digits.

A check digit of one place lets one number in ten through. So a number of plain digits counts only where its name is near;
one whose form is its own (letters, a date within, two check digits) counts alone.
"""

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.guardrail import Accept, Shape, Start
from tollkeeper.gateway.guardrails.pii.checksums import (
    ean,
    is_day,
    iso_7064_mod_11_10,
    luhn,
    verhoeff,
    weighted,
)
from tollkeeper.gateway.tails import digits, groups

_ID_WORDS: Final = (
    "national id",
    "identity number",
    "id number",
    "id no",
    "id nr",
    "personal number",
    "ausweis*",
    "tax id",
    "tax number",
)


class _Id(NamedTuple):
    label: str
    pattern: str
    check: Callable[[str], bool]
    words: Collection[str]
    # Its score where no word is near.
    alone: float = 0.0


def _us_ssn(s: str) -> bool:
    return s[:3] not in {"000", "666"} and s[0] != "9" and s[3:5] != "00" and s[5:] != "0000" and s not in _SSN_PRINTED


# On cards that came with wallets, and in every manual.
_SSN_PRINTED: Final = frozenset({"078051120", "219099999", "123456789"})


def _us_itin(s: str) -> bool:
    return s[0] == "9" and (50 <= int(s[3:5]) <= 65 or 70 <= int(s[3:5]) <= 88 or 90 <= int(s[3:5]) <= 99)


def _es_dni(s: str) -> bool:
    number = s[:-1].translate({88: "0", 89: "1", 90: "2"})  # X, Y, Z of foreigners
    return s[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _fr_nir(s: str) -> bool:
    month = int(s[3:5])
    if not (1 <= month <= 12 or 20 <= month <= 42 or month >= 50):
        return False
    body = s[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(s[13:])


_IT_ODD_VALUES: Final = (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
)  # fmt: skip
_IT_ODD: Final = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _IT_ODD_VALUES, strict=True))


def _it_codice(s: str) -> bool:
    total = sum(
        _IT_ODD[letter] if place % 2 == 0 else (int(letter) if letter.isdigit() else ord(letter) - 65)
        for place, letter in enumerate(s[:15])
    )
    return chr(65 + total % 26) == s[15]


def _de_tax(s: str) -> bool:
    counts = sorted(s[:10].count(digit) for digit in set(s[:10]))
    return s[0] != "0" and counts[-1] in {2, 3} and len(counts) in {8, 9} and iso_7064_mod_11_10(s)


def _nl_bsn(s: str) -> bool:
    return s != "000000000" and weighted(s, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _be_number(s: str) -> bool:
    if not is_day(int(s[4:6]), int(s[2:4]) % 20):
        return False
    check = int(s[9:])
    return check in {97 - int(s[:9]) % 97, 97 - int("2" + s[:9]) % 97}


def _pl_pesel(s: str) -> bool:
    return is_day(int(s[4:6]), int(s[2:4]) % 20) and weighted(s, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _se_number(s: str) -> bool:
    s = s[-10:]
    return is_day(int(s[4:6]) % 60, int(s[2:4])) and luhn(s)


def _fi_hetu(s: str) -> bool:
    # The sign of the century is no letter and fell away, or is one.
    digits = s[:6] + s[-4:-1]
    return is_day(int(s[:2]), int(s[2:4])) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == s[-1]


def _no_number(s: str) -> bool:
    if not is_day(int(s[:2]) % 40, int(s[2:4]) % 40):
        return False
    first = weighted(s, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
    return first and weighted(s, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def _dk_cpr(s: str) -> bool:
    return is_day(int(s[:2]), int(s[2:4]))


def _pt_nif(s: str) -> bool:
    check = 11 - weighted(s, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return s[0] in "1235689" and int(s[8]) == (0 if check >= 10 else check)


def _br_cpf(s: str) -> bool:
    if len(set(s)) == 1:
        return False
    first = weighted(s, range(10, 1, -1)) * 10 % 11 % 10
    return int(s[9]) == first and int(s[10]) == weighted(s, range(11, 1, -1)) * 10 % 11 % 10


def _br_cnpj(s: str) -> bool:
    if len(set(s)) == 1:
        return False
    weights = (5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    first, second = weighted(s, weights) % 11, weighted(s, (6, *weights)) % 11
    return int(s[12]) == (0 if first < 2 else 11 - first) and int(s[13]) == (0 if second < 2 else 11 - second)


def _cl_rut(s: str) -> bool:
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(s[:-1])))
    return "0K987654321"[total % 11] == s[-1]


def _ar_cuit(s: str) -> bool:
    check = 11 - weighted(s, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return s[:2] in {"20", "23", "24", "27", "30", "33", "34"} and int(s[10]) == {11: 0, 10: 9}.get(check, check)


def _cn_id(s: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return is_day(int(s[12:14]), int(s[10:12])) and "10X98765432"[weighted(s[:17], weights) % 11] == s[17]


def _in_aadhaar(s: str) -> bool:
    return s[0] not in "01" and verhoeff(s)


def _kr_rrn(s: str) -> bool:
    check = (11 - weighted(s, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return is_day(int(s[4:6]), int(s[2:4])) and int(s[12]) == check


def _tr_id(s: str) -> bool:
    odd, even = sum(map(int, s[0:9:2])), sum(map(int, s[1:8:2]))
    return s[0] != "0" and (odd * 7 - even) % 10 == int(s[9]) and sum(map(int, s[:10])) % 10 == int(s[10])


def _za_id(s: str) -> bool:
    return is_day(int(s[4:6]), int(s[2:4])) and s[10] in "012" and luhn(s)


def _uk_nhs(s: str) -> bool:
    check = 11 - weighted(s, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return check != 10 and int(s[9]) == check % 11


def _uk_nino(s: str) -> bool:
    return s[:2] not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}


def _ca_sin(s: str) -> bool:
    return s[0] not in "08" and luhn(s)


def _au_tfn(s: str) -> bool:
    return weighted(s, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _au_medicare(s: str) -> bool:
    return s[0] in "23456" and weighted(s, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(s[8])


def _ch_ahv(s: str) -> bool:
    return s.startswith("756") and ean(s)


def _at_svnr(s: str) -> bool:
    check = weighted(s, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11
    return s[0] != "0" and is_day(int(s[4:6]), int(s[6:8])) and check == int(s[3])


def _ie_pps(s: str) -> bool:
    second = ord(s[8]) - 64 if len(s) == 9 and s[8] != "W" else 0
    total = weighted(s, (8, 7, 6, 5, 4, 3, 2)) + second * 9
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == s[7]


def _sg_nric(s: str) -> bool:
    total = weighted(s[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if s[0] in "TG" else 3 if s[0] == "M" else 0)
    if s[0] in "ST":
        letters = "JZIHGFEDCBA"
    elif s[0] in "FG":
        letters = "XWUTRQPNMLK"
    else:
        return s[8] == "XWUTRQPNJLK"[10 - total % 11]
    return letters[total % 11] == s[8]


def _ro_cnp(s: str) -> bool:
    check = weighted(s, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return s[0] != "0" and is_day(int(s[5:7]), int(s[3:5])) and int(s[12]) == (1 if check == 10 else check)


def _bg_egn(s: str) -> bool:
    return is_day(int(s[4:6]), int(s[2:4]) % 20) and weighted(s, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == int(s[9])


def _cz_number(s: str) -> bool:
    # A rest of ten was written as 0 until 1985.
    fits = int(s) % 11 == 0 or (int(s[:9]) % 11 == 10 and s[9] == "0")
    return is_day(int(s[4:6]), int(s[2:4]) % 50 % 20) and fits


def _il_id(s: str) -> bool:
    return s != "000000000" and luhn(s)


def _tw_id(s: str) -> bool:
    number = {letter: 10 + place for place, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO")}[s[0]]
    return (number // 10 + number % 10 * 9 + weighted(s[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def _th_id(s: str) -> bool:
    return s[0] != "0" and (11 - weighted(s, range(13, 1, -1)) % 11) % 10 == int(s[12])


def _mx_curp(s: str) -> bool:
    letters = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(letters.index(letter) * (18 - place) for place, letter in enumerate(s[:17]))
    return (10 - total % 10) % 10 == int(s[17]) if s[17].isdigit() else False


def _any(_s: str) -> bool:
    return True


_SSN_WORDS: Final = ("ssn", "social security", "soc sec", "social sec")
_IDS: Final = (
    # Dashes in the right places are its form; other ways to write it need its name.
    _Id("us_ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _us_ssn, _SSN_WORDS, 0.9),
    _Id("us_ssn", r"[0-9]{9}|[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{3}\.[0-9]{2}\.[0-9]{4}", _us_ssn, _SSN_WORDS),
    _Id("us_itin", r"9[0-9]{2}-[5-9][0-9]-[0-9]{4}", _us_itin, ("itin", "taxpayer"), 0.9),
    _Id("es_dni", r"[0-9]{8}[ -]?[A-HJ-NP-TV-Z]", _es_dni, ("dni", "nie", "nif"), 0.9),
    _Id("es_dni", r"[XYZ][ -]?[0-9]{7}[ -]?[A-HJ-NP-TV-Z]", _es_dni, ("dni", "nie", "nif"), 0.9),
    _Id("fr_nir", r"[12][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?(?:[0-9]{2}|2[AB])[ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{2}", _fr_nir,
        ("sécurité sociale", "securite sociale", "nir", "insee"), 0.95),
    _Id("it_codice_fiscale", r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]",
        _it_codice, ("codice fiscale",), 0.99),
    _Id("de_tax_id", r"[1-9][0-9][ ]?[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{3}", _de_tax,
        ("steuer*", "idnr", "tin", "tax id", "tax number")),
    _Id("nl_bsn", r"[0-9]{3}[. ]?[0-9]{3}[. ]?[0-9]{3}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}", _nl_bsn,
        ("bsn", "burgerservice*", "sofi*", "citizen service")),
    _Id("be_national_number", r"[0-9]{2}\.?[0-9]{2}\.?[0-9]{2}[- ]?[0-9]{3}[. ]?[0-9]{2}", _be_number,
        ("rijksregister*", "registre national", "national number", "insz", "niss"), 0.8),
    _Id("pl_pesel", r"[0-9]{11}", _pl_pesel, ("pesel",)),
    _Id("se_personnummer", r"(?:19|20)?[0-9]{6}[-+]?[0-9]{4}", _se_number, ("personnummer", "personal number", "pnr", "samordning*")),
    _Id("fi_hetu", r"[0-3][0-9][01][0-9]{3}[-+ABCDEFUVWXY][0-9]{3}[0-9A-FHJ-NPR-Y]", _fi_hetu, ("hetu", "henkilötunnus"), 0.95),
    _Id("no_fodselsnummer", r"[0-9]{6}[ ]?[0-9]{5}", _no_number, ("fødselsnummer", "fodselsnummer", "personnummer"), 0.8),
    _Id("dk_cpr", r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}", _dk_cpr, ("cpr", "personnummer")),
    _Id("pt_nif", r"[1235689][0-9]{2}[ ]?[0-9]{3}[ ]?[0-9]{3}", _pt_nif, ("nif", "contribuinte*")),
    _Id("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _br_cpf, ("cpf",), 0.99),
    _Id("br_cpf", r"[0-9]{11}", _br_cpf, ("cpf",)),
    _Id("br_cnpj", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", _br_cnpj, ("cnpj",), 0.99),
    _Id("cl_rut", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]", _cl_rut, ("rut", "run"), 0.8),
    _Id("ar_cuit", r"[0-9]{2}-[0-9]{8}-[0-9]", _ar_cuit, ("cuit", "cuil"), 0.95),
    _Id("cn_resident_id", r"[1-8][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9][0-9]{3}[0-9Xx]", _cn_id, ("身份证",), 0.99),
    _Id("in_aadhaar", r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}", _in_aadhaar, ("aadhaar", "aadhar", "uidai", "आधार")),
    _Id("in_pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", _any, ("pan", "permanent account")),
    _Id("kr_rrn", r"[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}", _kr_rrn, ("주민등록",), 0.95),
    _Id("tr_kimlik", r"[1-9][0-9]{10}", _tr_id, ("kimlik", "tckn", "t.c.")),
    _Id("za_id", r"[0-9]{6}[ ]?[0-9]{4}[ ]?[0-2][0-9]{2}", _za_id, ("id number", "south african", "identity", "id no")),
    _Id("uk_nhs_number", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", _uk_nhs, ("nhs",)),
    _Id("uk_nino", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[A-D]", _uk_nino,
        ("national insurance", "nino", "ni number"), 0.95),
    _Id("ca_sin", r"[1-79][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}", _ca_sin, ("sin", "social insurance", "assurance sociale", "nas")),
    _Id("au_tfn", r"[0-9]{3}[ ]?[0-9]{3}[ ]?[0-9]{3}", _au_tfn, ("tfn", "tax file")),
    _Id("au_medicare", r"[2-6][0-9]{3}[ ]?[0-9]{5}[ ]?[0-9]", _au_medicare, ("medicare",)),
    _Id("ch_ahv", r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", _ch_ahv, ("ahv*", "avs"), 0.99),
    _Id("at_svnr", r"[1-9][0-9]{3}[ ]?[0-3][0-9][01][0-9]{3}", _at_svnr, ("svnr", "sozialversicherung*", "sv-nummer")),
    _Id("ie_pps", r"[0-9]{7}[A-W][A-IW]?", _ie_pps, ("pps", "ppsn")),
    _Id("sg_nric", r"[STFGM][0-9]{7}[A-Z]", _sg_nric, ("nric", "fin"), 0.95),
    _Id("ro_cnp", r"[1-9][0-9]{2}[01][0-9][0-3][0-9][0-9]{6}", _ro_cnp, ("cnp", "cod numeric")),
    _Id("bg_egn", r"[0-9]{10}", _bg_egn, ("egn", "егн")),
    _Id("hr_oib", r"[0-9]{11}", iso_7064_mod_11_10, ("oib",)),
    _Id("cz_rodne_cislo", r"[0-9]{6}/?[0-9]{4}", _cz_number, ("rodné", "rodne", "r.č.", "birth number")),
    _Id("il_id", r"[0-9]{9}", _il_id, ("teudat", "תעודת", "ת.ז")),
    _Id("tw_id", r"[A-Z][1289][0-9]{8}", _tw_id, ("身分證",), 0.9),
    _Id("th_id", r"[1-8][ -]?[0-9]{4}[ -]?[0-9]{5}[ -]?[0-9]{2}[ -]?[0-9]", _th_id, ("บัตรประชาชน", "thai id"), 0.0),
    _Id("mx_curp", r"[A-Z][AEIOUX][A-Z]{2}[0-9]{2}[01][0-9][0-3][0-9][HMX][A-Z]{5}[0-9A-Z][0-9]", _mx_curp, ("curp",), 0.99),
    _Id("es_nss", r"[0-9]{2}[ /-]?[0-9]{8}[ /-]?[0-9]{2}", lambda s: int(s[:10]) % 97 == int(s[10:]), ("seguridad social", "nss")),
    _Id("lt_asmens_kodas", r"[1-6][0-9]{2}[01][0-9][0-3][0-9][0-9]{4}", lambda s: is_day(int(s[5:7]), int(s[3:5])),
        ("asmens kodas", "isikukood")),
    _Id("gr_afm", r"[0-9]{9}", lambda s: weighted(s, (256, 128, 64, 32, 16, 8, 4, 2)) % 11 % 10 == int(s[8]), ("αφμ", "afm")),
)  # fmt: skip


def _compact(text: str, start: int, end: int) -> str:
    return "".join(filter(str.isalnum, text[start:end])).upper()


def _checked(check: Callable[[str], bool]) -> Accept:
    return lambda text, start, end: 1.0 if check(_compact(text, start, end)) else 0.0


def _checked_alone(check: Callable[[str], bool], words: Words, alone: float) -> Accept:
    """Certain where its name is near."""

    def accept(text: str, start: int, end: int) -> float:
        if not check(_compact(text, start, end)):
            return 0.0
        return 1.0 if words.stand_before(text, start) else alone

    return accept


def _shape(one: _Id) -> Shape:
    words = Words(*one.words, *_ID_WORDS)
    is_number = one.pattern.startswith(_DIGITS_FIRST)
    accept = _checked_alone(one.check, words, one.alone) if one.alone else _checked(one.check)
    return Shape(
        one.label,
        one.pattern,
        digits if is_number else groups,
        accept,
        needs=None if one.alone else words,
        start=Start.NUMBER if is_number else Start.CODE,
    )


_DIGITS_FIRST: Final = ("[0", "[1", "[2", "[3", "9", "756", "(?:[0", "(?:19")


def shapes() -> list[Shape]:
    return [_shape(one) for one in _IDS]


COUNTRIES: Final = frozenset(one.label[:2] for one in _IDS)
