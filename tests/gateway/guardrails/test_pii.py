"""Personal data is found by its form and its check digits, and numbers that only look like it are left alone."""

import pytest

from tests.gateway.guardrails.samples import CLEAN, PII
from tollkeeper.gateway.guardrails.pii import CustomShape, Pii, PiiSettings, labels
from tollkeeper.gateway.guardrails.pii.national_ids import COUNTRIES
from tollkeeper.gateway.shapes import Shapes

ALL = Shapes([("pii", Pii().shapes())])


def found(text: str, shapes: Shapes = ALL) -> list[tuple[str, str]]:
    return [(finding.label, text[finding.start : finding.end]) for finding in shapes.find(text)]


@pytest.mark.parametrize(("label", "text", "value"), PII, ids=[f"{label}-{value}" for label, _, value in PII])
def test_it_is_found_where_it_stands(label: str, text: str, value: str) -> None:
    assert (label, value) in found(text)


@pytest.mark.parametrize("text", CLEAN)
def test_what_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_every_label_has_a_sample() -> None:
    assert {label for label, _, _ in PII} == set(labels())
    assert len(COUNTRIES) >= 12


@pytest.mark.parametrize(
    ("label", "text", "value"),
    [
        one
        for one in PII
        if sum(map(str.isdigit, one[2])) >= 8 and one[0] not in {"phone", "in_pan", "passport", "uk_nino"}
    ],
)
def test_a_wrong_digit_is_no_match(label: str, text: str, value: str) -> None:
    """Where there is a check digit, changing one digit by one goes unseen never, or as seldom as the rule says."""
    unchecked = {
        "date_of_birth", "ip_address", "driving_licence", "address", "us_ssn", "us_itin", "lt_asmens_kodas", "dk_cpr",
        "au_medicare", "mac_address", "bic", "in_aadhaar", "cz_rodne_cislo",
    }  # fmt: skip
    if label in unchecked:
        return
    seen = 0
    places = [place for place, letter in enumerate(value) if letter.isdigit()]
    for place in places:
        changed = value[:place] + str((int(value[place]) + 1) % 10) + value[place + 1 :]
        seen += (label, changed) in found(text.replace(value, changed))
    assert seen <= len(places) // 4


@pytest.mark.parametrize(
    "text",
    [
        "card ４１１１ 1111 1111 1111",  # fullwidth digits
        "card 4111\u00a01111\u00a01111\u00a01111",
        "card 4111\u200b 1111\u200d 1111 1111",
        "card ٤١١١ ١١١١ ١١١١ ١١١١",
        "card 4111–1111–1111–1111",
    ],
)
def test_other_digits_and_invisible_signs_hide_nothing(text: str) -> None:
    [(label, value)] = found(text)
    assert (label, value) == ("card", text[5:])


def test_offsets_are_characters_behind_any_script() -> None:
    text = "日本語 🙂 é " * 20 + "a@b.io und 4111 1111 1111 1111"
    assert found(text) == [("email", "a@b.io"), ("card", "4111 1111 1111 1111")]


def test_labels_can_be_chosen_and_left_out() -> None:
    text = "a@b.io 4111 1111 1111 1111"
    assert found(text, Shapes([("pii", Pii(PiiSettings(only=frozenset({"card"}))).shapes())])) == [
        ("card", "4111 1111 1111 1111")
    ]
    assert found(text, Shapes([("pii", Pii(PiiSettings(ignore=frozenset({"card"}))).shapes())])) == [
        ("email", "a@b.io")
    ]


def test_an_operators_own_form_is_looked_for() -> None:
    own = Pii(PiiSettings(only=frozenset(), custom=(CustomShape(label="staff_number", pattern=r"EMP-[0-9]{6}"),)))
    assert found("ask EMP-004711 about it", Shapes([("pii", own.shapes())])) == [("staff_number", "EMP-004711")]


def test_a_pattern_that_is_not_linear_is_refused_with_the_reason() -> None:
    own = Pii(PiiSettings(custom=(CustomShape(label="evil", pattern=r"(a)\1"),)))
    with pytest.raises(ValueError, match="evil"):
        Shapes([("pii", own.shapes())])
