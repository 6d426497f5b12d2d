"""Words that say what a number is count as words, and numbers are found beside other numbers."""

import pytest

from tests.gateway.guardrails.samples import PII
from tollkeeper.gateway.context_words import Words
from tollkeeper.gateway.guardrail import Shape
from tollkeeper.gateway.guardrails.pii import Pii
from tollkeeper.gateway.guardrails.secrets import Secrets
from tollkeeper.gateway.shapes import Shapes

ALL = Shapes([("pii", Pii().shapes()), ("secrets", Secrets().shapes())])


def found(text: str) -> set[tuple[str, str]]:
    return {(finding.label, text[finding.start : finding.end]) for finding in ALL.find(text)}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (Words("tin"), "tin 1", True),
        (Words("tin"), "testing 1", False),
        (Words("tin"), "tinker 1", False),
        (Words("tel*"), "telephone 1", True),
        (Words("tel*"), "hotel 1", False),
        (Words("tax id"), '"tax_id": 1', True),
        (Words("tax id"), "customerTaxId=1", True),
        (Words("身份证"), "我的身份证号码是1", True),
        (Words("#"), "no#1", True),
    ],
)
def test_a_word_counts_from_its_beginning(words: Words, text: str, expected: bool) -> None:
    assert words.stand_before(text, len(text) - 1) is expected


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111 123",
        "5 4111 1111 1111 1111",
        "2 x, 4111 1111 1111 1111 12/27",
        "user_4111 1111 1111 1111",
        "卡号4111 1111 1111 1111。",
    ],
)
def test_a_card_is_found_beside_other_numbers(text: str) -> None:
    assert ("card", "4111 1111 1111 1111") in found(text)


def test_an_everyday_word_is_no_name_of_a_number() -> None:
    # "sin" is in "using" and "tin" in "testing".
    assert found("we are using 130692544 rows for testing 86095742719") == set()


@pytest.mark.parametrize(("label", "text", "value"), PII, ids=[f"{label}-{value}" for label, _, value in PII])
def test_it_is_found_far_into_a_text_of_numbers(label: str, text: str, value: str) -> None:
    long = "row 12 345 67 890;\n" * 200 + "\n" + "filler " * 12 + text + "\n" + "x 99 8\n" * 50
    assert (label, value) in found(long)


def test_half_of_a_surrogate_pair_hides_nothing() -> None:
    assert ("card", "4111111111111111") in found("\ud83d4111111111111111\ud83d")
    assert ("email", "a@b.io") in found("x \udc00 a@b.io")


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("x*", "axx xx", {"xx"}),
        ("EMP-[0-9]{4,}", "see EMP-12345, not XEMP-12345", {"EMP-12345"}),
        ("(?m)^ID [0-9]+", "x\nID 77\nthe ID 78", {"ID 77"}),
        ("staff ([0-9]+)", "staff 12 and staff 13", {"12", "13"}),
        ("#[0-9]{2,3}", "#123 #45 a#67", {"#123", "#45"}),
        ("é[0-9]+", "é12 xé13", {"é12"}),
        ("[0-9]{3}", "1234 567", {"567"}),
    ],
)
def test_forms_of_an_operators_own_are_found_as_whole_words(pattern: str, text: str, expected: set[str]) -> None:
    shapes = Shapes([("pii", [Shape("own", pattern)])])
    assert {text[finding.start : finding.end] for finding in shapes.find(text)} == expected
